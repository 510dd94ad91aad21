//! The types of values: sizes, times, counts, switches, words and text. Each reads and writes itself.
//!
//! A single word or number is read as text, because the environment and the options have only text. So a mistake has
//! the same message wherever it is. serde calls what the rows of `settings` name: [`deserialize`] and [`serialize`]
//! here, or those of [`Within`]. Never knows which key it reads for.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use log::LevelFilter;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Value;

use crate::duration::{parse_duration, show_duration};
use crate::protocol::View;
use crate::service::logging::LogKind;

/// Longest part of a bad value that a message shows, in characters.
const SHOWN: usize = 60;
/// The longest text, in bytes.
const MAX_TEXT: usize = 4096;

/// The value of a key.
pub(super) trait Setting: Sized {
    /// How it is written, for error messages.
    const KIND: &'static str;

    /// Reads a TOML value. Does not check limits.
    ///
    /// # Errors
    /// A message without the place.
    fn read(value: &Value) -> Result<Self, String>;

    /// Writes it as a TOML value.
    fn to_toml(&self) -> Value;

    /// The number that its limits are about: bytes, milliseconds, or the number itself. `None` if it has no limits.
    fn measure(&self) -> Option<u64> {
        None
    }

    /// Writes a limit, for the message about a value beyond it.
    fn show_limit(limit: u64) -> String {
        limit.to_string()
    }
}

/// Reads a single word or number. A TOML number or boolean counts as its text.
fn scalar<T: Setting>(value: &Value, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(_) | Value::Boolean(_) => Some(value.to_string()),
        _ => None,
    };
    text.and_then(|text| parse(&text)).ok_or_else(|| is_not::<T>(value))
}

/// Returns the message about a value that is not a `T`.
pub(super) fn is_not<T: Setting>(value: &Value) -> String {
    format!("{} is not {}", shown(value), T::KIND)
}

/// Deserialises a setting without limits: `#[serde(with = "value")]`.
pub(super) fn deserialize<'de, T: Setting, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::read(&Value::deserialize(from)?).map_err(D::Error::custom)
}

/// Serialises a setting.
pub(super) fn serialize<T: Setting, S: Serializer>(setting: &T, to: S) -> Result<S::Ok, S::Error> {
    setting.to_toml().serialize(to)
}

/// A setting with limits: `#[serde(with = "Within::<LEAST, MOST>")]`.
pub(super) struct Within<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Within<LEAST, MOST> {
    pub(super) fn deserialize<'de, T: Setting, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        let given = Value::deserialize(from)?;
        let setting = T::read(&given).map_err(D::Error::custom)?;
        let (what, limit) = match setting.measure() {
            Some(measure) if measure < LEAST => ("small; the least", LEAST),
            Some(measure) if measure > MOST => ("large; the most", MOST),
            _ => return Ok(setting),
        };
        let limit = T::show_limit(limit);
        Err(D::Error::custom(format_args!("{} is too {what} is {limit}", shown(&given))))
    }

    pub(super) fn serialize<T: Setting, S: Serializer>(setting: &T, to: S) -> Result<S::Ok, S::Error> {
        serialize(setting, to)
    }
}

/// Reads a list of at most `most` entries, or one entry alone; the empty text is an empty list. `name` returns what no two
/// entries share.
pub(super) fn list<T>(
    value: &Value,
    (most, noun): (usize, &str),
    read: impl Fn(&Value) -> Result<T, String>,
    name: impl Fn(&T) -> String,
) -> Result<Vec<T>, String> {
    let entries = match value {
        Value::String(text) if text.is_empty() => &[],
        Value::Array(entries) => entries.as_slice(),
        one => std::slice::from_ref(one),
    };
    if entries.len() > most {
        return Err(format!("{} {noun} are too many; the most is {most}", entries.len()));
    }
    let all = entries.iter().map(read).collect::<Result<Vec<T>, String>>()?;
    let mut known = HashSet::new();
    match all.iter().map(name).find(|name| !known.insert(name.clone())) {
        Some(twice) => Err(format!("{} is listed twice; leave one out", quoted(&twice))),
        None => Ok(all),
    }
}

/// Returns a value for a message: the first [`SHOWN`] characters on one line.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Integer(_) | Value::Boolean(_) => format!("\"{value}\""),
        Value::Float(_) => "a number with a fraction".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// Returns a text for a message, in quotes: the first [`SHOWN`] characters on one line.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Text for terminals: lines without control characters other than TAB.
impl Setting for String {
    const KIND: &'static str = "text; write it in quotes";

    /// Removes one newline at the end, so that a TOML text of several lines has no empty last line.
    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        if text.len() > MAX_TEXT {
            return Err(format!("{} bytes are too long; the most is {MAX_TEXT}", text.len()));
        }
        // Editors of Windows end the lines of such a text with CR LF.
        let text = text.replace("\r\n", "\n");
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if let Some(control) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            let control = control.escape_default();
            return Err(format!("the control character \"{control}\" would reach terminals; leave it out"));
        }
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> Value {
        self.as_str().into()
    }
}

/// A number of bytes.
///
/// As text: a whole number, alone or with `B`, `KiB`, `MiB`, `GiB` (powers of 1024) or `kB`, `MB`, `GB` (powers of
/// 1000). Upper and lower case are the same. A bare `K` or `M` is refused: people read it as 1000 or as 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

impl Size {
    /// Makes a size of `bytes`.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes, at most `usize::MAX`.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Returns `count` times this size, at most `u64::MAX` bytes.
    pub(super) fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Returns this size divided by `count`, rounded down.
    pub(super) fn divided_by(self, count: u64) -> Self {
        Self(self.0 / count)
    }

    /// Reads a size. Returns `None` if the text is not one or does not fit into 64 bits.
    fn parse(text: &str) -> Option<Self> {
        let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (_, factor) = UNITS.into_iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes == 0 || bytes % (1 << 10) != 0 => write!(f, "{bytes}"),
            bytes if bytes % (1 << 20) != 0 => write!(f, "{}KiB", bytes >> 10),
            bytes if bytes % (1 << 30) != 0 => write!(f, "{}MiB", bytes >> 20),
            bytes => write!(f, "{}GiB", bytes >> 30),
        }
    }
}

impl Setting for Size {
    const KIND: &'static str =
        "a size; write bytes (16384) or a unit: 16KiB, 4MiB (powers of 1024), 16kB, 4MB (powers of 1000)";

    fn read(value: &Value) -> Result<Self, String> {
        scalar(value, Self::parse)
    }

    fn to_toml(&self) -> Value {
        self.to_string().into()
    }

    fn measure(&self) -> Option<u64> {
        Some(self.0)
    }

    fn show_limit(limit: u64) -> String {
        Self(limit).to_string()
    }
}

impl Setting for Duration {
    const KIND: &'static str = "a time; write seconds (60) or a unit: 500ms, 60s, 5m, 1h, 7d";

    fn read(value: &Value) -> Result<Self, String> {
        scalar(value, parse_duration)
    }

    fn to_toml(&self) -> Value {
        show_duration(*self).into()
    }

    fn measure(&self) -> Option<u64> {
        u64::try_from(self.as_millis()).ok()
    }

    fn show_limit(limit: u64) -> String {
        show_duration(Self::from_millis(limit))
    }
}

/// A time that `off` or 0 turns off; the limits do not hold for these.
impl Setting for Option<Duration> {
    const KIND: &'static str = "a time; write seconds (60) or a unit: 500ms, 60s, 5m, 1h, 7d; or off";

    fn read(value: &Value) -> Result<Self, String> {
        let parse = |text: &str| if text == "off" { Some(Duration::ZERO) } else { parse_duration(text) };
        scalar(value, |text| parse(text).map(|time| Some(time).filter(|time| !time.is_zero())))
    }

    fn to_toml(&self) -> Value {
        self.map_or_else(|| "off".into(), |time| time.to_toml())
    }

    fn measure(&self) -> Option<u64> {
        self.as_ref().and_then(Setting::measure)
    }

    fn show_limit(limit: u64) -> String {
        Duration::show_limit(limit)
    }
}

impl Setting for usize {
    const KIND: &'static str = "a number; write a whole number without a unit";

    fn read(value: &Value) -> Result<Self, String> {
        scalar(value, |text| text.parse().ok().filter(|_| !text.starts_with('+')))
    }

    fn to_toml(&self) -> Value {
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }

    fn measure(&self) -> Option<u64> {
        u64::try_from(*self).ok()
    }
}

impl Setting for bool {
    const KIND: &'static str = "a switch; write true or false";

    fn read(value: &Value) -> Result<Self, String> {
        scalar(value, |text| text.parse().ok())
    }

    fn to_toml(&self) -> Value {
        (*self).into()
    }
}

/// One of a few words, each with its meaning.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// See [`Setting::KIND`].
    const KIND: &'static str;
    /// Every word.
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Word> Setting for T {
    const KIND: &'static str = <T as Word>::KIND;

    fn read(value: &Value) -> Result<Self, String> {
        let meaning =
            |text: &str| T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        scalar(value, meaning)
    }

    fn to_toml(&self) -> Value {
        T::WORDS.iter().find(|(_, meaning)| meaning == self).map_or("", |(word, _)| word).into()
    }
}

impl Word for LogKind {
    const KIND: &'static str = "a place for the log; write auto, stderr, syslog or none";
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("stderr", Self::Stderr), ("syslog", Self::Syslog), ("none", Self::None)];
}

impl Word for LevelFilter {
    const KIND: &'static str = "a level; write error, warn, info or debug";
    const WORDS: &'static [(&'static str, Self)] =
        &[("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug)];
}

impl Word for View {
    const KIND: &'static str = "a view; write plain, names or json";
    const WORDS: &'static [(&'static str, Self)] =
        &[("plain", Self::Plain), ("names", Self::Names), ("json", Self::Json)];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("64kB", 64_000),
            ("4MiB", 4_194_304),
            ("4MB", 4_000_000),
            ("1GiB", 1_073_741_824),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "KiB", "16k", "16M", "16 KiB", "-1", "+1", "1.5MiB", "1TiB", "99999999999GiB", "٣"]
        {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    /// Each word means one thing, and each thing has a word.
    fn check_words<T: Word + std::fmt::Debug>() {
        for (word, meaning) in T::WORDS {
            assert_eq!(T::read(&Value::from(*word)), Ok(*meaning));
            assert_eq!(meaning.to_toml(), Value::from(*word));
            assert!(<T as Word>::KIND.contains(word), "{word}");
        }
    }

    #[test]
    fn every_log_every_level_and_every_view_has_its_word() {
        check_words::<LogKind>();
        check_words::<LevelFilter>();
        check_words::<View>();
        assert!(
            View::WORDS
                .iter()
                .map(|(word, view)| (*word, *view))
                .eq(View::ALL.map(|view| (view.name(), view)))
        );
    }

    proptest! {
        #[test]
        fn a_size_is_written_as_it_is_read(bytes: u64, shift in 0u32..40) {
            let size = Size(bytes >> shift << shift);
            prop_assert_eq!(Size::parse(&size.to_string()), Some(size));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = Size::parse(&text);
        }
    }
}
