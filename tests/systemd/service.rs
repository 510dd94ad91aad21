//! What an administrator does with the service, and what may happen to it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::caller::{Caller, GREETING};
use crate::machine::{Machine, PATIENCE};
use crate::package::{PORT, Packages, connecting_during};
use crate::storer::{STORE, STORER, Storer, stored};

/// What chatd reads.
pub const FILE: &str = "/etc/chatd/chatd.toml";

/// Has chatd read it, whatever is in it.
const HUP: &str = "systemctl kill -s HUP --kill-whom=main chatd";

/// Somebody who has been greeted.
pub fn join() -> Caller {
    Caller::join(PORT)
}

/// A change of a unit or of the configuration, taken back when it is dropped.
pub struct Change<'a> {
    machine: &'a Machine,
    path: &'static str,
    before: Option<Vec<u8>>,
}

impl<'a> Change<'a> {
    pub fn new(machine: &'a Machine, path: &'static str, text: &str) -> Self {
        let before = std::fs::read(machine.path(path)).ok();
        machine.write(path, text);
        machine.try_run("systemctl daemon-reload");
        Self { machine, path, before }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let path = self.machine.path(self.path);
        let _ = match &self.before {
            Some(text) => std::fs::write(path, text),
            None => std::fs::remove_file(path),
        };
        let units = if self.path == SOCKET_DROP_IN { "chatd.socket chatd" } else { "chatd" };
        self.machine
            .try_run(&format!("systemctl daemon-reload; systemctl reset-failed; systemctl restart {units}"));
    }
}

pub const SERVICE_DROP_IN: &str = "/etc/systemd/system/chatd.service.d/test.conf";
pub const SOCKET_DROP_IN: &str = "/etc/systemd/system/chatd.socket.d/test.conf";

/// A program that talks to chatd, as people use it.
pub struct Tool(Child);

impl Tool {
    pub fn start(words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub fn say(&mut self, text: &str) {
        self.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What it prints up to and with `mark`.
    pub fn until(&mut self, mark: &str) -> String {
        let mut heard = String::new();
        let mut byte = [0];
        while !heard.ends_with(mark) && self.0.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 {
            heard.push(byte[0].into());
        }
        assert!(heard.ends_with(mark), "no {mark:?} in {heard:?}");
        heard
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn nc_and_telnet_talk_through_it(machine: &Machine, _: &Packages) {
    let mut nc = Tool::start(&["nc", "127.0.0.1", "5001"]);
    nc.until(GREETING);
    let mut telnet = Tool::start(&["telnet", "127.0.0.1", "5001"]);
    telnet.until("Hello, connection to the server ok!");
    nc.say("hello from nc\n");
    print!("telnet: {}", telnet.until("hello from nc\n"));
    telnet.say("hello from telnet\n");
    print!("nc: {}", nc.until("hello from telnet\n"));
    let mut unix = UnixStream::connect(machine.path("/run/chatd/chat.sock")).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = vec![0; GREETING.len()];
    unix.read_exact(&mut greeting).unwrap();
    unix.write_all(b"hello from the socket file\n").unwrap();
    print!("nc: {}", nc.until("hello from the socket file\n"));
}

pub fn the_status_has_live_counts(machine: &Machine, _: &Packages) {
    let (mut ann, mut ben) = (join(), join());
    ann.say("counted\n");
    ben.expect("counted\n");
    let status = || machine.property("chatd", "StatusText");
    machine.wait_until("there are two", || status().starts_with("2 sessions, 1 room, "));
    drop((ann, ben));
    machine.wait_until("they are gone", || status().starts_with("0 sessions, 1 room, "));
    machine.run("systemctl status --no-pager -n 0 chatd");
}

pub fn a_reload_takes_a_good_file(machine: &Machine, _: &Packages) {
    let mut ann = join();
    let pid = machine.main_pid();
    let _change = Change::new(machine, FILE, "greeting = \"good morning\"\n");
    let mark = machine.mark();
    machine.run("systemctl reload chatd");
    let journal = || machine.journal(&mark, "-u chatd -o cat");
    machine.wait_until("it is in force", || journal().contains("the configuration was read again"));
    Caller::connect(PORT).expect("good morning\n");
    machine.write(FILE, "# a mistake in line 2\nmax_line = \"a lot\"\n");
    let mark = machine.mark();
    machine.fail("systemctl reload chatd");
    let journal = || machine.journal(&mark, "-u chatd -o cat");
    machine.wait_until("the journal says why", || journal().contains("/etc/chatd/chatd.toml:2"));
    assert!(!machine.property("chatd", "StatusText").contains("refused"), "it was not even told");
    machine.run(HUP);
    let status = || machine.property("chatd", "StatusText");
    machine.wait_until("it is refused", || status().contains("reload refused"));
    println!("{}", status());
    assert!(status().contains("/etc/chatd/chatd.toml:2"));
    let mut ben = Caller::connect(PORT);
    ben.expect("good morning\n");
    ann.say("still here\n");
    ben.expect("still here\n");
    assert_eq!(machine.main_pid(), pid);
}

pub fn each_line_of_the_journal_has_its_priority(machine: &Machine, _: &Packages) {
    let mark = machine.mark();
    let change = Change::new(machine, FILE, "max_rooms = 2\n");
    machine.run("systemctl reload chatd");
    let journal = || machine.journal(&mark, "-u chatd -o cat");
    machine.wait_until("it is in force", || journal().contains("the configuration was read again"));
    let status = || machine.property("chatd", "StatusText");
    machine.write(FILE, "max_rooms = \"many\"\n");
    machine.run(HUP);
    machine.wait_until("it is refused", || status().contains("reload refused"));
    drop(change);
    let lines = |priority: &str| {
        machine.journal(&mark, &format!("-u chatd -t chatd -o cat -p {priority}..{priority}"))
    };
    machine.wait_until("it is in the journal", || lines("info").contains("try: nc"));
    for (priority, text) in [
        ("err", "/etc/chatd/chatd.toml:1: "),
        ("warning", "\"max_rooms\" cannot change"),
        ("info", "listening on "),
    ] {
        println!("{priority}: {}", lines(priority).trim());
        assert!(lines(priority).lines().all(|line| line.contains(text)) || priority == "info");
        assert!(lines(priority).contains(text), "{priority}: {text}");
    }
    assert!(!lines("info").contains('<'), "the priorities are taken out");
}

pub fn syslog_survives_restarts(machine: &Machine, _: &Packages) {
    let mark = machine.mark();
    let _change = Change::new(machine, FILE, "log = \"syslog\"\n");
    machine.run("systemctl restart chatd");
    let in_journal =
        || machine.journal(&mark, "-t chatd -o json").matches("\"_TRANSPORT\":\"syslog\"").count();
    let in_file = || std::fs::read_to_string(machine.path("/var/log/syslog")).unwrap_or_default();
    machine.wait_until("it is in the journal", || in_journal() > 0);
    machine.wait_until("it is in the file of rsyslog", || in_file().contains("chatd["));
    let mut ann = join();
    for (service, number) in [("rsyslog", 1), ("systemd-journald", 2)] {
        machine.run(&format!("systemctl restart {service}"));
        let before = (in_journal(), in_file().matches("status: ").count());
        let start = Instant::now();
        machine.run("systemctl kill -s USR1 --kill-whom=main chatd");
        machine.wait_until("it is in the journal again", || in_journal() > before.0);
        machine.wait_until("it is in the file again", || in_file().matches("status: ").count() > before.1);
        println!("after {:?}", start.elapsed());
        let mut ben = join();
        ann.say(format!("line {number}\n"));
        ben.expect(format!("line {number}\n"));
    }
    machine.run("grep 'chatd.*status: ' /var/log/syslog");
}

pub fn it_has_no_network_and_little_else(machine: &Machine, _: &Packages) {
    let security = machine.run("systemd-analyze security --no-pager chatd.service | grep -v ✓");
    let exposure = security.split("chatd.service: ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(exposure.parse::<f32>().unwrap() <= 0.4, "{exposure}");
    assert_eq!(machine.run("systemd-analyze verify chatd.service chatd.socket 2>&1"), "");
    let pid = machine.main_pid();
    let network = |pid: u32| machine.run(&format!("readlink /proc/{pid}/ns/net"));
    assert_ne!(network(pid), network(1), "it has a network of its own");
    let status =
        machine.run(&format!("grep -E '^(Uid|Groups|CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status"));
    assert!(status.contains("CapEff:\t0000000000000000") && status.contains("NoNewPrivs:\t1"));
    assert!(!status.contains("Uid:\t0\t"));
}

/// A chatd in the same confines as the service, to which no socket is passed, so that it has to open one.
const OPENS_A_SOCKET: &str =
    "[Service]\nExecStartPre=-timeout 30 chatd --config /dev/null --log stderr --listen";

pub fn it_can_open_no_socket_of_ip(machine: &Machine, _: &Packages) {
    assert_eq!(machine.property("chatd", "RestrictAddressFamilies"), "AF_UNIX");
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mark = machine.mark();
        let _change = Change::new(machine, SERVICE_DROP_IN, &format!("{OPENS_A_SOCKET} {address}\n"));
        machine.run("systemctl restart chatd");
        let refusal = format!("cannot listen on {address}: address family not supported");
        let said = || machine.journal(&mark, "-u chatd -o cat").contains(&refusal);
        machine.wait_until("it is refused a socket", said);
        println!("{refusal}");
        join();
    }
}

pub fn connecting_during_a_restart(machine: &Machine, _: &Packages) {
    let pid = machine.main_pid();
    let socket = || machine.property("chatd.socket", "ActiveEnterTimestampMonotonic");
    let since = socket();
    connecting_during(10, || {
        for _ in 0..3 {
            machine.run("systemctl restart chatd");
        }
    });
    assert_ne!(machine.main_pid(), pid);
    assert_eq!(socket(), since, "its socket has stayed open");
}

pub fn killed_it_comes_back(machine: &Machine, _: &Packages) {
    let (pid, restarts) = (machine.main_pid(), machine.property("chatd", "NRestarts"));
    machine.run("systemctl kill -s KILL chatd");
    machine.wait_until("it is dead", || machine.main_pid() != pid);
    join();
    assert_ne!(machine.property("chatd", "NRestarts"), restarts);
    machine.run("systemctl reset-failed chatd");
}

pub const SHORT_WATCHDOG: &str = "[Service]\nWatchdogSec=2s\n";
/// Long enough for a machine that stands still for a while.
const FED_WATCHDOG: &str = "[Service]\nWatchdogSec=6s\n";

/// The watchdog has seen it, systemd kills it and starts another.
fn expect_watchdog(machine: &Machine, pid: u32, mark: &str, seen: impl FnOnce()) {
    let start = Instant::now();
    let timeout = || machine.journal(mark, "-u chatd -o cat -g 'Watchdog timeout'");
    machine.wait_until("the watchdog has seen it", || !timeout().is_empty() || machine.main_pid() != pid);
    print!("{}", timeout());
    seen();
    machine.wait_until("it is another process", || ![0, pid].contains(&machine.main_pid()));
    println!("after {:?}", start.elapsed());
    join();
}

pub fn the_watchdog_sees_a_stop(machine: &Machine, _: &Packages) {
    let fed = Change::new(machine, SERVICE_DROP_IN, FED_WATCHDOG);
    machine.run("systemctl restart chatd");
    let pid = machine.main_pid();
    // When it was fed last, in microseconds.
    let fed_at = || machine.property("chatd", "WatchdogTimestampMonotonic").parse::<u64>().unwrap();
    let start = fed_at();
    machine.wait_until("it was fed for longer than its time", || fed_at() > start + 7_000_000);
    assert_eq!(machine.main_pid(), pid, "it feeds the watchdog");
    drop(fed);
    let _change = Change::new(machine, SERVICE_DROP_IN, SHORT_WATCHDOG);
    machine.run("systemctl restart chatd");
    let (pid, mark) = (machine.main_pid(), machine.mark());
    machine.run("systemctl kill -s STOP chatd");
    expect_watchdog(machine, pid, &mark, || {});
}

/// Whatever it does next takes a minute.
const HANG: &str = "inject=epoll_wait,epoll_pwait,recvfrom,timerfd_settime:delay_enter=60000000";

pub fn the_watchdog_sees_the_broker_hang(machine: &Machine, _: &Packages) {
    let _change = Change::new(machine, SERVICE_DROP_IN, SHORT_WATCHDOG);
    machine.run("systemctl restart chatd");
    let (pid, mark) = (machine.main_pid(), machine.mark());
    let outer = machine.outer_pid();
    let tasks = std::fs::read_dir(format!("/proc/{outer}/task")).unwrap();
    let tasks = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let is_broker = |task: &String| {
        std::fs::read_to_string(format!("/proc/{outer}/task/{task}/comm")).unwrap() == "chatd/task\n"
    };
    let task = tasks.into_iter().find(is_broker).unwrap();
    // The one thread that runs the broker gets no further; the others go on.
    println!("# strace -p {task} -e {HANG}");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-p", &task, "-e", HANG]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut strace = strace.spawn().unwrap();
    expect_watchdog(machine, pid, &mark, || {
        // It would hold what it has stopped even when that is killed.
        strace.kill().unwrap();
        strace.wait().unwrap();
    });
}

pub fn socket_activation(machine: &Machine, _: &Packages) {
    machine.run("systemctl stop chatd 2>&1");
    machine.wait_until("its socket is closed", || !machine.is_active("chatd.socket"));
    assert!(!machine.is_active("chatd") && !machine.is_active("chatd.socket"), "stop stops both");
    std::net::TcpStream::connect(PORT).unwrap_err();
    assert!(!machine.exists("/run/chatd/chat.sock"));
    machine.run("systemctl start chatd.socket");
    assert!(!machine.is_active("chatd") && machine.is_active("chatd.socket"));
    join();
    machine.wait_until("the connection has started it", || machine.is_active("chatd"));
    machine.run("systemctl stop chatd 2>&1");
    machine.run("systemctl start chatd");
    assert!(machine.is_active("chatd.socket"), "starting the service is enough");
    join();
}

pub fn an_address_in_the_file_is_not_used(machine: &Machine, _: &Packages) {
    let mark = machine.mark();
    let _change = Change::new(machine, FILE, "listen = [\"127.0.0.1:5002\"]\n");
    machine.run("systemctl restart chatd");
    join();
    std::net::TcpStream::connect("127.0.0.1:5002").unwrap_err();
    let said = machine.wait_for_warning(&mark, "\"listen\" is not used");
    assert!(said.contains("chatd.toml:1") && said.contains("systemctl edit chatd.socket"));
}

pub fn the_address_is_changed_in_the_socket_unit(machine: &Machine, _: &Packages) {
    let text = "[Socket]\nListenStream=\nListenStream=[::1]:5003\nListenStream=@chatd\n";
    let change = Change::new(machine, SOCKET_DROP_IN, text);
    machine.run("systemctl stop chatd 2>&1");
    let mark = machine.mark();
    machine.run("systemctl start chatd");
    let _ann = Caller::join("[::1]:5003".parse().unwrap());
    std::net::TcpStream::connect(PORT).unwrap_err();
    for address in ["[::1]:5003", "@chatd"] {
        let is_told =
            || machine.journal(&mark, "-u chatd -o cat").contains(&format!("listening on {address}"));
        machine.wait_until("the journal says where it listens", is_told);
    }
    drop(change);
    join();
}

pub fn a_broken_file_does_not_loop(machine: &Machine, _: &Packages) {
    let change = Change::new(machine, FILE, "# what somebody mistyped\nmax_lines = 5\n");
    machine.fail("systemctl restart chatd");
    assert_eq!(machine.property("chatd", "ExecMainStatus"), "78");
    let status = || machine.try_run("systemctl status --no-pager chatd");
    let why = "chatd.toml:2: unknown key \"max_lines\"; did you mean \"max_line\"?";
    machine.wait_until("the status says why", || status().contains(why));
    machine.show("systemctl status --no-pager chatd");
    // One that is to be started again is `activating`, from when it ends until it starts.
    assert_eq!(machine.property("chatd", "ActiveState"), "failed", "it does not loop");
    assert_eq!(machine.property("chatd", "Result"), "exit-code", "nor has it looped until it was given up");
    for _ in 0..3 {
        let mut caller = Caller::connect(PORT);
        caller.expect("-!- closing: chatd cannot start: its configuration has a mistake\n");
        caller.expect_end();
    }
    assert!(machine.is_active("chatd.socket"), "it does not loop for those who connect, either");
    drop(change);
    join();
}

pub fn an_unknown_descriptor_in_the_store(machine: &Machine, _: &Packages) {
    let _storer = Storer::install(machine);
    let drop_in = format!("[Service]\nNotifyAccess=all\nExecStartPost={STORER} {STORE} mystery device\n");
    let change = Change::new(machine, SERVICE_DROP_IN, &drop_in);
    machine.run("systemctl restart chatd");
    let before = stored(machine);
    let mark = machine.mark();
    drop(change);
    join();
    let said = machine.wait_for_warning(&mark, "\"mystery\"");
    assert!(said.contains("it is not a socket"));
    machine.wait_until("systemd has forgotten it", || stored(machine) < before);
}
