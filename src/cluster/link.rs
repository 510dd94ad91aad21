//! The link: one task that holds the connection to the engine, makes it again when it is lost, and ends it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::{self, Either};

use super::connection::{Connection, Trouble};
use super::engine::{self, Engine};
use super::keeper::Keeper;
use super::reader::{self, Reader};
use super::settings::Settings;
use super::state::{Ending, Shared};
use super::{wire, writer};
use crate::chat::{Cursor, EngineEvent};
use crate::rt;

/// How often it looks whether the engine answers.
const TICK: Duration = Duration::from_millis(250);
/// After how many ticks without an answer the engine is away.
const AWAY: u32 = 4;
/// For how many ticks a connection waits for a reply.
const GIVE_UP: u32 = 12;
/// After how many ticks what was refused is tried again.
const TRY_AGAIN: u32 = 4;
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an engine is refused that was the primary before another one.
const OLDER: Duration = Duration::from_secs(30);
/// The first and the longest pause before it connects again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Why there is no engine, as long as nothing better is known.
const NO_ANSWER: &str = "it does not answer";
/// The pause after the engine has refused the password.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// Keeps the connection, until it is told to end.
pub async fn run(shared: Arc<Shared>, settings: Settings) {
    let watch = Box::pin(watch(&shared));
    let work = Box::pin(work(&shared, &settings));
    future::select(watch, work).await;
    let state = &mut *shared.lock();
    state.has_ended = true;
    state.wake_all();
}

/// Counts the time without an answer. It never ends.
async fn watch(shared: &Shared) {
    for tick in 1_u32.. {
        rt::sleep(TICK).await;
        let state = &mut *shared.lock();
        let (engine, health) = (&mut state.engine, &mut state.health);
        health.silence += 1;
        health.waits.iter_mut().flatten().for_each(|ticks| *ticks += 1);
        if health.silence >= AWAY && !(health.is_away && health.is_explained) {
            // It may take longer to find out why.
            let why = engine.problem.clone().filter(|why| why != NO_ANSWER);
            let is_new = !std::mem::replace(&mut health.is_away, true);
            health.is_explained = why.is_some();
            if is_new || health.is_explained {
                let why = why.as_deref().unwrap_or(NO_ANSWER);
                log::warn!("the engine is away, and what members say waits: {why}");
            }
            if is_new {
                engine.away_since.get_or_insert_with(rt::wall_clock);
                state.tell(EngineEvent::Away);
            }
        }
        if tick % TRY_AGAIN == 0 {
            state.try_refused_again();
        }
    }
}

/// Connects, and connects again.
async fn work(shared: &Shared, settings: &Settings) {
    let (mut index, mut pause, mut last) = (0, PAUSES.0, None);
    let (mut held, mut older_since) = (None, None);
    while !is_at_end(shared) {
        let seen = shared.lock().last_act;
        let connect = Box::pin(connect(settings, index, seen));
        let connected = match future::select(connect, Box::pin(end(shared))).await {
            Either::Left((connected, _)) => {
                connected.and_then(|engine| current(engine, seen, &mut older_since))
            }
            Either::Right(_) => break,
        };
        let trouble = match connected {
            Ok(engine) => {
                index = engine.index;
                shared.lock().health.has_failed_over = false;
                if last.replace(index).is_some_and(|last| last != index) {
                    writer::failed_over(&mut shared.lock());
                }
                let Err(trouble) = session(engine, shared, settings).await else { break };
                match &trouble {
                    Trouble::Lost(_) => {
                        pause = PAUSES.0;
                        index = (index + 1) % settings.addresses.len();
                    }
                    _ => pause = (2 * pause).min(PAUSES.1),
                }
                trouble
            }
            Err(trouble) => {
                pause = (2 * pause).min(PAUSES.1);
                trouble
            }
        };
        let holder = if let Trouble::NameHeld(by) = trouble { Some(by) } else { None };
        if let Some(by) = holder.filter(|by| held.replace(*by) != Some(*by)) {
            log_name_held(by, settings);
        }
        shared.lock().disconnected(trouble.to_string(), holder);
        wait(shared, &trouble, pause).await;
    }
}

/// Logs that another process has the name of this node.
fn log_name_held(by: u64, settings: &Settings) {
    let since = i64::try_from(by).ok().and_then(|by| jiff::Timestamp::from_microsecond(by).ok());
    let (since, node) = (since.unwrap_or_default(), &settings.node);
    log::error!(
        "another chatd is the node {node}: it started at {since}; give each its own name; after a kill, its name is free in 15 s"
    );
}

/// Waits before the next try.
async fn wait(shared: &Shared, trouble: &Trouble, pause: Duration) {
    let pause = match trouble {
        Trouble::NameHeld(_) => PAUSES.1,
        Trouble::Unfit(_) => pause.max(PAUSES.1),
        Trouble::Barred(_) => LONG_PAUSE,
        _ if remedy(trouble.code()).is_some() => LONG_PAUSE,
        _ => pause,
    };
    future::select(Box::pin(rt::sleep(pause)), Box::pin(end(shared))).await;
}

/// Connects to the first address, from `first` on, that has a primary with the acts that were seen. If none has, or none
/// were seen, it connects to the primary with most of them.
async fn connect(settings: &Settings, first: usize, seen: Cursor) -> Result<Engine, Trouble> {
    let (mut best, mut worst): (Option<Engine>, Option<Trouble>) = (None, None);
    let mut words = Vec::new();
    for at in 0..settings.addresses.len() {
        let index = (first + at) % settings.addresses.len();
        let connect = Box::pin(engine::connect(settings, index));
        let trouble = match future::select(connect, Box::pin(rt::sleep(CONNECT))).await {
            Either::Left((Ok(engine), _)) => {
                if seen != Cursor::default() && engine.acts >= seen {
                    return Ok(engine);
                }
                if best.as_ref().is_none_or(|best| best.acts < engine.acts) {
                    best = Some(engine);
                }
                continue;
            }
            Either::Left((Err(trouble), _)) => trouble,
            Either::Right(_) if settings.addresses[index].is_tls() => {
                Trouble::Lost(format!("{NO_ANSWER}; if its port is one without TLS, write redis:"))
            }
            Either::Right(_) => Trouble::Lost(NO_ANSWER.to_owned()),
        };
        let remedy = remedy(trouble.code()).map_or_else(String::new, |remedy| format!("; {remedy}"));
        words.push(format!("{}: {trouble}{remedy}", settings.addresses[index]));
        if worst.as_ref().is_none_or(|worst| matches!(worst, Trouble::Lost(_))) {
            worst = Some(trouble);
        }
    }
    if let Some(engine) = best {
        return Ok(engine);
    }
    let words = words.join("; ");
    Err(match worst {
        Some(trouble) if remedy(trouble.code()).is_some() => Trouble::Barred(words),
        Some(Trouble::Refused(_) | Trouble::Unfit(_)) => Trouble::Unfit(words),
        _ => Trouble::Lost(words),
    })
}

/// Refuses an engine whose acts are of an older epoch than those that were seen: it was the primary before another one, and
/// Sentinel will tell it so. If that does not happen, it is all there is.
fn current(engine: Engine, seen: Cursor, since: &mut Option<Instant>) -> Result<Engine, Trouble> {
    let is_older = engine.acts != Cursor::default() && engine.acts.epoch < seen.epoch;
    if is_older && since.get_or_insert_with(rt::now).elapsed() < OLDER {
        return Err(Trouble::Lost("it was the primary before another one".to_owned()));
    }
    *since = None;
    Ok(engine)
}

/// Returns what to do when the engine bars this node with that code.
fn remedy(code: &str) -> Option<&'static str> {
    match code {
        "NOAUTH" => Some("set cluster_password_file"),
        "WRONGPASS" => Some("correct cluster_user or the file of cluster_password_file, and restart chatd"),
        "NOPERM" => Some("chatd-cluster(7) has what the user of the engine may do"),
        _ => None,
    }
}

/// Talks to an engine until that is lost. `Ok` means that it is to end.
async fn session(mut engine: Engine, shared: &Shared, settings: &Settings) -> Result<(), Trouble> {
    let version = engine.version.clone();
    let index = engine.index;
    let scripts = engine.scripts.clone();
    let (mut keeper, [writer, reader]) = Keeper::new(&mut engine, shared, settings);
    match future::select(Box::pin(keeper.claim()), Box::pin(rt::sleep(CONNECT))).await {
        Either::Left((claimed, _)) => claimed?,
        Either::Right(_) => return Err(Trouble::Lost(NO_ANSWER.to_owned())),
    }
    {
        let state = &mut *shared.lock();
        let address = settings.addresses[index].to_string();
        if state.health.last_address.replace(address.clone()).as_ref() != Some(&address) {
            log::info!("the engine is {version} at {address}");
        }
        state.engine.address = Some(address);
        state.engine.engine = Some(version);
        (state.engine.problem, state.engine.name_held_by) = (None, None);
        state.health.waits = [None; 3];
        state.engine.away_since = None;
        state.answered();
    }
    let wire = wire::Reader::new(settings.raw);
    let reader = Reader { connection: reader, scripts: &scripts, shared, settings, wire };
    let tasks =
        future::try_join3(writer::write(writer, &scripts, shared, settings), reader.read(), keeper.keep());
    let ends = future::select(Box::pin(silence(shared)), Box::pin(end(shared)));
    match future::select(Box::pin(tasks), ends).await {
        Either::Left((Err(trouble), _)) => return Err(trouble),
        Either::Left((Ok(_), _)) => {}
        Either::Right((Either::Left(_), _)) => return Err(Trouble::Lost(NO_ANSWER.to_owned())),
        Either::Right((Either::Right(_), _)) => {}
    }
    if shared.lock().ending != Some(Ending::HandOver) {
        leave(&settings.addresses[index], &scripts.leave, shared, settings).await?;
    }
    Ok(())
}

/// Completes when a connection has waited too long for a reply. The tick that it looks at wakes this task.
async fn silence(shared: &Shared) {
    poll_fn(|_| {
        let state = shared.lock();
        let blocks = u32::try_from(reader::BLOCK / TICK.as_millis() as u64).unwrap_or(0);
        let most = |at: usize| if at == reader::CONNECTION { GIVE_UP + blocks } else { GIVE_UP };
        let mut waits = state.health.waits.iter().enumerate();
        let is_lost = waits.any(|(at, ticks)| ticks.is_some_and(|ticks| ticks >= most(at)));
        if is_lost { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Completes when the task is to end.
async fn end(shared: &Shared) {
    poll_fn(|cx| {
        let mut state = shared.lock();
        let is_at_end = match state.ending {
            None => false,
            Some(Ending::HandOver | Ending::LeaveNow) => true,
            Some(Ending::Leave) => state.pending().all(|one| one.is_safe),
        };
        state.register_end(cx);
        if is_at_end { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn is_at_end(shared: &Shared) -> bool {
    matches!(shared.lock().ending, Some(Ending::HandOver | Ending::LeaveNow))
}

/// Gives the name of the node up, on a connection of its own: the others may be in the middle of a reply.
async fn leave(
    address: &super::Address,
    script: &str,
    shared: &Shared,
    settings: &Settings,
) -> Result<(), Trouble> {
    let mut connection: Connection = engine::log_in(settings, address).await?;
    let (key, nodes) = (settings.node_key(&settings.node), settings.shared_key("nodes"));
    let incarnation = shared.lock().identity.incarnation.to_string();
    let parts = ["EVALSHA", script, "2", &key, &nodes, &incarnation, &settings.node];
    connection.ask(&parts.map(str::as_bytes)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use jiff::Timestamp;

    use super::*;
    use crate::chat::{Act, Item};
    use crate::cluster::Identity;
    use crate::cluster::order::Order;
    use crate::cluster::pending::Place;
    use crate::cluster::state::ACTS;

    /// With `replicas`, a failover loses nothing that a node has said which has stopped in order.
    #[test]
    fn a_node_leaves_when_replicas_have_what_it_has_sent() {
        let settings = Settings { replicas: 1, ..Settings::for_tests() };
        let shared = Shared::new(&settings, Identity { incarnation: 7, replaces: 0 });
        shared.lock().ending = Some(Ending::Leave);
        assert!(end(&shared).now_or_never().is_some(), "there is nothing to wait for");
        shared.lock().submit(Item::Act(Act::Gone("gamma".to_owned())));
        let with_acts = |change: &dyn Fn(&mut Order)| change(shared.lock().orders.get_mut(ACTS).unwrap());
        let (cursor, time) = (Cursor { epoch: 1, entry: 1 }, Timestamp::UNIX_EPOCH);
        with_acts(&|acts| {
            acts.pending[0].is_sent = true;
            acts.placed(1, Place { cursor, seq: 1, time, is_exact: true }, &"alpha".into(), false);
        });
        assert!(shared.lock().is_settled() && end(&shared).now_or_never().is_none());
        with_acts(&Order::safe);
        assert!(end(&shared).now_or_never().is_some());
    }
}
