//! Three hosts and real connections through the agent's data plane.

mod changes;
mod clients;
mod conditions;
mod forwarding;
mod modes;
mod no_backend;
mod shares;
mod ways;
