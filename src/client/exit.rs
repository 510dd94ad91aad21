//! The exit codes of chatc: the one place where they are numbers.
//!
//! `src/bin/chatc.rs` ends with one of them, or the process does so by itself where that would come too late;
//! chatc(1) lists them under EXIT STATUS, and scripts rely on them. Never use a number elsewhere.

use std::process::{self, ExitCode};
use std::thread;
use std::time::Instant;

/// How chatc ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done: the daemon has taken all that was piped in, or somebody said stop.
    Ok = 0,
    /// It did not come to that: the connection was lost, a name is taken, a line was refused, too few lines came.
    Failed = 1,
    /// The command line is wrong. The number is clap's and the shell's; `EX_USAGE` of sysexits(3) is 64.
    Usage = 2,
    /// No daemon is there, or something that is not chatd: `EX_UNAVAILABLE` of sysexits(3).
    NoDaemon = 69,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Ends the process at that time if it still runs: because whoever reads what it writes takes nothing, it may wait
    /// for ever. `how` says how it ends, and puts in order what can be.
    pub fn at(when: Instant, how: impl FnOnce() -> Self + Send + 'static) {
        // Where no thread can be had it ends all the same, unless it has to wait.
        let _ = thread::Builder::new().spawn(move || {
            thread::sleep(when.saturating_duration_since(Instant::now()));
            process::exit(how().code().into())
        });
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        assert_eq!([Exit::Ok, Exit::Failed, Exit::Usage, Exit::NoDaemon].map(Exit::code), [0, 1, 2, 69]);
    }
}
