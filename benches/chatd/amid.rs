//! What else happens while a run is measured: comings and goings, a flood, other rooms, readers that are stuck.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::load::Crowd;
use crate::measure;
use crate::server::Server;

/// What happens while a run is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amid {
    Calm,
    /// A thousand a second come and take a name, and a thousand a second go.
    Comings,
    /// One says lines as fast as it is let.
    Flood,
    /// This many others are connected, each alone in a room of its own.
    Rooms(usize),
    /// This many others are connected, in the same room, and read nothing.
    Stuck(usize),
    /// So many connect at once, are greeted and go, again and again.
    Crowds(usize),
    /// Somebody asks for the metrics ten times a second.
    Scrapes,
}

/// Something that happens until this is dropped.
pub(crate) struct Disturbance {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Others who are connected.
    others: Option<Crowd>,
    /// How many of them are in other rooms, so that they may hear nothing.
    apart: usize,
}

/// The priority of those who are not measured, as nice(1) has it.
const LOW: i32 = 10;

/// More lines than the log of a room has: after so many, readers that are stuck are left behind.
const STUCK_LINES: u64 = 100_000;

impl Amid {
    /// The least number of lines before the measuring begins.
    pub(crate) fn warm_up(self) -> u64 {
        if matches!(self, Self::Stuck(_)) { STUCK_LINES } else { 0 }
    }

    pub(crate) fn begin(self, server: &Server) -> io::Result<Disturbance> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (seen, address) = (Arc::clone(&is_over), server.address);
        let mut disturbance = Disturbance { is_over, thread: None, others: None, apart: 0 };
        match self {
            Self::Calm => {}
            Self::Comings => {
                disturbance.thread = Some(std::thread::spawn(move || come_and_go(address, &seen)));
            }
            Self::Flood => disturbance.thread = Some(std::thread::spawn(move || flood(address, &seen))),
            Self::Crowds(callers) => {
                let (wire, client) = (server.wire.clone(), server.client().cloned());
                disturbance.thread = Some(std::thread::spawn(move || {
                    // They would be elsewhere, so they do not take the processor from those who measure.
                    let _ = rustix::process::setpriority_process(None, LOW);
                    while !seen.load(Ordering::Relaxed) {
                        if let Err(error) = Crowd::pass_by(address, client.as_ref(), &wire, callers) {
                            eprintln!("bench: {error}");
                        }
                    }
                }));
            }
            Self::Rooms(rooms) => {
                disturbance.others = Some(Crowd::scatter(server, rooms)?);
                disturbance.apart = rooms;
            }
            Self::Scrapes => {
                let metrics = server.metrics.as_ref().ok_or_else(|| io::Error::other("it has no metrics"))?;
                let path = metrics.socket();
                disturbance.thread = Some(std::thread::spawn(move || scrape(&path, &seen)));
            }
            Self::Stuck(readers) => disturbance.others = Some(Crowd::call(server, readers)?),
        }
        Ok(disturbance)
    }
}

impl Disturbance {
    /// Ends it, and fails if somebody in another room has heard anything.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.others.as_mut().map_or(Ok(()), |others| others.check(0..self.apart, 0))
    }
}

impl Drop for Disturbance {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// So often somebody comes and goes.
const COMING: Duration = Duration::from_millis(1);

/// Each connection is one who joins, with a name, and one who leaves: each is gone before the next comes, for those who
/// stay would hear the lines, too, and that is not what is measured. Says so if fewer have come than should have.
fn come_and_go(address: SocketAddrV4, is_over: &AtomicBool) {
    let start = Instant::now();
    let mut next = start;
    let mut came = 0;
    for number in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        if let Ok(mut caller) = TcpStream::connect(address) {
            came += u64::from(caller.write_all(format!("/nick c{number}\n").as_bytes()).is_ok());
        }
        next += COMING;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let should = start.elapsed().as_secs_f64() / COMING.as_secs_f64();
    if measure::float(came) < 0.95 * should {
        eprintln!("bench: {came} have come instead of {should:.0}");
    }
}

/// So often somebody asks for the metrics.
const SCRAPE: Duration = Duration::from_millis(100);

/// Says so if a scrape fails: then it is not measured what should be.
fn scrape(path: &Path, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let next = Instant::now() + SCRAPE;
        let mut response = String::new();
        let scraped = UnixStream::connect(path).and_then(|mut scraper| {
            scraper.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
            scraper.read_to_string(&mut response)
        });
        if scraped.is_err() || !response.ends_with("# EOF\n") {
            eprintln!("bench: a scrape has failed: {scraped:?}");
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn flood(address: SocketAddrV4, is_over: &AtomicBool) {
    let Ok(mut caller) = TcpStream::connect(address) else { return };
    let lines = "a line of a flood\n".repeat(1_000);
    // It waits when it is not read: by the clock, for it has to notice when all is over.
    let _ = caller.set_write_timeout(Some(Duration::from_millis(20)));
    while !is_over.load(Ordering::Relaxed) {
        let _ = caller.write(lines.as_bytes());
    }
}
