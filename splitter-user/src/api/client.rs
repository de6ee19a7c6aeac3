//! Asks the agent over its unix socket.
