//! Pending input: what a session has sent and the hub has not taken yet.

use serde::{Deserialize, Serialize};

/// Bytes of answers and private messages that wait for a member before the hub refuses further lines to it alone:
/// messages to members that do not read must not fill the memory.
pub(super) const MOST_OWED: usize = 64 * 1024;

/// Whether more input follows after what a session has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// More may come.
    #[default]
    No,
    /// Its input has ended. It gets the lines up to then, and is closed.
    Closed,
    /// chatd closes it. It gets only its notices.
    SentAway,
    /// The daemon stops, and nothing more is read.
    Stopped,
}

/// Why the input of a session waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// Other sessions have their turn first.
    #[default]
    Turn,
    /// Its last lines have no place in the room yet.
    Place,
    /// It has to read first what there is for it.
    Reader,
    /// It wants to know that its lines have their place: they are delivered to the others first.
    Delivery,
    /// The sequencer has not opened its room yet, or the one where it wants to go.
    Opened,
    /// It has a private message for a member that has used up its quota.
    Quota,
}

/// What a session has sent that has not been taken in yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    #[serde(with = "serde_bytes")]
    text: Vec<u8>,
    /// Up to here it has been taken in.
    done: usize,
    /// How many bytes it counts for as on its way.
    #[serde(skip)]
    pub(super) weight: usize,
    #[serde(skip)]
    pub(super) wait: Wait,
    pub(super) is_telnet: bool,
    pub(super) end: End,
}

impl Pending {
    pub(super) fn new(text: Vec<u8>, is_telnet: bool, end: End) -> Self {
        Self { weight: text.len(), wait: Wait::Turn, text, done: 0, is_telnet, end }
    }

    /// What has not been taken in yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.text.get(self.done..).unwrap_or_default()
    }

    /// Takes in `bytes` more, and returns them.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<u8> {
        if self.done == 0 && bytes == self.text.len() {
            return std::mem::take(&mut self.text);
        }
        let taken = self.rest()[..bytes].to_vec();
        self.done += bytes;
        taken
    }

    /// Takes in nothing more: the session leaves.
    pub(super) fn quit(&mut self) {
        (self.done, self.end) = (self.text.len(), End::Closed);
    }

    /// Returns whether it has whole lines and nothing else.
    pub(super) fn is_sound(&self) -> bool {
        self.done <= self.text.len() && self.text.last().is_none_or(|last| *last == b'\n')
    }
}
