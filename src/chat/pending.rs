//! What a session has sent, while the hub takes it in.

use serde::{Deserialize, Serialize};

/// Whether more comes behind what a session has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// More may come.
    #[default]
    No,
    /// Its input has ended: it hears what has been said until then, and is closed.
    Closed,
    /// It is sent away: it hears nothing more but its notices.
    SentAway,
    /// The daemon stops, and nothing more is read.
    Stopped,
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
    pub(super) is_telnet: bool,
    pub(super) end: End,
}

impl Pending {
    pub(super) fn new(text: Vec<u8>, is_telnet: bool, end: End) -> Self {
        Self { weight: text.len(), text, done: 0, is_telnet, end }
    }

    /// What has not been taken in yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.text.get(self.done..).unwrap_or_default()
    }

    /// Takes in `bytes` more; returns them without the first `skipped`.
    pub(super) fn take(&mut self, bytes: usize, skipped: usize) -> Vec<u8> {
        if self.done == 0 && skipped == 0 && bytes == self.text.len() {
            return std::mem::take(&mut self.text);
        }
        let taken = self.rest()[skipped..bytes].to_vec();
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
