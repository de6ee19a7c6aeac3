//! Every test that needs more than one process's memory: one binary.

mod packets;
