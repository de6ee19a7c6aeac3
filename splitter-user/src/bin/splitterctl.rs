//! The command line of the traffic splitter. All of it is in `splitter_user::ctl`.

use std::process::ExitCode;

use splitter_user::ctl::{self, Surroundings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The host's own checks come from the doctor module.
    ctl::run(std::env::args_os(), Surroundings::standard(Vec::new))
        .await
        .into()
}
