//! A server on a unix socket that answers chatctl with what a test has written.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::process::{Left, Process};
use crate::server::Guest;
use crate::support::{Folder, PATIENCE, copy_program, text};

/// A socket that listens.
pub struct Fake {
    folder: Folder,
    listener: UnixListener,
}

/// A notice as a line of json; `fields` has the code and what belongs to it.
pub fn notice(fields: &str, sentence: &str) -> String {
    format!("{{\"type\":\"notice\",{fields},\"text\":\"{sentence}\"}}\n")
}

/// A line that somebody says.
pub fn message(room: &str, from: &str, said: &str) -> String {
    format!(
        "{{\"type\":\"message\",\"seq\":1,\"time\":\"2026-11-28T15:48:01.500Z\",\"room\":\"{room}\",\"id\":2,\
         \"from\":\"{from}\",\"verified\":false,\"text\":\"{said}\"}}\n"
    )
}

/// A connection in the answer to `/sessions`.
pub fn session(id: u64, name: &str, rate: f64, behind: u64) -> String {
    let fields = format!(
        "\"code\":\"session\",\"id\":{id},\"name\":\"{name}\",\"verified\":false,\"address\":\"192.0.2.1:{id}\",\
         \"room\":\"main\",\"view\":\"names\",\"idle\":{id},\"behind\":{behind},\"rate\":{rate:?},\"client\":\"line\""
    );
    notice(&fields, "a session")
}

/// What closes a page of `/sessions` or `/bans`.
pub fn end_of(code: &str, count: usize, more: usize) -> String {
    notice(&format!("\"code\":\"{code}\",\"count\":{count},\"more\":{more}"), "the end")
}

/// The answer to `/stats`.
pub fn stats(sessions: usize) -> String {
    let fields = format!(
        "\"code\":\"stats\",\"uptime\":277200,\"restarts\":7,\"sessions\":{sessions},\"rooms\":3,\"lines\":12345,\
         \"rate\":45.25,\"skipped\":2,\"memory\":3600000,\"slowest\":[{{\"id\":7,\"name\":\"bob\",\
         \"verified\":false,\"behind\":2048}},{{\"id\":9,\"name\":\"ann\",\"verified\":true,\"behind\":10}}]"
    );
    notice(&fields, "numbers")
}

/// chatctl, with what this process was started with left out.
pub fn chatctl(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    for name in ["NO_COLOR", "COLUMNS", "CHATCTL_SOCKET"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").env("TZ", "UTC").args(options);
    command
}

/// chatctl for a socket, as this user, in no group of root; as who runs this test, unless that is root.
pub fn unprivileged(user: u32, socket: &Path, options: &[&str]) -> Command {
    let mut command = chatctl(options);
    if rustix::process::geteuid().is_root() {
        // The program may lie where only root can go.
        let program = socket.with_file_name("chatctl");
        copy_program(env!("CARGO_BIN_EXE_chatctl"), &program);
        command = Command::new("setpriv");
        let user = [format!("--reuid={user}"), format!("--regid={user}")];
        command.args(user).arg("--clear-groups").arg(program).args(options);
    }
    command.env("CHATCTL_SOCKET", socket);
    command
}

/// Runs chatctl to its end, with nothing to answer it.
#[track_caller]
pub fn run(options: &[&str]) -> Left {
    Process::run(chatctl(options)).finish()
}

impl Fake {
    pub fn start() -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path("socket")).unwrap();
        Self { folder, listener }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path("socket")
    }

    /// chatctl, told of this socket.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = chatctl(options);
        command.env("CHATCTL_SOCKET", text(&self.path()));
        command
    }

    /// The next who connects.
    #[track_caller]
    pub fn accept(&self) -> Guest {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let count = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&patience)).unwrap();
        assert_eq!(count, 1, "nobody connects");
        Guest::new(self.listener.accept().unwrap().0)
    }

    /// The next who connects, and is told what chatd tells a program.
    #[track_caller]
    pub fn greeted(&self) -> Guest {
        let mut guest = self.accept();
        let token = expect_greeting(&mut guest);
        guest.say("Hello, connection to the server ok!\n");
        guest.say(notice("\"code\":\"operating\"", "any sentence") + &in_no_room(&token));
        guest
    }

    /// Runs chatctl, which must ask this, and gets this answer.
    #[track_caller]
    pub fn answer(&self, options: &[&str], asked: &str, answer: &str) -> Left {
        let process = Process::run(self.command(options));
        answered(&mut self.greeted(), asked, answer);
        process.finish()
    }
}

/// What chatctl says first. Returns its token.
#[track_caller]
pub fn expect_greeting(guest: &mut Guest) -> String {
    let (lines, token) = guest.asked();
    assert_eq!(lines, ["/control\n"]);
    token
}

/// What sends a token back to somebody who is in no room.
fn in_no_room(token: &str) -> String {
    Guest::answer(token, true).replace("\"room\":\"main\"", "\"room\":\"\"")
}

/// Waits until somebody asks this, and answers.
#[track_caller]
pub fn answered(guest: &mut Guest, asked: &str, answer: &str) {
    let (lines, token) = guest.asked();
    assert_eq!(lines, [format!("{asked}\n")]);
    guest.say(answer);
    guest.synced(&token);
}
