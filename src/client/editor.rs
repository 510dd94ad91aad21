//! The line being typed: keys in, a row to show out.
//!
//! `talk` hands in the keys of the terminal and does what the [`Action`]s say, `terminal` shows the [`Row`]: always one,
//! which scrolls sideways, so no width and no resize can tear it. A paste goes into the line as it is, whether the
//! terminal marks it or not; what has several lines is a paste. Pure: opens nothing, waits for nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::link::clean;
use super::request::MAX_BYTES;
use super::terminal::{Key, Row};

/// Lines that Up brings back.
pub const HISTORY_LINES: usize = 1000;

/// From this many lines on, a paste is said only after Enter was pressed twice.
pub const ASK_LINES: usize = 20;

/// Bytes that follow each other this quickly, with line ends among them, are a paste that the terminal does not mark.
const BURST: Duration = Duration::from_millis(50);

/// A paste whose end mark does not come within this time has ended: it was lost on the way.
const PASTE_SILENCE: Duration = Duration::from_secs(1);

/// What stands for a line end within the row.
const LINE_END: &str = "\u{21b5}";

/// What is to be done because of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A line, or a paste of several, is to be said.
    Line(String),
    /// A paste of so many lines waits for another Enter.
    Ask(usize),
    /// Complete what is before the cursor.
    Complete,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Clear,
}

/// Searching in what was typed before.
#[derive(Debug, Default)]
struct Search {
    query: String,
    /// The line that has it.
    found: Option<usize>,
}

/// The line being typed, and those before it.
#[derive(Debug, Default)]
pub struct Editor {
    text: String,
    /// Where the cursor is, in bytes.
    at: usize,
    history: VecDeque<String>,
    /// Which of them is shown instead of the line that was begun.
    recalled: Option<usize>,
    begun: String,
    killed: String,
    search: Option<Search>,
    /// When the last byte of a paste came that has not ended.
    pasting: Option<Instant>,
    /// When the last byte of an unmarked paste came.
    burst: Option<Instant>,
    was_return: bool,
    /// A long paste was asked about.
    is_asked: bool,
}

impl Editor {
    /// Takes keys that have come together.
    pub fn feed(&mut self, keys: Vec<Key>, now: Instant) -> Vec<Action> {
        let is_text = |key: &Key| matches!(key, Key::Char(_) | Key::Ctrl('i'));
        let is_end = |key: &Key| matches!(key, Key::Ctrl('m' | 'j'));
        let has_more = |at: usize| keys[at..].iter().any(is_text);
        let is_marked = self.pasting.is_some() || keys.contains(&Key::PasteStart);
        let is_paste = !is_marked && keys.iter().position(is_end).is_some_and(has_more);
        // Enter alone was pressed.
        let goes_on = self.burst.is_some_and(|last| now - last < BURST) && keys != [Key::Ctrl('m')];
        self.burst = (is_paste || goes_on).then_some(now);
        // A TAB that comes together with other text was not pressed.
        let is_alone = keys.iter().filter(|key| is_text(key)).count() < 2;
        keys.into_iter().filter_map(|key| self.press(key, is_alone, now)).collect()
    }

    fn press(&mut self, key: Key, is_alone: bool, now: Instant) -> Option<Action> {
        let was_return = std::mem::replace(&mut self.was_return, key == Key::Ctrl('m'));
        let is_pasting = self.pasting.is_some_and(|last| now - last < PASTE_SILENCE);
        self.pasting = is_pasting.then_some(now);
        let is_paste = is_pasting || self.burst.is_some();
        match key {
            Key::PasteStart => (self.pasting, self.search) = (Some(now), None),
            Key::PasteEnd => self.pasting = None,
            Key::Ctrl('c') => return self.interrupt(),
            Key::Ctrl('j') if was_return => {}
            Key::Ctrl('m' | 'j') if is_paste => self.insert("\n"),
            Key::Ctrl('i') if is_paste || !is_alone || self.word().is_empty() => self.insert("\t"),
            Key::Char(c) => self.typed(c),
            Key::Ctrl('d') if is_pasting => {
                self.pasting = None;
                return self.text.is_empty().then_some(Action::End);
            }
            _ if is_pasting => {}
            _ => return self.act(key),
        }
        None
    }

    /// Ctrl-C: gives up a search or a paste that was asked about, or leaves.
    fn interrupt(&mut self) -> Option<Action> {
        self.pasting = None;
        if self.search.take().is_none() && !std::mem::take(&mut self.is_asked) {
            return Some(Action::Interrupt);
        }
        self.set(String::new());
        None
    }

    fn typed(&mut self, c: char) {
        match &mut self.search {
            Some(search) => {
                search.query.push(c);
                search.found = None;
                self.search_on();
            }
            None => self.insert(c.encode_utf8(&mut [0; 4])),
        }
    }

    fn act(&mut self, key: Key) -> Option<Action> {
        match (&mut self.search, key) {
            (Some(_), Key::Ctrl('r')) => self.search_on(),
            (None, Key::Ctrl('r')) => self.search = Some(Search::default()),
            (Some(search), Key::Ctrl('h')) => {
                search.query.pop();
                search.found = None;
                self.search_on();
            }
            _ => {
                self.end_search(key != Key::Ctrl('g'));
                return self.edit(key);
            }
        }
        None
    }

    fn edit(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Ctrl('m' | 'j') => return self.accept(),
            Key::Ctrl('i') => return Some(Action::Complete),
            Key::Ctrl('d') if self.text.is_empty() => return Some(Action::End),
            Key::Ctrl('z') => return Some(Action::Suspend),
            Key::Ctrl('l') => return Some(Action::Clear),
            Key::Ctrl('h') => self.remove(self.before(), self.at),
            Key::Delete | Key::Ctrl('d') => self.remove(self.at, self.after()),
            Key::Ctrl('w') => self.kill(self.word_before(), self.at),
            Key::Ctrl('u') => self.kill(0, self.at),
            Key::Ctrl('k') => self.kill(self.at, self.text.len()),
            Key::Ctrl('y') => self.insert(&self.killed.clone()),
            Key::Ctrl('b') => self.at = self.before(),
            Key::Ctrl('f') => self.at = self.after(),
            Key::Ctrl('a') => self.at = 0,
            Key::Ctrl('e') => self.at = self.text.len(),
            Key::Ctrl('p') => self.recall(true),
            Key::Ctrl('n') => self.recall(false),
            _ => {}
        }
        None
    }

    fn accept(&mut self) -> Option<Action> {
        let lines = self.text.trim_end_matches('\n').split('\n').count();
        if lines >= ASK_LINES && !std::mem::replace(&mut self.is_asked, true) {
            return Some(Action::Ask(lines));
        }
        let text = std::mem::take(&mut self.text);
        self.set(String::new());
        self.remember(&text);
        Some(Action::Line(text.trim_end_matches('\n').to_owned()))
    }

    /// Adds a line to those that Up brings back.
    pub fn remember(&mut self, text: &str) {
        if text.is_empty() || self.history.back().is_some_and(|last| last == text) {
            return;
        }
        if self.history.len() == HISTORY_LINES {
            self.history.pop_front();
        }
        self.history.push_back(text.to_owned());
    }

    /// What is before the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.at]
    }

    /// Completes the word before the cursor: as far as those candidates agree that begin with it. Returns them if that is
    /// no further.
    pub fn complete(&mut self, candidates: impl Iterator<Item = String>) -> Vec<String> {
        let word = self.word().to_lowercase();
        let fits: Vec<String> = candidates.filter(|one| one.to_lowercase().starts_with(&word)).collect();
        let Some((first, others)) = fits.split_first() else { return Vec::new() };
        let agree = |len: &usize| others.iter().all(|other| other.starts_with(&first[..*len]));
        let ends = first.char_indices().map(|(at, c)| at + c.len_utf8());
        let common = ends.take_while(agree).last().unwrap_or(0);
        if common < self.word().len() || (common == self.word().len() && fits.len() > 1) {
            return fits;
        }
        self.remove(self.at - self.word().len(), self.at);
        self.insert(&first[..common]);
        Vec::new()
    }

    /// The word before the cursor.
    pub fn word(&self) -> &str {
        let before = &self.text[..self.at];
        &before[before.rfind([' ', '\t', '\n']).map_or(0, |at| at + 1)..]
    }

    fn set(&mut self, text: String) {
        (self.at, self.text, self.recalled, self.is_asked) = (text.len(), text, None, false);
    }

    fn insert(&mut self, text: &str) {
        if self.text.len() + text.len() <= MAX_BYTES {
            self.text.insert_str(self.at, text);
            self.at += text.len();
            self.is_asked = false;
        }
    }

    fn remove(&mut self, start: usize, end: usize) {
        self.text.replace_range(start..end, "");
        (self.at, self.is_asked) = (start, false);
    }

    fn kill(&mut self, start: usize, end: usize) {
        if start < end {
            self.killed = self.text[start..end].to_owned();
            self.remove(start, end);
        }
    }

    fn before(&self) -> usize {
        self.text[..self.at].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        self.at + self.text[self.at..].graphemes(true).next().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let trimmed = self.text[..self.at].trim_end();
        let blank = trimmed.char_indices().rfind(|(_, c)| c.is_whitespace());
        blank.map_or(0, |(at, blank)| at + blank.len_utf8())
    }

    fn recall(&mut self, is_older: bool) {
        let last = self.history.len();
        let now = self.recalled.unwrap_or(last);
        let next = if is_older { now.checked_sub(1) } else { Some(now + 1).filter(|next| *next <= last) };
        let Some(next) = next else { return };
        if self.recalled.is_none() {
            self.begun.clone_from(&self.text);
        }
        let text = self.history.get(next).cloned().unwrap_or_else(|| std::mem::take(&mut self.begun));
        self.set(text);
        self.recalled = (next < last).then_some(next);
    }

    /// Finds the next older line that has what is searched for.
    fn search_on(&mut self) {
        let Some(search) = &mut self.search else { return };
        let end = search.found.unwrap_or(self.history.len());
        let found = (0..end).rev().find(|at| self.history[*at].contains(&search.query));
        search.found = found.or(search.found);
    }

    fn end_search(&mut self, takes: bool) {
        let found = self.search.take().and_then(|search| search.found);
        if let Some(text) = found.filter(|_| takes).and_then(|at| self.history.get(at)) {
            self.set(text.clone());
        }
    }

    /// The row to show on a terminal of so many columns.
    pub fn row(&self, prompt: &str, columns: usize) -> Row {
        let (prompt, text, at) = match &self.search {
            Some(search) => {
                let found = search.found.and_then(|at| self.history.get(at)).map_or("", String::as_str);
                (format!("search \"{}\": ", search.query), found, 0)
            }
            None => (prompt.to_owned(), self.text.as_str(), self.at),
        };
        // Half of the row is for what is typed; the last column stays empty, for terminals that wrap too early.
        let columns = columns.saturating_sub(1);
        let prompt = if prompt.width() > columns / 2 { "> ".to_owned() } else { prompt };
        let space = columns.saturating_sub(prompt.width()).max(1);
        let shown = |text: &str| -> Vec<String> { text.graphemes(true).map(shown).collect() };
        let (before, after) = (shown(&text[..at]), shown(&text[at..]));
        let taken: usize = before.iter().map(|part| part.width()).sum();
        // Where not everything fits, two thirds of the space are before the cursor.
        let over = if taken < space { 0 } else { taken - space * 2 / 3 };
        let mut skipped = 0;
        let is_over = |part: &&String| {
            let is_over = skipped < over;
            skipped += part.width();
            is_over
        };
        let begin = before.iter().take_while(is_over).count();
        let before = before[begin..].concat();
        let cursor = before.width();
        let mut left = space.saturating_sub(cursor);
        let fits = |part: &&String| {
            let fits = part.width() <= left;
            left = if fits { left - part.width() } else { 0 };
            fits
        };
        let after: String = after.iter().take_while(fits).map(String::as_str).collect();
        Row { cursor: prompt.width() + cursor, text: prompt + &before + &after }
    }
}

/// How a character looks within the row.
fn shown(cluster: &str) -> String {
    match cluster {
        "\n" | "\r\n" => LINE_END.to_owned(),
        "\t" => " ".to_owned(),
        _ => clean(cluster.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::terminal::Keys;
    use proptest::prelude::*;

    fn press(editor: &mut Editor, keys: &str) -> Vec<Action> {
        // Each key by itself, as somebody types.
        let keys = Keys::default().decode(keys.as_bytes());
        keys.into_iter().flat_map(|key| editor.feed(vec![key], Instant::now())).collect()
    }

    /// What comes together.
    fn feed(editor: &mut Editor, bytes: &[u8], now: Instant) -> Vec<Action> {
        editor.feed(Keys::default().decode(bytes), now)
    }

    fn line(keys: &str) -> Vec<Action> {
        press(&mut Editor::default(), keys)
    }

    fn said(text: &str) -> Vec<Action> {
        vec![Action::Line(text.to_owned())]
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, text) in [
            ("hello\r", "hello"),
            ("helo\x1b[Dl\r", "hello"),
            ("one two\x17three\r", "one three"),
            ("world\x01hello \x05!\r", "hello world!"),
            ("one two\x01\x0b\x19\x19\r", "one twoone two"),
            ("e\u{301}x\x7f\x7fy\r", "y"),
            ("ab\x1b[D\x1b[3~c\r", "ac"),
            ("\x1b[24~ok\r", "ok"),
        ] {
            assert_eq!(line(keys), said(text), "{keys:?}");
        }
        assert_eq!(line("\x04"), [Action::End]);
        assert_eq!(line("x\x04\x03"), [Action::Interrupt]);
        assert_eq!(line("\x0c\x1a"), [Action::Clear, Action::Suspend]);
    }

    #[test]
    fn what_was_typed_before_comes_back() {
        let mut editor = Editor::default();
        press(&mut editor, "one\rtwo\rthree\r");
        assert_eq!(press(&mut editor, "ha\x1b[A\x1b[A\x1b[B\r"), said("three"));
        press(&mut editor, "half\x1b[A\x1b[B");
        assert_eq!(editor.before_cursor(), "half");
        assert_eq!(press(&mut editor, "\x12o\x12\r"), said("one"));
        press(&mut editor, "\x12zzz");
        assert_eq!(editor.row("> ", 40).text, "search \"zzz\": ");
        assert_eq!(press(&mut editor, "\x03"), []);
    }

    #[test]
    fn a_paste_goes_as_one_and_long_ones_are_asked_about() {
        let mut editor = Editor::default();
        let now = Instant::now();
        assert_eq!(feed(&mut editor, b"\x1b[200~bye\n/quit\tx\r\nmore\x1b[201~", now), []);
        assert_eq!(editor.row("> ", 40).text, "> bye\u{21b5}/quit x\u{21b5}more");
        assert_eq!(feed(&mut editor, b"\r", now), said("bye\n/quit\tx\nmore"));
        let long = "line\n".repeat(25);
        feed(&mut editor, format!("\x1b[200~{long}\x1b[201~").as_bytes(), now);
        assert_eq!(feed(&mut editor, b"\r", now), [Action::Ask(25)]);
        assert_eq!(feed(&mut editor, b"\x03", now), [], "it is dropped, and nobody leaves");
        feed(&mut editor, format!("\x1b[200~{long}\x1b[201~").as_bytes(), now);
        assert_eq!(feed(&mut editor, b"\r", now), [Action::Ask(25)]);
        assert_eq!(feed(&mut editor, b"\r", now), said(long.trim_end()));
    }

    #[test]
    fn a_paste_that_is_not_marked_is_one_all_the_same() {
        let mut editor = Editor::default();
        let now = Instant::now();
        assert_eq!(feed(&mut editor, b"one\ttab\r/quit\r", now), []);
        assert_eq!(feed(&mut editor, b"three\r", now), [], "more of it");
        assert_eq!(feed(&mut editor, b"\r", now), said("one\ttab\n/quit\nthree"));
        assert_eq!(feed(&mut editor, b"a\tb\r", now + BURST * 3), said("a\tb"));
    }

    #[test]
    fn a_paste_whose_end_is_lost_leaves_nobody_deaf() {
        let mut editor = Editor::default();
        let now = Instant::now();
        feed(&mut editor, b"\x1b[200~some text\n", now);
        assert_eq!(feed(&mut editor, b"\x03", now), [Action::Interrupt]);
        feed(&mut editor, b"\x1b[200~more\n", now);
        assert_eq!(feed(&mut editor, b"\r", now + PASTE_SILENCE), said("some text\nmore"));
    }

    #[test]
    fn what_does_not_fit_scrolls_sideways() {
        let mut editor = Editor::default();
        press(&mut editor, &"0123456789".repeat(9));
        for columns in [0, 1, 2, 5, 20, 40, 100, 200] {
            let row = editor.row("ann@main> ", columns);
            assert!(
                row.text.width() < columns.max(4) && row.cursor <= row.text.width(),
                "{columns}: {row:?}"
            );
        }
        assert_eq!(editor.row("> ", 12).text, "> 456789");
        press(&mut editor, "\x01");
        assert_eq!(editor.row("> ", 12), Row { text: "> 012345678".into(), cursor: 2 });
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(pieces: Vec<Vec<u8>>, columns in 0..200usize) {
            let mut editor = Editor::default();
            let (now, mut keys) = (Instant::now(), Keys::default());
            for piece in pieces {
                editor.feed(keys.decode(&piece), now);
                let row = editor.row("> ", columns);
                prop_assert!(!row.text.chars().any(char::is_control));
                prop_assert!(row.text.width() <= columns.max(6));
            }
        }
    }
}
