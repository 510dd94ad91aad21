//! The bans of this node against those of its cluster: pure functions.
//!
//! A ban here that the cluster does not have either is new to the cluster, or was lifted elsewhere. Each ban remembers the
//! cluster that has had it, so one that this cluster has had was lifted. All others are brought: made while the node was
//! alone, by hand, or in another cluster. It is the same for mutes, but a guest's counts in one cluster only.

use jiff::Timestamp;

use super::bans_text::{read_change, write_change};
use crate::chat::ClusterBans;
use crate::net::bans::Bans;
use crate::net::registry::{Change, Registry};

/// Changes that one act brings.
const AT_ONCE: usize = 1000;

/// Returns the bans and mutes of a cluster, and how many of its lines are none or too many.
pub fn read(cluster: &ClusterBans, now: Timestamp) -> (Bans, usize) {
    let since = |change: &Change| match change {
        Change::Ban(ban) => ban.since,
        Change::Mute(mute) => mute.since,
        _ => None,
    };
    let is_made = |change: &Change| matches!(change, Change::Ban(_) | Change::Mute(_));
    let mut changes: Vec<Change> =
        cluster.lines.iter().filter_map(|line| read_change(line).filter(is_made)).collect();
    let unread = cluster.lines.len() - changes.len();
    // Of mutes of names that look alike, the last one counts.
    changes.sort_by_key(since);
    let mut bans = Bans::default();
    let made = changes.into_iter().filter(|change| holds(change, now));
    let refused = made.filter_map(|change| change.known_to(Some(cluster.id)).apply(&mut bans, now).err());
    let unread = unread + refused.count();
    (bans, unread)
}

/// Returns all that is in force.
pub fn all(bans: &Bans, now: Timestamp) -> Vec<Change> {
    let mutes = bans.mutes(now).into_iter().map(Change::Mute);
    bans.bans(now).into_iter().map(Change::Ban).chain(mutes).collect()
}

/// Adds to the bans of the cluster what this node has and the cluster `lacks`, by the cluster that is known to have it.
/// Returns that, for all nodes.
pub fn add(
    bans: &mut Bans,
    own: Vec<Change>,
    lacks: impl Fn(Option<u64>) -> bool,
    now: Timestamp,
) -> Vec<String> {
    let mut brought = Vec::new();
    for change in own {
        let is_new = match &change {
            Change::Ban(ban) => {
                lacks(ban.cluster) && bans.find(&ban.whom).is_none_or(|other| ban.outlasts(other))
            }
            Change::Mute(mute) => {
                let is_longer = || bans.mute_of(&mute.whom).is_none_or(|other| mute.outlasts(other));
                lacks(mute.cluster) && !mute.whom.name.is_guest() && is_longer()
            }
            _ => false,
        };
        let change = change.known_to(None);
        if is_new && change.clone().apply(bans, now).is_ok() {
            brought.push(write_change(&change));
        }
    }
    brought
}

/// Has all nodes make these changes.
pub fn bring(registry: &Registry, brought: Vec<String>) {
    brought.chunks(AT_ONCE).for_each(|some| registry.bring(some.to_vec()));
}

fn holds(change: &Change, now: Timestamp) -> bool {
    match change {
        Change::Ban(ban) => ban.holds(now),
        Change::Mute(mute) => mute.holds(now),
        _ => true,
    }
}
