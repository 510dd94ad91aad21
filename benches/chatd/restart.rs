//! A restart with people connected: how long nobody hears anything.
//!
//! The service manager is the one of the tests (`tests/manager.rs`): it stores the connections and starts the next chatd,
//! as systemd does, and does nothing else meanwhile. Only the chatd just built is measured.

use std::io::{self, Error, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::load::STALL;
use crate::manager::Manager;
use crate::server::GREETING;

/// What is said over and over while chatd restarts.
const LINE: &[u8] = b"said while chatd restarts\n";

/// Restarts chatd with so many connections, one of which says a line whenever everybody has heard the one before.
/// Returns the longest time in nanoseconds that a line took to reach everybody.
///
/// # Errors
/// If chatd fails, or a connection is closed, hears anything but these lines, or hears nothing for [`STALL`].
pub(crate) fn pause(sessions: usize) -> io::Result<f64> {
    let options = ["--max-clients", "20000"];
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &options);
    let mut people = (0..sessions).map(|_| join(&manager)).collect::<io::Result<Vec<_>>>()?;
    let mut speaker = join(&manager)?;
    daemon.signal("USR2");
    let restart = std::thread::spawn(move || {
        let status = daemon.wait();
        (status, manager.start("", &options), manager)
    });
    let mut longest = Duration::ZERO;
    let mut is_over = false;
    while !is_over {
        // One more line after the restart: it may have ended just after the last one.
        is_over = restart.is_finished();
        let start = Instant::now();
        speaker.write_all(LINE)?;
        people.iter_mut().try_for_each(|person| expect(person, LINE))?;
        longest = longest.max(start.elapsed());
    }
    let failed = |_| Error::other("the restart failed");
    let (status, _next, _manager) = restart.join().map_err(failed)?;
    if !status.success() {
        return Err(Error::other(format!("chatd ended with {status}")));
    }
    Ok(longest.as_secs_f64() * 1e9)
}

/// Connects, and reads the greeting.
fn join(manager: &Manager) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(manager.address())?;
    stream.set_read_timeout(Some(STALL))?;
    expect(&mut stream, GREETING)?;
    Ok(stream)
}

fn expect(stream: &mut TcpStream, text: &[u8]) -> io::Result<()> {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard)?;
    if heard == text {
        return Ok(());
    }
    Err(Error::other(format!("heard {:?} instead of {:?}", heard.escape_ascii(), text.escape_ascii())))
}
