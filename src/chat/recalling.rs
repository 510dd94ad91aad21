//! How a room becomes one that is recalled later, and goes on as one that was.

use super::epochs::Epochs;
use super::limits::Limits;
use super::recall::Recalled;
use super::room::{Placed, Room};
use super::sequencer::Cursor;

/// Returns a room as it is, which gives its lines away.
pub(super) fn recalled(room: &mut Room) -> Recalled {
    let mut recalled = Recalled::new((**room.name()).clone(), room.epoch(), room.said());
    (recalled.reserved, recalled.records) = (room.said(), room.history.take());
    recalled.past = std::mem::take(&mut room.numbers.past);
    recalled
}

/// Has a room go on with the numbers and the lines of one, unless it has lines or a larger number.
pub(super) fn go_on(room: &mut Room, mut recalled: Recalled, limits: &Limits) {
    if let Some(cursor) = room.numbers.cursor {
        if room.epoch() != recalled.epoch {
            return;
        }
        // Its own numbers are exact. What comes again behind them is archived already.
        room.outbox.archived = (cursor.epoch, recalled.said);
        let said = room.said();
        recalled.records.retain(|record| record.seq + record.lines as u64 <= said + 1);
        recalled.said = said;
    }
    if room.history.first().is_none() {
        room.history = recalled.history(limits);
    }
    room.numbers.go_on_after(room.said().max(recalled.said), recalled.epoch);
    room.numbers.past.or(recalled.past);
}

/// Has a room go on as the engine has it, behind `cursor`, unless it is further. Members are told of the lines that they
/// are missing by that.
pub(super) fn open_at(
    room: &mut Room,
    mut opened: Recalled,
    cursor: Cursor,
    limits: &Limits,
    placed: &mut Placed,
) {
    let before = room.numbers.cursor;
    if before.is_some_and(|before| before >= cursor) {
        return;
    }
    let is_same = room.epoch() == opened.epoch;
    if before.is_some() && is_same {
        room.miss(opened.said.saturating_sub(room.said()), placed);
    }
    if is_same {
        // The archive may have older lines.
        let first = opened.records.first().map_or(opened.said + 1, |record| record.seq);
        let mut older = room.history.take();
        older.retain(|record| record.seq + record.lines as u64 <= first);
        opened.records.splice(..0, older);
    }
    room.history = opened.history(limits);
    room.numbers.go_on_after(opened.said, opened.epoch);
    room.numbers.open_at(cursor);
    if !is_same {
        room.numbers.past = Epochs::default();
        room.feeds.begin_epoch(&room.name, opened.epoch, opened.said);
    }
    room.numbers.past.or(opened.past);
    placed.is_further = true;
    // What was announced before is in what the room has now.
    room.presence.forget_placing();
}
