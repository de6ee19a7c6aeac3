//! JSON over HTTP over the unix socket, for anything that implements `Agent`.
