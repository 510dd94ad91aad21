//! chatc on a pseudo-terminal, and the screen that somebody would see.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::process::command;
use crate::support::PATIENCE;

const ROWS: u16 = 12;
const COLUMNS: u16 = 40;

/// Does nothing to a screen.
const END: &str = "\x1b[8;0;0n";

/// A chatc that somebody looks at and types into.
pub struct Terminal {
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    /// What the screen was made of.
    raw: Vec<u8>,
    /// The side of chatc, to see how it is set.
    side: OwnedFd,
    before: String,
}

impl Terminal {
    pub fn start(options: &[&str]) -> Self {
        Self::run(&command(options))
    }

    /// Starts it as `command` has it, with a terminal that is its own.
    pub fn run(command: &Command) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let side = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        tcsetwinsize(&side, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let before = settings(&side);
        let own = || side.try_clone().unwrap();
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let child = session.stdin(own()).stdout(own()).stderr(own()).spawn().unwrap();
        let keys = File::from(controller);
        let output = follow(keys.try_clone().unwrap());
        Self { child, keys, output, parser: parser(), raw: Vec::new(), side, before }
    }

    pub fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
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

    /// Waits until it is so.
    #[track_caller]
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE / 3;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
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
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
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

    pub fn resize(&mut self, columns: u16) {
        tcsetwinsize(&self.side, Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// With what it has ended, if it does within a moment; whoever asks asks again.
    pub fn code_soon(&mut self) -> Option<i32> {
        if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
            self.parser.process(&bytes);
        }
        self.child.try_wait().unwrap()?.code()
    }

    /// Waits until it has ended; fails unless the terminal is as it was, with the cursor at the start of a row that
    /// has nothing in it. Returns the code and the rows.
    #[track_caller]
    pub fn finish(mut self) -> (Option<i32>, Vec<String>) {
        let deadline = Instant::now() + PATIENCE / 3;
        let code = loop {
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(10)) {
                self.parser.process(&bytes);
            } else if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < deadline, "it goes on: {:#?}", self.rows());
        };
        // Whatever it has written comes before this.
        File::from(self.side.try_clone().unwrap()).write_all(END.as_bytes()).unwrap();
        let mut rest = Vec::new();
        while !rest.ends_with(END.as_bytes()) {
            rest.extend(self.output.recv_timeout(PATIENCE).unwrap());
        }
        self.parser.process(&rest);
        assert_eq!(settings(&self.side), self.before, "the terminal is set as it was");
        assert!(!self.screen().bracketed_paste() && !self.screen().hide_cursor());
        let (row, column) = self.cursor();
        let rows = self.rows();
        assert!(column == 0 && usize::from(row) == rows.len(), "cursor at {row}, {column}: {rows:#?}");
        (code, rows)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parser() -> vt100::Parser {
    vt100::Parser::new(ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0)
}

/// How a terminal is set, to be compared.
fn settings(side: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(side).unwrap())
}

fn follow(mut output: File) -> Receiver<Vec<u8>> {
    let (bytes_tx, bytes) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            if bytes_tx.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    bytes
}
