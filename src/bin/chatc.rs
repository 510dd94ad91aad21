//! The companion: see chatc(1), and `chatd::client` for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatd::client::main().code().into()
}
