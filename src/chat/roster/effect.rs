//! What follows from an act, by the roster alone.

use std::sync::Arc;

use crate::chat::id::SessionId;
use crate::protocol::{Key, Name, Notice, Who};

/// What follows from an act.
#[derive(Debug, PartialEq)]
pub(in crate::chat) enum Effect {
    /// A session has the name that it claimed, and this key.
    Named(SessionId, Option<Key>),
    /// A session that brought a verified name is there. With a notice, it did not get the name.
    Arrived(SessionId, Option<Notice>),
    /// Another one has taken the name of a session.
    Deposed(SessionId, Notice),
    /// A session is answered, or given notice.
    Notify(SessionId, Notice),
    /// A session gets a private message.
    Told { from: Arc<Who>, to: Arc<Who>, text: String },
    /// Each node does what an operator asks for.
    Ordered { by: Who, line: String, about: Option<SessionId>, changes: Vec<String> },
    /// Each node makes these changes of bans and mutes.
    Brought(Vec<String>),
    /// These members of rooms are gone with their node.
    Gone(Vec<(Name, Vec<Who>)>),
}
