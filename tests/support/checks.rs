//! Checks that go one after the other, in the place of the standard harness.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// What the command line asks for, and how many checks passed and failed.
#[derive(Default)]
pub struct Checks {
    /// `--long`: what takes minutes.
    pub is_long: bool,
    /// With words, only what has one of them in its name.
    pub words: Vec<String>,
    pub passed: u32,
    pub failed: u32,
}

impl Checks {
    pub fn of(words: impl IntoIterator<Item = String>) -> Self {
        let (options, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with('-'));
        Self { is_long: options.iter().any(|option| option == "--long"), words, ..Self::default() }
    }

    /// Does a check, if it is wanted. Returns whether it has failed.
    pub fn check(&mut self, name: &str, check: impl FnOnce()) -> bool {
        if !self.words.is_empty() && !self.words.iter().any(|word| name.contains(word.as_str())) {
            return false;
        }
        println!("\n== {name}");
        let start = Instant::now();
        let has_failed = catch_unwind(AssertUnwindSafe(check)).is_err();
        *if has_failed { &mut self.failed } else { &mut self.passed } += 1;
        let result = if has_failed { "FAILED" } else { "ok" };
        println!("{result}: {name}, {:.1} s", start.elapsed().as_secs_f32());
        has_failed
    }

    /// Prints the line that tests/run counts.
    pub fn end(&self) -> ExitCode {
        let result = if self.failed == 0 { "ok" } else { "FAILED" };
        println!("\ntest result: {result}. {} passed; {} failed", self.passed, self.failed);
        ExitCode::from(u8::from(self.failed != 0))
    }
}

// Not all of them may lack something.
#[allow(dead_code)]
/// This machine lacks something: a failure in CI alone.
pub fn left_out(why: &str) -> ExitCode {
    println!("left out: {why}");
    ExitCode::from(u8::from(std::env::var_os("CI").is_some_and(|ci| ci == "true")))
}
