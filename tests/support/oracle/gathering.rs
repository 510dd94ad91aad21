//! Gathering: how a crowd knows that all have been told who has come, and that nothing more will be said of it.
//!
//! When all are there, a herald comes into each room under a name of its own, says a line, and goes. Nobody speaks
//! before the others have been told who has come, and nobody is told that somebody is gone before that; so whoever has
//! heard the line, or in a view in which that is shown, that the herald has left, has heard all there was before.

use super::Caller;
use super::plan::{Plan, ROOMS};
use super::text::View;

const LINE: &[u8] = b"all are here";
const NAME: &str = "herald";

/// What one session has heard of heralds.
pub struct Gathering {
    /// A line of which the end is still to come.
    rest: Vec<u8>,
    heard: u32,
    /// How many heralds there will be.
    all: u32,
}

impl Gathering {
    /// Of a session that will hear of so many heralds.
    pub fn of(all: u32) -> Self {
        Self { rest: Vec::new(), heard: 0, all }
    }

    /// Takes what arrives up to the last line of the last herald; returns what comes after it.
    pub fn hear<'a>(&mut self, mut bytes: &'a [u8], view: View) -> &'a [u8] {
        while self.heard < self.all {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.rest.extend_from_slice(bytes);
                return &[];
            };
            self.rest.extend_from_slice(&bytes[..end]);
            self.heard += u32::from(is_last(&std::mem::take(&mut self.rest), view));
            bytes = &bytes[end + 1..];
        }
        bytes
    }

    /// Whether it has heard all that is said of those who come before that many heralds have gone.
    pub fn has_heard(&self, heralds: u32) -> bool {
        self.heard >= heralds
    }
}

/// Whether a line is the last that there is of a herald.
fn is_last(line: &[u8], view: View) -> bool {
    let has = |text: &str| memchr::memmem::find(line, text.as_bytes()).is_some();
    match view {
        View::Plain => line == LINE,
        View::Names => has(NAME) && has(" left ("),
        View::Json => has(NAME) && has("\"type\":\"leave\""),
    }
}

/// Has a herald come into each room in which there is anybody, and go.
pub fn send_heralds(plan: &Plan) {
    for (room, name) in ROOMS.iter().enumerate().filter(|(room, _)| plan.is_anybody_in(*room)) {
        let mut herald = Caller::connect(plan.address);
        if room != 0 {
            herald.say(format!("/join {name}\n"));
        }
        herald.say(format!("/nick {NAME}-{}-{room}\n", plan.first));
        herald.say([LINE, b"\n"].concat());
        herald.end_input();
        herald.rest();
    }
}
