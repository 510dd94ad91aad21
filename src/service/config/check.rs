//! What several keys must agree on. A row of the table of keys never looks at another key.

use super::value::Size;

/// The fewest lines of `max_line` that the log of a room holds.
///
/// In a log of about one line, every reader of a long line would be a slow one.
const LINES_IN_LOG: u64 = 8;

/// Checks that the log of a room holds a few lines of the longest kind.
///
/// # Errors
/// The mistake, with a remedy.
pub(super) fn log(log_size: Size, max_line: Size) -> Result<(), String> {
    if log_size >= max_line.times(LINES_IN_LOG) {
        return Ok(());
    }
    Err(format!(
        "log_size \"{log_size}\" holds less than {LINES_IN_LOG} lines of max_line \"{max_line}\"; \
         raise log_size to {} or lower max_line to {}",
        max_line.times(LINES_IN_LOG),
        log_size.divided_by(LINES_IN_LOG)
    ))
}
