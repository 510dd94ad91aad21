//! A member: a session in a room, as the hub knows it. Plain fields; nobody else has a copy of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::activity::Activity;
use super::flow::Flow;
use super::id::{Position, SessionId};
use super::log::Log;
use super::pending::{Pending, Wait};
use super::sink::{Signal, Sink, Transport};
use crate::protocol::{Proof, Who};

/// What is owed to a member alone, and where in the stream of the log it goes out: before the log goes on at `at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owed {
    pub(super) at: Position,
    #[serde(with = "serde_bytes")]
    pub(super) text: Vec<u8>,
}

/// How far a member has been sent its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// How far it has been sent the log; the byte inside a half-written line counts.
    pub(super) cursor: Position,
    /// What is for this member alone: greeting, notices, answers, private messages. In order.
    pub(super) owed: Vec<Owed>,
    /// Lines that it lost because it did not read, and that no notice has told it of yet.
    pub(super) missed: u64,
    /// What was sent last ends inside of a line.
    pub(super) torn: bool,
    /// Where the last stretch ends that it said itself.
    pub(super) own_end: Position,
    /// Where its reading ends; `Position::MAX` while it stays.
    pub(super) end: Position,
}

/// What most members never have.
#[derive(Debug, Default)]
struct Extra {
    ignored: Box<[SessionId]>,
    loss: Option<Loss>,
}

/// Where the log moved on over the cursor of a member.
#[derive(Debug)]
struct Loss {
    /// The first line that it lost, counted from the beginning of the log.
    first_line: u64,
    /// How many of the lost lines were its own.
    own_lines: u64,
    /// The first that it was not to hear, for its reading had ended.
    end_line: u64,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It may say something.
    Speaking,
    /// It will say nothing more.
    Silent,
    /// It has been sent all there was for it, and knows that.
    Done,
}

/// A session in a room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: SessionId,
    pub(super) sink: Arc<dyn Sink>,
    /// Nothing can be sent to it any more.
    pub(super) is_broken: bool,
    /// The socket took less than it was offered.
    pub(super) is_full: bool,
    pub(super) life: Life,
    pub(super) progress: Progress,
    extra: Option<Box<Extra>>,
    pub(super) flow: Flow,
    /// Its name, also that of a guest; `None` if no other session knows of it yet.
    pub(super) who: Option<Arc<Who>>,
    /// It wants times in `names`, even while it sees another view.
    pub(super) times: bool,
    /// Whether it is announced when it joins and leaves: it has asked for a name or a view. A script that only sends or
    /// receives lines comes and goes without a line.
    pub(super) is_present: bool,
    /// It has said something, under the name that it has now.
    pub(super) has_spoken: bool,
    /// When it sent something last, and how many lines it says.
    pub(super) activity: Activity,
    /// It has been told that there is an archive.
    pub(super) knows_of_archive: bool,
    /// What it has sent that has not been taken in yet.
    pub(super) input: Option<Box<Pending>>,
}

impl Member {
    /// A member that hears what comes after `head`.
    pub(super) fn new(id: SessionId, sink: Arc<dyn Sink>, head: Position, activity: Activity) -> Self {
        let progress = Progress {
            cursor: head,
            owed: Vec::new(),
            missed: 0,
            torn: false,
            own_end: 0,
            end: Position::MAX,
        };
        Self {
            id,
            sink,
            is_broken: false,
            is_full: false,
            life: Life::Speaking,
            progress,
            extra: None,
            flow: Flow::new(head, true),
            who: None,
            times: false,
            is_present: false,
            has_spoken: false,
            activity,
            knows_of_archive: false,
            input: None,
        }
    }

    /// Returns its name, as others see it.
    pub(super) fn who(&self) -> Arc<Who> {
        self.who.clone().unwrap_or_else(|| self.guest())
    }

    /// Returns its name as a guest.
    pub(super) fn guest(&self) -> Arc<Who> {
        Arc::new(Who::guest(self.id.0))
    }

    /// Returns what proves its name, if that is verified. It follows from the socket, so it outlives this process: the
    /// kernel vouches for clients of unix sockets alone, and only those over TCP have certificates.
    pub(super) fn proof(&self) -> Proof {
        match self.sink.transport() {
            Transport::Unix => Proof::Kernel,
            Transport::Tcp => Proof::Certificate,
        }
    }

    /// Returns its name; `None` for a guest.
    pub(super) fn name(&self) -> Option<&Arc<Who>> {
        self.who.as_ref().filter(|who| !who.name.is_guest())
    }

    /// Returns whether it has a name that the others know.
    pub(super) fn is_named(&self) -> bool {
        self.is_present && self.name().is_some()
    }

    /// Returns the sessions that it ignores.
    pub(super) fn ignored(&self) -> &[SessionId] {
        self.extra.as_ref().map_or(&[], |extra| &extra.ignored)
    }

    /// It ignores these sessions from now on.
    pub(super) fn set_ignored(&mut self, ignored: Vec<SessionId>) {
        if !ignored.is_empty() || self.extra.is_some() {
            self.extra.get_or_insert_default().ignored = ignored.into();
        }
    }

    /// Returns its loss, which begins with these lines if it has none.
    fn begin_loss(&mut self, first_line: u64, own_lines: u64) -> &mut Loss {
        let new = || Loss { first_line, own_lines, end_line: u64::MAX };
        self.extra.get_or_insert_default().loss.get_or_insert_with(new)
    }

    fn take_loss(&mut self) -> Option<Loss> {
        self.extra.as_mut()?.loss.take()
    }

    fn loss(&mut self) -> Option<&mut Loss> {
        self.extra.as_mut()?.loss.as_mut()
    }

    /// Returns whether it does not see the lines of this session: they are its own, or it ignores the session.
    pub(super) fn hides(&self, from: SessionId) -> bool {
        from == self.id || self.ignored().contains(&from)
    }

    /// Returns whether what it has sent waits for that.
    pub(super) fn waits_for(&self, wait: Wait) -> bool {
        self.input.as_ref().is_some_and(|input| input.wait == wait)
    }

    /// Beyond this place in its log nothing is hidden from it.
    pub(super) fn hidden_end(&self) -> Position {
        if self.ignored().is_empty() { self.progress.own_end } else { Position::MAX }
    }

    /// Where its reading stops for now.
    pub(super) fn stop(&self, log: &Log) -> Position {
        log.head().min(self.progress.end)
    }

    /// How far it has been sent what there is for it.
    pub(super) fn sent(&self) -> (Position, usize) {
        (self.progress.cursor, self.owed_bytes())
    }

    /// How many bytes are owed to it alone.
    pub(super) fn owed_bytes(&self) -> usize {
        self.progress.owed.iter().map(|owed| owed.text.len()).sum()
    }

    /// How many bytes there are that it has not been sent: none for one to whom nothing can be sent.
    pub(super) fn unsent_bytes(&self, log: &Log) -> u64 {
        if self.is_broken {
            return 0;
        }
        self.owed_bytes() as u64 + self.stop(log).saturating_sub(self.progress.cursor)
    }

    /// Returns whether the room may have to wait for it: not for one that has been sent all it is to hear.
    pub(super) fn may_hold(&self) -> bool {
        self.flow.holds && !self.is_broken && self.progress.cursor < self.progress.end
    }

    /// Returns whether there is something that it has not been sent.
    pub(super) fn has_more(&self, log: &Log) -> bool {
        let Progress { cursor, owed, missed, .. } = &self.progress;
        // A broken member cannot get a notice about lost lines.
        *cursor < self.stop(log) || !owed.is_empty() || (*missed > 0 && !self.is_broken)
    }

    /// Returns whether it has been sent all up to where its reading ends.
    pub(super) fn has_ended(&self) -> bool {
        let is_told = self.progress.owed.is_empty() && (self.progress.missed == 0 || self.is_broken);
        self.life == Life::Silent && is_told && self.progress.cursor >= self.progress.end
    }

    /// Returns whether there is something to be done for it: to send, or to say that all has been sent.
    pub(super) fn wants(&self, log: &Log) -> bool {
        let is_ending = self.life == Life::Silent && self.progress.end <= log.head();
        self.life != Life::Done && (is_ending || self.has_more(log))
    }

    /// It reads another log from now on: `unsent` is what it has still to get, then what it is owed, and then it has
    /// missed so many lines.
    pub(super) fn begin_again(&mut self, unsent: Vec<u8>, missed: u64) {
        self.progress.owed.iter_mut().for_each(|owed| owed.at = 0);
        self.owe_first(unsent);
        self.progress.missed += missed;
        self.progress.own_end = 0;
        self.take_loss();
    }

    /// Owes it bytes behind all that was said so far: whole lines, or telnet's answers.
    pub(super) fn owe(&mut self, log: &Log, bytes: &[u8]) {
        if self.is_broken || self.life == Life::Done || bytes.is_empty() {
            return;
        }
        let at = self.stop(log);
        match self.progress.owed.last_mut().filter(|last| last.at == at) {
            Some(last) => last.text.extend_from_slice(bytes),
            None => self.progress.owed.push(Owed { at, text: bytes.to_vec() }),
        }
    }

    /// Owes it what comes before everything else: `text` begins where its stream of bytes stopped.
    fn owe_first(&mut self, text: Vec<u8>) {
        if !text.is_empty() {
            self.progress.owed.insert(0, Owed { at: 0, text });
        }
    }

    /// Moves the rest of a half-written line to what is owed, so that it is sent whatever becomes of the log.
    pub(super) fn finish_line(&mut self, log: &Log) {
        if !self.is_broken && self.progress.cursor >= log.tail() {
            let rest = log.rest_of_line(self.progress.cursor);
            self.progress.cursor += rest.len() as Position;
            self.owe_first(rest);
        }
    }

    /// What is sent first in a process that goes on after a crash: whole lines. An LF first of all ends a torn line.
    pub(super) fn begin_with(&mut self, lines: Vec<u8>) {
        self.progress.torn |= lines.starts_with(b"\n");
        self.owe_first(lines);
    }

    /// The log is about to drop what lies before `tail`: notes from where on the member loses lines. Returns how many bytes
    /// more it is owed: the rest of a line.
    pub(super) fn note_loss(&mut self, log: &Log, tail: Position) -> usize {
        let (before, end) = (self.owed_bytes(), self.progress.end);
        if (log.tail()..tail.min(end)).contains(&self.progress.cursor) {
            self.finish_line(log);
            let cursor = self.progress.cursor;
            if self.loss().is_none() && cursor < tail {
                let (first_line, own_lines) = (log.line_at(cursor), log.own_lines_at(cursor, self.id));
                self.begin_loss(first_line, own_lines);
            }
        }
        if let Some(loss) = self.loss().filter(|_| (log.tail()..tail).contains(&end)) {
            loss.end_line = log.line_at(end);
        }
        self.owed_bytes() - before
    }

    /// Some of the lines that it loses were its own.
    pub(super) fn note_own_loss(&mut self, start: Position, first_line: u64, lines: u64) {
        if (self.progress.cursor..self.progress.end).contains(&start) {
            let loss = self.begin_loss(first_line, 0);
            // When it has ended it may still be called something else, which is its own line, too.
            loss.own_lines += lines.min(loss.end_line.saturating_sub(first_line));
        }
    }

    /// If the log has moved on over the cursor: goes on with the oldest line that is kept. Returns how many lines were
    /// lost.
    pub(super) fn catch_up(&mut self, log: &Log) -> u64 {
        if self.progress.cursor >= log.tail() {
            return 0;
        }
        let missed = self.take_loss().filter(|_| !self.is_broken).map_or(0, |loss| {
            log.line_at(log.tail()).min(loss.end_line).saturating_sub(loss.first_line + loss.own_lines)
        });
        self.progress.missed += missed;
        self.flow.jump(log.tail() - self.progress.cursor);
        self.progress.cursor = log.tail();
        missed
    }

    /// Its reading ends with what has been said so far.
    pub(super) fn end_at(&mut self, end: Position) {
        let end = self.progress.end.min(end);
        self.progress.end = end;
        // What is owed to it further on would never have its turn.
        self.progress.owed.iter_mut().for_each(|owed| owed.at = owed.at.min(end));
    }

    /// It hears nothing more but what it is owed from now on.
    pub(super) fn end_here(&mut self, log: &Log) {
        self.finish_line(log);
        self.end_at(self.progress.cursor);
    }

    /// Nothing can be sent to it any more: it holds nobody up.
    pub(super) fn break_off(&mut self) {
        (self.is_broken, self.is_full) = (true, false);
        self.progress.owed = Vec::new();
        self.progress.missed = 0;
        self.sink.signal(Signal::Broken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each session. With 8 bytes for the allocator it has a multiple of 16.
    #[test]
    fn a_member_takes_no_more_memory_than_it_did() {
        assert!(size_of::<Member>() <= 168, "{} bytes", size_of::<Member>());
    }
}
