//! What a room and a session can be called.

use crate::chat::id::Node;
use crate::protocol::{Name, Proof};

/// Returns the name that a session of a node has. A kernel vouches for the users of its own machine alone, so such a name
/// has the node that says so.
pub(super) fn of_node(name: &Name, proof: Option<Proof>, node: &Node) -> Name {
    name.at(node.as_deref().filter(|_| proof == Some(Proof::Kernel)))
}

/// Returns whether this can be the name of a room. With a single node it was checked when it was typed.
pub(super) fn is_room(room: &Name, node: &Node) -> bool {
    node.is_none() || Name::parse(room.as_str()).as_ref() == Ok(room)
}

/// Returns whether this can be the name of a session, verified or not. With a single node it was checked already.
pub(super) fn is_name(name: &Name, proof: Option<Proof>, node: &Node) -> bool {
    let parse = if proof.is_some() { Name::verified } else { Name::parse };
    node.is_none() || parse(name.as_str()).as_ref() == Ok(name)
}
