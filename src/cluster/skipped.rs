//! Entries that are skipped: they are counted, and one of them is in the log, at most once a minute.

use std::time::Duration;

use super::state::State;
use super::wire::Bad;
use crate::chat::Cursor;
use crate::rt;

/// How long nothing more of it is in the log.
const QUIET: Duration = Duration::from_secs(60);

/// Notes that entries of a stream are skipped.
pub fn note(state: &mut State, stream: &str, bad: &[(Cursor, Bad)]) {
    let Some((cursor, why)) = bad.last() else { return };
    state.engine.skipped += bad.len() as u64;
    let now = rt::now();
    if state.health.skips_logged.is_none_or(|last| now.duration_since(last) >= QUIET) {
        state.health.skips_logged = Some(now);
        let Cursor { epoch, entry } = cursor;
        log::warn!(
            "an entry of {stream} is skipped: {why} ({epoch}-{entry}; {} so far)",
            state.engine.skipped
        );
    }
}
