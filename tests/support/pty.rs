//! A program on a pseudo-terminal of its own: what is typed there, what is shown, and how the terminal is set.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// The size of a terminal: rows and columns.
pub type Size = (u16, u16);

/// A program, and both sides of its terminal.
pub struct Pty {
    pub child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    /// The side of the program, to see how it is set.
    side: OwnedFd,
    before: String,
    /// Whoever holds it sees to it that nothing more is read.
    reading: Arc<Mutex<()>>,
}

impl Pty {
    /// Starts a program as `command` has it, with a terminal that is its own.
    pub fn start(command: &Command, size: Size) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let side = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        tcsetwinsize(&side, winsize(size)).unwrap();
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
        let reading = Arc::default();
        let output = follow(keys.try_clone().unwrap(), Arc::clone(&reading));
        Self { child, keys, output, side, before, reading }
    }

    pub fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// What is shown next.
    pub fn next(&self, wait: Duration) -> Result<Vec<u8>, RecvTimeoutError> {
        self.output.recv_timeout(wait)
    }

    /// Shows something that does not come from the program.
    pub fn show(&self, text: &str) {
        File::from(self.side.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
    }

    pub fn resize(&mut self, size: Size) {
        tcsetwinsize(&self.side, winsize(size)).unwrap();
    }

    /// How it is set, and how it was before the program.
    pub fn settings(&self) -> [String; 2] {
        [settings(&self.side), self.before.clone()]
    }

    /// What stops the terminal from taking anything while it is locked.
    pub fn reading(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.reading)
    }

    /// Whether it takes more of what is shown.
    pub fn takes_more(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.side, PollFlags::OUT)], Some(&now)).unwrap() > 0
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn winsize((rows, columns): Size) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// How a terminal is set, to be compared.
fn settings(side: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(side).unwrap())
}

fn follow(mut output: File, reading: Arc<Mutex<()>>) -> Receiver<Vec<u8>> {
    let (bytes_tx, bytes) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let is_read = reading.lock().unwrap();
            let Ok(count @ 1..) = output.read(&mut buffer) else { return };
            drop(is_read);
            if bytes_tx.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    bytes
}
