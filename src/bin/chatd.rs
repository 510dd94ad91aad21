//! The daemon: see chatd(8), and `chatd::service::daemon` for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatd::service::daemon::main().into()
}
