//! The keeper: keeps the name of this node, looks after the other nodes, fetches numbers for sessions, wakes the reader,
//! and notices when the engine does not answer.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::connection::{Connection, Trouble};
use super::engine::Engine;
use super::resp::{Commands, Value};
use super::settings::Settings;
use super::state::{Shared, State};
use super::status::NodeState;
use super::wire::MAX_NUMBER;
use super::writer::LIFETIME;
use crate::chat::{Act, Cursor, Item, Roster};
use crate::protocol::is_node;
use crate::rt;

/// How often the engine is asked whether it is there.
const PING: Duration = Duration::from_millis(500);
/// How often the name of the node is refreshed, and the others are looked at.
const REFRESH: Duration = Duration::from_secs(5);
/// After how many milliseconds a node that is not heard of is gone.
const NODE_LIFETIME: &str = "15000";
/// How often orders that nobody writes to are told that they are in use.
const EXPIRE: Duration = Duration::from_secs(3600);
/// Numbers of sessions in a block.
pub const BLOCK: u64 = 1000;
/// Blocks in stock.
const BLOCKS: usize = 2;
/// Acts that stay for nodes that are behind the roster.
const ACTS_STAY: &str = "10000";
/// How long the reader has to notice that it is woken.
const WAKE_AGAIN: Duration = Duration::from_millis(1);
/// The place of its connection among those that wait.
pub const CONNECTION: usize = 2;

/// What a node says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    /// When it started, in microseconds since 1970.
    since: i64,
    sessions: u64,
    lag: u64,
    version: String,
}

/// What is to be done next.
enum Errand {
    Wake,
    Store(Roster, Cursor),
    Number,
}

/// Keeps the node in the cluster, for as long as the connection lives.
pub struct Keeper<'a> {
    connection: &'a mut Connection,
    scripts: &'a super::engine::Scripts,
    shared: &'a Shared,
    settings: &'a Settings,
    reader_id: u64,
    /// When this process started, in microseconds since 1970.
    since: i64,
    /// How often in a row each node was not there.
    missing: HashMap<String, u32>,
    /// Until then the engine gives no numbers for sessions.
    no_numbers_until: Option<Instant>,
    /// Keys that the engine refuses, and that the log has.
    logged: HashSet<String>,
}

impl<'a> Keeper<'a> {
    /// Splits an engine into the connections of the other tasks, and the keeper.
    pub fn new(
        engine: &'a mut Engine,
        shared: &'a Shared,
        settings: &'a Settings,
    ) -> (Self, [&'a mut Connection; 2]) {
        let since = i64::try_from(shared.lock().identity.incarnation).unwrap_or_default();
        let keeper = Self {
            connection: &mut engine.keeper,
            scripts: &engine.scripts,
            shared,
            settings,
            reader_id: engine.reader_id,
            since,
            missing: HashMap::new(),
            no_numbers_until: None,
            logged: HashSet::new(),
        };
        (keeper, [&mut engine.writer, &mut engine.reader])
    }

    /// Does what is to be done.
    ///
    /// # Errors
    /// The connection is lost, the engine refuses, or another node has the name.
    pub async fn keep(mut self) -> Result<Infallible, Trouble> {
        let mut refreshed = rt::now();
        let mut expired: Option<Instant> = None;
        self.keep_numbers().await?;
        self.look().await?;
        loop {
            let errand = poll_fn(|cx| {
                let state = &mut *self.shared.lock();
                state.register_keeper(cx);
                let has_numbers = self.no_numbers_until.is_none_or(|until| rt::now() >= until);
                next_errand(state, has_numbers).map_or(Poll::Pending, Poll::Ready)
            });
            match future::select(errand, Box::pin(rt::sleep(PING))).await {
                future::Either::Left((errand, _)) => self.run(errand).await?,
                future::Either::Right(_) => _ = self.ask(&["PING"]).await?,
            }
            if refreshed.elapsed() >= REFRESH {
                refreshed = rt::now();
                self.claim().await?;
                self.look().await?;
            }
            if expired.is_none_or(|last| last.elapsed() >= EXPIRE) {
                expired = Some(rt::now());
                self.expire().await?;
            }
        }
    }

    async fn ask(&mut self, parts: &[&str]) -> Result<Option<u64>, Trouble> {
        self.shared.lock().health.waits[CONNECTION] = Some(0);
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let number = self.connection.ask(&parts).await?.number();
        let state = &mut *self.shared.lock();
        state.health.waits[CONNECTION] = None;
        state.answered();
        Ok(number)
    }

    /// The same for one key, which somebody may have made useless: that is logged, and the rest goes on.
    async fn ask_about(&mut self, key: &str, parts: &[&str]) -> Result<Option<u64>, Trouble> {
        match self.ask(parts).await {
            Err(trouble) if ["WRONGTYPE", "ERR"].contains(&trouble.code()) => {
                if self.logged.insert(key.to_owned()) {
                    log::error!("the engine refuses {key}: {trouble}");
                }
                Ok(None)
            }
            answer => answer,
        }
    }

    async fn run(&mut self, errand: Errand) -> Result<(), Trouble> {
        match errand {
            Errand::Wake => {
                let id = self.reader_id.to_string();
                self.ask(&["CLIENT", "UNBLOCK", &id]).await?;
                rt::sleep(WAKE_AGAIN).await;
            }
            Errand::Store(roster, Cursor { epoch, entry }) => {
                let json = serde_json::to_string(&roster).unwrap_or_default();
                let [roster, acts] = ["roster", "acts"].map(|key| self.settings.shared_key(key));
                let acts_state = format!("{acts}:state");
                let [epoch, entry] = [epoch, entry].map(|number| number.to_string());
                let sha = self.scripts.store.clone();
                let keys = ["EVALSHA", &sha, "3", &roster, &acts, &acts_state];
                let parts = [&keys[..], &[&epoch, &entry, &json, LIFETIME, ACTS_STAY]].concat();
                self.ask_about(&roster, &parts).await?;
            }
            Errand::Number => {
                let key = self.settings.shared_key("sessions");
                let above = self.shared.lock().numbers_above.to_string();
                let sha = self.scripts.numbers.clone();
                let parts = ["EVALSHA", &sha, "1", &key, &BLOCK.to_string(), &above];
                let last = self.ask_about(&key, &parts).await?;
                let Some(last) = last.filter(|last| (BLOCK..=MAX_NUMBER).contains(last)) else {
                    self.no_numbers_until = Some(rt::now() + REFRESH);
                    return Ok(());
                };
                let state = &mut *self.shared.lock();
                state.numbers_above = state.numbers_above.max(last);
                state.blocks.push_back(last - BLOCK + 1);
                state.wake_for_numbers();
            }
        }
        Ok(())
    }

    /// An engine may have lost which numbers this node has: nobody else is to get them.
    async fn keep_numbers(&mut self) -> Result<(), Trouble> {
        let above = self.shared.lock().numbers_above;
        if above > 0 {
            let (key, sha) = (self.settings.shared_key("sessions"), self.scripts.numbers.clone());
            self.ask_about(&key, &["EVALSHA", &sha, "1", &key, "0", &above.to_string()]).await?;
        }
        Ok(())
    }

    /// Takes the name of the node, or keeps it.
    ///
    /// # Errors
    /// Another one has it, or the engine refuses.
    pub async fn claim(&mut self) -> Result<(), Trouble> {
        loop {
            match self.try_to_claim().await? {
                (Some(0), None | Some(0)) => return Ok(()),
                (Some(0), Some(later)) => {
                    log::info!("the clock was set back since {} was started before", self.settings.node);
                    self.shared.lock().identity.outlive(later);
                }
                (holder, _) => return Err(Trouble::NameHeld(holder.unwrap_or(0))),
            }
        }
    }

    /// Returns 0, or the incarnation that has the name, and a later one that has had it.
    async fn try_to_claim(&mut self) -> Result<(Option<u64>, Option<u64>), Trouble> {
        let (identity, about) = {
            let state = self.shared.lock();
            let lag = state.lag_lines();
            let version = env!("CARGO_PKG_VERSION").to_owned();
            (state.identity, About { since: self.since, sessions: state.sessions, lag, version })
        };
        let node = self.settings.node.as_str();
        let (key, nodes) = (self.settings.node_key(node), self.settings.shared_key("nodes"));
        let acts = format!("{}:state", self.settings.shared_key("acts"));
        let [incarnation, replaces] =
            [identity.incarnation, identity.replaces].map(|number| number.to_string());
        let about = serde_json::to_string(&about).unwrap_or_default();
        let keys = ["EVALSHA", &self.scripts.claim, "3", &key, &nodes, &acts];
        let parts = [&keys[..], &[&incarnation, &replaces, NODE_LIFETIME, node, &about]].concat();
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        self.shared.lock().health.waits[CONNECTION] = Some(0);
        let reply = self.connection.ask(&parts).await?;
        let number = |at: usize| reply.parts().get(at).and_then(Value::number);
        let claimed = (number(0), number(1));
        let state = &mut *self.shared.lock();
        state.health.waits[CONNECTION] = None;
        if claimed.0 == Some(0) {
            state.answered();
        }
        Ok(claimed)
    }

    /// Looks at the other nodes.
    async fn look(&mut self) -> Result<(), Trouble> {
        let nodes = self.settings.shared_key("nodes");
        self.shared.lock().health.waits[CONNECTION] = Some(0);
        let reply = match self.connection.ask(&[b"HGETALL", nodes.as_bytes()]).await {
            // Nodes are not looked after until somebody has deleted the key.
            Err(trouble) if trouble.code() == "WRONGTYPE" => Value::Nil,
            reply => reply?,
        };
        let about =
            |value: &Value<'_>| value.bytes().and_then(|json| serde_json::from_slice::<About>(json).ok());
        let mut known: Vec<(String, Option<About>)> = Vec::new();
        for [name, value] in reply.parts().as_chunks().0 {
            known
                .extend(name.text().filter(|name| is_node(name)).map(|name| (name.to_owned(), about(value))));
        }
        let mut commands = Commands::default();
        for (name, _) in &known {
            commands.add(&[b"EXISTS", self.settings.node_key(name).as_bytes()]);
        }
        self.connection.send(&commands).await?;
        let mut states = Vec::new();
        for (name, about) in known {
            let is_up = self.connection.receive().await?.number() == Some(1);
            let since = about.as_ref().and_then(|about| Timestamp::from_microsecond(about.since).ok());
            let (sessions, lag) = about.as_ref().map(|about| (about.sessions, about.lag)).unzip();
            states.push(NodeState { name, is_up, since, sessions, lag });
        }
        self.shared.lock().health.waits[CONNECTION] = None;
        let (gone, settled) = self.gone(&states);
        for name in &settled {
            self.ask(&["HDEL", &nodes, name]).await?;
        }
        states.sort_by_key(|state| (state.name != self.settings.node, state.name.clone()));
        let state = &mut *self.shared.lock();
        for name in gone {
            state.submit(Item::Act(Act::Gone(name)));
        }
        state.engine.nodes = states;
        Ok(())
    }

    /// Returns the nodes that were not there twice in a row, and those that need not be looked at any more. A node stays
    /// among all nodes until the act that says it is gone must have its place. The node that submits the act may be gone
    /// before that.
    fn gone(&mut self, states: &[NodeState]) -> (Vec<String>, Vec<String>) {
        let (mut gone, mut settled) = (Vec::new(), Vec::new());
        for NodeState { name, is_up, .. } in states {
            if *is_up || *name == self.settings.node {
                self.missing.remove(name);
                continue;
            }
            let looks = self.missing.entry(name.clone()).or_insert(0);
            *looks += 1;
            if *looks == 2 {
                gone.push(name.clone());
            } else if *looks > 2 {
                self.missing.remove(name);
                settled.push(name.clone());
            }
        }
        (gone, settled)
    }

    /// Has the engine keep what is in use.
    async fn expire(&mut self) -> Result<(), Trouble> {
        let streams: Vec<String> = {
            let state = self.shared.lock();
            let is_open = state.orders.iter().filter(|(_, order)| order.is_open);
            is_open.map(|(key, _): (&Arc<str>, _)| self.settings.stream_key(key)).collect()
        };
        let mut commands = Commands::default();
        commands.add(&[b"EXPIRE", self.settings.shared_key("roster").as_bytes(), LIFETIME.as_bytes()]);
        for stream in streams {
            commands.add(&[b"EXPIRE", stream.as_bytes(), LIFETIME.as_bytes()]);
            commands.add(&[b"EXPIRE", format!("{stream}:state").as_bytes(), LIFETIME.as_bytes()]);
        }
        self.shared.lock().health.waits[CONNECTION] = Some(0);
        self.connection.send(&commands).await?;
        for _ in 0..commands.count() {
            self.connection.receive().await?;
        }
        self.shared.lock().health.waits[CONNECTION] = None;
        Ok(())
    }
}

fn next_errand(state: &mut State, has_numbers: bool) -> Option<Errand> {
    if state.errands.reader_is_stale && state.errands.reader_is_blocked {
        return Some(Errand::Wake);
    }
    if let Some((roster, cursor)) = state.errands.roster.take() {
        return Some(Errand::Store(roster, cursor));
    }
    (has_numbers && state.blocks.len() < BLOCKS).then_some(Errand::Number)
}
