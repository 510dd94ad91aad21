//! The reader: opens orders, and has the engine send what comes in all of them.

use std::convert::Infallible;
use std::sync::Arc;

use jiff::Timestamp;

use super::connection::{Connection, Trouble};
use super::engine::Scripts;
use super::order::Opening;
use super::resp::{Commands, Value};
use super::seen::Writer;
use super::settings::Settings;
use super::skipped;
use super::state::{ACTS, Shared, State};
use super::stored;
use super::wire::{self, Bad, Content, Fetched};
use super::writer::{LIFETIME, failed_over};
use crate::chat::{ClusterBans, Cursor, Recalled, Roster, Sequenced};
use crate::protocol::Name;

/// How long the engine waits for something to send, in milliseconds. The reader is woken when it has to read something
/// else.
pub const BLOCK: u64 = 5000;
/// Most entries of each stream that are read at once.
const COUNT: usize = 256;
/// Most entries of all streams that are read at once, but at least one of each: at 16 KiB of text, 64 MiB.
const MAX_ENTRIES: usize = 4096;
/// How many entries of a room are looked at for its last lines at once.
const RECALL: &str = "64";
/// How many lines are enough.
const ENOUGH_LINES: usize = 1000;
/// How many bytes of lines are enough.
const ENOUGH_BYTES: usize = 1 << 20;
/// The place of its connection among those that wait.
pub const CONNECTION: usize = 1;

/// An order that is to be opened.
struct Task {
    key: Arc<str>,
    name: Option<Arc<Name>>,
    opening: Opening,
    generation: u64,
    read: Cursor,
    /// The last entry that the engine must have.
    seen: Cursor,
    seq: u64,
    wants_bans: bool,
    /// The fields `n` and `c` of the last entry that was read; empty if not known.
    writer: String,
}

/// How an order stands.
#[derive(Clone, Copy)]
struct Standing {
    last: Cursor,
    seq: u64,
    is_lost: bool,
}

/// Reads, for as long as the connection lives.
pub struct Reader<'a> {
    pub connection: &'a mut Connection,
    pub scripts: &'a Scripts,
    pub shared: &'a Shared,
    pub settings: &'a Settings,
    pub wire: wire::Reader,
}

/// What has been read of an order.
type Read = (Arc<str>, Cursor, Vec<Result<Fetched, (Cursor, Bad)>>);

impl Reader<'_> {
    /// Opens what is to be opened, and reads.
    ///
    /// # Errors
    /// The connection is lost, or the engine refuses.
    pub async fn read(mut self) -> Result<Infallible, Trouble> {
        loop {
            let (tasks, orders) = self.plan();
            if tasks.is_empty() {
                self.fetch(&orders).await?;
                continue;
            }
            for task in tasks {
                if let Err(trouble) = self.open(&task).await {
                    self.refused(&task.key, trouble)?;
                }
            }
        }
    }

    /// Returns what is to be opened or else what is to be read, after which entries.
    fn plan(&self) -> (Vec<Task>, Vec<(Arc<str>, Cursor)>) {
        let state = &mut *self.shared.lock();
        state.errands.reader_is_stale = false;
        let mut tasks = Vec::new();
        for (key, order) in &state.orders {
            if order.opening != Opening::Done && !order.is_refused {
                tasks.push(Task {
                    key: Arc::clone(key),
                    name: order.name.clone(),
                    opening: order.opening,
                    generation: order.generation,
                    read: order.read,
                    seen: order.read.max(order.bans_at),
                    seq: order.seq,
                    wants_bans: order.wants_bans,
                    writer: order
                        .writer
                        .as_ref()
                        .filter(|_| order.bans_at <= order.read)
                        .map_or(String::new(), |Writer { node, count, .. }| {
                            format!("{node} {}-{}", count.0, count.1)
                        }),
                });
            }
        }
        state.errands.reader_is_blocked = tasks.is_empty();
        if tasks.is_empty() && !std::mem::replace(&mut state.has_opened, true) {
            state.wake_for_numbers();
        }
        let is_read = state.orders.iter().filter(|(_, order)| order.is_read());
        (tasks, is_read.map(|(key, order)| (Arc::clone(key), order.read)).collect())
    }

    /// Waits for what comes.
    async fn fetch(&mut self, orders: &[(Arc<str>, Cursor)]) -> Result<(), Trouble> {
        let mut commands = Commands::default();
        if orders.is_empty() {
            // Acts that cannot be read: it is tried again when something changes, or after a while.
            commands.add(&[b"BLPOP", self.settings.shared_key("nothing").as_bytes(), b"1"]);
        } else {
            commands.begin(6 + 2 * orders.len());
            let count = (MAX_ENTRIES / orders.len()).clamp(1, COUNT).to_string();
            for part in ["XREAD", "COUNT", &count, "BLOCK", &BLOCK.to_string(), "STREAMS"] {
                commands.part(part.as_bytes());
            }
            orders.iter().for_each(|(key, _)| commands.part(self.settings.stream_key(key).as_bytes()));
            orders.iter().for_each(|(_, after)| commands.part(id(*after).as_bytes()));
        }
        self.shared.lock().health.waits[CONNECTION] = Some(0);
        self.connection.send(&commands).await?;
        let reply = self.connection.receive().await?;
        let mut read: Vec<Read> = Vec::new();
        let is_refused = matches!(reply, Value::Error(_));
        match &reply {
            Value::Error(words) => {
                let trouble = Trouble::refused(words);
                // Which key has the wrong type is found when all are opened again.
                if !["WRONGTYPE", "UNBLOCKED"].contains(&trouble.code()) {
                    return Err(trouble);
                }
            }
            reply => {
                for stream in reply.parts() {
                    read.extend(entries(stream, orders, self.settings, &mut self.wire));
                }
            }
        }
        let state = &mut *self.shared.lock();
        state.health.waits[CONNECTION] = None;
        state.errands.reader_is_blocked = false;
        state.answered();
        if is_refused {
            state
                .orders
                .values_mut()
                .filter(|order| order.is_read())
                .for_each(|order| order.opening = Opening::Check);
        }
        for (key, after, entries) in read {
            take(state, &key, after, entries, self.settings);
        }
        Ok(())
    }

    /// Opens an order.
    async fn open(&mut self, task: &Task) -> Result<(), Trouble> {
        self.shared.lock().health.waits[CONNECTION] = Some(0);
        if task.key.is_empty() && task.wants_bans {
            self.recall_acts(task).await?;
        } else {
            let standing = self.ask(&task.key, task.seen, task.seq, &task.writer).await?;
            let mut recalled = None;
            if let (Opening::Recall, Some(name)) = (task.opening, &task.name) {
                let mut room = Recalled::new(Name::clone(name), standing.last.epoch, standing.seq);
                self.recall(&task.key, standing.last, &mut room).await?;
                recalled = Some(Sequenced::Opened { room: Box::new(room), cursor: standing.last });
            }
            self.opened(task, standing, recalled);
        }
        let state = &mut *self.shared.lock();
        state.health.waits[CONNECTION] = None;
        state.answered();
        Ok(())
    }

    /// Asks how an order stands of which this has been seen. If the engine has lost it, an epoch begins.
    async fn ask(&mut self, key: &str, seen: Cursor, seq: u64, writer: &str) -> Result<Standing, Trouble> {
        let stream = self.settings.stream_key(key);
        let state = format!("{stream}:state");
        let [epoch, entry, seq] = [seen.epoch, seen.entry, seq].map(|number| number.to_string());
        let parts =
            ["EVALSHA", &self.scripts.open, "2", &stream, &state, &epoch, &entry, &seq, writer, LIFETIME];
        let reply = self.connection.ask(&parts.map(str::as_bytes)).await?;
        let number = |at: usize| reply.parts().get(at).and_then(Value::number);
        let (Some(epoch), Some(entry), Some(seq)) = (number(0), number(1), number(2)) else {
            return Err(Trouble::Unfit("a script returns nonsense".to_owned()));
        };
        let (last, is_lost) = (Cursor { epoch, entry }, number(3) == Some(1));
        if key.is_empty() {
            self.shared.lock().last_act = last;
        }
        Ok(Standing { last, seq, is_lost })
    }

    /// An order is open.
    fn opened(&self, task: &Task, standing: Standing, recalled: Option<Sequenced>) {
        let state = &mut *self.shared.lock();
        let Some(order) = state.orders.get_mut(&*task.key) else { return };
        if order.generation != task.generation || order.opening != task.opening {
            return;
        }
        order.opening = Opening::Done;
        order.is_logged = false;
        if let Some(recalled) = recalled {
            (order.read, order.seq) = (standing.last, standing.seq);
            order.writer = None;
            order.push(recalled);
        } else if standing.is_lost && task.key.is_empty() {
            // What this node has made of the acts may be wrong.
            order.reset();
            order.opening = Opening::Recall;
            order.has_lost = true;
        }
        order.settle();
        let epoch = standing.last.epoch;
        // As long as nothing comes in that epoch, the engine says it again at each connection.
        if standing.is_lost && std::mem::replace(&mut order.lost_before, epoch) != epoch {
            state.engine.epochs += 1;
            log::warn!("the engine has lost entries of {}", self.settings.stream_key(&task.key));
            failed_over(state);
        }
        state.list(&task.key);
        state.make_due(&task.key);
        state.tidy(&task.key);
    }

    /// Fetches the last lines of a room, up to an entry.
    async fn recall(&mut self, key: &str, last: Cursor, room: &mut Recalled) -> Result<(), Trouble> {
        let stream = self.settings.stream_key(key);
        let (mut records, mut lines, mut bytes) = (Vec::new(), 0, 0);
        let mut end = id(last);
        while lines < ENOUGH_LINES && bytes < ENOUGH_BYTES {
            let parts = ["XREVRANGE", &stream, &end, "-", "COUNT", RECALL];
            let reply = self.connection.ask(&parts.map(str::as_bytes)).await?;
            for one in reply.parts() {
                let [at, fields] = one.parts() else { continue };
                let Some(at) = wire::cursor(at) else { continue };
                end = format!("({}", id(at));
                if let Ok(Fetched { content: Content::Entry(entry), seq, time, lines: more, .. }) =
                    self.wire.read(at, fields.parts(), false)
                    && seq <= room.said()
                {
                    (lines, bytes) = (lines + more as usize, bytes + entry.text().len());
                    records.push((entry, at.epoch, seq, time));
                }
            }
            if reply.parts().is_empty() {
                break;
            }
        }
        // A new epoch may count from less.
        let mut before = u64::MAX;
        let is_in_order = |one: &(_, _, u64, Timestamp)| std::mem::replace(&mut before, one.2) >= one.2;
        let records: Vec<_> = records.into_iter().take_while(is_in_order).collect();
        let records = records.into_iter().rev();
        records.for_each(|(entry, epoch, seq, time)| room.push_entry(entry, epoch, seq, time));
        Ok(())
    }

    /// Fetches the roster, unless the hub has it, and the bans. Goes on with the acts after the roster.
    async fn recall_acts(&mut self, task: &Task) -> Result<(), Trouble> {
        let is_recall = task.opening == Opening::Recall;
        let (cursor, roster) = if is_recall {
            stored::roster(self.connection, self.settings).await?
        } else {
            (task.read, Roster::default())
        };
        let standing = self.ask(ACTS, if is_recall { cursor } else { task.seen }, 0, &task.writer).await?;
        // Behind the roster: the acts up to then are those of the roster, and some that follow.
        let bans = stored::bans(self.connection, &self.scripts.bans, self.settings).await?;
        if !is_recall {
            self.opened(task, standing, None);
        }
        let state = &mut *self.shared.lock();
        let Some(order) = state.orders.get_mut(ACTS).filter(|order| order.generation == task.generation)
        else {
            return Ok(());
        };
        if is_recall {
            state.engine.epochs += u64::from(standing.is_lost);
            (order.read, order.recalled) = (cursor, cursor);
            (order.writer, order.opening) = (None, Opening::Done);
            order.push(Sequenced::Roster { roster: Box::new(roster), cursor });
        }
        order.wants_bans = false;
        if let Some((bans, cursor)) = bans {
            order.bans_at = cursor;
            let bans = Arc::new(ClusterBans { has_lost: order.has_lost, ..bans });
            order.push(Sequenced::Bans { bans, cursor });
        }
        order.settle();
        state.list(ACTS);
        state.make_due(&task.key);
        Ok(())
    }

    /// The engine refuses to open an order: it waits.
    fn refused(&self, key: &str, trouble: Trouble) -> Result<(), Trouble> {
        if !["WRONGTYPE", "ERR"].contains(&trouble.code()) {
            return Err(trouble);
        }
        let state = &mut *self.shared.lock();
        state.health.waits[CONNECTION] = None;
        if let Some(order) = state.orders.get_mut(key) {
            order.is_refused = true;
            if !std::mem::replace(&mut order.is_logged, true) {
                log::error!("the engine refuses {}: {trouble}", self.settings.stream_key(key));
            }
        }
        Ok(())
    }
}

/// Returns a place as the identifier of an entry.
fn id(cursor: Cursor) -> String {
    format!("{}-{}", cursor.epoch, cursor.entry)
}

/// Reads the entries of one stream in a reply.
fn entries(
    stream: &Value<'_>,
    orders: &[(Arc<str>, Cursor)],
    settings: &Settings,
    wire: &mut wire::Reader,
) -> Option<Read> {
    let [key, entries] = stream.parts() else { return None };
    let order = settings.order_of(key.text()?)?;
    let (key, after) = orders.iter().find(|(key, _)| **key == *order)?;
    let read = |one: &Value<'_>| {
        let [at, fields] = one.parts() else { return None };
        let at = wire::cursor(at)?;
        Some(wire.read(at, fields.parts(), key.is_empty()).map_err(|bad| (at, bad)))
    };
    Some((Arc::clone(key), *after, entries.parts().iter().filter_map(read).collect()))
}

/// Takes in what has been read of an order after an entry.
fn take(
    state: &mut State,
    key: &str,
    after: Cursor,
    entries: Vec<Result<Fetched, (Cursor, Bad)>>,
    settings: &Settings,
) {
    let (node, incarnation) = (Arc::clone(&state.node), state.identity.incarnation);
    let Some(order) = state.orders.get_mut(key) else { return };
    if !order.is_open || order.opening != Opening::Done || order.read != after {
        return;
    }
    let mut bad = Vec::new();
    for entry in entries {
        let cursor = match &entry {
            Ok(fetched) => fetched.cursor,
            Err((cursor, _)) => *cursor,
        };
        let Cursor { epoch, entry: last } = order.read;
        let is_gap = cursor.epoch == epoch && last > 0 && cursor.entry > last + 1;
        if key.is_empty() && is_gap && order.read != order.recalled {
            // Acts were trimmed: the roster has them, or nobody has. Then each node says again who is there.
            order.reset();
            order.opening = Opening::Recall;
            state.reader_is_stale();
            break;
        }
        match entry {
            Ok(fetched) => order.take(fetched, &node, incarnation),
            Err((cursor, why)) => {
                order.skip(cursor, &node);
                bad.push((cursor, why));
            }
        }
    }
    state.list(key);
    skipped::note(state, &settings.stream_key(key), &bad);
}
