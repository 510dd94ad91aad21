//! The oracle: a crowd that talks through a server while that is restarted or killed, and knows what each must hear.
//!
//! Those who speak number their lines ([`text`]); whoever hears them checks every byte ([`ear`]): whole lines only, no
//! gap, no repeat, the order of each sender. Those who only listen must agree on one order of the room ([`order`]).
//! It measures what people notice: how long a line takes, how long they hear nothing. Lines may be lost right around
//! a crash that it was told of, and nowhere else ([`tally`]). tests/oracle.rs shows that it sees what it should.

mod crowd;
pub mod ear;
mod gathering;
mod mouth;
pub mod order;
mod plan;
pub mod tally;
pub mod text;

use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Instant;

use crowd::{Crowd, Request};
pub use plan::Plan;
pub use tally::Crash;
pub use tally::Report;
pub use text::now;

use super::caller::{Caller, GREETING, PATIENCE};
use super::wire::Wire;

/// A crowd in a thread of its own.
pub struct Oracle {
    requests: Sender<Request>,
    thread: JoinHandle<()>,
}

impl Oracle {
    /// Connects everybody, and has them talk.
    pub fn start(plan: Plan) -> Self {
        let oracle = Self::gather(plan);
        oracle.talk();
        oracle
    }

    /// Connects everybody; nobody says anything.
    pub fn gather(plan: Plan) -> Self {
        let (requests, asked) = channel();
        let thread = spawn(move || Crowd::gather(plan).run(&asked));
        let oracle = Self { requests, thread };
        oracle.ask(Request::ToBeTold);
        oracle
    }

    pub fn talk(&self) {
        self.ask(Request::Talk);
    }

    /// To be told before each restart and each crash: the silences of each are counted.
    pub fn begin(&self) {
        self.ask(Request::Restart);
    }

    /// Ends the server by `kill`, which returns when it is dead.
    pub fn crash(&self, kill: impl FnOnce()) {
        self.crash_again(now(), kill);
    }

    /// Ends the next one before it is ready: what is lost is of the same outage, which began at `from`.
    pub fn crash_again(&self, from: u64, kill: impl FnOnce()) {
        kill();
        self.tell(Crash { from, to: now(), ..Crash::default() });
    }

    /// Tells it of a crash or a failover.
    pub fn tell(&self, crash: Crash) {
        self.ask(|answer| Request::Crash(crash, answer));
    }

    /// How many lines all of them together have heard.
    pub fn heard(&self) -> u64 {
        self.ask(Request::Heard)
    }

    /// How many faults were found so far; what is lost comes to that in the end.
    pub fn faults(&self) -> u64 {
        self.ask(Request::Faults)
    }

    /// How often they have heard the first of the news of the plan.
    pub fn news(&self) -> u64 {
        self.ask(Request::News)
    }

    /// Waits until somebody has heard that again, after so many.
    #[track_caller]
    pub fn wait_for_news(&self, before: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.news() == before {
            assert!(Instant::now() < deadline, "they are told nothing");
        }
    }

    /// Waits until all of them together have heard so many lines; fails if they hear nothing for too long.
    #[track_caller]
    pub fn wait_until_heard(&self, lines: u64) {
        let (mut heard, mut deadline) = (0, Instant::now() + PATIENCE);
        while heard < lines {
            let now = self.heard();
            if now > heard {
                (heard, deadline) = (now, Instant::now() + PATIENCE);
            }
            assert!(Instant::now() < deadline, "they hear nothing after {heard} lines");
        }
    }

    /// Waits until whoever must be told of the last crash has been.
    #[track_caller]
    pub fn wait_until_told(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask(Request::ToBeTold) {
                (_, gone @ 1..) => panic!("{gone} sessions were disconnected by the crash"),
                (0, _) => return,
                (left, _) => assert!(Instant::now() < deadline, "{left} sessions were not told of the crash"),
            }
        }
    }

    /// Lets everybody come to an end, and hears what they have to say.
    #[track_caller]
    pub fn finish(self) -> Report {
        let report = self.ask(Request::Finish);
        self.thread.join().unwrap();
        report.unwrap_or_else(|missing| panic!("{missing}"))
    }

    #[track_caller]
    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> T {
        let (answer, answered) = channel();
        self.requests.send(request(answer)).expect("the crowd is there until it has finished");
        answered.recv().expect("the crowd answers")
    }
}
