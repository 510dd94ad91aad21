//! Names taken: what `/nick` does, and what a key is worth.

use super::directory::{Directory, Place};
use super::id::{Now, SessionId};
use crate::protocol::{Form, Key, Name, Notice, View, Who};

/// Gives a session a name, if that is free or the key is good. Nothing changes if it is refused.
pub(super) fn nick(
    directory: &mut Directory,
    from: SessionId,
    name: Name,
    key: Option<Key>,
    now: Now,
) -> Option<Notice> {
    let place = directory.place(from)?;
    let member = directory.member(from)?;
    let is_first = member.name().is_none() && place.form.view() == View::Plain;
    let form = if is_first { place.form.with(View::Names, member.times) } else { place.form };
    if let Some(refusal) =
        refusal(directory, from, &name, key, now).or_else(|| directory.no_memory(Place { form, ..place }))
    {
        return Some(refusal);
    }
    if key.is_some() {
        directory.keys.use_left(&name);
        for other in others(directory, from, &name) {
            directory.depose(other, |name, now| Notice::NameTakenOver { name, now });
        }
    }
    take(directory, from, name.clone(), form, now)?;
    directory.keys.forget(from);
    let key = (form.view() == View::Json).then(|| directory.keys.give(from)).flatten();
    Some(Notice::Named { name: name.to_string(), key })
}

/// Returns why a session cannot have a name.
fn refusal(
    directory: &Directory,
    from: SessionId,
    name: &Name,
    key: Option<Key>,
    now: Now,
) -> Option<Notice> {
    let who = directory.member(from)?.who();
    if who.verified {
        return Some(Notice::Verified { name: who.name.to_string() });
    }
    let claim = key.map(|key| claim(directory, name, key, now));
    if claim == Some(None) {
        return Some(Notice::BadKey { name: name.to_string() });
    }
    let claim = claim.flatten();
    let mut others = others(directory, from, name).into_iter();
    let is_free = others.all(|other| may_depose(directory, claim, other));
    let hint = || free_name(directory, from, name).map(|hint| hint.to_string());
    (!is_free).then(|| Notice::Taken { name: name.to_string(), hint: hint() })
}

/// Returns who else is called that, or something that looks like it.
fn others(directory: &Directory, from: SessionId, name: &Name) -> Vec<SessionId> {
    directory.names.holders(name).filter(|id| *id != from).collect()
}

/// A session is called that from now on, and sees lines in this form; the others in its room are told.
fn take(directory: &mut Directory, from: SessionId, name: Name, form: Form, now: Now) -> Option<()> {
    let member = directory.member_mut(from)?;
    let before = member.who();
    let is_known = member.is_present || std::mem::take(&mut member.has_spoken);
    let is_other = before.name != name;
    directory.names.forget(&before);
    directory.give_name(from, Who { id: from.0, name, verified: false });
    directory.change_form(from, form, now);
    if !is_known {
        directory.introduce(from, now);
    } else if is_other {
        directory.member_mut(from)?.is_present = true;
        directory.renamed(from, before, now);
    }
    directory.changed.push(from);
    Some(())
}

/// What a key is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Claim {
    /// A connection has the name, and this key of it.
    Held,
    /// A connection that is gone had them.
    Left,
}

/// Returns what a key is worth for a name; `None` if it is not the key of the name, or not any more.
fn claim(directory: &Directory, name: &Name, key: Key, now: Now) -> Option<Claim> {
    let is_its_own = |id: SessionId| {
        let is_called_that = directory.member(id).is_some_and(|member| member.who().name == *name);
        is_called_that && directory.keys.of(id) == Some(key)
    };
    if directory.names.holders(name).any(is_its_own) {
        return Some(Claim::Held);
    }
    directory.keys.is_left(key, name, now).then_some(Claim::Left)
}

/// Returns whether a claim takes a name, or one that looks like it, from a member: never from one whose name is verified.
/// The key of a connection that is gone takes it from nobody who has a key of their own.
fn may_depose(directory: &Directory, claim: Option<Claim>, holder: SessionId) -> bool {
    let is_verified = directory.member(holder).is_none_or(|member| member.who().verified);
    let has_key = directory.keys.of(holder).is_some();
    !is_verified && claim.is_some_and(|claim| claim == Claim::Held || !has_key)
}

/// Returns a free name like `name`: with a number from 2 to 99. `None` if there is none.
fn free_name(directory: &Directory, from: SessionId, name: &Name) -> Option<Name> {
    let numbered = (2..100).filter_map(|number| Name::parse(&format!("{}{number}", name.as_str())).ok());
    numbered.into_iter().find(|free| !directory.names.is_taken(free, from))
}
