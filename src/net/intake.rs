//! The intake of a session: turns the bytes that arrive into input for the hub.

use super::settings::Settings;
use crate::chat::{End, Read};
use crate::protocol::{Foreign, Framed, Framer, Notice, Opening, SHOWN_GROWTH};

/// What follows the bytes that are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More bytes, which have arrived.
    More,
    /// Nothing for now.
    Pause,
    /// Nothing for `flush_after`, so an unfinished line counts as finished.
    Flush,
    /// The end of input.
    End,
}

/// The unfinished input of a client, and the protocol that it speaks.
#[derive(Debug, Default)]
pub(super) struct Intake {
    pub(super) framer: Framer,
    pub(super) opening: Opening,
    /// It has spoken telnet, and the hub does not know yet.
    pub(super) is_telnet: bool,
    /// The hub has been told that it speaks telnet.
    is_telnet_known: bool,
    /// Another protocol that the client speaks, if any.
    pub(super) foreign: Option<Foreign>,
}

impl Intake {
    /// Makes that of a session of another process.
    pub(super) fn resume(framer: Framer, opening: Opening, is_telnet: bool) -> Self {
        Self { framer, opening, is_telnet, ..Self::default() }
    }

    /// Frames and cleans bytes. Returns what the hub must get; its `end` is [`End::SentAway`] or [`End::Closed`] if
    /// the session must read no more.
    pub(super) fn take(&mut self, bytes: &[u8], then: Then, settings: &Settings) -> Read {
        let rules = settings.rules;
        if !rules.raw
            && let Some(foreign) = self.opening.feed(bytes)
        {
            return self.send_away(foreign);
        }
        let mut framed = Framed::default();
        self.framer.feed(bytes, rules, &mut framed);
        match then {
            Then::More => {}
            Then::Pause => {
                if !rules.raw
                    && let Some(foreign) = self.opening.pause()
                {
                    return self.send_away(foreign);
                }
                self.framer.pause(rules, &mut framed);
            }
            Then::Flush | Then::End => self.framer.finish(rules, &mut framed),
        }
        self.read_of(framed, then, settings)
    }

    fn send_away(&mut self, foreign: Foreign) -> Read {
        self.foreign = Some(foreign);
        Read { notices: vec![Notice::Foreign { protocol: foreign }], end: End::SentAway, ..Read::default() }
    }

    fn read_of(&mut self, framed: Framed, then: Then, settings: &Settings) -> Read {
        let Framed { text, too_long, cut, is_utf16, has_telnet, reply, .. } = framed;
        let max_line = settings.rules.max_line;
        let mut notices = Vec::new();
        notices.extend((too_long > 0).then_some(Notice::TooLong { lines: too_long, max: max_line }));
        notices.extend((cut > 0).then_some(Notice::Cut { lines: cut, max: SHOWN_GROWTH * max_line }));
        if is_utf16 {
            self.foreign = Some(Foreign::Utf16);
            notices.push(Notice::Foreign { protocol: Foreign::Utf16 });
        }
        self.is_telnet |= has_telnet && !self.is_telnet_known;
        // What looks like telnet may turn out to be UTF-16.
        let is_telnet = self.is_telnet && self.opening.is_decided();
        if is_telnet {
            (self.is_telnet, self.is_telnet_known) = (false, true);
        }
        let end = if then == Then::End || is_utf16 { End::Closed } else { End::No };
        Read { text, is_telnet, reply, notices, is_broken: false, end }
    }

    /// Returns whether half a line has been read.
    pub(super) fn has_half_line(&self) -> bool {
        self.framer.is_begun()
    }
}
