//! The crowd: all sessions of a plan in one thread, which speak and listen until they are asked to come to an end.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::ear::Ear;
use super::gathering::{Gathering, send_heralds};
use super::mouth::Mouth;
use super::order::Order;
use super::plan::{Plan, ROOMS, room_of, view_of};
use super::tally::{BEFORE_SLOWED, Crash, Report, Tally};
use super::text::now;
use super::{PATIENCE, Wire};

/// How much a slow reader lets the kernel keep for it.
const SLOW_BUFFER: usize = 64 * 1024;
const BUFFER: usize = 256 * 1024;
/// A crowd that hears nothing for so long goes on to speak.
const WHILE: Duration = Duration::from_secs(1);

/// What the crowd is asked; each is answered.
pub enum Request {
    /// Begin to speak.
    Talk(Sender<()>),
    /// The longest silence counts from now on.
    Restart(Sender<()>),
    /// The server was ended: whoever is told of such things is told of it.
    Crash(Crash, Sender<()>),
    /// How many are still to be told of the last crash, and how many were disconnected.
    ToBeTold(Sender<(usize, u64)>),
    /// How many lines were heard so far, by all of them together.
    Heard(Sender<u64>),
    /// How many faults were found.
    Faults(Sender<u64>),
    /// How often the first of the news was heard.
    News(Sender<u64>),
    /// Say the last lines, hear everything, and report; or say what is missing.
    Finish(Sender<Result<Report, String>>),
}

struct Session {
    /// None when it was disconnected.
    wire: Option<Wire>,
    room: usize,
    /// Whether somebody else speaks there.
    hears_somebody: bool,
    gathering: Gathering,
    ear: Ear,
    mouth: Option<Mouth>,
}

pub struct Crowd {
    plan: Plan,
    epoll: OwnedFd,
    sessions: Vec<Session>,
    orders: Vec<Order>,
    tally: Tally,
    events: Vec<Event>,
    buffer: Vec<u8>,
    /// Whether the slow readers take a nap, and until when it is as it is.
    naps: (bool, Instant),
    /// Who speaks next.
    turn: usize,
    /// How many crashes of each node there were since the notices were counted.
    crashes: Vec<u32>,
    /// Whether the silences are those of a restart.
    is_restarting: bool,
    /// How many lines those who are not slow have to hear in all, how many they had heard, and when that was new.
    owed: (u64, u64, Instant),
}

impl Crowd {
    /// Connects everybody, and waits until all have been told who has come.
    pub fn gather(plan: Plan) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let orders = ROOMS.iter().map(|_| Order::default()).collect();
        let mut crowd = Self {
            plan,
            epoll,
            sessions: Vec::new(),
            orders,
            tally: Tally::default(),
            events: Vec::with_capacity(1024),
            buffer: vec![0; BUFFER],
            naps: (false, Instant::now()),
            turn: 0,
            crashes: Vec::new(),
            is_restarting: false,
            owed: (0, 0, Instant::now()),
        };
        crowd.tally.news = crowd.plan.news.iter().map(|news| (*news, 0)).collect();
        crowd.crashes = vec![0; 1 + crowd.plan.more.len()];
        crowd.tally.before = crowd.plan.most_ahead.map_or(0, |_| BEFORE_SLOWED);
        crowd.plan.numbers().for_each(|number| crowd.add(number));
        send_heralds(&crowd.plan);
        crowd.hear_heralds(1);
        crowd
    }

    /// Goes on until all have heard all that there is of so many heralds.
    fn hear_heralds(&mut self, heralds: u32) {
        let deadline = Instant::now() + PATIENCE;
        while !self.sessions.iter().all(|session| session.gathering.has_heard(heralds)) {
            assert!(Instant::now() < deadline, "not all have heard {heralds} heralds");
            self.listen(Duration::from_millis(100));
        }
    }

    fn add(&mut self, number: u32) {
        let wire = self.plan.connect(number).into_wire();
        let socket = wire.stream();
        socket.set_nonblocking(true).unwrap();
        let is_slow = self.plan.is_slow(number);
        if is_slow {
            sockopt::set_socket_recv_buffer_size(socket, SLOW_BUFFER).unwrap();
        }
        let place = EventData::new_u64(self.sessions.len() as u64);
        epoll::add(&self.epoll, socket, place, EventFlags::IN).unwrap();
        let speaks = self.plan.speaks(number);
        let mut ear = Ear::new(number, view_of(number), speaks, now());
        (ear.is_slow, ear.node) = (is_slow, self.plan.node_of(number));
        let mouth = speaks.then(|| Mouth::new(number));
        let (room, hears_somebody) = (room_of(number), self.plan.hears_somebody(number));
        let gathering = Gathering::of(1 + self.plan.crowds_after);
        self.sessions.push(Session { wire: Some(wire), room, hears_somebody, gathering, ear, mouth });
    }

    /// Goes on until it is asked to finish, or nobody is there to ask.
    pub fn run(mut self, requests: &Receiver<Request>) {
        let mut next = None;
        loop {
            match requests.try_recv() {
                Ok(Request::Talk(answer)) => {
                    self.hear_heralds(1 + self.plan.crowds_after);
                    self.sessions.iter_mut().for_each(|session| session.ear.begin(now()));
                    next = Some(Instant::now());
                    answer.send(()).unwrap();
                }
                Ok(Request::Finish(answer)) => return answer.send(self.finish()).unwrap(),
                Ok(request) => self.answer(request),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            if next.is_some_and(|next| next <= Instant::now()) {
                self.speak();
                next = next.map(|next| (next + self.plan.beat).max(Instant::now() - self.plan.beat));
            }
            let Some(next) = next else {
                self.listen(self.plan.beat);
                continue;
            };
            self.nap();
            self.listen(next.saturating_duration_since(Instant::now()));
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Restart(answer) => {
                self.count_silences();
                self.is_restarting = true;
                answer.send(()).unwrap();
            }
            Request::Crash(crash, answer) => {
                let nodes = crash.node.map_or(0..self.crashes.len(), |node| node..node + 1);
                nodes.filter(|_| !crash.is_failover).for_each(|node| self.crashes[node] += 1);
                self.tally.add_crash(crash);
                answer.send(()).unwrap();
            }
            Request::ToBeTold(answer) => {
                let is_open =
                    |session: &&Session| session.wire.is_some() && self.crashes[session.ear.node] > 0;
                let open = self.sessions.iter().filter(is_open);
                let left = open.filter(|session| session.ear.is_to_be_told()).count();
                answer.send((left, self.tally.disconnected)).unwrap();
            }
            Request::Faults(answer) => answer.send(self.tally.fault_count).unwrap(),
            Request::News(answer) => {
                answer.send(self.tally.news.first().map_or(0, |(_, count)| *count)).unwrap();
            }
            Request::Heard(answer) => answer.send(self.tally.deliveries).unwrap(),
            Request::Talk(_) | Request::Finish(_) => unreachable!("they are answered elsewhere"),
        }
    }

    /// Of what was before this moment; and the notices of the crashes before it.
    fn count_silences(&mut self) {
        let (now, none) = (now(), vec![0; self.crashes.len()]);
        let crashes = std::mem::replace(&mut self.crashes, none);
        for session in &mut self.sessions {
            let silence = session.ear.take_silence(now);
            if self.is_restarting && session.hears_somebody && !session.ear.is_slow {
                self.tally.silences.add(silence);
            }
            session.ear.check_notices(crashes[session.ear.node], &mut self.tally);
        }
    }

    /// Whoever has its turn says something, and whoever has stopped within a line goes on.
    fn speak(&mut self) {
        if self.is_ahead() {
            return;
        }
        let speakers = self.plan.speakers as usize;
        let lines = self.plan.rate * u32::try_from(self.plan.beat.as_millis()).unwrap() / 1000;
        let (each, more) = (lines / self.plan.speakers, lines as usize % speakers);
        let turn = self.turn;
        self.turn = (turn + more) % speakers;
        for place in 0..speakers {
            let has_turn = (place + speakers - turn) % speakers < more;
            let before = self.lines_of(place);
            self.mouth(place, |mouth, wire| mouth.say(wire, each + u32::from(has_turn), now()));
            let room = self.sessions[place].room;
            let others = self.sessions.iter().filter(|other| other.room == room && !other.ear.is_slow);
            self.owed.0 += (self.lines_of(place) - before) * (others.count() as u64 - 1);
        }
    }

    fn lines_of(&self, place: usize) -> u64 {
        self.sessions[place].mouth.as_ref().map_or(0, Mouth::lines)
    }

    /// Whether they have said more than they may before it is heard. What is not heard for a while may be lost.
    fn is_ahead(&mut self) -> bool {
        let Some(most) = self.plan.most_ahead else { return false };
        let (owed, before, since) = self.owed;
        let (heard, now) = (self.tally.prompt, Instant::now());
        if heard != before {
            self.owed = (owed, heard, now);
        } else if now > since + WHILE {
            self.owed = (heard, heard, now);
        }
        self.owed.0.saturating_sub(heard) > most * self.sessions.len() as u64
    }

    fn mouth(&mut self, place: usize, say: impl FnOnce(&mut Mouth, &mut Wire) -> io::Result<()>) {
        let session = &mut self.sessions[place];
        let (Some(mouth), Some(wire)) = (&mut session.mouth, &mut session.wire) else { return };
        if let Err(error) = say(mouth, wire) {
            self.disconnect(place, &error.to_string());
        }
    }

    fn disconnect(&mut self, place: usize, why: &str) {
        let session = &mut self.sessions[place];
        let from = session.wire.take().and_then(|wire| wire.stream().local_addr().ok());
        session.ear.check_end(&mut self.tally);
        self.tally.disconnected += 1;
        println!("{} from {from:?} was disconnected: {why}", session.ear);
        self.tally.fault(|| format!("{} was disconnected: {why}", session.ear));
    }

    /// Slow readers read nothing for a while, and then for as long they do.
    fn nap(&mut self) {
        let (asleep, until) = self.naps;
        if until <= Instant::now() {
            self.naps = (!asleep, Instant::now() + self.plan.nap);
            self.wake(asleep);
        }
    }

    fn wake(&self, awake: bool) {
        let flags = if awake { EventFlags::IN } else { EventFlags::empty() };
        for (place, session) in self.sessions.iter().enumerate().filter(|(_, session)| session.ear.is_slow) {
            if let Some(wire) = &session.wire {
                epoll::modify(&self.epoll, wire.stream(), EventData::new_u64(place as u64), flags).unwrap();
            }
        }
    }

    /// Hears what there is to hear, for at most so long.
    fn listen(&mut self, patience: Duration) {
        self.wait(patience);
        for at in 0..self.events.len() {
            let place = usize::try_from(self.events[at].data.u64()).unwrap();
            let Some(wire) = &mut self.sessions[place].wire else { continue };
            match wire.read_all(&mut self.buffer) {
                Ok(0) => self.disconnect(place, "end of input"),
                Ok(length) => {
                    let session = &mut self.sessions[place];
                    let said = session.gathering.hear(&self.buffer[..length], session.ear.view);
                    if !said.is_empty() {
                        let order = &mut self.orders[session.room];
                        session.ear.hear(said, now(), order, &mut self.tally);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => self.disconnect(place, &error.to_string()),
            }
        }
    }

    fn wait(&mut self, patience: Duration) -> bool {
        self.events.clear();
        let timeout = Timespec::try_from(patience).unwrap();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(ready) => ready > 0,
            Err(Errno::INTR) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn finish(mut self) -> Result<Report, String> {
        self.count_silences();
        self.wake(true);
        let deadline = Instant::now() + PATIENCE;
        (0..self.sessions.len()).for_each(|place| self.mouth(place, |mouth, _| mouth.add_the_last(now())));
        while !self.is_done() {
            (0..self.sessions.len()).for_each(|place| self.mouth(place, |mouth, wire| mouth.send(wire, 0)));
            self.listen(Duration::from_millis(5));
            if Instant::now() > deadline {
                return Err(self.what_is_missing());
            }
        }
        self.sessions.iter().for_each(|session| session.ear.check_end(&mut self.tally));
        let mouths = self.sessions.iter().filter_map(|session| session.mouth.as_ref());
        let lines = mouths.map(Mouth::lines).sum();
        let Self { sessions, orders, mut tally, plan, .. } = self;
        let mouth = |sender: u32| sessions.get(sender.checked_sub(plan.first)? as usize)?.mouth.as_ref();
        let losses = tally.losses(
            |sender, counter| mouth(sender).and_then(|mouth| mouth.time(counter)).unwrap_or(0),
            |sender| plan.node_of(sender),
            |sender, counter| orders[room_of(sender)].has(sender, counter),
        );
        let orders = orders.iter().map(|order| order.sum).collect();
        let count = sessions.len();
        let wires = sessions.into_iter().filter_map(|session| session.wire);
        let sockets = wires.map(Wire::into_socket).collect();
        Ok(Report { sessions: count, lines, tally, losses, orders, sockets })
    }

    fn is_done(&self) -> bool {
        let is_done = |session: &Session| self.has_all(session) || session.wire.is_none();
        self.sessions.iter().all(is_done)
    }

    fn has_all(&self, session: &Session) -> bool {
        session.ear.is_done(self.plan.speakers_in(session.room), &self.orders[session.room])
    }

    fn what_is_missing(&self) -> String {
        let open = self.sessions.iter().filter(|session| session.wire.is_some());
        let missing: Vec<_> = open.filter(|session| !self.has_all(session)).collect();
        let waiting = |session: &&Session| session.mouth.as_ref().is_some_and(|mouth| !mouth.is_silent());
        let stuck = self.sessions.iter().filter(waiting).count();
        let some: Vec<_> = missing.iter().take(5).map(|session| session.ear.tell()).collect();
        let faults = self.tally.faults.join("\n");
        format!(
            "{} sessions have not heard everything, and {stuck} cannot say theirs; {} were disconnected: {some:#?}\n{faults}",
            missing.len(),
            self.tally.disconnected
        )
    }
}
