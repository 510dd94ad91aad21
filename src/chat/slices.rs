//! What one delivery sends: pieces of the log, and before them what is owed to one member alone.

use std::io::IoSlice;

use super::log::{Log, Pieces};
use super::{Position, SessionId};

/// Most slices of one delivery. Sessions that speak between the others have many small pieces.
const MAX_SLICES: usize = 16;

/// What one delivery sends.
pub(super) struct Slices<'a> {
    slices: [IoSlice<'a>; MAX_SLICES],
    len: usize,
    /// How many bytes they have together.
    pub(super) bytes: usize,
}

impl<'a> Slices<'a> {
    pub(super) fn new() -> Self {
        Self { slices: [IoSlice::new(&[]); MAX_SLICES], len: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, slice: &'a [u8]) {
        if !slice.is_empty() {
            self.slices[self.len] = IoSlice::new(slice);
            self.len += 1;
            self.bytes += slice.len();
        }
    }

    /// Adds pieces while there is room for them; returns how far in the log they reach: over what is hidden behind the
    /// last one, too.
    pub(super) fn extend(
        &mut self,
        log: &'a Log,
        mut pieces: Pieces<'_, impl Fn(SessionId) -> bool>,
    ) -> Position {
        for piece in pieces.by_ref() {
            if self.len + 2 > MAX_SLICES {
                return piece.0;
            }
            for slice in log.bytes(piece) {
                self.push(slice);
            }
        }
        pieces.at()
    }

    pub(super) fn as_slice(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.len]
    }
}
