//! One connection, from the greeting to the last byte: one task, no channel of its own, no copy of
//! what others say.
//!
//! A session reads into a buffer that all sessions of a thread share, frames and cleans what it read,
//! and hands whole lines to the broker, one input at a time. It writes what lies between its cursor
//! and the head of the room's log. Reading and writing have wakers of their own in the reactor: being
//! woken to write does not read. Whatever goes wrong here ends this session and no other.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use futures::{SinkExt, future};

use super::stream::Stream;
use super::{Counters, Net, Settings, Stage};
use crate::chat::reader::Progress;
use crate::chat::room::RoomLog;
use crate::chat::{Delivery, Input, Member, Reader};
use crate::protocol::{self, Foreign, Framed, Framer, Notice, Opening, READ_BYTES};
use crate::rt;

/// How much is read at a time while very much is on its way to the room already.
const CROWDED_READ_BYTES: usize = 2 * 1024;

/// A session to which this much is owed in answers reads no further input until it has been sent.
const MAX_OWED_BYTES: usize = 16 * 1024;

/// How many reads and deliveries a session does before the others have their turn.
const TURNS: usize = 4;

/// How often a session that is closing looks whether the kernel has got rid of what it was given.
const LINGER_CHECK: Duration = Duration::from_millis(20);

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// All that has to be known of a session to go on with it elsewhere, besides its connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Unfinished input.
    pub framer: Framer,
    /// Whether the first bytes have shown what the other side speaks.
    pub opening: Opening,
    /// The position in the log, inside a half-written line too, and what is owed to this session alone.
    pub progress: Progress,
}

/// Where in its life a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The room has not let it in yet.
    Joining,
    /// It hears and speaks.
    Open,
    /// Its input has ended; the room is told so as soon as it has taken in what was said before.
    Ended,
    /// It only writes, up to its end.
    Finishing,
    /// All has been written; the kernel is getting rid of it.
    Lingering,
}

/// What comes after the bytes that are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// More of them.
    GoOn,
    /// More of them, but what is unfinished has waited long enough.
    Flush,
    /// Nothing.
    End,
}

/// Why a session is over.
#[derive(Debug)]
enum Close {
    /// Everything has been written that there was.
    Done,
    /// The connection failed.
    Broken(io::Error),
    /// Nothing of what there was for it was taken for too long.
    Slow,
    /// It was still not done when it had to be.
    Late,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("all was written"),
            Self::Broken(error) => write!(f, "the connection failed: {error}"),
            Self::Slow => f.write_str("it did not read"),
            Self::Late => f.write_str("it did not read in time for the end"),
        }
    }
}

impl From<io::Error> for Close {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// A connection's task.
#[derive(Debug)]
pub struct Session {
    net: Arc<Net>,
    stream: Arc<Stream>,
    from: Option<SocketAddr>,
    /// Its own way to the broker, never cloned; gone when nothing more will be said during a drain.
    inputs_tx: Option<mpsc::Sender<Input>>,
    reader: Reader,
    framer: Framer,
    opening: Opening,
    phase: Phase,
    /// The last read filled the buffer: there may be more that the reactor will not speak of again.
    more_to_read: bool,
    /// The kernel took less than it was offered; since when it has taken nothing.
    blocked: Option<Instant>,
    /// When something was last read; kept only where a deadline depends on it.
    last_read: Option<Instant>,
    /// When closing began.
    ending: Option<Instant>,
    alarm: Option<Instant>,
    /// The waker that the membership has: it hardly ever changes.
    waker: Option<Waker>,
}

impl Session {
    /// A session that will join the room whose log is given as soon as it runs.
    pub fn new(
        net: Arc<Net>,
        stream: Arc<Stream>,
        from: Option<SocketAddr>,
        member: Arc<Member>,
        room: &Arc<RoomLog>,
        inputs_tx: mpsc::Sender<Input>,
    ) -> Self {
        let reader = Reader::new(Arc::clone(room), member);
        let State { framer, opening, .. } = State::default();
        Self {
            net,
            stream,
            from,
            inputs_tx: Some(inputs_tx),
            reader,
            framer,
            opening,
            phase: Phase::Joining,
            more_to_read: false,
            blocked: None,
            last_read: None,
            ending: None,
            alarm: None,
            waker: None,
        }
    }

    /// All that has to be known to go on with this session elsewhere.
    pub fn state(&mut self) -> State {
        let progress = self.reader.progress();
        State { framer: self.framer.clone(), opening: self.opening, progress }
    }

    /// Runs until the connection is over, and leaves the room. Nothing that happens to it is an error of
    /// the daemon's: strangers can cause it, so it is told to the log at debug level only.
    pub async fn run(mut self) {
        let member = Arc::clone(self.reader.member());
        let join = Input::Join(Arc::clone(&member));
        member.begin_input();
        let joined = self.inputs_tx.as_mut().is_some_and(|inputs_tx| inputs_tx.try_send(join).is_ok());
        if joined {
            let close = future::poll_fn(|cx| self.poll(cx)).await;
            log::debug!("session {} from {:?} is over: {close}", member.id().0, self.from);
        }
        self.reader.release();
        self.net.alarms.clear(&mut self.alarm, member.id());
        self.net.sessions.remove(member.id());
        let Self { stream, inputs_tx, .. } = self;
        drop(stream);
        if let Some(mut inputs_tx) = inputs_tx {
            // It fails when the broker has ended, and with it all membership.
            let _ = inputs_tx.send(Input::Leave(member.id())).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.reader.member().register(cx.waker());
        }
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

    /// Does what can be done now; says whether there is more that can be done at once.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        self.expire(cx)?;
        self.let_go();
        let again = match self.phase {
            Phase::Joining => self.poll_joined()?,
            Phase::Open => self.write(cx)? | self.read(cx)?,
            Phase::Ended => self.write(cx)? | self.tell_end(cx),
            Phase::Finishing => self.write(cx)?,
            Phase::Lingering => self.linger(cx)?,
        };
        if !again {
            self.set_alarm();
        }
        Ok(again)
    }

    /// The daemon stops, and this session has nothing more to say to the broker: the broker ends when
    /// the last of its senders is gone.
    fn let_go(&mut self) {
        let is_over = matches!(self.phase, Phase::Finishing | Phase::Lingering);
        if is_over && self.net.stage() != Stage::Running && !self.reader.member().is_outstanding() {
            self.inputs_tx = None;
        }
    }

    fn poll_joined(&mut self) -> Result<bool, Close> {
        if self.reader.member().is_outstanding() {
            // The broker always answers; if it has ended, there is nothing to join.
            return if self.net.stage() == Stage::Final { Err(Close::Done) } else { Ok(false) };
        }
        let settings = self.net.settings();
        self.reader.joined();
        self.reader.owe(&settings.greeting);
        self.note_read(&settings);
        self.phase = Phase::Open;
        Ok(true)
    }

    // Writing.

    /// Writes what there is to write; says whether to go on at once.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if self.blocked.is_some()
            && !self.reader.member().take_retry()
            && self.stream.poll_writable(cx)?.is_pending()
        {
            return Ok(false);
        }
        match self.reader.deliver()? {
            Delivery::Complete => {
                self.blocked = None;
                if self.phase == Phase::Finishing
                    && self.inputs_tx.is_none()
                    && self.net.stage() == Stage::Final
                {
                    // Nothing more will be said: what has been said is all.
                    self.begin_linger();
                    return Ok(true);
                }
                Ok(false)
            }
            Delivery::More => {
                self.blocked = None;
                Ok(true)
            }
            Delivery::Blocked { sent } => {
                if sent > 0 || self.blocked.is_none() {
                    self.blocked = Some(rt::now());
                }
                Ok(self.stream.poll_writable(cx)?.is_ready())
            }
            Delivery::Ended => {
                self.begin_linger();
                Ok(true)
            }
        }
    }

    fn begin_linger(&mut self) {
        self.stream.end_output();
        self.blocked = None;
        self.ending = Some(rt::now());
        self.phase = Phase::Lingering;
    }

    /// Waits until what was written has arrived. Closing while there is unread input would make the
    /// kernel reset the connection and throw away what it has not sent yet.
    fn linger(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            loop {
                match self.stream.receive(buffer) {
                    Ok(0) => return Err(Close::Done),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if self.stream.unacknowledged() == 0 {
                Err(Close::Done)
            } else {
                Ok(self.stream.poll_readable(cx)?.is_ready())
            }
        })
    }

    // Reading.

    /// Reads and passes on what has arrived; says whether to go on at once.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if self.net.stage() != Stage::Running {
            return self.read_last(cx);
        }
        if self.reader.owed_bytes() > MAX_OWED_BYTES || !self.can_say(cx) {
            return Ok(false);
        }
        if !self.more_to_read && self.stream.poll_readable(cx)?.is_pending() {
            return Ok(false);
        }
        let limit = if self.reader.room().is_crowded() { CROWDED_READ_BYTES } else { READ_BYTES };
        let received = self.receive(limit, Then::GoOn)?;
        self.more_to_read = received == Some(limit);
        Ok(true)
    }

    /// The daemon stops: takes what has already arrived, and then reads no more.
    fn read_last(&mut self, cx: &mut Context<'_>) -> Result<bool, Close> {
        if !self.can_say(cx) {
            return Ok(false);
        }
        self.receive(READ_BYTES, Then::End)?;
        self.phase = Phase::Finishing;
        self.inputs_tx = None;
        Ok(true)
    }

    /// Says whether the session may hand an input to the broker now; otherwise it will be woken.
    fn can_say(&mut self, cx: &mut Context<'_>) -> bool {
        !self.reader.member().is_outstanding()
            && self.inputs_tx.as_mut().is_some_and(|inputs_tx| inputs_tx.poll_ready(cx).is_ready())
    }

    /// Receives and takes in up to `limit` bytes; `None` if nothing has arrived.
    fn receive(&mut self, limit: usize, then: Then) -> Result<Option<usize>, Close> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let received = match self.stream.receive(&mut buffer[..limit]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                other => Some(other?),
            };
            match received {
                None if then == Then::GoOn => {}
                Some(0) => self.take_in(&[], Then::End),
                _ => self.take_in(&buffer[..received.unwrap_or(0)], then),
            }
            Ok(received)
        })
    }

    /// Frames and cleans what was read and passes it on; at the end of input, what is unfinished counts
    /// as a line.
    fn take_in(&mut self, bytes: &[u8], then: Then) {
        let settings = self.net.settings();
        if !settings.rules.raw
            && let Some(foreign) = self.opening.feed(bytes)
        {
            return self.send_away(foreign);
        }
        let mut framed = Framed::default();
        self.framer.feed(bytes, settings.rules, &mut framed);
        if then != Then::GoOn {
            self.framer.finish(settings.rules, &mut framed);
        }
        self.pass_on(framed, &settings);
        if then == Then::End {
            self.phase = Phase::Ended;
        } else if !bytes.is_empty() {
            self.note_read(&settings);
        }
    }

    fn pass_on(&mut self, framed: Framed, settings: &Settings) {
        let Framed { text, lines, too_long, reply } = framed;
        if !reply.is_empty() {
            self.reader.owe(&reply);
        }
        if too_long > 0 {
            self.net.counters.too_long.fetch_add(u64::from(too_long), std::sync::atomic::Ordering::Relaxed);
            self.notice(&Notice::LineTooLong { max_line: settings.rules.max_line, lines: too_long });
        }
        if lines > 0 {
            self.say(text, lines);
        }
    }

    fn say(&mut self, text: Vec<u8>, lines: u32) {
        let Some(inputs_tx) = &mut self.inputs_tx else { return };
        self.reader.member().begin_input();
        self.reader.room().begin_input(text.len());
        let input = Input::Say { from: self.reader.id(), text, lines };
        // There is room for it: `can_say` came before. If the broker has ended, so has the conversation.
        let _ = inputs_tx.try_send(input);
    }

    /// Tells the room that nothing more will be said, once it has taken in what was.
    fn tell_end(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.can_say(cx) {
            return false;
        }
        let end = Input::End(self.reader.id());
        self.reader.member().begin_input();
        if let Some(inputs_tx) = &mut self.inputs_tx {
            let _ = inputs_tx.try_send(end);
        }
        self.ending = Some(rt::now());
        self.phase = Phase::Finishing;
        false
    }

    /// The other side speaks another protocol: one line to explain, and that is it.
    fn send_away(&mut self, foreign: Foreign) {
        Counters::count(&self.net.counters.foreign);
        log::debug!("session {} from {:?} speaks {}", self.reader.id().0, self.from, foreign.name());
        self.notice(&Notice::Foreign(foreign));
        self.reader.end_here();
        self.ending = Some(rt::now());
        self.phase = Phase::Finishing;
    }

    fn notice(&mut self, notice: &Notice) {
        let mut line = Vec::new();
        notice.encode(&mut line);
        self.reader.owe(&line);
    }

    // Deadlines.

    fn note_read(&mut self, settings: &Settings) {
        let matters = settings.idle_timeout.is_some() || settings.flush_after.is_some();
        self.last_read = matters.then(rt::now);
    }

    /// The next time at which something has to be done though nothing happens.
    fn deadline(&self, settings: &Settings) -> Option<Instant> {
        let pending = self.last_read.filter(|_| self.phase == Phase::Open);
        let flush = settings.flush_after.filter(|_| self.framer.has_unfinished());
        let wait = if self.ending.is_some() { settings.drain } else { settings.slow_timeout };
        [
            pending.zip(flush).map(|(last, wait)| last + wait),
            pending.zip(settings.idle_timeout).map(|(last, wait)| last + wait),
            self.blocked.map(|since| since + wait),
            (self.phase == Phase::Lingering).then(|| rt::now() + LINGER_CHECK),
            self.net.drain_until(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn set_alarm(&mut self) {
        let may_matter = self.blocked.is_some() || self.last_read.is_some() || self.phase == Phase::Lingering;
        if !may_matter && self.net.stage() == Stage::Running {
            return;
        }
        if let Some(when) = self.deadline(&self.net.settings()) {
            // One that rings too early is set again then; that is cheaper than moving it each time.
            if self.alarm.is_none_or(|set| when < set) {
                self.net.alarms.set(&mut self.alarm, when, self.reader.member());
            }
        }
    }

    /// Does what is due if the alarm has rung.
    fn expire(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        let Some(now) = self.alarm.map(|_| rt::now()).filter(|now| self.alarm.is_some_and(|set| set <= *now))
        else {
            return Ok(());
        };
        self.alarm = None;
        let settings = self.net.settings();
        let is_due = |since: Option<Instant>, wait: Duration| since.is_some_and(|since| now >= since + wait);
        if self.net.drain_until().is_some_and(|until| now >= until)
            || is_due(self.lingering_since(), settings.drain)
        {
            return Err(Close::Late);
        }
        let wait = if self.ending.is_some() { settings.drain } else { settings.slow_timeout };
        if is_due(self.blocked, wait) {
            Counters::count(&self.net.counters.slow);
            return Err(Close::Slow);
        }
        if self.phase == Phase::Open && self.net.stage() == Stage::Running {
            if settings.flush_after.is_some_and(|wait| is_due(self.last_read, wait)) && self.can_say(cx) {
                self.take_in(&[], Then::Flush);
            }
            if settings.idle_timeout.is_some_and(|wait| is_due(self.last_read, wait)) {
                self.close_idle(cx);
            }
        }
        Ok(())
    }

    fn lingering_since(&self) -> Option<Instant> {
        self.ending.filter(|_| self.phase == Phase::Lingering)
    }

    fn close_idle(&mut self, cx: &mut Context<'_>) {
        Counters::count(&self.net.counters.idle);
        self.notice(&Notice::Idle);
        if self.can_say(cx) {
            self.take_in(&[], Then::End);
        }
        self.phase = Phase::Ended;
    }
}

const _: () = assert!(CROWDED_READ_BYTES <= READ_BYTES && protocol::DEFAULT_MAX_LINE <= READ_BYTES);
