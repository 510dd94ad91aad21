//! Who you are and where, as the daemon has said; and what to ask for when the connection is back.
//!
//! `session` shows it every answer. After a reconnect it takes the name by its key, goes to the room, and asks for the
//! lines after the last one that was shown: so nobody sees a gap, or a line twice. What you have said yourself is known
//! by the number of your connection: it is not shown again, and it is not lost. Pure.

use std::time::Instant;

use crate::protocol::Command;
use crate::protocol::key::Key;
use crate::protocol::notice::Notice;
use crate::protocol::object::{History, Line, Object};
use crate::protocol::syntax;
use crate::protocol::{Name, syntax::Line as Typed};

use super::event::Missed;
use super::link::{Backoff, clean};

/// Connections of your own that are remembered: those of one outage.
const MAX_OWN: usize = 32;

/// Bytes of lines that are kept while what was missed is asked for; more are left out, and counted as missing.
const MAX_BYTES: usize = 64 << 20;

/// Who you are and where.
#[derive(Debug, Default)]
pub struct Resume {
    /// What you are called.
    pub name: String,
    /// The kernel says so.
    pub verified: bool,
    /// Where you are.
    pub room: String,
    /// The name to ask for.
    pub wanted: Option<String>,
    /// Where to go.
    wanted_room: Option<String>,
    key: Option<Key>,
    /// The numbers of your connections, the present one last.
    own: Vec<u64>,
    /// The room whose lines were shown, and its epoch.
    place: Option<(String, u64)>,
    /// The number of the last line that was shown there.
    shown: u64,
    /// A later epoch than that of the node, and the number of the last line of it that was shown.
    ahead: Option<(u64, u64)>,
    /// The number of the last line that was said there before you came.
    base: u64,
    /// Epoch and last number of the room where you are.
    latest: (u64, u64),
    catch_up: CatchUp,
    /// When the name is asked for again that somebody else has.
    pub claim_at: Option<Instant>,
    claims: Backoff,
}

/// Catching up with what was missed.
#[derive(Debug, Default)]
struct CatchUp {
    /// It was asked for.
    is_asked: bool,
    /// There is more than one answer has.
    has_more: bool,
    /// Lines of an answer follow; whether they are of this room.
    history: Option<bool>,
    counts: Missed,
    /// What was missed, as it came.
    lines: Vec<String>,
    /// What came meanwhile.
    held: Vec<String>,
    /// The bytes of both.
    bytes: usize,
}

impl Resume {
    /// Somebody who wants to be called that, and to go there.
    pub fn new(nick: Option<&Name>, room: Option<&Name>) -> Self {
        let text = |name: Option<&Name>| name.map(ToString::to_string);
        Self { wanted: text(nick), wanted_room: text(room), ..Self::default() }
    }

    /// Notes what `/sync` was answered with.
    pub fn synced(&mut self, object: &Object<'_>) {
        let Object::Synced { id, name, verified, room, epoch, seq, .. } = object else { return };
        (self.name, self.verified, self.room) = (clean(name.as_bytes()), *verified, clean(room.as_bytes()));
        if self.own.last() != Some(id) {
            self.own.push(*id);
            let excess = self.own.len().saturating_sub(MAX_OWN);
            self.own.drain(..excess);
        }
        self.latest = (*epoch, *seq);
    }

    /// Everything is answered that was asked for. Returns what was missed, the lines of it, and what came meanwhile; from
    /// now on the lines that come are those of the room where you are.
    pub fn settle(&mut self) -> (Missed, Vec<String>, Vec<String>) {
        if self.place.as_ref().is_none_or(|(room, _)| *room != self.room) {
            self.enter(self.latest.0);
            self.base = self.latest.1;
        }
        let CatchUp { counts, lines, mut held, .. } = std::mem::take(&mut self.catch_up);
        self.drop_older(&mut held);
        (counts, lines, held)
    }

    /// Drops what came meanwhile of the room in an older epoch than that of the answer: its numbers are others there, and
    /// the answer has what was not lost.
    fn drop_older(&self, held: &mut Vec<String>) {
        let Some((place, epoch)) = &self.place else { return };
        let begins = |line: &String| matches!(read(line), Object::Epoch { room, epoch: its, .. } if room == *place && its == *epoch);
        let Some(begin) = held.iter().position(begins) else { return };
        let is_its = |line: &String| match read(line) {
            Object::Message(line) | Object::Emote(line) => line.room == *place,
            Object::Epoch { room, .. } => room == *place,
            _ => false,
        };
        let later = held.split_off(begin);
        held.retain(|line| !is_its(line));
        held.extend(later);
    }

    /// Notes what an answer says of your name and your room.
    pub fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Named { name, key } => {
                (self.name, self.verified, self.key) = (clean(name.as_bytes()), false, *key);
                self.wanted = Some(self.name.clone());
            }
            Notice::Verified { name } => (self.name, self.verified) = (clean(name.as_bytes()), true),
            Notice::Deposed { now, .. } | Notice::NameTakenOver { now, .. } => {
                (self.name, self.key) = (clean(now.as_bytes()), None);
            }
            Notice::BadKey { .. } => self.key = None,
            Notice::Entered { room, epoch, .. } => self.entered(room, *epoch),
            _ => {}
        }
    }

    /// You are in another room now.
    fn entered(&mut self, room: &str, epoch: u64) {
        self.room = clean(room.as_bytes());
        self.wanted_room = Some(self.room.clone());
        // When the connection is back, what was shown of the room counts, whatever its epoch.
        if self.place.as_ref().is_none_or(|(place, _)| *place != self.room) {
            self.enter(epoch);
        }
    }

    fn enter(&mut self, epoch: u64) {
        self.place = Some((self.room.clone(), epoch));
        (self.shown, self.base, self.ahead) = (0, 0, None);
    }

    /// Somebody else has the name: it is asked for again later.
    pub fn claim_later(&mut self) {
        let pause = self.claims.next(std::process::id());
        self.claim_at = self.wanted.is_some().then(|| Instant::now() + pause);
    }

    /// The name is not asked for any more: you want another.
    pub fn give_up_name(&mut self) {
        (self.wanted, self.claim_at) = (None, None);
    }

    /// Whether you are called what you want to be called.
    pub fn has_wanted_name(&self) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| *wanted == self.name)
    }

    /// What asks for the name, if you want one: with its key, if that is known.
    pub fn ask_for_name(&self) -> Option<String> {
        let wanted = self.wanted.as_ref().filter(|wanted| **wanted != self.name)?;
        Some(match &self.key {
            Some(key) => format!("/nick {wanted} {key}"),
            None => format!("/nick {wanted}"),
        })
    }

    /// What asks to go to the room, if that is not where you are.
    pub fn ask_for_room(&self) -> Option<String> {
        let wanted = self.wanted_room.as_ref().filter(|wanted| **wanted != self.room)?;
        Some(format!("/join {wanted}"))
    }

    /// What was missed is asked for anew.
    pub fn begin_anew(&mut self) {
        self.claim_at = None;
        self.catch_up = CatchUp { held: std::mem::take(&mut self.catch_up.held), ..CatchUp::default() };
    }

    /// What asks for the lines after the last that was shown, if you are in that room again, and they were not asked for,
    /// or there are more.
    pub fn ask_for_missed(&mut self) -> Option<String> {
        let (_, epoch) = self.place.as_ref().filter(|(room, _)| *room == self.room)?;
        if std::mem::replace(&mut self.catch_up.is_asked, true) && !self.catch_up.has_more {
            return None;
        }
        self.catch_up.has_more = false;
        Some(format!("/last since {} {epoch}", self.shown.max(self.base)))
    }

    /// Lines that were missed follow, or those of another room.
    fn begin(&mut self, history: &History<'_>) {
        let Some((room, epoch)) = &mut self.place else { return };
        let is_here = *room == clean(history.room.as_bytes());
        self.catch_up.history = Some(is_here);
        if !is_here {
            return;
        }
        let since = history.since.unwrap_or(0);
        if *epoch != history.epoch {
            // A node that is behind tells of the later epoch, and has its lines, when it gets there.
            self.ahead = (*epoch > history.epoch).then_some((*epoch, self.shown.max(self.base)));
            *epoch = history.epoch;
            (self.shown, self.base) = (since, 0);
            self.catch_up.counts.is_anew = since == 0;
        }
        if self.catch_up.counts.is_anew {
            // Its numbers say nothing of what you have said before.
            self.own.drain(..self.own.len().saturating_sub(1));
        }
        self.catch_up.has_more = history.more > 0;
        self.catch_up.counts.missing += history.missing;
    }

    /// An object of the daemon; `text` is what it was read from. Returns whether it is to be shown now: before all is
    /// answered, no line is. What you have said yourself is no longer doubtful.
    pub fn hear(
        &mut self,
        object: &Object<'_>,
        text: &str,
        is_ready: bool,
        doubtful: &mut Vec<Vec<u8>>,
    ) -> bool {
        match object {
            Object::Message(line) | Object::Emote(line) if is_ready => return self.is_new(line),
            Object::Message(line) | Object::Emote(line) => match self.catch_up.history {
                Some(true) => {
                    let is_own = self.own.contains(&line.id);
                    let found = doubtful.iter().position(|typed| is_own && is_same(typed, object));
                    found.into_iter().for_each(|at| drop(doubtful.remove(at)));
                    if self.is_new(line) && !is_own {
                        self.catch_up.keep(text, true);
                    }
                }
                None => self.catch_up.keep(text, false),
                Some(false) => {}
            },
            Object::Epoch { room, epoch, seq } if is_ready => return self.go_on(room, *epoch, *seq),
            Object::Epoch { .. } => self.catch_up.keep(text, false),
            // Nobody can ask for it again.
            Object::Private { .. } if !is_ready => self.catch_up.keep(text, false),
            Object::History(history) if history.since.is_some() && !is_ready => self.begin(history),
            Object::HistoryEnd => return self.catch_up.history.take().is_none(),
            _ => return true,
        }
        false
    }

    /// A room goes on with another epoch. Returns whether it is the one where you are, and that is new.
    fn go_on(&mut self, room: &str, epoch: u64, seq: u64) -> bool {
        let is_new = |(place, before): &&mut (String, u64)| place == room && *before != epoch;
        let Some((_, before)) = self.place.as_mut().filter(is_new) else { return false };
        let ahead = self.ahead.take().filter(|(ahead, _)| *ahead == epoch);
        (*before, self.shown, self.base) = (epoch, ahead.map_or(seq, |(_, shown)| shown.max(seq)), 0);
        true
    }

    /// Notes a line. Returns whether it is new: one of the room that was shown before is not.
    fn is_new(&mut self, line: &Line<'_>) -> bool {
        let is_here = self.place.as_ref().is_some_and(|(room, _)| *room == line.room);
        let is_new = !is_here || line.seq > self.shown;
        if is_here && is_new {
            self.shown = line.seq;
        }
        is_new
    }
}

impl CatchUp {
    /// Keeps a line, as long as there is room for it.
    fn keep(&mut self, line: &str, was_missed: bool) {
        let fits = self.bytes + line.len() <= MAX_BYTES;
        match (was_missed, fits) {
            (true, true) => self.counts.shown += 1,
            (true, false) => self.counts.missing += 1,
            (false, _) => {}
        }
        if fits {
            self.bytes += line.len();
            if was_missed { &mut self.lines } else { &mut self.held }.push(line.to_owned());
        }
    }
}

/// A later version may say something else.
fn read(line: &str) -> Object<'_> {
    serde_json::from_str(line).unwrap_or(Object::Unknown)
}

/// Whether the room shows `shown` where somebody has typed `typed`.
fn is_same(typed: &[u8], shown: &Object<'_>) -> bool {
    match (syntax::read(typed), shown) {
        (Typed::Text(typed), Object::Message(line)) => clean(typed) == clean(line.text.as_bytes()),
        (Typed::Command(Command::Me(typed)), Object::Emote(line)) => {
            clean(typed.as_bytes()) == clean(line.text.as_bytes())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(id: u64, name: &str, room: &str, epoch: u64, seq: u64) -> Object<'static> {
        let (name, room) = (name.to_owned().into(), room.to_owned().into());
        Object::Synced { token: "t".into(), id, name, verified: false, host: None, room, epoch, seq }
    }

    fn line(room: &str, seq: u64, id: u64) -> Line<'static> {
        Line {
            seq,
            time: "2026-11-28T12:00:00.000Z".into(),
            room: room.to_owned().into(),
            id,
            from: "bob".into(),
            verified: false,
            host: None,
            text: "hi".into(),
        }
    }

    fn history(room: &str, epoch: u64, missing: u64, more: u64) -> Object<'static> {
        let (room, since) = (room.to_owned().into(), Some(0));
        Object::History(History { room, epoch, missing, more, since, ..History::default() })
    }

    #[test]
    fn name_room_and_lines_are_asked_for_again() {
        let (ann, ops) = (Name::parse("ann").unwrap(), Name::parse("ops").unwrap());
        let mut you = Resume::new(Some(&ann), Some(&ops));
        you.synced(&synced(7, "guest7", "main", 1, 4));
        assert_eq!(you.ask_for_name().as_deref(), Some("/nick ann"));
        assert_eq!(you.ask_for_room().as_deref(), Some("/join ops"));
        let key = Key::parse("00112233445566778899aabbccddeeff");
        you.note(&Notice::Named { name: "ann".into(), key });
        you.entered("ops", 3);
        assert!(you.has_wanted_name() && you.ask_for_room().is_none());
        let mut lost = vec![b"hi".to_vec(), b"not there".to_vec()];
        let mut hear = |you: &mut Resume, line: Line<'_>, is_ready| {
            you.hear(&Object::Message(line), "a line", is_ready, &mut lost)
        };
        assert!(hear(&mut you, line("ops", 5, 8), true) && !hear(&mut you, line("ops", 5, 8), true));
        // The connection is back.
        you.begin_anew();
        you.synced(&synced(9, "guest9", "main", 1, 20));
        assert_eq!(you.ask_for_name().as_deref(), Some("/nick ann 00112233445566778899aabbccddeeff"));
        assert_eq!(you.ask_for_room().as_deref(), Some("/join ops"));
        assert_eq!(you.ask_for_missed(), None, "not there yet");
        you.synced(&synced(9, "ann", "ops", 3, 9));
        assert_eq!(you.ask_for_missed().as_deref(), Some("/last since 5 3"));
        assert!(!hear(&mut you, line("ops", 9, 8), false), "it is held back");
        assert!(!you.hear(&history("ops", 3, 2, 0), "", false, &mut Vec::new()));
        assert!(!hear(&mut you, line("ops", 8, 7), false) && !hear(&mut you, line("ops", 9, 8), false));
        let ends = |you: &mut Resume| !you.hear(&Object::HistoryEnd, "", false, &mut Vec::new());
        assert!(ends(&mut you) && !ends(&mut you));
        assert_eq!(you.ask_for_missed(), None, "there is no more");
        assert_eq!(lost, [b"not there"]);
        let (missed, lines, held) = you.settle();
        assert_eq!((lines.len(), held.len()), (1, 1));
        assert_eq!(missed.marker().as_deref(), Some("-- 3 new, 2 of them no longer kept --"));
    }

    #[test]
    fn a_room_that_has_begun_anew_is_shown_from_its_first_line() {
        let mut you = Resume::new(None, None);
        you.synced(&synced(7, "guest7", "main", 1, 40));
        you.settle();
        assert_eq!(you.ask_for_missed().as_deref(), Some("/last since 40 1"));
        for object in [history("main", 2, 0, 1), Object::Message(line("main", 1, 3))] {
            assert!(!you.hear(&object, "a line", false, &mut Vec::new()));
        }
        assert_eq!(you.ask_for_missed().as_deref(), Some("/last since 1 2"));
        assert!(you.settle().0.is_anew);
    }

    #[test]
    fn a_room_that_goes_on_with_another_epoch_is_shown_from_where_it_does() {
        let mut you = Resume::new(None, None);
        you.synced(&synced(7, "guest7", "main", 1, 40));
        you.settle();
        let epoch = |room: &'static str, epoch, seq| Object::Epoch { room: room.into(), epoch, seq };
        let mut hear = |object, is_ready| you.hear(&object, "a line", is_ready, &mut Vec::new());
        let said = |seq| Object::Message(line("main", seq, 3));
        assert!(hear(said(44), true) && hear(epoch("main", 2, 42), true), "two lines are lost");
        assert!(hear(said(43), true) && hear(said(44), true) && !hear(said(44), true));
        assert!(!hear(epoch("ops", 9, 7), true) && !hear(said(44), true), "another room");
        assert_eq!(you.ask_for_missed().as_deref(), Some("/last since 44 2"));
        // Meanwhile it has gone on with a third one. What came before the answer is in it.
        let answer = History { epoch: 3, lines: 1, since: Some(43), ..History::default() };
        let answer = Object::History(History { room: "main".into(), ..answer });
        let mut hear = |object, is_ready| you.hear(&object, "a line", is_ready, &mut Vec::new());
        assert!(!hear(epoch("main", 3, 43), false) && !hear(answer, false) && !hear(said(44), false));
        assert!(!hear(Object::HistoryEnd, false));
        let (missed, lines, held) = you.settle();
        assert_eq!((missed.is_anew, lines.len(), held.len()), (false, 1, 1));
        let mut hear = |object, is_ready| you.hear(&object, "a line", is_ready, &mut Vec::new());
        assert!(!hear(epoch("main", 3, 43), true) && !hear(said(44), true) && hear(said(45), true));
    }

    /// Lines that the engine lost came meanwhile, and their numbers are those of others now.
    #[test]
    fn what_came_before_the_epoch_of_the_answer_hides_nothing_that_comes_after() {
        let mut you = Resume::new(None, None);
        you.synced(&synced(7, "guest7", "main", 7, 44));
        you.settle();
        you.begin_anew();
        assert_eq!(you.ask_for_missed().as_deref(), Some("/last since 44 7"));
        let said = |seq| serde_json::to_string(&Object::Message(line("main", seq, 3))).unwrap();
        let begins = |epoch| format!("{{\"type\":\"epoch\",\"room\":\"main\",\"epoch\":{epoch},\"seq\":44}}");
        let answer = |epoch, since| {
            let answer =
                History { room: "main".into(), epoch, lines: 1, since: Some(since), ..History::default() };
            serde_json::to_string(&Object::History(answer)).unwrap()
        };
        let end = "{\"type\":\"history_end\"}".to_owned();
        let hear = |you: &mut Resume, text: &str, is_ready| {
            you.hear(&serde_json::from_str(text).unwrap(), text, is_ready, &mut Vec::new())
        };
        for text in [said(45), said(46), begins(8), said(45), answer(8, 44), said(45), end] {
            assert!(!hear(&mut you, &text, false));
        }
        let (missed, lines, held) = you.settle();
        assert_eq!((missed.is_anew, lines.len(), &held[..]), (false, 1, &[begins(8), said(45)][..]));
        let shown: Vec<bool> = held.iter().map(|text| hear(&mut you, text, true)).collect();
        assert!(shown == [false, false] && hear(&mut you, &said(46), true));
        // At a node that is behind, it is as before, until that is there.
        you.begin_anew();
        for text in [answer(7, 44), begins(8)] {
            assert!(!hear(&mut you, &text, false));
        }
        let (missed, _, held) = you.settle();
        assert!(!missed.is_anew && held == [begins(8)] && hear(&mut you, &held[0], true));
        assert!(!hear(&mut you, &said(46), true) && hear(&mut you, &said(47), true));
    }

    #[test]
    fn a_typed_line_is_known_by_what_the_room_shows() {
        let (said, emote) = (Object::Message(line("main", 1, 7)), Object::Emote(line("main", 1, 7)));
        assert!(is_same(b"hi", &said) && is_same(b"/me hi", &emote));
        assert!(!is_same(b"hi", &emote) && !is_same(b"/msg bob hi", &said));
    }
}
