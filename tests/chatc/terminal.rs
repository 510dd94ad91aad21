//! chatc on a pseudo-terminal, and the screen that somebody would see.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::process::command;
use crate::support::PATIENCE;
use crate::support::pty::Pty;

const ROWS: u16 = 12;
const COLUMNS: u16 = 40;

/// Does nothing to a screen.
const END: &str = "\x1b[8;0;0n";

/// A chatc that somebody looks at and types into.
pub struct Terminal {
    pty: Pty,
    parser: vt100::Parser,
    /// What the screen was made of.
    raw: Vec<u8>,
}

impl Terminal {
    pub fn start(options: &[&str]) -> Self {
        Self::run(&command(options))
    }

    /// Starts it as `command` has it, with a terminal that is its own.
    pub fn run(command: &Command) -> Self {
        Self { pty: Pty::start(command, (ROWS, COLUMNS)), parser: parser(), raw: Vec::new() }
    }

    pub fn keys(&mut self, keys: &str) {
        self.pty.keys(keys);
    }

    /// The rows of the screen, without the empty ones at the end.
    pub fn rows(&self) -> Vec<String> {
        let mut rows: Vec<String> =
            self.parser.screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Waits until the screen is this, and fails with what it is instead.
    #[track_caller]
    pub fn expect(&mut self, rows: &[&str]) {
        let trimmed: Vec<_> = rows.iter().map(|row| row.trim_end()).collect();
        self.until(&format!("{trimmed:#?}"), |terminal| terminal.rows() == trimmed);
    }

    /// Waits until a row is this.
    #[track_caller]
    pub fn expect_row(&mut self, row: &str) {
        self.until(row, |terminal| terminal.rows().iter().any(|other| other == row.trim_end()));
    }

    /// Waits until the last rows are these.
    #[track_caller]
    pub fn expect_last(&mut self, rows: &[&str]) {
        self.until(&format!("{rows:#?} at the end"), |terminal| {
            terminal.rows().ends_with(&rows.iter().map(|&row| row.to_owned()).collect::<Vec<_>>())
        });
    }

    /// Waits until it is so.
    #[track_caller]
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pty.next(left) {
                Ok(bytes) => {
                    self.parser.process(&bytes);
                    self.raw.extend(bytes);
                }
                Err(error) => panic!("expected {what}; the screen ({error}): {:#?}", self.rows()),
            }
        }
    }

    /// Waits until all the rows that there have been, with those that were scrolled away, are so, and returns them.
    #[track_caller]
    pub fn all_rows(mut self, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        // A screen high enough that nothing scrolls away from it.
        const HIGH: u16 = 4000;
        let mut high = vt100::Parser::new(HIGH.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0);
        high.process(&std::mem::take(&mut self.raw));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut rows: Vec<String> =
                high.screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect();
            while rows.last().is_some_and(String::is_empty) {
                rows.pop();
            }
            if is_so(&rows) {
                return rows;
            }
            match self.pty.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => high.process(&bytes),
                Err(error) => panic!("({error}) {rows:#?}"),
            }
        }
    }

    /// Where the cursor is: row and column, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        self.parser.screen().cursor_position()
    }

    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// How often it has rung.
    pub fn bells(&self) -> usize {
        // Those that end a title do not ring; chatc sets none.
        self.raw.iter().filter(|byte| **byte == 7).count()
    }

    /// Whether it has ever shown that.
    pub fn has_shown(&self, text: &str) -> bool {
        self.times_shown(text) > 0
    }

    /// How often it has shown that.
    pub fn times_shown(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.raw).matches(text).count()
    }

    pub fn resize(&mut self, columns: u16) {
        self.pty.resize((ROWS, columns));
    }

    /// Whether it is set as it was before.
    pub fn is_as_before(&self) -> bool {
        let [now, before] = self.pty.settings();
        now == before
    }

    /// What stops the terminal from taking anything while it is locked.
    pub fn reading(&self) -> Arc<Mutex<()>> {
        self.pty.reading()
    }

    /// Whether it takes more of what is shown.
    pub fn takes_more(&self) -> bool {
        self.pty.takes_more()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pty.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// With what it has ended, if it does within a moment; whoever asks asks again.
    pub fn code_soon(&mut self) -> Option<i32> {
        if let Ok(bytes) = self.pty.next(Duration::from_millis(100)) {
            self.parser.process(&bytes);
        }
        self.pty.child.try_wait().unwrap()?.code()
    }

    /// Waits until it has ended; fails unless the terminal is as it was, with the cursor at the start of a row that
    /// has nothing in it. Returns the code and the rows.
    #[track_caller]
    pub fn finish(mut self) -> (Option<i32>, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            if let Ok(bytes) = self.pty.next(Duration::from_millis(10)) {
                self.parser.process(&bytes);
            } else if let Some(status) = self.pty.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < deadline, "it goes on: {:#?}", self.rows());
        };
        // Whatever it has written comes before this.
        self.pty.show(END);
        let mut rest = Vec::new();
        while !rest.ends_with(END.as_bytes()) {
            rest.extend(self.pty.next(PATIENCE).unwrap());
        }
        self.parser.process(&rest);
        let [now, before] = self.pty.settings();
        assert_eq!(now, before, "the terminal is set as it was");
        assert!(!self.screen().bracketed_paste() && !self.screen().hide_cursor());
        let (row, column) = self.cursor();
        let rows = self.rows();
        assert!(column == 0 && usize::from(row) == rows.len(), "cursor at {row}, {column}: {rows:#?}");
        (code, rows)
    }
}

fn parser() -> vt100::Parser {
    vt100::Parser::new(ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0)
}
