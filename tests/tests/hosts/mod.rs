//! Three hosts and real connections through the agent's data plane.

mod changes;
mod clients;
mod forwarding;
mod modes;
mod shares;
