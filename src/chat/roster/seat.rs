//! A seat: what the roster has of a session.

use std::sync::Arc;

use crate::chat::id::Node;
use crate::protocol::{Name, Proof, Who};

/// A session, as all nodes know it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::chat) struct Seat {
    /// Where it is; `None` with a single node. Shared, so that a copy of the roster takes no time.
    pub(super) location: Option<Arc<Location>>,
    /// Its name; `None` for a guest.
    pub(super) who: Option<Arc<Who>>,
    pub(super) proof: Option<Proof>,
}

impl Seat {
    /// Returns the seat of a guest.
    pub(super) fn new(node: &Node, room: &Name, is_present: bool) -> Self {
        Self { location: Location::of(node, room, is_present), ..Self::default() }
    }

    pub(super) fn is_of(&self, node: &Node) -> bool {
        self.location.as_ref().map(|location| &location.node) == node.as_ref()
    }
}

/// Where a session is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Location {
    pub(super) node: Arc<str>,
    pub(super) room: Name,
    pub(super) is_present: bool,
}

impl Location {
    pub(super) fn of(node: &Node, room: &Name, is_present: bool) -> Option<Arc<Self>> {
        let node = Arc::clone(node.as_ref()?);
        Some(Arc::new(Self { node, room: room.clone(), is_present }))
    }
}
