//! One connection, from the greeting to the last byte: one task, no channel of its own, no copy of what others say.
//!
//! A session reads into a buffer that all sessions of a thread share, has its intake frame and clean what it read,
//! and hands that to the hub, one input at a time. The hub sends; the session says when a socket that was full takes
//! more. Reading and writing have wakers of their own in the reactor: being woken to write does not read. Whatever
//! goes wrong here ends this session and no other.

mod half_record;
mod joining;
mod reading;
mod securing;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::channel::mpsc;
use futures::future;

use half_record::HalfRecord;

use super::close::{Close, Origin};
use super::connection::Connection;
use super::connection::signals::Signals;
use super::crash_table::READING;
use super::deadlines::{Deadlines, Waits};
use super::intake::Intake;
use super::keeping::Keep;
use super::proxy::Header;
use super::rate::Limiter;
use super::tls::Channel;
use super::{Counters, Net, Stage};
use crate::chat::{Arrival, End, Input, Phase, Reading, SessionId, Signal};
use crate::protocol::READ_BYTES;
use crate::rt;

/// Number of reads in a row before the other sessions run.
const TURNS: usize = 4;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A connection's task.
#[derive(Debug)]
pub struct Session {
    net: Arc<Net>,
    connection: Arc<Connection>,
    inputs_tx: mpsc::UnboundedSender<Input>,
    intake: Intake,
    limiter: Option<Box<Limiter>>,
    phase: Phase,
    /// The hub has not taken in the last input. The session reads nothing more until then.
    is_waiting: bool,
    /// It has not joined: the hub does not have its last word on who it is.
    is_arriving: bool,
    /// The last read filled the buffer, so there may be more. The reactor will not report that again.
    more_to_read: bool,
    /// The error of the connection. There may still be input to read.
    broken: Option<io::Error>,
    /// The header of a proxy, while it is not complete.
    header: Option<Box<Header>>,
    /// chatd closes the session, and the hub does not know yet.
    is_dismissed: bool,
    /// The reason for its end has been counted.
    is_counted: bool,
    /// The socket has not taken everything that was sent.
    is_unflushed: bool,
    /// The FIN is sent, or the socket has it behind what it has not sent yet.
    is_output_over: bool,
    half_record: HalfRecord,
    deadlines: Deadlines,
    alarm: Option<Instant>,
}

impl Session {
    /// Returns a session that joins as soon as it runs.
    pub fn new(net: Arc<Net>, connection: Arc<Connection>, inputs_tx: mpsc::UnboundedSender<Input>) -> Self {
        Self {
            net,
            connection,
            inputs_tx,
            intake: Intake::default(),
            limiter: None,
            phase: Phase::Open,
            is_waiting: true,
            is_arriving: false,
            more_to_read: false,
            broken: None,
            header: None,
            is_dismissed: false,
            is_counted: false,
            is_unflushed: false,
            is_output_over: false,
            half_record: HalfRecord::default(),
            deadlines: Deadlines::new(),
            alarm: None,
        }
    }

    /// The other side is a proxy, which has to send a PROXY header first. `begun` has come of it already.
    pub fn behind_proxy(self, begun: Vec<u8>) -> Self {
        Self { header: Some(Box::new(Header { begun, since: rt::now() })), ..self }
    }

    /// Goes on where the session stopped in another process. Set `is_waiting` if the hub has still to take in its last input.
    pub fn resume(self, reading: Reading, is_waiting: bool) -> Self {
        let now = rt::now();
        let Reading { phase, framer, opening, unsaid, is_telnet, used, idle, header, .. } = reading;
        self.connection.set_mark(READING, framer.is_begun());
        let more_to_read = self.connection.channel().is_some_and(Channel::takes_new_keys);
        let session = match header {
            Some(begun) => self.behind_proxy(begun.into_vec()),
            None => self,
        };
        Self {
            intake: Intake::resume(framer, opening, is_telnet),
            // What waits for the rate limit is followed by the end that has been read.
            limiter: Limiter::resume(
                unsaid,
                if phase == Phase::Open { End::No } else { End::Closed },
                used,
                now,
            ),
            phase,
            is_waiting,
            // The reactor reports nothing while the kernel waits for new keys.
            more_to_read,
            deadlines: Deadlines {
                last_read: now.checked_sub(idle).unwrap_or(now),
                full: None,
                ending: (phase != Phase::Open).then_some(now),
            },
            ..session
        }
    }

    fn id(&self) -> SessionId {
        self.connection.id()
    }

    /// Runs until the connection is over, then leaves the hub. `arrival` is set if the hub does not know the session yet.
    /// Strangers can cause everything that goes wrong here, so it is logged at debug level only.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice: here, and where they are used"
    )]
    pub fn run(mut self, arrival: Option<Arc<Arrival>>) -> impl Future<Output = ()> + Send {
        async move {
            if let Some(arrival) = arrival
                && let Err(close) = Box::pin(self.join(arrival)).await
            {
                return self.finish(&close);
            }
            let close = future::poll_fn(|cx| self.poll(cx)).await;
            self.finish(&close);
        }
    }

    fn finish(self, close: &Close) {
        log::debug!("session {} from {} is over: {close}", self.id().0, Origin(self.connection.from()));
        self.count_close(close);
        self.leave(matches!(close, Close::Frozen));
    }

    /// Counts the end of the session under one reason, unless that has been done.
    fn count_close(&self, close: &Close) {
        let counters = &self.net.counters;
        let counter = match close {
            Close::Frozen | Close::Refused(_) | Close::NoHeader(_) => return,
            Close::NoTls(_) => &counters.failed_handshakes,
            _ if self.is_counted => return,
            Close::Done | Close::Unkept => &counters.ended,
            Close::Broken(_) => &counters.failed,
            Close::Slow => &counters.slow,
            Close::Late => &counters.late,
        };
        Counters::count(counter);
    }

    /// Closes the connection, or leaves it to the next process. Tells the hub which.
    fn leave(mut self, is_frozen: bool) {
        let id = self.id();
        self.net.alarms.clear(&mut self.alarm, id);
        let inputs_tx = self.inputs_tx.clone();
        let input = if is_frozen {
            Input::Frozen(id, Box::new(self.freeze()))
        } else {
            if self.net.keeping.is_on() {
                self.net.keeping.tell(Keep::Gone(id));
                self.connection.end();
            }
            self.net.sessions.remove(id);
            Input::Leave(id)
        };
        // It fails when the broker has ended, and with it all membership.
        let _ = inputs_tx.unbounded_send(input);
    }

    /// Returns what the next process has to know.
    fn freeze(self) -> Reading {
        let now = rt::now();
        let (unsaid, used) = self.limiter.map_or_else(Limiter::default, |limiter| *limiter).into_parts(now);
        Reading {
            phase: self.phase,
            framer: self.intake.framer,
            opening: self.intake.opening,
            unsaid,
            is_telnet: self.intake.is_telnet,
            used,
            idle: now.saturating_duration_since(self.deadlines.last_read),
            client: self.connection.client(),
            header: self.header.map(|header| header.begun.into()),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        self.connection.register(cx);
        for _ in 0..TURNS {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(close) => return Poll::Ready(close),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what can be done now. Returns whether more can be done at once.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if self.net.stage() == Stage::Frozen {
            return Err(self.stop_here());
        }
        self.heed(self.connection.take_signals())?;
        self.flush(cx)?;
        self.expire()?;
        self.send_away();
        self.look_whether_writable(cx)?;
        let again = match self.phase {
            Phase::Open => self.pass_on_limited() | self.read(cx)?,
            Phase::Ended => self.pass_on_limited(),
            Phase::Lingering => self.linger(cx)?,
        };
        if !again {
            self.set_alarm();
        }
        Ok(again)
    }

    /// Takes the signals of the hub.
    fn heed(&mut self, signals: Signals) -> Result<(), Close> {
        if signals.has(Signal::Slow) {
            return Err(Close::Slow);
        }
        if signals.has_dismissal() && !self.is_counted {
            Counters::count(&self.net.counters.dismissed);
            self.is_counted = true;
        }
        if signals.has_dismissal() {
            self.is_dismissed = true;
            // A client that does not read has no longer than `drain` from now on.
            self.deadlines.ending.get_or_insert_with(rt::now);
        }
        self.is_unflushed |= signals.has_unflushed();
        if signals.has(Signal::Taken) {
            self.is_waiting = false;
            if std::mem::take(&mut self.is_arriving) {
                self.connection.set_mark(READING, false);
            }
        }
        if signals.has(Signal::Full) {
            self.deadlines.full = Some(rt::now());
        }
        if signals.has(Signal::Broken) {
            self.broken.get_or_insert_with(|| io::ErrorKind::BrokenPipe.into());
            self.deadlines.full = None;
        }
        if signals.has(Signal::Done) && self.phase != Phase::Lingering {
            if let Some(error) = self.broken.take() {
                return Err(Close::Broken(error));
            }
            self.is_output_over = self.connection.end_output();
            (self.phase, self.deadlines.full) = (Phase::Lingering, None);
            self.deadlines.ending = Some(rt::now());
        }
        Ok(())
    }

    fn send(&self, input: Input) {
        // If the broker has ended, so has the conversation.
        let _ = self.inputs_tx.unbounded_send(input);
    }

    /// Tells the hub if a socket that was full takes more.
    fn look_whether_writable(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let is_full = self.deadlines.full.is_some() && !self.is_unflushed;
        if is_full && self.connection.poll_writable(cx)?.is_ready() {
            self.tell_writable();
        }
        Ok(())
    }

    fn tell_writable(&mut self) {
        self.deadlines.full = None;
        self.send(Input::Writable(self.id()));
    }

    /// Ends the output, and reads and drops input until the other side has acknowledged everything. To close with unread
    /// input would reset the connection, and the kernel would drop what it has not sent yet (tcp(7)).
    fn linger(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        self.is_output_over = self.is_output_over || self.connection.end_output();
        if !self.is_output_over && self.connection.poll_writable(cx)?.is_ready() {
            return Ok(true);
        }
        let is_emptied = match READ_BUFFER.with_borrow_mut(|buffer| self.connection.discard(buffer)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return if self.is_output_over { Err(Close::Done) } else { Ok(false) };
            }
            is_emptied => is_emptied?,
        };
        if self.is_output_over && is_emptied && self.connection.unacknowledged() == 0 {
            return Err(Close::Done);
        }
        if is_emptied {
            self.half_record.note(self.connection.half_record(), rt::now);
        }
        Ok(!is_emptied || self.has_input(cx)?)
    }

    fn set_alarm(&mut self) {
        let waits = Waits {
            for_input: self.phase == Phase::Open && !self.is_limited(),
            for_rest: self.intake.has_half_line(),
            for_kernel: self.phase == Phase::Lingering,
        };
        let next_line = self.limiter.as_ref().and_then(|limiter| limiter.next);
        let next = self.deadlines.next(&self.net.settings(), waits);
        let looks = self.phase == Phase::Lingering || self.phase == Phase::Open && self.can_take_in();
        let next_look = self.half_record.until().filter(|_| looks);
        let deadlines = [next, next_line, next_look, self.net.drain_until()];
        if let Some(when) = deadlines.into_iter().flatten().min() {
            // One that rings too early is set again then; that is cheaper than moving it each time.
            if self.alarm.is_none_or(|set| when < set) {
                self.net.alarms.set(&mut self.alarm, when, &self.connection);
            }
        }
    }

    /// Does what is due when the alarm has fired.
    fn expire(&mut self) -> Result<(), Close> {
        let Some(now) = self.alarm.map(|_| rt::now()).filter(|now| self.alarm.is_some_and(|set| set <= *now))
        else {
            return Ok(());
        };
        self.alarm = None;
        let settings = self.net.settings();
        let is_late = self.phase == Phase::Lingering && self.deadlines.is_late(&settings, now);
        if is_late || self.net.drain_until().is_some_and(|until| now >= until) {
            return Err(Close::Late);
        }
        if self.deadlines.is_stalled(&settings, now) {
            // It may be chatd that has not run for so long: the hub tries once more.
            self.send(Input::Stalled(self.id()));
            self.deadlines.full = Some(now);
        }
        self.expire_input(now, &settings);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use super::*;
    use crate::chat::Sink;
    use crate::chat::testing::{Person, TestHub};
    use crate::net::crash_table::{CrashTable, FIRST_BYTE, WRITING};
    use crate::net::deadlines::CHECK;
    use crate::net::proxy::{BadHeader, HEADER_TIMEOUT};
    use crate::net::settings::{Rate, Settings};
    use crate::net::testing::settings;
    use crate::protocol::{Notice, Telnet};

    /// How often a session is polled before a test fails.
    const MOST_POLLS: usize = 10_000;

    /// The session of these tests; who hears what it says has another number.
    const ID: SessionId = SessionId(1000);

    const HOUR: Duration = Duration::from_secs(3600);

    /// A session that is polled by hand, so that it can be stopped anywhere, and what it is between.
    struct Passage {
        hub: TestHub,
        settings: Settings,
        net: Arc<Net>,
        inputs: mpsc::UnboundedReceiver<Input>,
        table: Arc<CrashTable>,
        session: Session,
        caller: UnixStream,
        /// Who hears what it says.
        witness: Person,
    }

    impl Passage {
        fn new(settings: Settings) -> Self {
            let (caller, own) = UnixStream::pair().unwrap();
            caller.set_nonblocking(true).unwrap();
            rustix::net::sockopt::set_socket_send_buffer_size(&own, 4096).unwrap();
            let table = Arc::new(CrashTable::new().unwrap());
            let connection = Arc::new(Connection::new(own.into(), ID, Some(Arc::clone(&table))).unwrap());
            let mut hub = TestHub::new(|limits| limits.log_size = 256 * 1024);
            let witness = hub.join();
            let (net, inputs, session) = Self::begin(&hub, &settings, &connection);
            let arrival = Box::new(Arrival { greeting: settings.greeting.clone(), ..Arrival::default() });
            let sink = Arc::clone(&connection) as Arc<dyn Sink>;
            hub.apply(Input::Join { id: ID, sink, arrival });
            Self { hub, settings, net, inputs, table, session, caller, witness }
        }

        fn begin(
            hub: &TestHub,
            settings: &Settings,
            connection: &Arc<Connection>,
        ) -> (Arc<Net>, mpsc::UnboundedReceiver<Input>, Session) {
            let (inputs_tx, inputs) = mpsc::unbounded();
            let net = Net::new(settings.clone(), Arc::clone(hub.hub().traffic()));
            let session = Session::new(Arc::clone(&net), Arc::clone(connection), inputs_tx);
            (net, inputs, session)
        }

        /// Somebody who has been greeted.
        fn greeted(settings: Settings) -> Self {
            let mut passage = Self::new(settings);
            passage.expect("hello\n");
            passage
        }

        fn say(&mut self, bytes: impl AsRef<[u8]>) {
            self.caller.write_all(bytes.as_ref()).unwrap();
        }

        fn poll(&mut self) -> Poll<Close> {
            self.session.poll(&mut Context::from_waker(Waker::noop()))
        }

        /// Polls the session until it is so, and no longer; says whether it came to that. Nothing here takes time: the
        /// reactor, which would say that there may be something to read and space to write, is not asked.
        fn comes_to(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) -> bool {
            (0..MOST_POLLS).any(|_| {
                if is_so(self) {
                    return true;
                }
                self.session.more_to_read = true;
                if self.session.deadlines.full.is_some() {
                    self.session.tell_writable();
                }
                // It may be over already, with all that it had to say on its way.
                let _ = self.poll();
                false
            })
        }

        /// Polls the session until it is so, and no longer.
        #[track_caller]
        fn until(&mut self, is_so: impl FnMut(&mut Self) -> bool) {
            assert!(self.comes_to(is_so), "it does not come to that in phase {:?}", self.session.phase);
        }

        /// Has the hub take in what the session has said, as the broker does.
        fn serve(&mut self) {
            while let Ok(input) = self.inputs.try_recv() {
                self.hub.apply(input);
            }
        }

        /// Fails unless this is all that the session is sent next.
        #[track_caller]
        fn expect(&mut self, expected: impl AsRef<[u8]>) {
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
        fn expect_said(&mut self, expected: &str) {
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

        /// What another process would find in the table.
        fn marks(&self) -> u64 {
            let left = CrashTable::take_over(self.table.as_fd().try_clone_to_owned().unwrap()).unwrap().1;
            left.sessions.iter().find(|session| session.id == ID).map_or(0, |session| session.marks)
        }

        /// Goes on in another process: with what can be written down, and nothing else.
        fn move_on(mut self) -> Self {
            // What has been handed to the hub is taken in before that ends.
            self.serve();
            let connection = Arc::clone(&self.session.connection);
            let reading = self.session.freeze();
            let mut bytes = Vec::new();
            ciborium::into_writer(&reading, &mut bytes).unwrap();
            let read: Reading = ciborium::from_reader(&bytes[..]).unwrap();
            assert_eq!(read, reading);
            let socket = connection.as_fd().try_clone_to_owned().unwrap();
            let connection = Arc::new(Connection::new(socket, ID, Some(Arc::clone(&self.table))).unwrap());
            let snapshot = self.hub.snapshot(&[ID, self.witness.id()]);
            let (sink, other) = (Arc::clone(&connection), Arc::clone(&self.witness.socket));
            self.hub.move_to(snapshot, |id| {
                Some(if id == ID { Arc::clone(&sink) as _ } else { Arc::clone(&other) as _ })
            });
            let (net, inputs, session) = Self::begin(&self.hub, &self.settings, &connection);
            let is_waiting = self.hub.hub().has_input(ID);
            Self { net, inputs, session: session.resume(read, is_waiting), ..self }
        }
    }

    /// There are thousands that do nothing. What most of them never have belongs into a box.
    #[test]
    fn a_session_takes_no_more_memory_than_it_did() {
        assert!(size_of::<Connection>() <= 88, "{} bytes", size_of::<Connection>());
        let task = size_of_val(&Passage::new(settings()).session.run(None));
        assert!(task <= 224, "{task} bytes");
    }

    #[test]
    fn half_a_line_is_finished_in_the_next_process() {
        let mut passage = Passage::greeted(settings());
        passage.say("half a l");
        passage.until(|passage| passage.session.intake.framer.has_unfinished());
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
            passage.session.intake.framer.has_unfinished()
        });
        assert!(is_read);
        assert_eq!(passage.marks(), READING);
    }

    #[test]
    fn half_a_line_is_marked_as_soon_as_it_has_been_written() {
        let mut passage = Passage::greeted(settings());
        let text = format!("{}\n", "x".repeat(5000)).repeat(20);
        let Passage { hub, witness, .. } = &mut passage;
        hub.say(witness, &text);
        let (mut heard, mut torn, mut buffer) = (0, 0, [0; 1000]);
        let mut last = b'\n';
        passage.until(|passage| {
            passage.serve();
            torn += usize::from(passage.marks() == WRITING);
            if let Ok(count) = passage.caller.read(&mut buffer) {
                heard += count;
                last = buffer[count - 1];
            }
            heard == text.len()
        });
        assert!(torn > 0 && passage.marks() == 0 && last == b'\n', "{torn}");
    }

    #[test]
    fn an_answer_to_telnet_is_not_half_a_line() {
        let mut passage = Passage::greeted(settings());
        passage.say(b"\xff\xfd\x06");
        passage.expect(b"\xff\xfc\x06");
        assert_eq!(passage.marks(), 0);
    }

    #[test]
    fn who_has_just_spoken_telnet_gets_cr_lf_there() {
        let mut passage = Passage::greeted(settings());
        passage.say("hi\n");
        passage.expect_said("hi\n");
        passage.session.intake.is_telnet = true;
        let mut passage = passage.move_on();
        passage.say("there\n");
        passage.expect_said("there\n");
        let Passage { hub, witness, .. } = &mut passage;
        hub.say(witness, "hello\n");
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
        passage.until(|passage| passage.session.intake.framer.telnet != Telnet::Text);
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
        passage.until(|passage| passage.session.is_waiting);
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
        passage.until(|passage| passage.session.deadlines.full.is_some());
        let mut passage = passage.move_on();
        passage.expect(&greeting);
        let Passage { hub, witness, .. } = &mut passage;
        hub.say(witness, "hello\n");
        passage.expect("hello\n");
    }

    #[test]
    fn the_time_that_it_has_said_nothing_goes_on_there() {
        let mut passage = Passage::greeted(Settings { idle_timeout: Some(2 * HOUR), ..settings() });
        passage.session.deadlines.last_read -= HOUR;
        let last_read = passage.session.deadlines.last_read;
        let mut passage = passage.move_on();
        // However long that took: not more than it was, and no less than an hour.
        let since = passage.session.deadlines.last_read;
        assert!(since >= last_read && since <= Instant::now() - HOUR);
        passage.say("still here\n");
        passage.expect_said("still here\n");
        passage.session.deadlines.last_read -= 2 * HOUR;
        let mut passage = passage.move_on();
        passage.expect("-!- closing: you were idle for too long\n");
    }

    #[test]
    fn a_request_in_two_processes_is_one() {
        let mut passage = Passage::greeted(settings());
        passage.say("GET / HT");
        passage.until(|passage| passage.session.intake.opening.begun.len() == 8);
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

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn half_a_line_that_is_due_while_the_room_waits_is_looked_at_only_now_and_then() {
        let mut passage = Passage::greeted(Settings { flush_after: Some(CHECK), ..settings() });
        passage.say("half");
        passage.until(|passage| passage.session.intake.framer.has_unfinished());
        let Passage { session, .. } = &mut passage;
        // What was said before is on its way to the room, which does not take it in.
        session.is_waiting = true;
        session.deadlines.last_read -= HOUR;
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        for _ in 0..3 {
            let now = rt::now();
            session.alarm = Some(now);
            assert!(session.poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(session.alarm.is_some_and(|when| when >= now + CHECK));
        }
        assert!(session.intake.framer.has_unfinished());
        assert_eq!(count.0.load(Ordering::Relaxed), 0, "it does not wake itself");
    }

    #[test]
    fn half_a_record_sets_no_alarm_when_nobody_looks_or_text_has_come() {
        let mut passage = Passage::greeted(settings());
        let session = &mut passage.session;
        (0..2).for_each(|_| session.half_record.note(7, || rt::now() - HOUR));
        for (phase, is_waiting) in [(Phase::Open, true), (Phase::Ended, false)] {
            (session.phase, session.is_waiting, session.alarm) = (phase, is_waiting, None);
            session.set_alarm();
            assert!(session.alarm.is_none_or(|when| when > rt::now()));
        }
        (session.phase, session.is_waiting) = (Phase::Open, false);
        assert!(session.half_record.until().is_some());
        passage.say("text\n");
        passage.expect_said("text\n");
        assert!(passage.session.half_record.until().is_none());
    }

    #[test]
    fn a_pause_ends_a_line_that_is_dropped_as_well() {
        let mut passage = Passage::greeted(Settings { flush_after: Some(HOUR), ..settings() });
        passage.say(vec![b'x'; settings().rules.max_line + 1]);
        passage.expect("-!- line too long (over 16384 bytes), nobody got it\n");
        passage.session.deadlines.last_read -= HOUR;
        passage.session.alarm = Some(rt::now());
        passage.until(|passage| {
            passage.serve();
            !passage.session.intake.framer.is_begun()
        });
        passage.say("and this\n");
        passage.expect_said("and this\n");
    }

    /// A session whose socket has been full for an hour; its caller has read all that the kernel has, if it reads.
    /// Returns what becomes of it when it looks.
    fn after_an_hour(reads: bool) -> Poll<Close> {
        let mut passage = Passage::greeted(Settings { slow_timeout: HOUR, ..settings() });
        let Passage { hub, witness, .. } = &mut passage;
        hub.say(witness, &format!("{}\n", "x".repeat(999)).repeat(100));
        while passage.session.deadlines.full.is_none() {
            let _ = passage.poll();
        }
        while reads && passage.caller.read(&mut [0; 4096]).is_ok() {}
        passage.session.deadlines.full = Some(rt::now() - HOUR);
        passage.session.alarm = passage.session.deadlines.full;
        let _ = passage.poll();
        passage.serve();
        let poll = passage.poll();
        assert!(!reads || passage.caller.read(&mut [0; 4096]).is_ok(), "it is sent more");
        poll
    }

    #[test]
    fn who_takes_nothing_for_slow_timeout_is_closed() {
        assert!(matches!(after_an_hour(false), Poll::Ready(Close::Slow)));
    }

    #[test]
    fn nobody_is_closed_who_has_read_while_chatd_did_not_look() {
        assert!(after_an_hour(true).is_pending());
    }

    #[test]
    fn who_is_closed_gets_the_reason_and_is_heard_no_more() {
        let rate = Some(Rate { per_second: 1, burst: 1 });
        let mut passage = Passage::greeted(Settings { rate, ..settings() });
        passage.say("a\nb\nhalf");
        passage.until(|passage| {
            passage.serve();
            passage.session.is_limited() && !passage.session.is_waiting
        });
        // The hub has not taken in what was said last: the reason has to wait.
        passage.session.is_waiting = true;
        passage.session.connection.dismiss(Notice::Denied);
        passage.until(|passage| passage.session.is_dismissed);
        passage.session.is_waiting = false;
        passage.expect("-!- your address may not connect here\n");
        assert!(passage.session.phase == Phase::Ended && !passage.session.is_limited());
        assert_eq!(passage.witness.read_all(), "a\n");
    }

    #[test]
    fn who_is_closed_while_it_reads_nothing_has_no_longer_than_drain() {
        let mut passage = Passage::greeted(Settings { drain: HOUR, ..settings() });
        passage.session.is_waiting = true;
        passage.session.connection.dismiss(Notice::Denied);
        let _ = passage.poll();
        let now = rt::now();
        passage.session.deadlines.full = Some(now - HOUR);
        assert!(passage.session.deadlines.is_stalled(&passage.net.settings(), now));
    }

    #[test]
    fn a_proxy_has_so_long_for_its_header() {
        let of = |since: Duration| {
            let mut passage = Passage::new(settings());
            passage.session.header = Some(Box::new(Header { begun: Vec::new(), since: rt::now() - since }));
            passage.session.poll_header(&mut Context::from_waker(Waker::noop()))
        };
        assert!(of(Duration::ZERO).is_pending());
        assert!(matches!(of(HEADER_TIMEOUT), Poll::Ready(Err(Close::NoHeader(BadHeader::Late)))));
    }

    #[test]
    fn a_session_that_dies_before_the_hub_knows_who_it_is_joins_anew() {
        let passage = Passage::new(settings());
        let connection = Arc::clone(&passage.session.connection);
        // The hub of the passage has taken it in.
        connection.take_signals();
        let (net, mut inputs, session) = Passage::begin(&passage.hub, &passage.settings, &connection);
        let mut session = Box::pin(session.run(Some(Arc::default())));
        let mut poll = || session.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        while !matches!(inputs.try_recv(), Ok(Input::Join { .. })) {
            assert!(poll().is_pending());
            // The login name is looked up elsewhere.
            std::thread::yield_now();
        }
        assert_eq!(passage.marks(), FIRST_BYTE);
        connection.signal(Signal::Taken);
        assert!(poll().is_pending());
        assert_eq!(passage.marks(), 0);
        drop(net);
    }

    #[test]
    fn the_end_behind_what_waits_for_the_rate_limit_is_told_there() {
        let rate = Some(Rate { per_second: 1, burst: 1 });
        let mut passage = Passage::greeted(Settings { rate, ..settings() });
        passage.say("a\nb");
        passage.caller.shutdown(std::net::Shutdown::Write).unwrap();
        passage.until(|passage| {
            passage.serve();
            passage.session.phase == Phase::Ended && passage.session.is_limited()
        });
        let mut passage = passage.move_on();
        passage.net.set_settings(settings());
        passage.until(|passage| {
            passage.serve();
            passage.session.phase == Phase::Lingering
        });
    }
}
