//! Restarts and crashes with people connected: what each of them hears, and what becomes of those who cannot go on.

use std::time::Instant;

use chatd::service::handover::TABLE;
use rustix::net::sockopt;
use rustix::process::Signal;

use crate::caller::{Caller, GREETING};
use crate::machine::Machine;
use crate::oracle::ear::CRASHED;
use crate::package::Packages;
use crate::service::{Change, SERVICE_DROP_IN, SHORT_WATCHDOG, SOCKET_DROP_IN, Tool, join};
use crate::storer::{EVERYTHING, STORE, STORER, Storer, stored};

/// What whoever is shown names or json hears after a crash.
const NOTICE: &str = "-!- chatd crashed and was restarted: some lines may be lost\n";
/// What whoever cannot go on hears.
const CLOSING: &str =
    "-!- closing: chatd was restarted and cannot go on with this connection; connect again\n";

pub fn restart(machine: &Machine) {
    machine.run("systemctl restart chatd");
}

fn crash(machine: &Machine) {
    let pid = machine.main_pid();
    machine.kill(Signal::KILL);
    machine.wait_for_another(pid);
}

/// Somebody who has taken a name.
pub fn named(name: &str) -> Caller {
    let mut caller = join();
    caller.say(format!("/nick {name}\n"));
    caller.until(&format!("-!- you are {name} now; /help says what else there is\n"));
    caller
}

/// Somebody who is shown json.
fn bot() -> Caller {
    let mut bot = join();
    bot.say("/view json\n");
    bot.expect("{\"type\":\"notice\",\"code\":\"viewed\",\"view\":\"json\",\"text\":\"lines are shown in json now\"}\n");
    bot
}

/// What somebody is answered: one line.
pub fn answer(caller: &mut Caller, question: &str) -> String {
    caller.say(format!("{question}\n"));
    caller.until("\n")
}

/// Names, rooms, views and what else is set are what they were, and nothing is heard but `notice` where that is shown.
fn everything_is_as_it_was(machine: &Machine, happen: fn(&Machine), notice: bool) {
    let mut ops = named("eve");
    ops.say("/join ops\n");
    ops.until("-!- you are in ops now (1 here)\n");
    let mut ben = join();
    let (mut ann, mut tom) = (named("ann"), named("tom"));
    tom.say("/time on\n/ignore ann\n");
    tom.until("-!- you do not hear ann any more; /ignore ann undoes it\n");
    let mut bot = bot();
    // From here on nobody is told of who has come.
    ann.until("joined (4 here)\n");
    let who = answer(&mut ann, "/who");
    bot.say("the first\n");
    let guest = ann.until("> the first\n");
    println!("{who}; {guest}");
    happen(machine);
    if notice {
        for caller in [&mut ann, &mut ops] {
            caller.until(NOTICE);
        }
        tom.until(&NOTICE[4..]);
        bot.until(&format!("{{\"type\":\"notice\",\"code\":\"crashed\",\"text\":\"{CRASHED}\"}}\n"));
    }
    let again = answer(&mut ann, "/who");
    assert_eq!(again, who, "the same are here, and nothing was heard before that");
    bot.say("the second\n");
    ann.expect(format!("{guest}> the second\n"));
    ben.expect("the first\nthe second\n");
    ann.say("hello\n");
    ben.expect("hello\n");
    // It may have been told first of those who had left.
    let heard = bot.until("hello\"}\n");
    let last = heard.lines().last().unwrap();
    assert!(last.starts_with("{\"type\":\"message\",\"seq\":") && last.contains("\"from\":\"ann\""));
    ben.say("to all\n");
    let heard = tom.until("to all\n");
    assert!(!heard.contains("hello") && heard.ends_with("> ") && heard.contains(':'), "{heard}");
    assert_eq!(answer(&mut ops, "/who"), "-!- 1 here: eve");
    assert_eq!(answer(&mut ben, "/nick Ann"), "-!- Ann is taken, or looks like a name that is; Ann2 is free");
}

pub fn all_is_as_it_was_after_a_restart(machine: &Machine, _: &Packages) {
    everything_is_as_it_was(machine, restart, false);
}

pub fn all_is_as_it_was_after_a_crash(machine: &Machine, _: &Packages) {
    everything_is_as_it_was(machine, crash, true);
}

/// Half a line that chatd has read: it comes after a whole one that was heard.
fn half_a_line() -> (Caller, Caller) {
    let (mut ann, mut ben) = (join(), join());
    ben.say("whole\nfirst ha");
    ann.expect("whole\n");
    (ann, ben)
}

pub fn half_a_line_is_finished_after_a_restart(machine: &Machine, _: &Packages) {
    for second in ["lf\n", "lf\r\n"] {
        let (mut ann, mut ben) = half_a_line();
        restart(machine);
        ben.say(second);
        ann.expect("first half\n");
        restart(machine);
        // Nobody has said anything.
        ben.say("second\n");
        ann.expect("second\n");
    }
}

pub fn half_a_line_is_not_torn_by_a_crash(machine: &Machine, _: &Packages) {
    let (mut ann, mut ben) = half_a_line();
    crash(machine);
    ben.say("lf\nsecond\n");
    let heard = ann.until("second\n");
    println!("before the second line: {heard:?}");
    assert!(["", "first half\n"].contains(&heard.as_str()), "it is whole, or not there: {heard:?}");
}

/// Less than a room keeps, and more than the kernel does with these buffers.
const BACKLOG: usize = 60_000;
const BUFFERS: &str = "4096 16384 65536";

/// The kernel keeps little of what is sent, until this is dropped.
pub struct SmallBuffers(String);

impl SmallBuffers {
    /// That of the network which this thread is in.
    const PATH: &str = "/proc/sys/net/ipv4/tcp_wmem";

    pub fn new() -> Self {
        let before = std::fs::read_to_string(Self::PATH).unwrap();
        std::fs::write(Self::PATH, BUFFERS).unwrap();
        Self(before)
    }
}

impl Drop for SmallBuffers {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::PATH, &self.0);
    }
}

/// A reader that reads late, and what it has still to read: numbered lines.
fn backlog() -> (Caller, Caller, String) {
    let (reader, mut sender) = (join(), join());
    sockopt::set_socket_recv_buffer_size(reader.stream(), 16 * 1024).unwrap();
    let text: String = (0..BACKLOG).map(|number| format!("{number:059}\n")).collect();
    sender.say(&text);
    // It is in the room when the next thing is answered.
    assert!(answer(&mut sender, "/who").contains("2 here"));
    (reader, sender, text)
}

pub fn a_backlog_is_read_on_after_a_restart(machine: &Machine, _: &Packages) {
    let _small = SmallBuffers::new();
    let (mut reader, mut sender, text) = backlog();
    let first = reader.take(100_001);
    restart(machine);
    sender.say("and more\n");
    let second = reader.take(text.len() - first.len());
    assert!([first, second].concat() == text.as_bytes(), "every byte is there, once");
    reader.expect("and more\n");
}

pub fn a_backlog_is_not_torn_by_a_crash(machine: &Machine, _: &Packages) {
    let _small = SmallBuffers::new();
    let (mut reader, mut sender, text) = backlog();
    reader.take(60 * 1000);
    crash(machine);
    sender.say("and more\n");
    let heard = reader.until("and more\n");
    println!("{} of {} bytes are heard", heard.len(), text.len() - 60 * 1000);
    // What the dead process was in the middle of sending has got an end, and may be shorter.
    let (mut last, mut shorter) = (999, Vec::new());
    for line in heard.lines() {
        match line.parse::<usize>() {
            Ok(number) if line.len() == 59 && number > last => last = number,
            _ => shorter.push(line),
        }
    }
    println!("the last but for the end: {last}; not whole: {shorter:?}");
    assert!(shorter.len() <= 1, "all but one are whole, and in order");
    assert!(shorter.iter().all(|line| text.contains(line)), "it is the beginning of a line");
}

/// Keeps the next process from starting until the file is there.
const HELD_BACK: &str =
    "[Service]\nExecStartPre=+/bin/sh -c 'until test -e /run/go-on; do sleep 0.02; done'\n";

/// Does `end` to chatd, and `meanwhile` while none runs.
pub fn while_none_runs(machine: &Machine, end: impl FnOnce(), meanwhile: impl FnOnce()) {
    machine.run("touch /run/go-on");
    let change = Change::new(machine, SERVICE_DROP_IN, HELD_BACK);
    let pid = machine.main_pid();
    machine.run("rm /run/go-on");
    end();
    machine.wait_until("none runs", || {
        machine.main_pid() == 0 && machine.property("chatd", "SubState") == "start-pre"
    });
    meanwhile();
    machine.run("touch /run/go-on");
    machine.wait_for_another(pid);
    // It restarts once more, with everybody who is still there.
    drop(change);
    machine.run("rm /run/go-on");
}

fn closed_while_none_runs(machine: &Machine, end: impl FnOnce()) {
    let (mut ann, mut eve, mut tom) = (named("ann"), named("eve"), named("tom"));
    ann.until("tom joined (3 here)\n");
    while_none_runs(machine, end, || {
        eve.say("my last words\n");
        drop(eve);
        tom.say("not yet said");
        drop(tom);
    });
    // The two may come in any order.
    let heard = ann.until("left (1 here)\n");
    println!("{heard}");
    assert!(heard.contains("<eve> my last words\n") && heard.contains("<tom> not yet said\n"), "{heard:?}");
    assert_eq!(answer(&mut ann, "/who"), "-!- 1 here: ann");
    let status = || machine.property("chatd", "StatusText");
    machine.wait_until("the status has one", || status().starts_with("1 session,"));
}

pub fn who_closes_while_none_runs_is_removed(machine: &Machine, _: &Packages) {
    closed_while_none_runs(machine, || drop(machine.run("systemctl restart --no-block chatd")));
}

pub fn who_closes_after_a_crash_is_removed(machine: &Machine, _: &Packages) {
    closed_while_none_runs(machine, || machine.kill(Signal::KILL));
}

pub fn an_abort_and_the_watchdog_are_crashes(machine: &Machine, _: &Packages) {
    let _change = Change::new(machine, SERVICE_DROP_IN, SHORT_WATCHDOG);
    restart(machine);
    for signal in [Signal::ABORT, Signal::STOP] {
        let (mut ann, mut ben) = (named("ann"), join());
        let (pid, start) = (machine.main_pid(), Instant::now());
        if signal == Signal::STOP {
            machine.run("systemctl kill -s STOP chatd");
        } else {
            machine.kill(signal);
        }
        machine.wait_for_another(pid);
        println!("{signal:?}: another after {:?}", start.elapsed());
        ann.until(NOTICE);
        ann.say("still here\n");
        ben.expect("still here\n");
    }
}

/// As after `systemctl edit chatd.socket`.
pub fn restarting_the_socket_unit_disconnects_nobody(machine: &Machine, _: &Packages) {
    let _change = Change::new(machine, SOCKET_DROP_IN, "[Unit]\nStartLimitIntervalSec=0\n");
    let (mut ann, mut ben) = (join(), join());
    for number in 0..30 {
        machine.run("systemctl restart chatd.socket chatd");
        ben.say(format!("line {number}\n"));
        ann.expect(format!("line {number}\n"));
    }
}

pub fn stop_closes_everybody(machine: &Machine, _: &Packages) {
    let (mut ann, mut ben) = (named("ann"), join());
    ben.say("the last\n");
    machine.run("systemctl stop chatd 2>&1");
    let heard = String::from_utf8(ann.rest()).unwrap();
    assert!(heard.ends_with("> the last\n-!- closing: chatd is stopping\n"), "{heard:?}");
    ben.expect_end();
    assert_eq!(stored(machine), 0, "nothing is kept");
    machine.run("systemctl start chatd");
    let mut eve = named("ann");
    assert_eq!(answer(&mut eve, "/who"), "-!- 1 here: ann");
}

/// Without a place for what is handed over everybody is served to the end, and the log says why.
pub fn without_a_store_a_restart_drains(machine: &Machine, _: &Packages) {
    for most in [0, 1] {
        let drop_in = format!("[Service]\nFileDescriptorStoreMax={most}\n");
        let change = Change::new(machine, SERVICE_DROP_IN, &drop_in);
        machine.run("systemctl stop chatd 2>&1");
        machine.run("systemctl start chatd");
        let mark = machine.mark();
        let (mut ann, mut ben) = (named("ann"), join());
        let (pid, restarts) = (machine.main_pid(), machine.property("chatd", "NRestarts"));
        ben.say("the last\nhalf");
        restart(machine);
        let heard = String::from_utf8(ann.rest()).unwrap();
        assert!(heard.contains("> the last\n") && heard.contains("> half\n"), "{heard:?}");
        ben.expect_end();
        machine.wait_for_warning(&mark, "FileDescriptorStoreMax=");
        machine.wait_for_another(pid);
        assert_eq!(machine.property("chatd", "NRestarts"), restarts, "it does not loop");
        join();
        drop(change);
    }
}

/// What is put into the store between two processes under the name of what chatd keeps there, whether people go on
/// then, and what is said of it.
const DAMAGES: [(&str, &str, bool, &str); 6] = [
    ("state", "memory", true, "state"),
    ("state", "device", true, "state"),
    (TABLE, "memory", true, "\"table\""),
    ("mystery", "socket", true, "\"mystery\""),
    (EVERYTHING, "nothing", false, "cannot identify"),
    ("parcel-999999-out", "memory", true, "parcel-999999-out"),
];

/// Whatever is in the store, the next process starts, says what was wrong, and everybody goes on or is told.
fn whatever_is_in_the_store(machine: &Machine, end: fn(&Machine), needs_table: bool) {
    let _storer = Storer::install(machine);
    for (name, kind, can_go_on, said) in DAMAGES {
        // After a crash the table is all that is known.
        let can_go_on = can_go_on && !(needs_table && name == TABLE);
        let mark = machine.mark();
        let (mut ann, mut ben) = (named("ann"), join());
        let drop_in = format!("[Service]\nNotifyAccess=all\nExecStartPre=+{STORER} {STORE} {name} {kind}\n");
        let change = Change::new(machine, SERVICE_DROP_IN, &drop_in);
        end(machine);
        ben.try_say(b"still here\n");
        let mut eve = join();
        assert_eq!(answer(&mut eve, "/nick late"), "-!- you are late now; /help says what else there is");
        drop(change);
        ann.try_say(b"/quit\n");
        let heard = String::from_utf8(ann.rest()).unwrap();
        println!("{name}, {kind}: {heard:?}");
        assert_eq!(heard.contains("> still here\n"), can_go_on, "{name}, {kind}");
        assert_eq!(heard.ends_with(CLOSING), !can_go_on, "{name}, {kind}");
        machine.wait_for_warning(&mark, said);
    }
}

pub fn whatever_is_in_the_store_at_a_restart(machine: &Machine, _: &Packages) {
    whatever_is_in_the_store(machine, restart, false);
}

pub fn whatever_is_in_the_store_after_a_crash(machine: &Machine, _: &Packages) {
    whatever_is_in_the_store(machine, crash, true);
}

/// Somebody over the unix socket is who the kernel says it is, and stays that.
pub fn who_the_kernel_knows_stays_known(machine: &Machine, _: &Packages) {
    // Among the processes of the machine: the kernel tells nobody who is outside of them.
    let leader = machine.leader().to_string();
    let socket = machine.path("/run/chatd/chat.sock");
    let mut root = Tool::start(&["nsenter", "-t", &leader, "-p", "--", "nc", "-U", socket.to_str().unwrap()]);
    root.until(GREETING);
    let mut ann = named("ann");
    root.say("one\n");
    ann.until("<+root> one\n");
    restart(machine);
    root.say("two\n");
    ann.expect("<+root> two\n");
    crash(machine);
    root.say("three\n");
    ann.until(NOTICE);
    ann.expect("<+root> three\n");
    ann.say("four\n");
    root.until("four\n");
}
