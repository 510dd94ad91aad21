//! Floor 2, beside `net`: the engine behind [`Sequencer`](crate::chat::Sequencer), which gives several nodes one order.
//!
//! The engine is Redis 7.0 or later, or Valkey. [`start`] begins the task that talks to it. The [`Stream`] is for the hub,
//! the [`Handle`] for floor 3. Nothing here knows of argv, signals or the environment.
//!
//! * `link` has the task: it finds the `engine`, over one `connection` each for `writer`, `reader` and `keeper`, and makes
//!   them again when one is lost. `resp` has the protocol, and `tls` says which engines are trusted.
//! * `state` is what the hub and the task share: for each `order` what is `pending`, and which entries have
//!   been read (`seen`).
//! * `stored` fetches the roster and the bans.
//! * `wire` makes fields of entries and acts, and checks what it reads. `skipped` tells of what it refuses.
//! * The scripts run in the engine: `append.lua` gives entries their places, and is harmless when repeated.
//!
//! What the engine has, with the prefix `chatd`:
//!
//! | key | what |
//! |---|---|
//! | `chatd:room:KEY` | stream: the entries of the rooms whose names have that key |
//! | `chatd:acts` | stream: the acts |
//! | `...:state` | hash beside each stream: epoch, last line, last entry, the run of the engine, the last counter of each writer |
//! | `chatd:roster` | hash: the roster, and the last act in it |
//! | `chatd:bans` | hash: each ban and mute as a line of the file of bans, and `id`, which tells them from others |
//! | `chatd:nodes` | hash: what each node says of itself |
//! | `chatd:node:NAME` | the incarnation of a node that is there |
//! | `chatd:sessions` | the last number of a session that a node may give |

mod address;
mod connection;
mod engine;
mod handle;
mod keeper;
mod link;
mod order;
mod pending;
mod reader;
mod resp;
mod seen;
mod settings;
mod skipped;
mod state;
mod status;
mod stored;
mod stream;
mod tls;
mod wire;
mod writer;

use std::sync::Arc;

pub use address::{Address, AddressError, Secret};
pub use handle::Handle;
pub use settings::{Identity, Settings};
pub use state::Ending;
pub use status::{EngineState, NodeState};
pub use stream::Stream;

use crate::rt;

/// Begins to talk to the engine. `saved` is what [`Sequencer::save`](crate::chat::Sequencer::save) of the process before
/// has returned: then this is the same incarnation of the node. `identity` counts if there is none, or it cannot be read.
pub fn start(settings: Settings, saved: Option<&[u8]>, identity: Identity) -> (Stream, Handle) {
    let shared = Arc::new(state::Shared::new(&settings, identity));
    let saved = saved.filter(|saved| !saved.is_empty());
    let given = saved.map(|saved| stream::restore(&shared, saved)).unwrap_or_default();
    let stream = Stream::new(Arc::clone(&shared), given);
    let handle = Handle::new(Arc::clone(&shared));
    rt::spawn(link::run(shared, settings));
    (stream, handle)
}
