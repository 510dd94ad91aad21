//! One connection, from the greeting to the last byte: one task, no channel of its own, no copy of
//! what others say.
//!
//! A session reads into a buffer that all sessions of a thread share, frames and cleans what it read,
//! and hands whole lines to the broker, one input at a time. It writes what lies between its cursor
//! and the head of the room's log. Reading and writing have wakers of their own in the reactor: being
//! woken to write does not read. Whatever goes wrong here ends this session and no other.

mod asking;
mod deadlines;
mod handover;
mod pace;
mod reading;
mod writing;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use asking::Unsaid;
use futures::SinkExt;
use futures::channel::mpsc;
use futures::future::{self, BoxFuture};
pub use handover::KeptSession;
use pace::Pace;
pub use pace::Rate;
use serde::{Deserialize, Serialize};

use super::keeping::Keep;
use super::login;
use super::stream::Stream;
use super::{Net, Stage};
use crate::chat::{Arrival, Input, Member, Reader};
use crate::protocol::{Framer, Opening, READ_BYTES, View};
use crate::rt;

/// How many reads and deliveries a session does before the others have their turn.
const TURNS: usize = 4;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Where in its life a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// The room has not let it in yet.
    Joining,
    /// It hears and speaks.
    Open,
    /// The daemon stops: what it has said already is passed on, and nothing more is read.
    Leaving,
    /// Its input has ended; the room is told so as soon as it has taken in what was said before.
    Ended,
    /// It only writes, up to its end.
    Finishing,
    /// All has been written; the kernel is getting rid of it.
    Lingering,
}

/// Where a session comes from, for the log.
pub(super) struct Origin(pub(super) Option<SocketAddr>);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a unix socket"),
        }
    }
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
    /// Another process goes on with it.
    Frozen,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("it ended"),
            Self::Broken(error) => write!(f, "the connection failed: {error}"),
            Self::Slow => f.write_str("it did not read"),
            Self::Late => f.write_str("it had not read everything within drain"),
            Self::Frozen => f.write_str("another process goes on with it"),
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
    /// Clean lines that have not been passed on yet, of which each may be a command.
    unsaid: Option<Box<Unsaid>>,
    /// How much of its rate is used up, where there is one.
    pace: Option<Box<Pace>>,
    phase: Phase,
    /// The last read filled the buffer: there may be more that the reactor will not speak of again.
    more_to_read: bool,
    /// The kernel took less than it was offered; since when it has taken nothing.
    blocked: Option<Instant>,
    /// When something was last read, or the session began.
    last_read: Instant,
    /// The connection failed: nothing more can be sent, but what has arrived is still read.
    broken: Option<io::Error>,
    /// When closing began.
    ending: Option<Instant>,
    alarm: Option<Instant>,
    /// It is marked for the case of a crash: half a line has been read.
    is_marked: bool,
    /// Nobody gets what it says any more: it was meant for others than those who would hear it.
    is_unheard: bool,
    /// It has just spoken telnet for the first time: the room is to be told before what it says next.
    is_new_to_telnet: bool,
    /// It has been told that the daemon stops.
    is_told_of_the_end: bool,
    /// The waker that the membership has: it hardly ever changes.
    waker: Option<Waker>,
}

impl Session {
    /// A session that will join as soon as it runs.
    pub fn new(
        net: Arc<Net>,
        stream: Arc<Stream>,
        from: Option<SocketAddr>,
        member: Arc<Member>,
        inputs_tx: mpsc::Sender<Input>,
    ) -> Self {
        let reader = Reader::new(member);
        Self {
            net,
            stream,
            from,
            inputs_tx: Some(inputs_tx),
            reader,
            framer: Framer::default(),
            opening: Opening::default(),
            unsaid: None,
            pace: None,
            phase: Phase::Joining,
            more_to_read: false,
            blocked: None,
            last_read: rt::now(),
            broken: None,
            ending: None,
            alarm: None,
            is_marked: false,
            is_unheard: false,
            is_new_to_telnet: false,
            is_told_of_the_end: false,
            waker: None,
        }
    }

    /// Runs until the connection is over, and leaves the room; `arrival` is what it comes with, if the room does not
    /// know it yet. Nothing that happens to it is an error of the daemon's: strangers can cause it, so it is told to
    /// the log at debug level only.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice: here, and where they are used"
    )]
    pub fn run(mut self, arrival: Option<Arc<Arrival>>) -> impl Future<Output = ()> + Send {
        async move {
            if let Some(arrival) = arrival {
                let Some(join) = Box::pin(self.join(arrival)).await else { return self.freeze(true) };
                // It fails when the broker has ended: then this does, too.
                self.inputs_tx.take_if(|inputs_tx| inputs_tx.try_send(join).is_err());
            }
            if self.inputs_tx.is_some() {
                let close = future::poll_fn(|cx| self.poll(cx)).await;
                log::debug!("session {} from {} is over: {close}", self.reader.id().0, Origin(self.from));
                if matches!(close, Close::Frozen) {
                    return self.freeze(false);
                }
            }
            if let Some(leave) = self.leave() {
                leave.await;
            }
        }
    }

    /// What it says to the broker first; nothing if it is to stop before that.
    async fn join(&self, arrival: Arc<Arrival>) -> Option<Input> {
        let mut arrival = Arc::unwrap_or_clone(arrival);
        if self.from.is_none() {
            let mut login = pin!(login::login_of(&*self.stream));
            arrival.verified = future::poll_fn(|cx| {
                self.reader.member().register(cx.waker());
                match self.net.stage() {
                    Stage::Frozen => Poll::Ready(None),
                    _ => login.as_mut().poll(cx).map(Some),
                }
            })
            .await?;
        }
        let member = Arc::clone(self.reader.member());
        member.begin_input();
        Some(Input::Join { member, arrival })
    }

    /// Closes the connection, and leaves the room if the broker is still there.
    fn leave(self) -> Option<BoxFuture<'static, ()>> {
        let Self { net, mut reader, mut alarm, stream, inputs_tx, .. } = self;
        reader.release();
        if net.keeping.is_on() {
            net.keeping.tell(Keep::Gone(reader.id()));
            stream.end();
        }
        net.alarms.clear(&mut alarm, reader.id());
        net.sessions.remove(reader.id());
        drop(stream);
        let (mut inputs_tx, id) = (inputs_tx?, reader.id());
        Some(Box::pin(async move {
            // It fails when the broker has ended, and with it all membership.
            let _ = inputs_tx.send(Input::Leave(id)).await;
        }))
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
        if self.net.stage() == Stage::Frozen {
            let is_over = self.phase == Phase::Finishing && self.broken.is_some();
            return Err(self.broken.take_if(|_| is_over).map_or(Close::Frozen, Close::Broken));
        }
        self.expire(cx)?;
        self.let_go();
        let again = match self.phase {
            Phase::Joining => self.poll_joined()?,
            Phase::Open => self.write(cx)? | self.go_on(cx) | self.read(cx)?,
            Phase::Leaving => self.write(cx)? | self.go_on(cx) | self.let_go_of_broker(cx),
            Phase::Ended => self.write(cx)? | self.go_on(cx) | self.tell_end(cx),
            Phase::Finishing => self.write(cx)?,
            Phase::Lingering => self.linger(cx)?,
        };
        if !again {
            self.set_alarm();
        }
        Ok(again)
    }

    /// What is said first; to a program, as an object for each line.
    fn greet(&mut self, greeting: &[u8]) {
        let form = self.reader.member().form();
        if form.view() != View::Json {
            return self.reader.owe(greeting);
        }
        let mut objects = Vec::new();
        String::from_utf8_lossy(greeting).lines().for_each(|line| form.notice(line, &mut objects));
        self.reader.owe(&objects);
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
        self.greet(&settings.greeting);
        self.phase = Phase::Open;
        Ok(true)
    }
}
