//! Sizes and durations as people write them: `64KiB`, `500ms`.
//!
//! Called by `raw` to read a value and by `key` to write one. Pure text; what is written parses back to the same
//! value. Never guesses: a bare `K` or `M`, which people read as 1000 or 1024, is refused.

use std::fmt;
use std::time::Duration;

/// A number of bytes.
///
/// As text: a whole number, alone or with `B`, `KiB`, `MiB`, `GiB` (powers of 1024) or `kB`, `MB`, `GB`
/// (powers of 1000). Upper and lower case are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(&str, u64); 7] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

impl Size {
    /// A size of `bytes`.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes; a size that memory cannot hold counts as the most that it can.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// `count` times this size, at most `u64::MAX` bytes.
    pub(super) fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// This size divided by `count`, rounded down.
    pub(super) fn divided_by(self, count: u64) -> Self {
        Self(self.0 / count)
    }

    /// Reads a size; `None` if the text is not one or has more than 64 bits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_number(text)?;
        if unit.is_empty() {
            return Some(Self(number));
        }
        let (_, factor) = UNITS.into_iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
        number.checked_mul(factor).map(Self)
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

/// Reads a duration: a whole number of seconds, or one with `ms`, `s`, `m` or `h`.
///
/// `None` if the text is not a duration or is longer than `u64::MAX` milliseconds.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// Writes a duration of whole milliseconds as the configuration reads it: `500ms`, `60s`, `5m`, `2h`.
///
/// Anything finer than a millisecond is left out.
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.subsec_millis() {
        0 if seconds >= 3600 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        0 if seconds >= 120 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        0 => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    number.parse().ok().map(|number| (number, unit))
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

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, milliseconds) in
            [("500ms", 500), ("0", 0), ("60", 60_000), ("60s", 60_000), ("2m", 120_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "60 s", "1d", "1M", "-1s", "1.5s", "99999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_size_is_written_as_it_is_read(bytes: u64, shift in 0u32..40) {
            let size = Size(bytes >> shift << shift);
            prop_assert_eq!(Size::parse(&size.to_string()), Some(size));
        }

        #[test]
        fn a_duration_is_written_as_it_is_read(milliseconds in 0u64..u64::from(u32::MAX), second: bool) {
            let duration = Duration::from_millis(if second { milliseconds * 1000 } else { milliseconds });
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = (Size::parse(&text), parse_duration(&text));
        }
    }
}
