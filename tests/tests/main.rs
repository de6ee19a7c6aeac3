//! Every test of the whole: one binary, a directory a subject, names that are sentences.
//!
//! All of them need root and fail without it.
#![expect(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod lab_itself;
