//! The one loop of chatc: connects, shakes hands, takes up name and room, says and hears, and connects again.
//!
//! [`run`] waits for events and hands them to the [`Core`], the state that all modes share, and to the [`Mode`]: `talk`,
//! `pipe` or `listen`. A connection begins with `/view json`; when the daemon answers, `/sync` and a token follow, and
//! nothing is believed before that token comes back: a stranger may repeat any notice, and cannot know the token. A server
//! that does not answer so is used as nc(1) would use it. No sentence of the daemon is read.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::cli::{Cli, Plan};
use super::dialer::{CONNECT_TIMEOUT, Dialer};
use super::event::{self, End, Event, Mode, Outcome, Stage};
use super::link::{Backoff, Link, MAX_BYTES, clean};
use super::request::{Purpose, Requests};
use super::resume::Resume;
use super::target::Problem;
use super::trust::Trust;
use crate::exit::Exit;
use crate::protocol::View;
use crate::protocol::notice::Notice;
use crate::protocol::object::{Noticed, Object};

/// How long the daemon may take to answer at the beginning.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that has lasted so long was a good one: the pauses begin anew.
const STEADY: Duration = Duration::from_secs(10);

/// The state that all modes share.
#[derive(Debug)]
pub struct Core {
    /// Where to connect.
    pub dialer: Dialer,
    /// Whether it connects again.
    pub reconnects: bool,
    /// Whether it does what nc(1) does, from the start.
    pub is_plain: bool,
    /// Whether no server will do that does not say objects.
    pub needs_chatd: bool,
    /// When it gives up.
    pub deadline: Option<Instant>,
    /// Who you are and where.
    pub you: Resume,
    /// What is on its way.
    pub requests: Requests,
    /// How far the connection has come.
    pub stage: Stage,
    /// Whether everything was answered once.
    pub was_ready: bool,
    /// Whether the server was found to say no objects.
    pub was_bare: bool,
    /// Pieces that are still to be written.
    pub unwritten: usize,
    events: SyncSender<Event>,
    link: Option<Link>,
    /// When it connects again, or no longer waits for an answer.
    timer: Option<Instant>,
    /// When this connection was ready.
    ready_at: Option<Instant>,
    backoff: Backoff,
    /// What the server has said before it answered.
    early: Vec<String>,
}

/// Connects, and does what `mode` makes of it until it ends.
pub fn run(mode: &mut dyn Mode<Core>, core: &mut Core, events: &Receiver<Event>) -> Outcome {
    core.dialer.connect(core.events.clone());
    loop {
        let until = core.until().into_iter().chain(mode.until()).min();
        let ended = match event::next(events, until) {
            Ok(event) => core.take(mode, event),
            Err(RecvTimeoutError::Timeout) => core.time_is_up(mode),
            Err(RecvTimeoutError::Disconnected) => Some((Exit::Failed, Vec::new())),
        };
        if let Some(outcome) = ended.or_else(|| mode.rest(core)) {
            core.link.take().into_iter().for_each(Link::finish);
            return outcome;
        }
        core.flush();
    }
}

impl Core {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// The kernel has no randomness.
    pub fn new(cli: &Cli, plan: Plan, trust: Trust, events: SyncSender<Event>) -> io::Result<Self> {
        let patience = cli.timeout.unwrap_or(CONNECT_TIMEOUT).min(CONNECT_TIMEOUT);
        Ok(Self {
            dialer: Dialer::new(cli.targets.clone(), trust, patience),
            reconnects: cli.reconnects(plan),
            is_plain: cli.plain,
            needs_chatd: cli.needs_chatd(plan),
            deadline: cli.timeout.map(|timeout| Instant::now() + timeout),
            you: Resume::new(cli.nick.as_ref(), cli.room.as_ref()),
            requests: Requests::new()?,
            stage: Stage::Apart,
            was_ready: false,
            was_bare: false,
            unwritten: 0,
            events,
            link: None,
            timer: None,
            ready_at: None,
            backoff: Backoff::default(),
            early: Vec::new(),
        })
    }

    /// Whether what is said is sent as it is.
    pub fn is_bare(&self) -> bool {
        self.stage == Stage::Bare || self.is_plain
    }

    /// Words about the server.
    pub fn says(&self, words: &str) -> String {
        format!("{}: {}", self.dialer.target(), clean(words.as_bytes()))
    }

    /// Tells the server that nothing more comes.
    pub fn end(&mut self) {
        self.flush();
        self.link = None;
    }

    fn until(&self) -> Option<Instant> {
        // The first attempt to connect has a bound of its own, and an error that says more.
        let is_first = !self.was_ready && self.stage == Stage::Apart;
        self.deadline.filter(|_| !is_first).into_iter().chain(self.timer).chain(self.you.claim_at).min()
    }

    fn take(&mut self, mode: &mut dyn Mode<Self>, event: Event) -> Option<Outcome> {
        match event {
            Event::Connected(stream, at) => {
                self.dialer.connected(at);
                match Link::start(stream, self.events.clone()) {
                    Ok(link) => self.open(mode, link),
                    Err(error) => return self.ended(mode, &End::Broken(error)),
                }
            }
            Event::NotConnected(problems) => return self.not_connected(mode, &problems),
            Event::Heard(lines) => return lines.iter().find_map(|line| self.hear(mode, line)),
            Event::Written => self.unwritten = self.unwritten.saturating_sub(1),
            Event::Ended(end) => return self.ended(mode, &end),
            other => return mode.event(self, other),
        }
        None
    }

    /// Tries again later, once there was a connection. Says who is not trusted, once.
    fn not_connected(&mut self, mode: &mut dyn Mode<Self>, problems: &[Problem]) -> Option<Outcome> {
        let lines = self.dialer.news(problems, self.was_ready);
        if !self.was_ready {
            return Some((Exit::NoDaemon, lines));
        }
        lines.iter().for_each(|line| mode.remark(line));
        self.pause();
        None
    }

    fn open(&mut self, mode: &mut dyn Mode<Self>, link: Link) {
        (self.unwritten, self.link, self.early) = (0, Some(link), Vec::new());
        if self.is_plain {
            return self.use_bare(mode);
        }
        self.stage = Stage::Greeting;
        self.timer = Some(Instant::now() + ANSWER_TIMEOUT);
        self.send("/view json\n");
    }

    /// Does what nc(1) does.
    fn use_bare(&mut self, mode: &mut dyn Mode<Self>) {
        self.was_bare = true;
        self.settle(mode, Stage::Bare);
        std::mem::take(&mut self.early).iter().for_each(|line| mode.text(line));
    }

    /// From now on, what is said is shown. Returns whether that was so once before.
    fn settle(&mut self, mode: &mut dyn Mode<Self>, stage: Stage) -> bool {
        (self.stage, self.timer, self.ready_at) = (stage, None, Some(Instant::now()));
        self.dialer.settled();
        let is_again = std::mem::replace(&mut self.was_ready, true);
        if !is_again {
            event::watch_reader(self.events.clone());
        }
        mode.ready(self);
        is_again
    }

    /// Sends what may be sent.
    fn flush(&mut self) {
        let bytes = match self.stage {
            Stage::Ready => self.requests.take_to_send(),
            Stage::Bare => self.requests.take_waiting(),
            _ => None,
        };
        bytes.into_iter().for_each(|bytes| self.send(bytes));
    }

    /// Sends bytes as they are, where there is a connection. Bound what is under way.
    pub fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        if let Some(link) = &self.link {
            link.send(bytes.into());
            self.unwritten += 1;
        }
    }

    fn hear(&mut self, mode: &mut dyn Mode<Self>, line: &str) -> Option<Outcome> {
        if self.stage == Stage::Bare {
            mode.text(line);
            return None;
        }
        // A later version may say something else; nobody else can.
        let object = serde_json::from_str(line).unwrap_or(Object::Unknown);
        if self.stage == Stage::Greeting {
            self.greeted(line, &object);
            return None;
        }
        let is_ready = self.stage == Stage::Ready;
        match &object {
            Object::Synced { token, .. } => self.synced(mode, &object, token, line),
            Object::Notice(noticed) => self.noticed(mode, &object, noticed, line),
            _ if self.you.hear(&object, line, is_ready, &mut self.requests.doubtful) => {
                mode.object(self, &object, line)
            }
            _ => None,
        }
    }

    /// Before the token has come back, nothing counts but what leads to it.
    fn greeted(&mut self, line: &str, object: &Object<'_>) {
        let is_asked = self.requests.purpose().is_some();
        match object {
            Object::Synced { token, .. } if self.requests.synced(token) => {
                self.you.synced(object);
                self.set_up();
            }
            Object::Notice(Noticed { notice: Some(Notice::Viewed { view: View::Json }), .. })
                if !is_asked =>
            {
                self.ask(&[]);
            }
            _ if self.early.iter().map(String::len).sum::<usize>() < MAX_BYTES => {
                self.early.push(line.to_owned());
            }
            _ => {}
        }
    }

    /// Asks for name and room.
    fn set_up(&mut self) {
        self.stage = Stage::Setup;
        self.you.begin_anew();
        self.ask(&Vec::from_iter(self.you.ask_for_name().into_iter().chain(self.you.ask_for_room())));
    }

    /// Sends commands, and a token after them.
    fn ask(&mut self, commands: &[String]) {
        let bytes = self.requests.set_up(commands);
        self.send(bytes);
        self.timer = Some(Instant::now() + ANSWER_TIMEOUT);
    }

    fn synced(
        &mut self,
        mode: &mut dyn Mode<Self>,
        object: &Object<'_>,
        token: &str,
        line: &str,
    ) -> Option<Outcome> {
        self.you.synced(object);
        if self.requests.synced(token) && self.stage == Stage::Setup && self.requests.purpose().is_none() {
            return self.answered(mode);
        }
        // Somebody has typed the others.
        if self.requests.is_own(token) { None } else { mode.object(self, object, line) }
    }

    /// Everything is answered that was asked for: what was missed is asked for next, as long as there is more of it.
    fn answered(&mut self, mode: &mut dyn Mode<Self>) -> Option<Outcome> {
        if self.was_ready
            && let Some(command) = self.you.ask_for_missed()
        {
            self.ask(&[command]);
            return None;
        }
        let (missed, lines, held) = self.you.settle();
        if self.settle(mode, Stage::Ready) {
            mode.missed(&missed);
        }
        let ended = lines.iter().find_map(|line| mode.object(self, &serde_json::from_str(line).ok()?, line));
        ended.or_else(|| held.iter().find_map(|line| self.hear(mode, line)))
    }

    fn noticed(
        &mut self,
        mode: &mut dyn Mode<Self>,
        object: &Object<'_>,
        noticed: &Noticed<'_>,
        line: &str,
    ) -> Option<Outcome> {
        let Some(notice) = &noticed.notice else { return mode.object(self, object, line) };
        let is_setup = self.stage == Stage::Setup;
        self.you.note(notice);
        match notice {
            Notice::Crashed => {
                self.requests.lose();
                self.set_up();
            }
            Notice::BadKey { .. } if is_setup => {
                self.ask(&Vec::from_iter(self.you.ask_for_name()));
                return None;
            }
            Notice::Taken { .. } if self.requests.purpose() == Some(Purpose::Ask) => {
                self.you.claim_later();
                return None;
            }
            Notice::AlreadyThere if is_setup => return None,
            Notice::Verified { .. } if is_setup && self.you.has_wanted_name() => {}
            _ if is_setup && notice.is_refusal() => {
                if self.was_ready && matches!(notice, Notice::Taken { .. }) {
                    self.you.claim_later();
                }
                return mode.refused(self, noticed);
            }
            _ if notice.is_refusal() => self.requests.note_refusal(notice, &noticed.text),
            _ => {}
        }
        mode.object(self, object, line)
    }

    /// Tries again later.
    fn pause(&mut self) {
        self.timer = Some(Instant::now() + self.backoff.next(std::process::id()));
    }

    fn ended(&mut self, mode: &mut dyn Mode<Self>, end: &End) -> Option<Outcome> {
        let was_greeting = self.stage == Stage::Greeting;
        (self.stage, self.link) = (Stage::Apart, None);
        self.requests.lose();
        if !self.was_ready && was_greeting {
            return self.no_chatd(Some(end));
        }
        let ready_at = self.ready_at.take();
        if ready_at.is_some_and(|ready_at| ready_at.elapsed() >= STEADY) {
            self.backoff.reset();
        }
        self.pause();
        if ready_at.is_some() || !self.was_ready {
            return mode.lost(self, &self.says(&end.to_string()), end);
        }
        // Another one that was never ready is nothing new.
        self.dialer.refusal(end).iter().for_each(|line| mode.remark(line));
        None
    }

    /// Something is there instead of chatd, or chatd speaks otherwise.
    fn no_chatd(&self, end: Option<&End>) -> Option<Outcome> {
        let error = if let Some(End::Broken(error)) = end { Some(error) } else { None };
        let problem = Problem::of_answer(&self.early, error, self.dialer.target());
        Some((Exit::NoDaemon, vec![problem.line(self.dialer.target())]))
    }

    fn time_is_up(&mut self, mode: &mut dyn Mode<Self>) -> Option<Outcome> {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let is_silent = self.stage == Stage::Greeting && self.early.is_empty();
            return if is_silent { self.no_chatd(None) } else { Some(mode.late(self)) };
        }
        if self.you.claim_at.take_if(|when| *when <= now).is_some() {
            self.you.ask_for_name().into_iter().for_each(|command| self.requests.add(Purpose::Ask, command));
        }
        match self.timer.take_if(|when| *when <= now) {
            Some(_) if self.stage == Stage::Apart => self.dialer.connect(self.events.clone()),
            Some(_) => return self.unanswered(mode),
            None => {}
        }
        None
    }

    /// The server does not say objects: it is used as nc(1) would use it, where that will do.
    fn unanswered(&mut self, mode: &mut dyn Mode<Self>) -> Option<Outcome> {
        if self.was_ready && !self.was_bare {
            // It hangs; the end of the connection follows.
            self.link.iter().for_each(Link::close);
            return None;
        }
        if self.stage == Stage::Setup || self.early.is_empty() || self.needs_chatd {
            return self.no_chatd(None);
        }
        if !self.was_bare {
            let words = "this does not answer as a chatd of this version does; chatc does what nc does";
            mode.remark(&self.says(words));
        }
        self.use_bare(mode);
        None
    }
}
