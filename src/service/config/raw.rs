//! A value as it was written, and the kinds it can be read as.
//!
//! `file` and `load` make raw values, the rows of `key` read them: one voice for a mistake, wherever it was made.
//! A number, a switch or a time may be a TOML value or text, because options and variables are text.
//! Never knows which key it reads for: ranges come from the caller.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Problem, quoted};
use super::unit::{self, Size};

/// A value as the file, the environment or an option gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Text, or anything from the environment and the options.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Raw>),
    /// A table, in the order in which it is written.
    Table(Vec<(String, Raw)>),
    /// Anything else that TOML has, by its name: `a date`.
    Other(&'static str),
}

const SIZE: &str = "bytes (16384) or a unit: 16KiB, 4MiB (powers of 1024), 16kB, 4MB (powers of 1000)";
const DURATION: &str = "seconds (60) or a unit: 500ms, 60s, 5m, 1h";
const TIME_OUT: &str = "seconds (60) or a unit: 500ms, 60s, 5m, 1h; or off";
const COUNT: &str = "a whole number without a unit";

impl Raw {
    /// A list of texts.
    pub(super) fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::List(texts.into_iter().map(Self::Text).collect())
    }

    pub(super) fn not_a(&self, kind: &'static str, write: &'static str) -> Problem {
        Problem::NotA { value: self.to_string(), kind, write }
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        range: RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Result<T, Problem> {
        if value < *range.start() {
            return Err(Problem::TooSmall { value: self.to_string(), least: show(range.start()) });
        }
        if value > *range.end() {
            return Err(Problem::TooLarge { value: self.to_string(), most: show(range.end()) });
        }
        Ok(value)
    }

    pub(super) fn boolean(&self) -> Result<bool, Problem> {
        match self {
            Raw::Bool(value) => Ok(*value),
            Raw::Text(text) if text == "true" => Ok(true),
            Raw::Text(text) if text == "false" => Ok(false),
            _ => Err(self.not_a("a switch", "true or false")),
        }
    }

    pub(super) fn count(&self, range: RangeInclusive<usize>) -> Result<usize, Problem> {
        let value = match self {
            Raw::Integer(value) => usize::try_from(*value).ok(),
            Raw::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        self.within(value.ok_or_else(|| self.not_a("a number", COUNT))?, range, usize::to_string)
    }

    pub(super) fn size(&self, range: RangeInclusive<Size>) -> Result<Size, Problem> {
        let value = match self {
            Raw::Integer(value) => u64::try_from(*value).ok().map(Size::new),
            Raw::Text(text) => Size::parse(text),
            _ => None,
        };
        self.within(value.ok_or_else(|| self.not_a("a size", SIZE))?, range, Size::to_string)
    }

    /// The duration that is written here, if one is.
    fn time(&self) -> Option<Duration> {
        match self {
            Raw::Integer(value) => u64::try_from(*value).ok().map(Duration::from_secs),
            Raw::Text(text) => unit::parse_duration(text),
            _ => None,
        }
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, Problem> {
        let value = self.time().ok_or_else(|| self.not_a("a time", DURATION))?;
        self.within(value, range, |value| unit::show_duration(*value))
    }

    /// A duration that can be turned off, with `off` or 0.
    pub(super) fn time_out(&self, range: RangeInclusive<Duration>) -> Result<Option<Duration>, Problem> {
        if matches!(self, Raw::Text(text) if text == "off") {
            return Ok(None);
        }
        let value = self.time().ok_or_else(|| self.not_a("a time", TIME_OUT))?;
        if value.is_zero() {
            return Ok(None);
        }
        self.within(value, range, |value| unit::show_duration(*value)).map(Some)
    }

    /// One of a few words, each with its meaning; `write` lists them for the message.
    pub(super) fn word<T: Copy>(
        &self,
        kind: &'static str,
        write: &'static str,
        words: &[(&str, T)],
    ) -> Result<T, Problem> {
        let found = match self {
            Raw::Text(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        found.map(|(_, value)| *value).ok_or_else(|| self.not_a(kind, write))
    }

    /// Text for terminals: lines of at most `max` bytes in all, without control characters other than TAB.
    ///
    /// One newline at the end is left out, so that a TOML text of several lines has no empty last one.
    pub(super) fn text(&self, max: usize) -> Result<String, Problem> {
        let Raw::Text(text) = self else { return Err(self.not_a("text", "it in quotes")) };
        if text.len() > max {
            return Err(Problem::LongText(text.len()));
        }
        // An editor of Windows ends lines with CR LF; then those of a text of several lines do, too.
        let text = text.replace("\r\n", "\n");
        let text = text.strip_suffix('\n').unwrap_or(&text);
        match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            Some(control) => Err(Problem::Control(control)),
            None => Ok(text.to_owned()),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Text(text) => f.write_str(&quoted(text)),
            Raw::Integer(value) => write!(f, "\"{value}\""),
            Raw::Bool(value) => write!(f, "\"{value}\""),
            Raw::List(_) => f.write_str("a list"),
            Raw::Table(_) => f.write_str("a table"),
            Raw::Other(name) => f.write_str(name),
        }
    }
}
