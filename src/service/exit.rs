//! The exit codes of chatd: the one place where they are numbers.
//!
//! `src/bin/chatd.rs` exits with one of them. chatd(8) lists them under EXIT STATUS, and the systemd unit names
//! two (`RestartPreventExitStatus=2 78`, because another start would fail the same way). Never use a number elsewhere.

use std::process::ExitCode;

/// How chatd ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Stopped as asked, or printed what was asked for.
    Ok = 0,
    /// Something failed that may work at another start: an address in use, no memory.
    Failed = 1,
    /// The command line is wrong. The number is clap's and the shell's; `EX_USAGE` of sysexits(3) is 64.
    Usage = 2,
    /// The configuration is wrong: `EX_CONFIG` of sysexits(3).
    Config = 78,
}

impl Exit {
    /// The number that the shell and systemd see.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
