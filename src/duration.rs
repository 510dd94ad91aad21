//! Durations as people write them: `60`, `500ms`, `5m`, `1h 30m`, `7d`.
//!
//! Used by `service::config` and `client::cli`. A duration that is written reads back as the same value. Limits are
//! up to the caller.

use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::{SpanParser, SpanPrinter};

/// Reads a duration: a whole number of seconds, or numbers with units, as in `1h 30m`, `1.5s` or `7d`. A day has 24 hours.
/// Returns `None` for any other text.
pub fn parse_duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let span = SpanParser::new().parse_span(text).ok()?;
            let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            // No word of the parser for what lies behind us.
            duration.try_into().ok().filter(|_| !text.contains("ago"))
        }
    }
}

/// Writes a duration so that [`parse_duration`] reads it back: `500ms`, `60s`, `5m`, `2h`.
pub fn show_duration(duration: Duration) -> String {
    match duration.as_secs() {
        _ if duration.subsec_nanos() != 0 => SpanPrinter::new().unsigned_duration_to_string(&duration),
        hours if hours >= 3600 && hours.is_multiple_of(3600) => format!("{}h", hours / 3600),
        minutes if minutes >= 120 && minutes.is_multiple_of(60) => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("0", 0),
            ("60", 60_000),
            ("60s", 60_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("60 s", 60_000),
            ("1.5s", 1_500),
            ("8760h", 8760 * 3_600_000),
            ("1d", 24 * 3_600_000),
            ("1d 12h", 36 * 3_600_000),
            ("2w", 14 * 24 * 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "ms",
            "1M",
            "1mo",
            "1y",
            "-1",
            "-1s",
            "1s ago",
            "1.5",
            "soon",
            "off",
            "99999999999999999999h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_written_as_it_is_read(milliseconds in 0u64..u64::from(u32::MAX), second: bool) {
            let duration = Duration::from_millis(if second { milliseconds * 1000 } else { milliseconds });
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
