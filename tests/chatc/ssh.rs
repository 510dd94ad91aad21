//! chatc behind a real sshd: what chatc(1) has about ssh, word by word.

use std::fs::create_dir_all;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Process, command};
use crate::support::{Caller, Daemon, Folder, text};
use crate::terminal::Terminal;

const MANUAL: &str = include_str!("../../man/chatc.1");

/// What the manual calls the socket.
const SOCKET: &str = "/run/chatd/chat.sock";

/// The command for the manual's `chatc SOCKET`.
fn chatc(socket: &str) -> String {
    format!("{} {socket}", text(command(&[]).get_program().as_ref()))
}

/// What stands in the manual from `start` up to the end of the example, for this machine.
#[track_caller]
fn example(start: &str, socket: &str) -> String {
    let from = MANUAL.find(start).unwrap_or_else(|| panic!("{start:?} is not in the manual"));
    let example = MANUAL[from..].split("\n.Ed").next().unwrap();
    example.replace(&format!("chatc {SOCKET}"), &chatc(socket))
}

/// Who runs this.
fn me() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// An sshd to which only one key is let in, and a daemon with a unix socket.
struct Host {
    folder: Folder,
    daemon: Daemon,
    socket: PathBuf,
}

impl Host {
    /// `options` stand before the key, `rules` at the end of the configuration.
    fn start(options: impl Fn(&str) -> String, rules: impl Fn(&str) -> String) -> Self {
        if rustix::process::geteuid().is_root() {
            // What a package makes for the service; sshd wants it to be there.
            create_dir_all("/run/sshd").unwrap();
        }
        let folder = Folder::new();
        let socket = folder.path("chat.sock");
        for key in ["host", "key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path(key));
            assert!(keygen.status().unwrap().success());
        }
        let key = std::fs::read_to_string(folder.path("key.pub")).unwrap();
        let allowed = folder.write("allowed", format!("{}{key}", options(text(&socket))));
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n{}\n",
            text(&folder.path("host")),
            text(&allowed),
            rules(text(&socket))
        );
        folder.write("config", config);
        let daemon = Daemon::start(&["--listen", text(&socket)]);
        Self { folder, daemon, socket }
    }

    fn socket(&self) -> &str {
        text(&self.socket)
    }

    /// ssh to it. The sshd is started for this connection alone, and listens nowhere.
    fn ssh(&self, words: &[&str]) -> Command {
        let path = |name| self.folder.path(name).display().to_string();
        let sshd = format!("ProxyCommand=/usr/sbin/sshd -i -f {} -E {}", path("config"), path("log"));
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", &sshd, "-i", &path("key")]);
        ssh.args(["-l", &me()]).args(words).env("TERM", "xterm");
        ssh
    }

    /// Somebody with nc who sees names.
    fn witness(&self) -> Caller {
        let mut witness = self.daemon.join();
        witness.say("/nick ann\n");
        witness.expect("-!- you are ann now; /help says what else there is\n");
        witness
    }
}

/// Talks, and leaves with `keys`.
#[track_caller]
fn talk(host: &Host, witness: &mut Caller, words: &[&str], keys: &str) {
    let me = me();
    let mut terminal = Terminal::run(&host.ssh(words));
    terminal.expect_row(&format!("+{me}@main>"));
    witness.until(&format!("-!- +{me} joined (2 here)\n"));
    terminal.keys("over ssh\r");
    witness.expect(format!("<+{me}> over ssh\n"));
    terminal.expect_row(&format!("<+{me}> over ssh"));
    witness.say("welcome\n");
    terminal.expect_row("<ann> welcome");
    terminal.keys(keys);
    assert_eq!(terminal.finish().0, Some(0));
    witness.expect(format!("-!- +{me} left (1 here)\n"));
}

#[test]
fn ssh_with_a_terminal_is_the_keyboard_under_the_login_name() {
    let host = Host::start(|_| String::new(), |_| String::new());
    let example = example("ssh -t host chatc", host.socket());
    let (options, program) = example.split_once(" host ").unwrap();
    assert_eq!(options, "ssh -t");
    let mut witness = host.witness();
    for keys in ["\x04", "/quit\r", "\x03"] {
        talk(&host, &mut witness, &["-t", "host", program], keys);
    }
}

#[test]
fn another_size_of_the_window_gets_through() {
    let host = Host::start(|_| String::new(), |_| String::new());
    let mut witness = host.witness();
    let mut terminal = Terminal::run(&host.ssh(&["-t", "host", &chatc(host.socket())]));
    terminal.keys("hello");
    terminal.expect_row(&format!("+{}@main> hello", me()));
    terminal.resize(18);
    // The prompt leaves room for what is typed.
    terminal.expect_row("> hello");
    witness.say("a line that is longer\n");
    terminal.expect_row("    is longer");
    terminal.keys("\x15\x04");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn the_exit_code_is_that_of_chatc() {
    let host = Host::start(|_| String::new(), |_| String::new());
    let nowhere = text(&host.folder.path("nowhere.sock")).to_owned();
    let (code, rows) = Terminal::run(&host.ssh(&["-t", "host", &chatc(&nowhere)])).finish();
    assert_eq!(code, Some(69), "{rows:#?}");
    assert!(rows.concat().replace(' ', "").contains("nosuchsocket;ischatdrunning"), "{rows:#?}");
    let left = Process::run(host.ssh(&["host", &chatc(host.socket()), "--prot"])).finish();
    assert_eq!(left.code, Some(2), "{left:?}");
}

#[test]
fn without_a_terminal_it_is_the_pipe() {
    let host = Host::start(|_| String::new(), |_| String::new());
    let mut witness = host.witness();
    let mut process = Process::run(host.ssh(&["host", &chatc(host.socket())]));
    process.say("deploy done\n");
    let left = process.finish();
    assert_eq!((left.code, left.output.as_str(), left.errors.as_str()), (Some(0), "", ""));
    witness.until(&format!("<+{}> deploy done\n", me()));
}

#[test]
fn a_connection_that_is_lost_ends_chatc() {
    let host = Host::start(|_| String::new(), |_| String::new());
    let (me, mut witness) = (me(), host.witness());
    let mut terminal = Terminal::run(&host.ssh(&["-t", "host", &chatc(host.socket())]));
    terminal.expect_row(&format!("+{me}@main>"));
    witness.until(&format!("-!- +{me} joined (2 here)\n"));
    terminal.signal("KILL");
    witness.expect(format!("-!- +{me} left (1 here)\n"));
}

#[test]
fn a_key_for_the_chat_alone_opens_nothing_else() {
    let options = |socket: &str| {
        let example = example("command=\"chatc", socket);
        example.strip_suffix("ssh-ed25519 AAAA...").unwrap().to_owned()
    };
    let host = Host::start(options, |_| String::new());
    let mut witness = host.witness();
    talk(&host, &mut witness, &["-t", "host"], "\x04");
    talk(&host, &mut witness, &["-t", "host", "sh -c 'echo not the chat'"], "/quit\r");
}

#[test]
fn a_user_who_has_nothing_but_the_chat_gets_it_whatever_is_asked_for() {
    let rules = |socket: &str| example("Match User guest", socket).replace("guest", &me());
    let host = Host::start(|_| String::new(), rules);
    let mut witness = host.witness();
    talk(&host, &mut witness, &["-t", "host"], "\x04");
    talk(&host, &mut witness, &["-t", "host", "sh -c 'echo not the chat'"], "/quit\r");
}
