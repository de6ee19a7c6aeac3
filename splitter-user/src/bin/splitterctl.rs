//! The command line of the traffic splitter. All of it is in `splitter_user::ctl`.

use std::process::ExitCode;

use splitter_user::api::types::Finding;
use splitter_user::ctl::{self, Surroundings};
use splitter_user::doctor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ctl::run(std::env::args_os(), Surroundings::standard(local_findings))
        .await
        .into()
}

/// What the host shows without an agent.
fn local_findings() -> Vec<Finding> {
    doctor::local_findings(&doctor::Inputs::default())
}
