//! The writer: appends what waits, everything in one go, and then what has come meanwhile.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{self, Either};
use jiff::Timestamp;

use super::connection::{Connection, Trouble};
use super::engine::Scripts;
use super::pending::Place;
use super::resp::{Commands, Value};
use super::settings::Settings;
use super::state::{Shared, State};
use super::wire::{self, Part};
use crate::chat::{Cursor, EngineEvent, Item};
use crate::rt;

/// How long an order stays that nobody uses, in seconds: a day.
pub const LIFETIME: &str = "86400";
/// Most entries of a stream: with at most 16 KiB of text each, 64 MiB.
const MAX_ENTRIES: &str = "4096";
/// Most acts. Those that the stored roster has are given up long before: it is stored after as many as there are sessions.
const MAX_ACTS: &str = "1000000";
/// Most items that are sent at once.
const MAX_ITEMS: usize = 4096;
/// Most bytes of text that are sent at once, unless one item has more.
const MAX_BYTES: usize = 4 << 20;
/// How long to wait for replicas, in milliseconds.
const WAIT: &str = "100";
/// How long after that to look again.
const WAIT_AGAIN: Duration = Duration::from_millis(200);
/// Most items that are kept for replicas that do not answer; then nothing more is sent.
const MAX_KEPT: usize = 20_000;
/// The place of its connection among those that wait.
const CONNECTION: usize = 0;

/// Codes with which an engine refuses everything: another one may take it, or the same one later.
const USELESS: [&str; 13] = [
    "OOM",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "MASTERDOWN",
    "LOADING",
    "CLUSTERDOWN",
    "BUSY",
    "NOAUTH",
    "NOPERM",
    "MOVED",
    "UNKILLABLE",
    "NOSCRIPT",
];

/// What is sent for one order.
struct Batch {
    key: Arc<str>,
    name: String,
    /// The counter of the first part, and the item.
    items: Vec<(u64, Arc<Item>)>,
    /// The last counter that was perhaps sent before; 0 if none.
    again: u64,
}

/// Appends what waits, for as long as the connection lives.
pub async fn write(
    connection: &mut Connection,
    scripts: &Scripts,
    shared: &Shared,
    settings: &Settings,
) -> Result<Infallible, Trouble> {
    let (mut is_unsafe, mut commands) = (settings.replicas > 0, Commands::default());
    loop {
        let next = poll_fn(|cx| {
            let mut state = shared.lock();
            let batches = if is_unsafe && is_full(&state) { Vec::new() } else { collect(&mut state) };
            if batches.is_empty() {
                state.register_writer(cx);
                return Poll::Pending;
            }
            Poll::Ready(batches)
        });
        let batches = if is_unsafe {
            match future::select(next, Box::pin(rt::sleep(WAIT_AGAIN))).await {
                Either::Left((batches, _)) => batches,
                Either::Right(_) => Vec::new(),
            }
        } else {
            next.await
        };
        is_unsafe = send(connection, &mut commands, &batches, scripts, shared, settings).await?;
        commands.clear();
    }
}

fn is_full(state: &State) -> bool {
    state.orders.values().map(|order| order.pending.iter().filter(|one| one.is_given).count()).sum::<usize>()
        > MAX_KEPT
}

/// Takes what waits, as much as is sent at once.
fn collect(state: &mut State) -> Vec<Batch> {
    let (mut batches, mut items, mut bytes, mut retries) = (Vec::new(), 0, 0, 0);
    while let Some(key) = state.take_due() {
        let Some(order) = state.orders.get_mut(&*key).filter(|order| order.is_writable()) else { continue };
        let from = order.pending.partition_point(|one| one.is_sent);
        let mut batch = Batch { key: Arc::clone(&key), name: String::new(), items: Vec::new(), again: 0 };
        batch.name = order.name.as_ref().map_or(String::new(), |name| name.as_str().to_owned());
        for one in order.pending.range_mut(from..) {
            if items >= MAX_ITEMS || bytes >= MAX_BYTES {
                break;
            }
            if one.was_sent {
                (retries, batch.again) = (retries + 1, one.first + one.parts - 1);
            }
            (one.is_sent, one.was_sent) = (true, true);
            bytes += if let Item::Entry(_, entry) = &*one.item { entry.text().len() } else { 0 };
            items += 1;
            batch.items.push((one.first, Arc::clone(&one.item)));
        }
        let is_more = order.pending.back().is_some_and(|one| !one.is_sent);
        if !batch.items.is_empty() {
            batches.push(batch);
        }
        if is_more {
            state.put_back_due(key);
            break;
        }
    }
    state.engine.retries += retries;
    batches
}

/// Adds the command that appends a batch. Returns how many lines each part of each item has.
fn add_append(
    commands: &mut Commands,
    batch: &Batch,
    script: &str,
    incarnation: &str,
    settings: &Settings,
) -> Vec<Vec<u64>> {
    let parts: Vec<(u64, Vec<Part<'_>>)> =
        batch.items.iter().map(|(first, item)| (*first, wire::parts(item))).collect();
    let count: usize = parts.iter().map(|(_, parts)| parts.len()).sum();
    let (stream, node) = (settings.stream_key(&batch.key), settings.node_key(&settings.node));
    let is_act = batch.key.is_empty();
    commands.begin(13 + usize::from(is_act) + 4 * count);
    let keys = if is_act { "4" } else { "3" };
    for part in ["EVALSHA", script, keys, &stream, &format!("{stream}:state"), &node] {
        commands.part(part.as_bytes());
    }
    if is_act {
        commands.part(settings.shared_key("bans").as_bytes());
    }
    let now = if is_act { rt::wall_clock().to_string() } else { String::new() };
    let most = if is_act { MAX_ACTS } else { MAX_ENTRIES };
    let again = batch.again.to_string();
    for part in [settings.node.as_str(), incarnation, &batch.name, LIFETIME, most, &now, &again] {
        commands.part(part.as_bytes());
    }
    for (counter, part) in parts.iter().flat_map(|(first, parts)| (*first..).zip(parts)) {
        commands.number(counter);
        commands.number(part.lines.into());
        commands.part(&part.head);
        commands.part(part.text);
    }
    let lines_of = |parts: &Vec<Part<'_>>| parts.iter().map(|part| u64::from(part.lines)).collect();
    parts.iter().map(|(_, parts)| lines_of(parts)).collect()
}

/// Sends batches, and notes what the engine says. Returns whether replicas do not have everything yet.
async fn send(
    connection: &mut Connection,
    commands: &mut Commands,
    batches: &[Batch],
    scripts: &Scripts,
    shared: &Shared,
    settings: &Settings,
) -> Result<bool, Trouble> {
    let incarnation = shared.lock().identity.incarnation.to_string();
    let append = |batch| add_append(commands, batch, &scripts.append, &incarnation, settings);
    let lines: Vec<_> = batches.iter().map(append).collect();
    if settings.replicas > 0 {
        commands.add(&[b"WAIT", settings.replicas.to_string().as_bytes(), WAIT.as_bytes()]);
    }
    shared.lock().health.waits[CONNECTION] = Some(0);
    connection.send(commands).await?;
    for (batch, lines) in batches.iter().zip(&lines) {
        let reply = connection.receive().await?;
        let mut state = shared.lock();
        state.health.waits[CONNECTION] = Some(0);
        state.answered();
        match reply {
            Value::Error(words) => refused(&mut state, batch, Trouble::refused(words), settings)?,
            reply => placed(&mut state, batch, lines, &reply),
        }
        state.list(&batch.key);
        state.tidy(&batch.key);
        if state.is_settled() {
            state.wake_hub();
        }
    }
    let mut is_unsafe = false;
    if settings.replicas > 0 {
        let replicas = connection.receive().await?.number().unwrap_or(0);
        let mut state = shared.lock();
        is_unsafe = replicas < settings.replicas.into();
        if !is_unsafe {
            state.orders.values_mut().for_each(super::order::Order::safe);
        }
    }
    shared.lock().health.waits[CONNECTION] = None;
    Ok(is_unsafe)
}

/// The engine refuses a batch: it is of no use at all, or the order waits.
fn refused(state: &mut State, batch: &Batch, trouble: Trouble, settings: &Settings) -> Result<(), Trouble> {
    if trouble.code() == "FENCED" {
        let holder = trouble.to_string().split(' ').nth(1).and_then(|holder| holder.parse().ok());
        return Err(Trouble::NameHeld(holder.unwrap_or(0)));
    }
    if USELESS.contains(&trouble.code()) {
        return Err(trouble);
    }
    let Some(order) = state.orders.get_mut(&*batch.key) else { return Ok(()) };
    order.is_refused = true;
    let from = batch.items.first().map_or(u64::MAX, |(first, _)| *first);
    order.pending.iter_mut().filter(|one| one.first >= from).for_each(|one| one.is_sent = false);
    if !std::mem::replace(&mut order.is_logged, true) {
        log::error!("the engine refuses {}: {trouble}", settings.stream_key(&batch.key));
    }
    Ok(())
}

/// The engine has taken a batch.
fn placed(state: &mut State, batch: &Batch, lines: &[Vec<u64>], reply: &Value<'_>) {
    let number = |at: usize| reply.parts().get(at).and_then(Value::number).unwrap_or(0);
    let (epoch, entry, seq) = (number(0), number(1), number(2));
    let (left_out, appended) = (number(3), number(4));
    let time = i64::try_from(number(5)).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let all: Vec<u64> = lines.iter().flatten().copied().collect();
    let has_taken = (left_out + appended) as usize;
    let new = all.get(left_out as usize..has_taken.min(all.len())).unwrap_or_default();
    let before = Cursor { epoch, entry: entry.saturating_sub(appended) };
    let mut next = Place {
        cursor: before,
        seq: seq.saturating_sub(new.iter().sum()) + 1,
        time: time.unwrap_or_default(),
        is_exact: true,
    };
    let (node, is_safe) = (Arc::clone(&state.node), state.replicas == 0);
    let Some(order) = state.orders.get_mut(&*batch.key) else { return };
    order.is_logged = false;
    let mut done = 0;
    for ((first, _), lines) in batch.items.iter().zip(lines) {
        let parts = lines.len() as u64;
        if done + parts > has_taken as u64 {
            // The engine has stopped in the middle; the rest is sent again.
            order.pending.iter_mut().filter(|one| one.first >= *first).for_each(|one| one.is_sent = false);
            break;
        }
        let mut place = Place { is_exact: done >= left_out, ..next };
        for (at, lines) in (done..).zip(lines) {
            if at >= left_out {
                next.cursor.entry += 1;
                next.seq += lines;
            }
        }
        place.cursor = next.cursor;
        order.placed(*first, place, &node, is_safe);
        done += parts;
    }
    order.settle();
    state.make_due(&batch.key);
}

/// Members are told, once for each connection, that another engine has taken over or that entries are lost.
pub fn failed_over(state: &mut State) {
    if !std::mem::replace(&mut state.health.has_failed_over, true) {
        state.engine.failovers += 1;
        state.tell(EngineEvent::Failover);
    }
}
