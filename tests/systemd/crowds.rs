//! Crowds that talk while chatd is restarted, upgraded or killed: the oracle knows what each of them must hear.
//!
//! Each is here with as many as take seconds, and with as many as there may be.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal, getrlimit, setrlimit};

use crate::handover::SmallBuffers;
use crate::machine::Machine;
use crate::oracle::{Oracle, Plan, now};
use crate::package::{PORT, Packages, install};
use crate::service::{Change, SERVICE_DROP_IN};
use crate::storer::stored;

/// Any number of restarts.
const NO_LIMIT: &str = "[Unit]\nStartLimitIntervalSec=0\n";
/// systemd keeps one descriptor for at least so many sessions: what it has to do for a restart grows with how many it
/// keeps.
const FEW: u32 = 20;
/// What it may keep besides.
const OTHER_STORED: u32 = 20;

fn plan(machine: &Machine, sessions: u32, rate: u32) -> Plan {
    let mut plan = Plan::new(PORT, sessions, rate);
    plan.unix = Some(machine.path("/run/chatd/chat.sock"));
    plan
}

/// Waits until each of so many has heard something more, and as much more as looks like chance, so that things happen at
/// any moment of the traffic.
fn go_on(oracle: &Oracle, sessions: u32, number: u32) {
    let chance = number.wrapping_mul(2_654_435_761) >> 22;
    oracle.wait_until_heard(oracle.heard() + u64::from(sessions) * u64::from(100 + chance / 8));
}

fn restarts_under(machine: &Machine, plan: Plan, restarts: u32) {
    let _change = Change::new(machine, SERVICE_DROP_IN, NO_LIMIT);
    // So that chatd has something for slow readers that it has not sent.
    let _small = SmallBuffers::new();
    let sessions = plan.sessions;
    let oracle = Oracle::start(plan);
    for number in 0..restarts {
        go_on(&oracle, sessions, number);
        oracle.begin();
        machine.run("systemctl restart chatd");
    }
    go_on(&oracle, sessions, restarts);
    let report = oracle.finish();
    println!("{restarts} restarts: {report}");
    report.expect_everything();
}

pub fn restarts(machine: &Machine, _: &Packages) {
    restarts_under(machine, plan(machine, 100, 1000), 5);
}

pub fn a_thousand_through_fifty_restarts(machine: &Machine, _: &Packages) {
    let mut plan = plan(machine, 1000, 5000);
    plan.beat = Duration::from_millis(40);
    // How long they heard nothing is printed: it depends on the machine.
    restarts_under(machine, plan, 50);
}

/// Among so many kills there is none of a kind.
const NEVER: u32 = u32::MAX;

/// Kills it again and again; after one in `hasty` of them once more, as soon as there is another process.
fn kills_under(machine: &Machine, plan: Plan, kills: u32, hasty: u32) {
    let _change = Change::new(machine, SERVICE_DROP_IN, NO_LIMIT);
    let sessions = plan.sessions;
    let oracle = Oracle::start(plan);
    let mut pid = machine.main_pid();
    for number in 1..=kills {
        go_on(&oracle, sessions, number);
        oracle.begin();
        let from = now();
        oracle.crash(|| machine.kill(Signal::KILL));
        if number.is_multiple_of(hasty) {
            machine.wait_until("there is another process", || ![0, pid].contains(&machine.main_pid()));
            pid = machine.main_pid();
            println!("kill {number}, and once more while it starts");
            oracle.crash_again(from, || machine.kill(Signal::KILL));
        }
        machine.wait_for_another(pid);
        pid = machine.main_pid();
        oracle.wait_until_told();
    }
    go_on(&oracle, sessions, 0);
    let report = oracle.finish();
    println!("{report}");
    report.expect_no_faults();
}

pub fn kills(machine: &Machine, _: &Packages) {
    kills_under(machine, plan(machine, 60, 600), 5, NEVER);
}

pub fn kills_while_it_starts(machine: &Machine, _: &Packages) {
    let mut plan = plan(machine, 600, 300);
    plan.speakers = 10;
    kills_under(machine, plan, 10, 1);
}

pub fn five_hundred_through_two_hundred_kills(machine: &Machine, _: &Packages) {
    let mut plan = plan(machine, 500, 5000);
    plan.beat = Duration::from_millis(40);
    kills_under(machine, plan, 200, NEVER);
}

pub fn upgrade_and_downgrade(machine: &Machine, packages: &Packages) {
    let oracle = Oracle::start(plan(machine, 60, 600));
    for package in [&packages.newer, &packages.current] {
        let pid = machine.main_pid();
        oracle.begin();
        install(machine, package);
        machine.wait_for_another(pid);
    }
    let report = oracle.finish();
    println!("an upgrade and a downgrade: {report}");
    report.expect_everything();
}

/// The word for [`talk`].
pub const CROWD: &str = "crowd";

/// A crowd in a process of its own: FIRST SESSIONS SPEAKERS RATE, and the first and the last number of those who speak
/// in the other. It does what it is told on standard input, a word a line: `talk`, `on` with a number for [`go_on`],
/// `begin`, `finish`, each of which is answered by a line, and `end`.
pub fn talk(words: &[&str]) -> ExitCode {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let numbers: Vec<u32> = words.iter().map(|word| word.parse().unwrap()).collect();
    let mut plan = Plan::new(PORT, numbers[1], numbers[3]);
    (plan.first, plan.speakers, plan.speakers_elsewhere) = (numbers[0], numbers[2], numbers[4]..numbers[5]);
    plan.crowds_after = u32::from(plan.first == 0);
    plan.beat = Duration::from_millis(100);
    let oracle = Oracle::gather(plan);
    println!("gathered");
    for line in std::io::stdin().lines().map(Result::unwrap) {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("talk", _) => oracle.talk(),
            ("on", number) => go_on(&oracle, numbers[1], number.parse().unwrap()),
            ("begin", _) => oracle.begin(),
            _ => break,
        }
        println!("done");
    }
    let report = oracle.finish();
    println!("{report}; orders {:x?}", report.orders);
    report.expect_everything();
    // The other crowd may still listen, and would be told that this one goes.
    std::io::stdin().lines().next();
    ExitCode::SUCCESS
}

/// A crowd in another process.
struct Outside {
    child: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Outside {
    fn start(numbers: [u32; 6]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(CROWD).args(numbers.map(|number| number.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (words, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, words, answers: BufReader::new(answers) }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.words, "{word}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "a crowd has ended after {line:?}");
        line.trim_end().to_owned()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two crowds in two processes, for one may not have as many descriptors.
fn two_crowds_through(machine: &Machine, each: u32, restarts: u32, rate: u32) {
    let speakers = each.div_ceil(50);
    let start = Instant::now();
    let gather = |numbers| {
        let mut crowd = Outside::start(numbers);
        assert_eq!(crowd.answer(), "gathered");
        crowd
    };
    // One after the other: each waits until all have been told who has come.
    let mut crowds = [
        gather([0, each, speakers, rate / 2, each, each + speakers]),
        gather([each, each, speakers, rate / 2, 0, speakers]),
    ];
    println!("{} sessions after {:.1} s", 2 * each, start.elapsed().as_secs_f32());
    let mut tell = |word: &str| {
        crowds.iter_mut().for_each(|crowd| crowd.say(word));
        crowds.iter_mut().map(Outside::answer).collect::<Vec<_>>()
    };
    tell("talk");
    for number in 0..restarts {
        tell(&format!("on {number}"));
        tell("begin");
        let start = Instant::now();
        machine.run("systemctl restart chatd");
        let stored = stored(machine);
        println!("a restart in {:?}; systemd keeps {stored} descriptors", start.elapsed());
        assert!(stored <= 2 * each / FEW + OTHER_STORED, "systemd keeps {stored} descriptors");
    }
    tell(&format!("on {restarts}"));
    let reports = tell("finish");
    reports.iter().for_each(|report| println!("{restarts} restarts: {report}"));
    crowds.iter_mut().for_each(|crowd| crowd.say("end"));
    for crowd in &mut crowds {
        assert!(crowd.child.wait().unwrap().success());
    }
    let orders = |report: &String| report.split("; orders ").nth(1).unwrap().to_owned();
    assert_eq!(orders(&reports[0]), orders(&reports[1]), "both have heard the same order");
}

pub fn two_crowds(machine: &Machine, _: &Packages) {
    two_crowds_through(machine, 300, 1, 200);
}

pub fn nine_thousand_through_five_restarts(machine: &Machine, _: &Packages) {
    two_crowds_through(machine, 4500, 5, 200);
}
