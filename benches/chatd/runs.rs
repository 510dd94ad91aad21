//! What a crowd does while a server is watched: the runs.
//!
//! Each run says lines in its own way and waits until everybody has heard them, and checks that nobody has
//! heard more or less. It gives the CPU time that the server has taken, and the time on the wall.

use std::io;
use std::time::{Duration, Instant};

use crate::amid::Amid;
use crate::load::Crowd;
use crate::measure;
use crate::server::Server;

/// How many lines a speaker may be ahead of the slowest listener.
const WINDOW: u64 = 2_000;
/// Lines in one piece of speech, at most.
const PIECE: usize = 1_024;
/// Lines before the measuring begins, so that what grows once has grown.
const WARM_UP: u64 = 200;

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// CPU time of the server for one line to one listener, in nanoseconds.
    pub(crate) cpu: f64,
    /// The same for one byte of it.
    pub(crate) cpu_byte: f64,
    /// In nanoseconds.
    pub(crate) wall: f64,
}

/// A clock for the server's CPU time and for the wall.
struct Meter<'a> {
    server: &'a Server,
    cpu: u64,
    bytes: u64,
    start: Instant,
}

impl<'a> Meter<'a> {
    fn start(server: &'a Server, crowd: &Crowd) -> io::Result<Self> {
        Ok(Self { server, cpu: server.cpu()?, bytes: crowd.bytes, start: Instant::now() })
    }

    fn stop(self, crowd: &Crowd, deliveries: u64) -> io::Result<Cost> {
        let wall = self.start.elapsed();
        let cpu = measure::float(self.server.cpu()?.saturating_sub(self.cpu));
        let bytes = crowd.bytes - self.bytes;
        Ok(Cost {
            cpu: cpu / measure::float(deliveries),
            cpu_byte: cpu / measure::float(bytes),
            wall: wall.as_secs_f64() * 1e9,
        })
    }
}

/// Somebody who says one line over and over.
struct Speech {
    /// Enough lines for one piece, and one more to start in the middle of.
    text: Vec<u8>,
    line: usize,
    said: usize,
}

impl Speech {
    fn new(server: &Server) -> Self {
        let line = &server.wire.line;
        Self { text: line.repeat(PIECE + 1), line: line.len(), said: 0 }
    }

    /// Says as much as goes at once, until so many lines have been said altogether.
    fn go_on(&mut self, crowd: &mut Crowd, who: usize, lines: u64) -> io::Result<()> {
        let until = usize::try_from(lines).unwrap_or(usize::MAX) * self.line;
        while self.said < until {
            let from = self.said % self.line;
            let piece = (until - self.said).min(self.line * PIECE);
            let taken = crowd.send(who, &self.text[from..from + piece])?;
            self.said += taken;
            if taken < piece {
                break;
            }
        }
        Ok(())
    }
}

/// One speaks as fast as the slowest listener hears, or one at each server.
pub(crate) fn full_load(server: &Server, listeners: usize, lines: u64, amid: Amid) -> io::Result<Cost> {
    let mut crowd = Crowd::gather(server, listeners)?;
    let disturbance = amid.begin(server)?;
    let mut speeches: Vec<Speech> = crowd.speakers().map(|_| Speech::new(server)).collect();
    let warm = amid.warm_up().max(WARM_UP.min(lines / 10));
    stream(&mut crowd, &mut speeches, warm)?;
    let meter = Meter::start(server, &crowd)?;
    stream(&mut crowd, &mut speeches, warm + lines)?;
    let cost = meter.stop(&crowd, lines * listeners as u64)?;
    crowd.check(0..listeners, warm + lines)?;
    disturbance.end()?;
    Ok(cost)
}

fn stream(crowd: &mut Crowd, speeches: &mut [Speech], lines: u64) -> io::Result<()> {
    loop {
        let heard = crowd.least();
        if heard >= lines {
            return Ok(());
        }
        for (speaker, speech) in crowd.speakers().zip(&mut *speeches) {
            speech.go_on(crowd, speaker, lines.min(heard + WINDOW))?;
        }
        crowd.expect(|_, _, _| {})?;
    }
}

/// One speaks, and says the next line when everybody has heard the last.
pub(crate) fn one_line(server: &Server, listeners: usize, lines: u64, amid: Amid) -> io::Result<Cost> {
    let mut crowd = Crowd::gather(server, listeners)?;
    let disturbance = amid.begin(server)?;
    let speaker = crowd.speaker();
    let speak = |crowd: &mut Crowd, from: u64, to: u64| -> io::Result<()> {
        for line in from..to {
            crowd.say(speaker, &server.wire.line)?;
            while crowd.least() <= line {
                crowd.expect(|_, _, _| {})?;
            }
        }
        Ok(())
    };
    speak(&mut crowd, 0, WARM_UP)?;
    let meter = Meter::start(server, &crowd)?;
    speak(&mut crowd, WARM_UP, WARM_UP + lines)?;
    let cost = meter.stop(&crowd, lines * listeners as u64)?;
    crowd.check(0..listeners, WARM_UP + lines)?;
    disturbance.end()?;
    Ok(cost)
}

/// One says a line at each tick, whatever the others have heard and whatever else happens. Gives how long each line
/// took to each listener, in nanoseconds.
pub(crate) fn paced(
    server: &Server,
    listeners: usize,
    lines: u64,
    tick: Duration,
    amid: Amid,
) -> io::Result<Vec<u64>> {
    let mut crowd = Crowd::gather(server, listeners)?;
    let disturbance = amid.begin(server)?;
    let speaker = crowd.speaker();
    let mut said: Vec<Instant> = Vec::new();
    let mut took = Vec::new();
    let mut next = Instant::now() + tick;
    while crowd.least() < lines {
        let left = next.saturating_duration_since(Instant::now());
        let all_said = said.len() as u64 == lines;
        if !all_said && (left.is_zero() || crowd.least() == said.len() as u64) {
            std::thread::sleep(left);
            said.push(Instant::now());
            next += tick;
            crowd.say(speaker, &server.wire.line)?;
            continue;
        }
        let tell = |who, before, now| {
            if who != speaker {
                let arrived = Instant::now();
                let new = usize::try_from(before).unwrap_or(0)..usize::try_from(now).unwrap_or(0);
                took.extend(said[new].iter().map(|said| nanoseconds(arrived - *said)));
            }
        };
        if all_said {
            crowd.expect(tell)?;
        } else {
            // Whole milliseconds, so as not to sleep past the tick.
            crowd.receive(Duration::from_millis(left.as_millis().try_into().unwrap_or(0)), tell)?;
        }
    }
    crowd.check(0..listeners, lines)?;
    disturbance.end()?;
    Ok(took)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Everybody speaks and hears everybody else; together they are no further ahead than one alone would be.
pub(crate) fn all_talk(server: &Server, sessions: usize, lines: u64) -> io::Result<Cost> {
    let mut crowd = Crowd::call(server, sessions)?;
    crowd.begin()?;
    let others = sessions as u64 - 1;
    let mut speeches: Vec<Speech> = (0..sessions).map(|_| Speech::new(server)).collect();
    let meter = Meter::start(server, &crowd)?;
    loop {
        let heard = (0..sessions).map(|who| crowd.lines(who)).min().unwrap_or(0);
        if heard >= lines * others {
            break;
        }
        let may = lines.min((heard + WINDOW) / others);
        for (who, speech) in speeches.iter_mut().enumerate() {
            speech.go_on(&mut crowd, who, may)?;
        }
        crowd.expect(|_, _, _| {})?;
    }
    let cost = meter.stop(&crowd, lines * others * sessions as u64)?;
    crowd.check(0..sessions, lines * others)?;
    Ok(cost)
}

/// So many connect and do nothing. Gives the memory of the server, in bytes: with nobody, and for each.
pub(crate) fn idle(server: &Server, sessions: usize) -> io::Result<(f64, f64)> {
    let settle = Duration::from_millis(200);
    // A second after its start, chatd gives back the code that only a start runs.
    std::thread::sleep(Duration::from_secs(1) + settle);
    let (empty, own) = (measure::rss(server.pid())?, measure::own(server.pid())?);
    let mut crowd = Crowd::call(server, sessions)?;
    crowd.begin()?;
    std::thread::sleep(settle);
    let full = measure::own(server.pid())?;
    let each = measure::float(full.saturating_sub(own)) / measure::float(sessions as u64);
    Ok((measure::float(empty), each))
}

/// So many connect at once. Gives the time until all have their greeting, in nanoseconds, and how many had
/// to do without.
pub(crate) fn storm(server: &Server, sessions: usize) -> io::Result<(f64, f64)> {
    let start = Instant::now();
    let crowd = Crowd::call(server, sessions)?;
    Ok((start.elapsed().as_secs_f64() * 1e9, measure::float(crowd.refused as u64)))
}

/// So many connect at once. Gives the CPU time of the server for each of them, in nanoseconds.
pub(crate) fn handshakes(server: &Server, sessions: usize) -> io::Result<f64> {
    // What is made once is made.
    drop(Crowd::call(server, 10)?);
    let before = measure::cpu(server.pid())?;
    let mut crowd = Crowd::call(server, sessions)?;
    let cpu = measure::cpu(server.pid())?.saturating_sub(before);
    crowd.begin()?;
    Ok(measure::float(cpu) / measure::float(sessions as u64))
}
