//! What comes of a line that has arrived, for those who show it.
//!
//! `dialogue` says it, and `conversation`, `pipe` and `listen` each decide what becomes of it: to be shown, printed,
//! said on standard error, or left out. Only values: never shows anything itself.

use super::gap::Count;
use super::own::Lost;
use super::step::Refusal;

/// Something that comes of a line that has arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A line to show: what somebody has said, and without objects anything else.
    Line(String),
    /// A line to show that tells of something else: who has come, say.
    Aside(String),
    /// The daemon itself says something: its words, and the line to show.
    Notice {
        /// The words.
        text: String,
        /// As it is shown.
        line: String,
    },
    /// A wish was granted: the line to show, if anybody wants to see it.
    Granted(String),
    /// A wish was refused.
    Refused(Refusal),
    /// Lines were missed; those that are not missing follow.
    Missed(Count),
    /// What one has said and nobody got.
    Lost(Lost),
}
