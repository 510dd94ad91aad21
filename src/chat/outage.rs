//! What members are told when the engine that orders the entries of several nodes is away, comes back, or is another one.

use super::directory::Directory;
use super::id::SessionId;
use super::sequencer::{EngineEvent, Sequenced};
use crate::protocol::{Notice, View};

/// Tells members what has become of the engine, in the views `names` and `json`.
fn tell(directory: &mut Directory, event: EngineEvent) {
    let was_away = directory.cluster.is_away;
    let (is_away, notice) = match event {
        EngineEvent::Away => (true, Notice::EngineAway),
        EngineEvent::Back => (false, Notice::EngineBack),
        EngineEvent::Failover => (was_away, Notice::EngineFailover),
    };
    (directory.cluster.is_away, directory.cluster.was_away) = (is_away, false);
    if is_away != was_away || event == EngineEvent::Failover {
        let ids: Vec<SessionId> = directory.sessions().collect();
        ids.into_iter().for_each(|id| notify(directory, id, &notice));
    }
}

/// The sequencer has given something. If the engine was away when this process began, it is back.
pub(super) fn look(directory: &mut Directory, sequenced: &Sequenced) {
    match sequenced {
        Sequenced::Engine(event) => tell(directory, *event),
        _ if directory.cluster.was_away => tell(directory, EngineEvent::Back),
        _ => {}
    }
}

/// Tells a member that has come that the engine is away, if it is.
pub(super) fn tell_member(directory: &mut Directory, id: SessionId) {
    if directory.cluster.is_away {
        notify(directory, id, &Notice::EngineAway);
    }
}

fn notify(directory: &mut Directory, id: SessionId, notice: &Notice) {
    if directory.place(id).is_some_and(|place| place.form.view() != View::Plain) {
        directory.notify(id, notice);
    }
}
