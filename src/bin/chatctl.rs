//! The operators' program: see chatctl(1), and `chatd::ctl` for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatd::ctl::main().into()
}
