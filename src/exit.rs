//! How chatd, chatc and chatctl end: the one place where their exit codes are numbers.
//!
//! Each manual lists those of its program under EXIT STATUS. The systemd unit names two
//! (`RestartPreventExitStatus=2 78`, because another start would fail the same way).

use std::process::ExitCode;

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, stopped as asked, or printed what was asked for.
    Ok = 0,
    /// It failed: chatd may start another time, chatc may have lost a line, and chatctl was refused.
    Failed = 1,
    /// The command line is wrong. The number is clap's and the shell's; `EX_USAGE` of sysexits(3) is 64.
    Usage = 2,
    /// No chatd is there, or it does not answer: `EX_UNAVAILABLE` of sysexits(3).
    NoDaemon = 69,
    /// You are not an operator: `EX_NOPERM` of sysexits(3).
    NotOperator = 77,
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
