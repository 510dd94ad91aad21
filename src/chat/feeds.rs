//! The feeds of a room: one for each form in use.

use super::delivery::Delivered;
use super::entry::{Encoded, Entry};
use super::feed::Feed;
use super::id::SessionId;
use super::log::Log;
use super::member::Member;
use crate::protocol::{Form, Name, Object, Scene, View};

/// How much may be owed to a member that does not read, in bytes, before it is not told of more epochs: somebody may make
/// any number of them.
const MAX_OWED: usize = 128 << 10;

/// The feeds of a room.
#[derive(Debug)]
pub(super) struct Feeds {
    /// In the order of [`Form::ALL`]; those without members need not be there.
    slots: [Option<Box<Feed>>; Form::ALL.len()],
    log_size: usize,
}

/// An entry, or a piece of it, in each form in use.
pub(super) type EncodedForAll<'e> = [Option<Encoded<'e>>; Form::ALL.len()];

impl Feeds {
    /// No feeds. Their logs will have `log_size` bytes each.
    pub(super) fn new(log_size: usize) -> Self {
        Self { slots: Default::default(), log_size }
    }

    pub(super) fn get(&mut self, form: Form) -> &mut Feed {
        let size = self.log_size;
        self.slots[form.index()].get_or_insert_with(|| Box::new(Feed::new(form, Log::new(size))))
    }

    /// Puts a log in place that another process has left.
    pub(super) fn restore_log(&mut self, form: Form, log: Log) {
        self.slots[form.index()] = Some(Box::new(Feed::new(form, log)));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Feed> {
        self.slots.iter().flatten().map(|feed| &**feed)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Feed> {
        self.slots.iter_mut().flatten().map(|feed| &mut **feed)
    }

    /// Nobody reads some of the logs of another process any more.
    pub(super) fn drop_empty(&mut self) {
        self.slots.iter_mut().for_each(|slot| drop(slot.take_if(|feed| feed.is_empty())));
    }

    /// Takes a member out. A feed without members is gone, log and all.
    pub(super) fn remove(&mut self, id: SessionId, form: Form) -> Option<Box<Member>> {
        let slot = &mut self.slots[form.index()];
        let member = slot.as_mut()?.remove(id)?;
        slot.take_if(|feed| feed.is_empty());
        Some(member)
    }

    /// Returns how many bytes and lines of an entry to append at once.
    pub(super) fn piece(&self, entry: &Entry) -> (usize, u32) {
        let is_plain = self.slots[1..].iter().all(Option::is_none);
        entry.piece(if is_plain { usize::MAX } else { self.log_size })
    }

    /// Encodes a piece of an entry in each form in use. `seq` is the number of its first line.
    pub(super) fn encode<'e>(
        &self,
        entry: &'e Entry,
        piece: (usize, u32),
        scene: Scene<'_>,
        seq: u64,
    ) -> EncodedForAll<'e> {
        Form::ALL.map(|form| {
            self.slots[form.index()].as_ref()?;
            Some(entry.encode(form, piece, scene, seq)).filter(|(text, _)| !text.is_empty())
        })
    }

    /// Appends it to every log, if it fits into every one; returns whether it does.
    pub(super) fn append(&mut self, author: SessionId, encoded: &mut EncodedForAll<'_>) -> bool {
        let mut places = self.slots.iter_mut().zip(&*encoded);
        let fits = places.all(|(feed, encoded)| match (feed, encoded) {
            (Some(feed), Some((text, _))) => feed.fits(text.len()),
            _ => true,
        });
        if fits {
            for (feed, encoded) in self.slots.iter_mut().zip(encoded) {
                if let (Some(feed), Some((text, lines))) = (feed, encoded.take()) {
                    feed.append(author, &text, lines);
                }
            }
        }
        fits
    }

    /// It has to wait: each feed notes for whom.
    pub(super) fn wait(&mut self, lengths: [usize; Form::ALL.len()]) {
        for (feed, len) in self.slots.iter_mut().zip(lengths) {
            if let Some(feed) = feed {
                feed.wait(len);
            }
        }
    }

    /// The next line has another epoch, and `seq` is the number of the one before: programs are told, but for those that
    /// are owed much already.
    pub(super) fn begin_epoch(&mut self, room: &Name, epoch: u64, seq: u64) {
        let object = Object::Epoch { room: room.as_str().into(), epoch, seq };
        for feed in self.iter_mut().filter(|feed| feed.form().view() == View::Json) {
            let takes_it = |member: &&Member| member.owed_bytes() < MAX_OWED;
            let ids: Vec<SessionId> = feed.members().filter(takes_it).map(|member| member.id).collect();
            ids.into_iter().for_each(|id| feed.owe(id, |form, out| form.object(&object, out)));
        }
    }

    /// Lines are gone that the members were to get next. Returns how many members miss them.
    pub(super) fn skip(&mut self, lines: u64) -> u64 {
        self.iter_mut().map(|feed| feed.skip(lines)).sum()
    }

    /// Sends what is new to up to `most` members of one form. Returns where to go on, if there are more.
    pub(super) fn deliver(
        &mut self,
        (index, after): (usize, Option<SessionId>),
        most: usize,
        delivered: &mut Delivered,
    ) -> Option<(usize, Option<SessionId>)> {
        let feed = self.slots[index].as_mut();
        match feed.and_then(|feed| feed.deliver(after, most, delivered)) {
            Some(last) => Some((index, Some(last))),
            None => (index + 1..self.slots.len())
                .find(|next| self.slots[*next].is_some())
                .map(|next| (next, None)),
        }
    }
}
