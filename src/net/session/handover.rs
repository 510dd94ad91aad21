//! A session in two processes: it stops in one, wherever it stands, and goes on in the next as if nothing had been.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use serde::{Deserialize, Serialize};

use super::asking::Unsaid;
use super::pace::Pace;
use super::{Phase, Session};
use crate::chat::{Input, Member, SessionId};
use crate::net::Net;
use crate::net::marks::{READING, WRITING};
use crate::net::stream::Stream;
use crate::protocol::{Framer, Opening};
use crate::rt;

/// All that has to be known of a session to go on with it elsewhere, besides its connection and its membership.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptSession {
    /// Its number.
    pub id: SessionId,
    /// The room has not heard of it yet: it is one that has just connected.
    pub is_new: bool,
    phase: Phase,
    /// The connection has failed, but there may still be something that it has said.
    #[serde(default)]
    is_broken: bool,
    /// Unfinished input.
    framer: Framer,
    /// Whether the first bytes have shown what the other side speaks.
    opening: Opening,
    /// Clean lines that have not been passed on yet, since a command stands before or between them.
    #[serde(with = "serde_bytes")]
    unsaid: Vec<u8>,
    /// It has spoken telnet, and the room does not know yet.
    #[serde(default)]
    is_new_to_telnet: bool,
    /// How long it takes until it may say a whole burst again.
    used: Duration,
    /// How long it has said nothing.
    idle: Duration,
}

impl KeptSession {
    /// One of which is known what `marks` say.
    pub fn marked(id: SessionId, marks: u64) -> Self {
        // Of a line of which half is lost the rest is not said either.
        let framer = Framer { dropping: marks & READING != 0, ..Framer::default() };
        let opening = Opening { decided: true, ..Opening::default() };
        let (used, idle) = (Duration::ZERO, Duration::ZERO);
        Self {
            id,
            is_new: false,
            phase: Phase::Open,
            is_broken: false,
            framer,
            opening,
            unsaid: Vec::new(),
            is_new_to_telnet: false,
            used,
            idle,
        }
    }

    /// How its connection is marked; `is_torn` says whether half a line has been written to it.
    pub fn marks(&self, is_torn: bool) -> u64 {
        (if self.framer.is_begun() { READING } else { 0 }) | (if is_torn { WRITING } else { 0 })
    }
}

impl Session {
    /// A session that goes on where it has stopped.
    pub fn resume(
        net: Arc<Net>,
        stream: Arc<Stream>,
        member: Arc<Member>,
        inputs_tx: mpsc::Sender<Input>,
        kept: KeptSession,
    ) -> Self {
        let from = stream.caller();
        let now = rt::now();
        let pace = Pace::used(kept.used, now);
        let broken = kept.is_broken.then(|| io::ErrorKind::BrokenPipe.into());
        let mut session = Self::new(net, stream, from, member, inputs_tx);
        if kept.is_broken {
            session.reader.release();
        }
        let is_marked = kept.framer.is_begun();
        let ending = matches!(kept.phase, Phase::Finishing | Phase::Lingering).then_some(now);
        Self {
            framer: kept.framer,
            opening: kept.opening,
            unsaid: Unsaid::new(kept.unsaid, session.reader.traffic()),
            pace: pace.map(Box::new),
            phase: kept.phase,
            broken,
            ending,
            last_read: now.checked_sub(kept.idle).unwrap_or(now),
            is_marked,
            is_new_to_telnet: kept.is_new_to_telnet,
            ..session
        }
    }

    /// Stops here.
    pub(super) fn freeze(mut self, is_new: bool) {
        let now = rt::now();
        self.net.alarms.clear(&mut self.alarm, self.reader.id());
        let kept = KeptSession {
            id: self.reader.id(),
            is_new,
            phase: self.phase,
            is_broken: self.broken.is_some(),
            framer: self.framer,
            opening: self.opening,
            unsaid: self.unsaid.as_deref().map_or_else(Vec::new, |unsaid| unsaid.rest().to_vec()),
            is_new_to_telnet: self.is_new_to_telnet,
            used: self.pace.map_or(Duration::ZERO, |pace| pace.left(now)),
            idle: now.saturating_duration_since(self.last_read),
        };
        self.net.keeping.freeze(kept);
    }

    /// Marks the connection, for the case of a crash, if half a line of it has been read.
    pub(super) fn mark(&mut self) {
        self.set_mark(self.framer.is_begun());
    }

    /// Of a line that is cut in two by a crash nothing is said.
    pub(super) fn set_mark(&mut self, is_half_read: bool) {
        if is_half_read != self.is_marked {
            self.is_marked = is_half_read;
            self.stream.note_half_read(self.reader.id(), is_half_read);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::task::{Context, Waker};
    use std::time::Instant;

    use super::*;
    use crate::chat::testing::{Person, TestHouse};
    use crate::chat::{Arrival, Outlet};
    use crate::net::Settings;
    use crate::net::marks::Marks;
    use crate::net::settings::Rate;
    use crate::net::testing::settings;
    use crate::protocol::Telnet;

    /// How often a session is polled before a test fails.
    const MOST_POLLS: usize = 10_000;

    /// The session of these tests; who hears what it says has another number.
    const ID: SessionId = SessionId(1000);

    /// A session that is polled by hand, so that it can be stopped anywhere, and what it is between.
    pub struct Passage {
        pub house: TestHouse,
        settings: Settings,
        net: Arc<Net>,
        inputs: mpsc::Receiver<Input>,
        marks: Arc<Marks>,
        stream: Arc<Stream>,
        pub session: Session,
        pub caller: UnixStream,
        /// Who hears what it says.
        pub witness: Person,
    }

    impl Passage {
        fn new(settings: Settings) -> Self {
            let (caller, own) = UnixStream::pair().unwrap();
            caller.set_nonblocking(true).unwrap();
            rustix::net::sockopt::set_socket_send_buffer_size(&own, 4096).unwrap();
            let marks = Arc::new(Marks::new().unwrap());
            let stream = Arc::new(Stream::new(own.into(), Some(Arc::clone(&marks))).unwrap());
            let mut house = TestHouse::new(|limits| limits.log_size = 256 * 1024);
            let witness = house.join();
            let outlet = Arc::clone(&stream) as Arc<dyn Outlet>;
            let member = Arc::new(Member::new(ID, outlet, house.house.entrance()));
            member.begin_input();
            house.apply(Input::Join { member: Arc::clone(&member), arrival: Arrival::default() });
            let (inputs_tx, inputs) = mpsc::channel(1);
            let net = Net::new(settings.clone());
            let session = Session::new(Arc::clone(&net), Arc::clone(&stream), None, member, inputs_tx);
            Self { house, settings, net, inputs, marks, stream, session, caller, witness }
        }

        /// Somebody who has been greeted.
        pub fn greeted(settings: Settings) -> Self {
            let mut passage = Self::new(settings);
            passage.expect("hello\n");
            passage
        }

        pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
            self.caller.write_all(bytes.as_ref()).unwrap();
        }

        /// Polls the session until it is so, and no longer; says whether it came to that. Nothing here takes time: the
        /// reactor, which would say that there may be something to read and space to write, is not asked.
        fn comes_to(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) -> bool {
            (0..MOST_POLLS).any(|_| {
                if is_so(self) {
                    return true;
                }
                (self.session.more_to_read, self.session.blocked) = (true, None);
                // It may be over already, with all that it had to say on its way.
                let _ = self.session.poll(&mut Context::from_waker(Waker::noop()));
                false
            })
        }

        /// Polls the session until it is so, and no longer.
        #[track_caller]
        pub fn until(&mut self, is_so: impl FnMut(&mut Self) -> bool) {
            assert!(self.comes_to(is_so), "it does not come to that in phase {:?}", self.session.phase);
        }

        /// Has the house take in what the session has said, as the broker does.
        fn serve(&mut self) {
            while let Ok(input) = self.inputs.try_recv() {
                self.house.apply(input);
            }
        }

        /// Fails unless this is all that the session is sent next.
        #[track_caller]
        pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
            let (expected, mut heard) = (expected.as_ref(), Vec::new());
            self.comes_to(|passage| {
                passage.serve();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = passage.caller.read(&mut buffer) {
                    heard.extend_from_slice(&buffer[..count]);
                }
                heard.len() >= expected.len()
            });
            assert!(heard == expected, "heard \"{}\"", heard.escape_ascii());
        }

        /// Fails unless this is all that the room is told next.
        #[track_caller]
        pub fn expect_said(&mut self, expected: &str) {
            assert_eq!(self.said(expected.len()), expected);
        }

        /// What the room is told next, up to so many bytes and perhaps more.
        fn said(&mut self, len: usize) -> String {
            let mut said = String::new();
            self.comes_to(|passage| {
                passage.serve();
                said.push_str(&passage.witness.read_all());
                said.len() >= len
            });
            said
        }

        /// What another process would find in the marks.
        fn marked(&self) -> Vec<(SessionId, u64)> {
            Marks::take_over(self.marks.as_fd().try_clone_to_owned().unwrap()).unwrap().1.marks
        }

        /// Goes on in another process: with what can be written down, and nothing else.
        fn move_on(mut self) -> Self {
            // What has been handed to the broker is taken in before that ends.
            self.serve();
            self.session.freeze(false);
            let [kept] = &self.net.keeping.take_frozen()[..] else { panic!("it is frozen once") };
            let mut bytes = Vec::new();
            ciborium::into_writer(kept, &mut bytes).unwrap();
            let read: KeptSession = ciborium::from_reader(&bytes[..]).unwrap();
            assert_eq!(read, *kept);
            let socket = self.stream.as_fd().try_clone_to_owned().unwrap();
            let stream = Arc::new(Stream::new(socket, None).unwrap());
            let (outlet, other) = (Arc::clone(&stream), Arc::clone(&self.witness.socket));
            self.house.move_on_with(|id| {
                Some(if id == ID {
                    Arc::clone(&outlet) as Arc<dyn Outlet>
                } else {
                    Arc::clone(&other) as Arc<dyn Outlet>
                })
            });
            self.witness.reader = crate::chat::Reader::new(self.house.member(self.witness.id()));
            let (inputs_tx, inputs) = mpsc::channel(1);
            let net = Net::new(self.settings.clone());
            let member = self.house.member(ID);
            let session = Session::resume(Arc::clone(&net), Arc::clone(&stream), member, inputs_tx, read);
            Self { net, inputs, stream, session, ..self }
        }
    }

    #[test]
    fn half_a_line_is_finished_in_the_next_process() {
        let mut passage = Passage::greeted(settings());
        passage.say("half a l");
        passage.until(|passage| passage.session.framer.has_unfinished());
        let mut passage = passage.move_on();
        passage.say("ine\nanother\n");
        passage.expect_said("half a line\nanother\n");
    }

    #[test]
    fn half_a_line_is_marked_as_soon_as_it_has_been_read() {
        let mut passage = Passage::greeted(settings());
        passage.say("half a l");
        let is_read = (0..MOST_POLLS).any(|_| {
            passage.session.more_to_read = true;
            // No more than that: it may die at any moment.
            passage.session.turn(&mut Context::from_waker(Waker::noop())).unwrap();
            passage.session.framer.has_unfinished()
        });
        assert!(is_read);
        assert_eq!(passage.marked(), [(ID, READING)]);
    }

    #[test]
    fn half_a_line_is_marked_as_soon_as_it_has_been_written() {
        let mut passage = Passage::greeted(settings());
        // It has been sent all there was: now its room sends to it.
        passage.comes_to(|_| false);
        let text = format!("{}\n", "x".repeat(5000)).repeat(20);
        let Passage { house, witness, .. } = &mut passage;
        witness.reader.traffic().begin_input(text.len());
        house.apply(Input::Say { from: witness.id(), text: text.clone().into_bytes(), lines: 20 });
        house.deliver();
        assert!(house.member(ID).is_torn());
        let (mut heard, mut torn, mut buffer) = (0, 0, [0; 1000]);
        passage.until(|passage| {
            let marked: &[_] = if passage.house.member(ID).is_torn() { &[(ID, WRITING)] } else { &[] };
            assert_eq!(passage.marked(), marked, "after {heard} bytes");
            torn += marked.len();
            heard += passage.caller.read(&mut buffer).unwrap_or(0);
            heard == text.len()
        });
        assert!(torn > 0 && passage.marked().is_empty());
    }

    #[test]
    fn an_answer_to_telnet_is_not_half_a_line() {
        let mut passage = Passage::greeted(settings());
        passage.say(b"\xff\xfd\x06");
        passage.expect(b"\xff\xfc\x06");
        assert_eq!(passage.marked(), []);
    }

    #[test]
    fn who_has_just_spoken_telnet_gets_cr_lf_there() {
        let mut passage = Passage::greeted(settings());
        passage.say("hi\n");
        passage.expect_said("hi\n");
        passage.session.is_new_to_telnet = true;
        let mut passage = passage.move_on();
        passage.until(|passage| !passage.session.is_new_to_telnet);
        passage.serve();
        let Passage { house, witness, .. } = &mut passage;
        house.say(witness, "hello\n");
        passage.expect("hello\r\n");
    }

    #[test]
    fn the_rest_of_a_line_that_is_too_long_is_dropped_there() {
        let mut passage = Passage::greeted(settings());
        passage.say(vec![b'x'; settings().rules.max_line + 1]);
        passage.expect("-!- line too long (over 16384 bytes), nobody got it\n");
        let mut passage = passage.move_on();
        passage.say("its end\nanother\n");
        passage.expect_said("another\n");
    }

    #[test]
    fn half_a_negotiation_is_answered_there() {
        let mut passage = Passage::greeted(settings());
        passage.say(b"a\xff\xfd");
        passage.until(|passage| passage.session.framer.telnet != Telnet::Text);
        let mut passage = passage.move_on();
        passage.say(b"\x01b\n");
        passage.expect(b"\xff\xfc\x01");
        passage.expect_said("ab\n");
    }

    #[test]
    fn what_comes_after_a_command_is_said_there() {
        let mut passage = Passage::greeted(settings());
        passage.say("/nick ann\none\ntwo\n");
        // The command is on its way to the broker, which has not taken it in.
        passage.until(|passage| {
            passage.session.unsaid.as_deref().is_some_and(|one| one.rest() == b"one\ntwo\n")
        });
        let mut passage = passage.move_on();
        passage.expect_said("one\ntwo\n");
        passage.expect("-!- you are ann now; /help says what else there is\n");
    }

    #[test]
    fn who_has_used_up_a_rate_has_used_it_up_there() {
        const BURST: u32 = 60;
        let rate = Some(Rate { per_second: 1, burst: BURST });
        let text: String = (0..100).map(|number| format!("line {number:02}\n")).collect();
        let burst = &text[..8 * BURST as usize];
        let mut passage = Passage::greeted(Settings { rate, ..settings() });
        let start = Instant::now();
        passage.say(&text);
        let mut said = passage.said(burst.len());
        let mut passage = passage.move_on();
        // As often as it takes for all, if nothing held it back.
        said.push_str(&passage.said(text.len()));
        let most = BURST as usize + 1 + start.elapsed().as_secs() as usize;
        assert!(said.lines().count() <= most, "{} lines, and {most} would be right", said.lines().count());
        // Nothing but the rate has held the others back.
        passage.net.set_settings(settings());
        passage.expect_said(&text[said.len()..]);
    }

    #[test]
    fn a_greeting_that_is_partly_sent_is_sent_on_there() {
        let greeting: String = (0..10_000).map(|number| format!("greeting {number}\n")).collect();
        let mut passage = Passage::new(Settings { greeting: greeting.clone().into(), ..settings() });
        passage.until(|passage| passage.session.blocked.is_some());
        let mut passage = passage.move_on();
        passage.expect(&greeting);
        let Passage { house, witness, .. } = &mut passage;
        house.say(witness, "hello\n");
        passage.expect("hello\n");
    }

    #[test]
    fn the_time_that_it_has_said_nothing_goes_on_there() {
        const HOUR: Duration = Duration::from_secs(3600);
        let mut passage = Passage::greeted(Settings { idle_timeout: Some(2 * HOUR), ..settings() });
        passage.session.last_read -= HOUR;
        let last_read = passage.session.last_read;
        let mut passage = passage.move_on();
        // However long that took: not more than it was, and no less than an hour.
        let since = passage.session.last_read;
        assert!(since >= last_read && since <= Instant::now() - HOUR);
        passage.say("still here\n");
        passage.expect_said("still here\n");
        passage.session.last_read -= 2 * HOUR;
        let mut passage = passage.move_on();
        passage.expect("-!- closing: you were idle for too long\n");
    }

    #[test]
    fn a_request_in_two_processes_is_one() {
        let mut passage = Passage::greeted(settings());
        passage.say("GET / HT");
        passage.until(|passage| passage.session.opening.begun.len() == 8);
        let mut passage = passage.move_on();
        passage.say("TP/1.1\r\n");
        passage.expect("-!- this is chatd, a chat and not a web server: use nc or telnet\n");
        assert_eq!(passage.witness.read_all(), "");
    }

    #[test]
    fn who_has_been_heard_before_may_say_anything_there() {
        let mut passage = Passage::greeted(settings());
        passage.say("hi\n");
        passage.expect_said("hi\n");
        let mut passage = passage.move_on();
        passage.say("GET / HTTP/1.1\n");
        passage.expect_said("GET / HTTP/1.1\n");
    }
}
