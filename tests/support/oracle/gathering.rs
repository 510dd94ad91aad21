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
#[derive(Default)]
pub struct Gathering {
    /// A line of which the end is still to come.
    rest: Vec<u8>,
    heralds: u32,
}

impl Gathering {
    /// Takes what arrives; nothing of it counts for the session's ear.
    pub fn hear(&mut self, bytes: &[u8], view: View) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = memchr::memchr(b'\n', &self.rest) {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.heralds += u32::from(is_last(&line[..end], view));
        }
    }

    /// Whether it has heard all that is said of those who come before that many heralds have gone.
    pub fn has_heard(&self, heralds: u32) -> bool {
        self.heralds >= heralds
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
