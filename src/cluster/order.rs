//! An order: of the entries of a room, or of all acts. What waits to be appended to its stream, and what has been read
//! from it for the hub.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::pending::{Pending, Place, nowhere};
use super::seen::{Seen, Writer};
use super::wire::{Content, Fetched};
use crate::chat::{Cursor, Entry, Sequenced, SessionId, Stamp};
use crate::protocol::Name;

/// Most bytes that wait for the hub; then no more is read.
const MAX_QUEUE: usize = 1 << 20;
/// What an entry takes besides its text, in bytes.
const OVERHEAD: usize = 256;

/// What has to be done before an order is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// Nothing.
    #[default]
    Done,
    /// The engine is asked whether it still has what has been read.
    Check,
    /// The hub gets the room as it stands, or the roster.
    Recall,
}

/// What waits for the hub.
#[derive(Debug)]
struct Queued {
    sequenced: Sequenced,
    /// The counter of the item of this node that it is.
    own: Option<u64>,
    /// Who wrote it, if it was read.
    writer: Option<Writer>,
    bytes: usize,
}

/// Parts of an item of this node that have been read, while others have yet to come.
#[derive(Debug)]
struct Partial {
    first: u64,
    entry: Entry,
    stamp: Stamp,
    writer: Writer,
}

/// What the hub gets.
#[derive(Debug)]
pub struct Given {
    /// The next thing.
    pub sequenced: Sequenced,
    /// There is room for more.
    pub makes_room: bool,
    /// The session that has waited for it, if it comes for the first time.
    pub asked_by: Option<SessionId>,
}

/// An order of entries or acts.
#[derive(Debug, Default)]
pub struct Order {
    /// The room; `None` for the acts.
    pub name: Option<Arc<Name>>,
    /// The hub wants what is in it.
    pub is_open: bool,
    /// The hub wants it later.
    pub is_held: bool,
    /// The hub has been told that there is something.
    pub is_listed: bool,
    pub opening: Opening,
    /// Changes whenever what has been asked of the engine no longer counts.
    pub generation: u64,
    /// The last entry that has been read.
    pub read: Cursor,
    /// The number of the last line that has been read.
    pub seq: u64,
    /// Who wrote that entry; `None` if not known.
    pub writer: Option<Writer>,
    /// The last act in the roster that was recalled.
    pub recalled: Cursor,
    /// The epoch that began because the engine has lost entries, as members were told.
    pub lost_before: u64,
    /// The engine has refused it: it is tried again after a while.
    pub is_refused: bool,
    /// That is in the log.
    pub is_logged: bool,
    /// The writer has been told that something waits.
    pub is_due: bool,
    /// The last act that counts in the bans that the hub has. If the engine has lost that, it has lost bans.
    pub bans_at: Cursor,
    /// The hub wants the bans of the cluster before the next act.
    pub wants_bans: bool,
    /// The engine has lost acts that this node has seen, and the hub has not been told with the bans.
    pub has_lost: bool,
    pub pending: VecDeque<Pending>,
    queue: VecDeque<Queued>,
    bytes: usize,
    was_full: bool,
    partial: Option<Partial>,
    pub seen: Seen,
}

impl Order {
    /// The order of acts.
    pub fn of_acts() -> Self {
        Self { is_open: true, opening: Opening::Recall, wants_bans: true, ..Self::of_room(None) }
    }

    /// The order of a room that is not open.
    pub fn of_room(name: Option<Arc<Name>>) -> Self {
        Self { name, ..Self::default() }
    }

    /// Opens it: it is read after this entry.
    pub fn open(&mut self, after: Option<Cursor>) {
        self.reset();
        // What follows the room as it stands is not in it.
        self.seen = after.map_or_else(Seen::default, |_| std::mem::take(&mut self.seen));
        self.is_open = true;
        self.is_held = false;
        self.opening = if after.is_some() { Opening::Check } else { Opening::Recall };
        (self.read, self.seq, self.writer) = (after.unwrap_or_default(), 0, None);
    }

    /// Closes it. A room that is about to be recalled still is.
    pub fn close(&mut self) {
        (self.is_open, self.is_held) = (false, false);
        if self.opening == Opening::Check {
            self.opening = Opening::Done;
        }
        let is_kept = |one: &Queued| one.own.is_some() || matches!(one.sequenced, Sequenced::Opened { .. });
        self.queue.retain(is_kept);
        self.bytes = self.queue.iter().map(|one| one.bytes).sum();
        // Nobody reads what has its place, or where it is.
        let own: Vec<u64> = self.pending.iter().filter(|one| one.is_placed()).map(|one| one.first).collect();
        own.into_iter().for_each(|first| self.give_nowhere(first));
    }

    /// What has been read and not given is read again.
    pub fn reset(&mut self) {
        self.generation += 1;
        self.queue.clear();
        (self.wants_bans, self.bans_at) = (self.name.is_none(), Cursor::default());
        self.seen.read_again();
        (self.bytes, self.partial, self.was_full) = (0, None, false);
        self.pending.iter_mut().for_each(|one| one.is_queued = false);
    }

    /// The connection to the engine is gone: everything that may have got lost is sent again.
    pub fn disconnected(&mut self) {
        self.is_refused = false;
        // It may not be where it was.
        self.pending.iter_mut().for_each(|one| (one.is_sent, one.place) = (false, None));
        if self.is_open && self.opening == Opening::Done {
            self.opening = Opening::Check;
        }
    }

    /// Returns whether it is read.
    pub fn is_read(&self) -> bool {
        self.is_open && !self.is_held && self.opening == Opening::Done && !self.was_full
    }

    /// Returns whether what waits may be sent.
    pub fn is_writable(&self) -> bool {
        !self.is_refused && self.opening == Opening::Done
    }

    /// Returns whether there is something for the hub.
    pub fn has_something(&self) -> bool {
        !self.is_held && !self.queue.is_empty()
    }

    /// Returns whether nothing is to be done any more.
    pub fn is_done(&self) -> bool {
        !self.is_open
            && self.opening == Opening::Done
            && self.pending.is_empty()
            && self.queue.is_empty()
            && !self.is_listed
    }

    /// Returns how many lines, and items without lines, wait for the hub.
    pub fn waiting(&self) -> u64 {
        let lines = |one: &Queued| match &one.sequenced {
            Sequenced::Entry { entry: Entry::Said { lines, .. }, .. } => u64::from(*lines),
            _ => 1,
        };
        self.queue.iter().map(lines).sum::<u64>() + u64::from(self.partial.is_some())
    }

    /// Returns the next thing for the hub. With `keeps`, an item stays until enough replicas have it.
    pub fn next(&mut self, keeps: bool) -> Option<Given> {
        if self.is_held {
            return None;
        }
        let Queued { mut sequenced, own, writer, bytes } = self.queue.pop_front()?;
        self.bytes -= bytes;
        writer.iter().for_each(|writer| self.seen.give(&mut sequenced, writer));
        self.has_lost &= !matches!(sequenced, Sequenced::Bans { .. });
        let mut asked_by = None;
        if let Some(at) = own.and_then(|first| self.at(first)) {
            if !std::mem::replace(&mut self.pending[at].is_given, true) {
                asked_by = self.pending[at].item.asked_by();
            }
            if !keeps || self.pending[at].is_safe {
                self.pending.remove(at);
            }
        }
        let makes_room = self.was_full && self.bytes < MAX_QUEUE / 2;
        self.was_full &= !makes_room;
        Some(Given { sequenced, makes_room, asked_by })
    }

    /// Returns where in `pending` the item is with a part of that counter. The counters only grow.
    fn at(&self, counter: u64) -> Option<usize> {
        let at = self.pending.partition_point(|one| one.first + one.parts <= counter);
        self.pending.get(at).is_some_and(|one| one.first <= counter).then_some(at)
    }

    /// Puts something behind what waits for the hub.
    pub fn push(&mut self, sequenced: Sequenced) {
        self.put(sequenced, None, None);
    }

    fn put(&mut self, sequenced: Sequenced, own: Option<u64>, writer: Option<Writer>) {
        let text = match &sequenced {
            Sequenced::Entry { entry: Entry::Said { text, .. }, .. } => text.len(),
            _ => 0,
        };
        self.bytes += text + OVERHEAD;
        self.was_full |= self.bytes > MAX_QUEUE;
        if let Some(at) = own.and_then(|first| self.at(first)) {
            self.pending[at].is_queued = true;
        }
        self.queue.push_back(Queued { sequenced, own, writer, bytes: text + OVERHEAD });
    }

    /// The item got its place, and will not be read.
    fn give_nowhere(&mut self, first: u64) {
        let Some(at) = self.at(first) else { return };
        if self.pending[at].is_queued || self.pending[at].is_given {
            return;
        }
        match self.pending[at].item.asked_by() {
            Some(session) => self.put(nowhere(session), Some(first), None),
            None if self.pending[at].is_safe => _ = self.pending.remove(at),
            None => self.pending[at].is_given = true,
        }
    }

    /// An entry of the stream is skipped.
    pub fn skip(&mut self, cursor: Cursor, node: &Arc<str>) {
        self.pass(cursor, node);
        self.read = cursor;
        self.writer = None;
        self.repeated(Stamp { cursor, seq: self.seq + 1, time: Timestamp::UNIX_EPOCH }, 0);
        self.settle();
    }

    /// Takes in an entry of the stream.
    pub fn take(&mut self, fetched: Fetched, node: &Arc<str>, incarnation: u64) {
        let Fetched { cursor, node: writer, count, is_again, time, seq, lines, content } = fetched;
        self.pass(cursor, node);
        self.read = cursor;
        self.seq = self.seq.max(seq - 1 + u64::from(lines));
        let own = self.at(count.1).filter(|_| writer == *node && count.0 == incarnation);
        let writer = Writer { node: writer, count, is_again };
        self.writer = Some(writer.clone());
        // Acts are always given, and say whether they come again.
        if self.name.is_some() && self.seen.read(&writer) {
            self.repeated(Stamp { cursor, seq, time }, lines);
            return self.settle();
        }
        // What has not been sent has not come back: somebody made its counter up.
        let own = own.map(|at| &self.pending[at]).filter(|one| one.was_sent);
        let own = own.map(|one| (one.first, one.parts, one.is_queued || one.is_given));
        match (own, content) {
            (own, Content::Act(act)) => {
                let is_awaited = own.is_some_and(|(.., is_done)| !is_done);
                let (node, time) = (Some(Arc::clone(&writer.node)), Some(time));
                let sequenced = Sequenced::Act { act, node, cursor, time, is_again: false, is_awaited };
                self.put(sequenced, own.map(|(first, ..)| first), Some(writer));
            }
            (Some((.., true)), _) if is_again => self.repeated(Stamp { cursor, seq, time }, lines),
            (Some((first, parts, _)), Content::Entry(entry)) if parts > 1 => {
                let stamp = Stamp { cursor, seq, time };
                self.take_part(Partial { first, entry, stamp, writer }, count.1 + 1 == first + parts);
            }
            (own, Content::Entry(entry)) => {
                self.flush();
                let Some(room) = self.name.clone() else { return };
                let stamp = Some(Stamp { cursor, seq, time });
                self.put(Sequenced::Entry { room, entry, stamp }, own.map(|(first, ..)| first), Some(writer));
            }
        }
        self.settle();
    }

    /// Lines have come again, or an entry is skipped: the hub is told that nothing is missing.
    fn repeated(&mut self, stamp: Stamp, lines: u32) {
        self.flush();
        if let Some(room) = self.name.clone() {
            self.push(Sequenced::Repeated { room, stamp, lines });
        }
    }

    /// Takes in a part of an item of this node: its session goes on when all of it has its place.
    fn take_part(&mut self, mut part: Partial, is_last: bool) {
        if self.partial.as_ref().is_some_and(|before| before.first != part.first) {
            self.flush();
        }
        if let Some(Partial { entry: mut before, stamp, .. }) = self.partial.take() {
            if let (Entry::Said { text, lines, .. }, Entry::Said { text: more, lines: more_lines, .. }) =
                (&mut before, &part.entry)
            {
                text.extend_from_slice(more);
                *lines += more_lines;
            }
            part = Partial { entry: before, stamp: Stamp { cursor: part.stamp.cursor, ..stamp }, ..part };
        }
        if !is_last {
            self.partial = Some(part);
        } else if let Some(room) = self.name.clone() {
            let Partial { first, entry, stamp, writer } = part;
            self.put(Sequenced::Entry { room, entry, stamp: Some(stamp) }, Some(first), Some(writer));
        }
    }

    /// Others have come between the parts of an item: what has come goes to the hub.
    fn flush(&mut self) {
        if let (Some(partial), Some(room)) = (self.partial.take(), self.name.clone()) {
            let Partial { entry, stamp, writer, .. } = partial;
            self.put(Sequenced::Entry { room, entry, stamp: Some(stamp) }, None, Some(writer));
        }
    }

    /// The next entry that is there is at `cursor`: those of this node before that will not be read, since they were
    /// trimmed.
    fn pass(&mut self, cursor: Cursor, node: &Arc<str>) {
        let read = self.read;
        let is_gone = |place: &Place| place.is_exact && place.cursor > read && place.cursor < cursor;
        let is_open = |one: &&Pending| !one.is_queued && !one.is_given;
        let is_before = |one: &&Pending| one.place.is_some_and(|place| place.cursor < cursor);
        let mut gone = Vec::new();
        for one in self.pending.iter().take_while(is_before).filter(is_open) {
            if let Some(place) = one.place.filter(is_gone) {
                gone.push((one.first, one.sequenced(place, node)));
            }
        }
        for (first, sequenced) in gone {
            self.flush();
            self.put(sequenced, Some(first), None);
        }
    }

    /// Items of this node that must have been read by now, and were not, wait no longer.
    pub fn settle(&mut self) {
        let is_open = |one: &&Pending| !one.is_queued && !one.is_given;
        let is_past = |one: &&Pending| one.place.is_some_and(|place| place.cursor <= self.read);
        let lost = self.pending.iter().take_while(is_past).filter(is_open);
        let lost: Vec<u64> = lost.map(|one| one.first).collect();
        lost.into_iter().for_each(|first| self.give_nowhere(first));
    }

    /// The engine has put an item somewhere.
    pub fn placed(&mut self, first: u64, place: Place, node: &Arc<str>, is_safe: bool) {
        let Some(at) = self.at(first) else { return };
        let one = &mut self.pending[at];
        one.place = Some(place);
        one.is_safe |= is_safe;
        if one.is_given {
            if one.is_safe {
                self.pending.remove(at);
            }
        } else if !self.is_open && !one.is_queued {
            // Nobody reads it.
            let sequenced = one.sequenced(place, node);
            if place.is_exact {
                self.put(sequenced, Some(first), None);
            } else {
                self.give_nowhere(first);
            }
        }
    }

    /// Enough replicas have everything that has its place.
    pub fn safe(&mut self) {
        self.pending
            .iter_mut()
            .filter(|one| one.is_sent && one.place.is_some())
            .for_each(|one| one.is_safe = true);
        self.pending.retain(|one| !(one.is_given && one.is_safe));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Act, ClusterBans, Item};
    use crate::protocol::{Kind, Who};
    use proptest::prelude::*;
    /// An act of alpha, as it is read, which alpha may have sent before.
    fn act(counter: u64) -> Fetched {
        Fetched {
            cursor: Cursor { epoch: 1, entry: counter },
            node: "alpha".into(),
            count: (7, counter),
            is_again: true,
            time: Timestamp::UNIX_EPOCH,
            seq: 1,
            lines: 0,
            content: Content::Act(Act::Gone("beta".to_owned())),
        }
    }

    fn main_room() -> Order {
        let room = Order::of_room(Some(Arc::new(Name::known("main"))));
        Order { is_open: true, opening: Opening::Done, ..room }
    }

    /// Lines of alpha, as they are read, which alpha may have sent before.
    fn lines(counter: u64, text: &str) -> Fetched {
        let (from, who, lines) = (SessionId(7), Arc::new(Who::guest(7)), text.matches('\n').count() as u32);
        let entry = Entry::Said { kind: Kind::Message, from, who, text: text.into(), lines, done: (0, 0) };
        Fetched { lines, content: Content::Entry(entry), ..act(counter) }
    }

    /// What the hub is given: the text, or `-` for lines that it has and for what is skipped.
    fn given(order: &mut Order) -> Option<String> {
        Some(match order.next(false)?.sequenced {
            Sequenced::Entry { entry, .. } => String::from_utf8(entry.text().to_vec()).unwrap(),
            _ => "-".to_owned(),
        })
    }

    #[test]
    fn what_comes_again_is_known_however_much_came_since() {
        let (mut order, node) = (main_room(), Arc::from("beta"));
        let mut is_new = |counter| {
            order.take(lines(counter, "a\n"), &node, 3);
            given(&mut order).unwrap() == "a\n"
        };
        assert!((1..3000).all(&mut is_new));
        assert!(!(1..3000).any(&mut is_new));
        assert!(is_new(3000));
    }

    /// Otherwise these lines, or this private message, would be lost.
    #[test]
    fn what_was_read_and_not_given_does_not_count_as_seen() {
        let node = Arc::from("beta");
        let mut order = main_room();
        order.take(lines(1, "a\n"), &node, 3);
        order.open(Some(Cursor::default()));
        order.take(lines(1, "a\n"), &node, 3);
        assert_eq!(given(&mut order).as_deref(), Some("a\n"));
        order.open(Some(Cursor::default()));
        order.take(lines(1, "a\n"), &node, 3);
        assert_eq!(given(&mut order).as_deref(), Some("-"), "the hub has it");
        // The hub gets the room as it stands, which does not have them.
        order.open(None);
        order.take(lines(1, "a\n"), &node, 3);
        assert_eq!(given(&mut order).as_deref(), Some("a\n"));
        let mut acts = Order { opening: Opening::Done, ..Order::of_acts() };
        acts.take(act(1), &node, 3);
        acts.reset();
        acts.take(act(1), &node, 3);
        let given = acts.next(false).map(|given| given.sequenced);
        assert!(matches!(given, Some(Sequenced::Act { is_again: false, .. })), "{given:?}");
    }

    /// Otherwise it would take the bans that are lost for lifted.
    #[test]
    fn a_hub_that_did_not_get_the_bans_after_a_loss_is_told_of_it_with_the_next_ones() {
        let (mut acts, cursor) = (Order::of_acts(), Cursor::default());
        for is_taken in [false, true] {
            acts.has_lost = true;
            let bans = Arc::new(ClusterBans { id: 7, lines: Vec::new(), has_lost: true });
            acts.push(Sequenced::Bans { bans, cursor });
            assert!(!is_taken || acts.next(false).is_some());
            acts.reset();
            assert_eq!(acts.has_lost, !is_taken);
        }
    }

    /// An order with an item of alpha in two parts, `a` and `b`, that was sent.
    fn with_two_parts() -> (Order, Arc<str>) {
        let mut order = main_room();
        let Content::Entry(entry) = lines(1, "a\nb\n").content else { panic!("lines") };
        let item = Item::Entry(Arc::new(Name::known("main")), entry);
        order.pending.push_back(Pending { was_sent: true, ..Pending::new(1, 2, item) });
        (order, Arc::from("alpha"))
    }

    fn at(epoch: u64, entry: u64, part: Fetched) -> Fetched {
        Fetched { cursor: Cursor { epoch, entry }, seq: entry, ..part }
    }

    #[test]
    fn what_is_skipped_between_two_parts_comes_between_them() {
        let (mut order, alpha) = with_two_parts();
        order.take(at(1, 1, lines(1, "a\n")), &alpha, 7);
        order.skip(Cursor { epoch: 1, entry: 2 }, &alpha);
        order.take(at(1, 3, lines(2, "b\n")), &alpha, 7);
        let heard: Vec<String> = std::iter::from_fn(|| given(&mut order)).collect();
        assert_eq!(heard, ["a\n", "-", "b\n"]);
    }

    /// The engine loses both parts before the second was read: alpha sends them again.
    #[test]
    fn a_part_that_was_read_before_a_failover_does_not_come_twice() {
        for (is_flushed, is_given) in [(false, false), (true, false), (true, true)] {
            let (mut order, alpha) = with_two_parts();
            let mut heard = Vec::new();
            order.take(at(1, 1, Fetched { is_again: false, ..lines(1, "a\n") }), &alpha, 7);
            if is_flushed {
                order.skip(Cursor { epoch: 1, entry: 2 }, &alpha);
            }
            if is_given {
                heard.extend(std::iter::from_fn(|| given(&mut order)));
            }
            order.disconnected();
            order.opening = Opening::Done;
            order.take(at(2, 1, lines(1, "a\n")), &alpha, 7);
            order.take(at(2, 2, lines(2, "b\n")), &alpha, 7);
            heard.extend(std::iter::from_fn(|| given(&mut order)));
            heard.retain(|text| text != "-");
            assert_eq!(heard, ["a\n", "b\n"], "{is_flushed} {is_given}");
        }
    }

    #[test]
    fn what_waits_to_be_sent_is_not_taken_for_sent_because_somebody_made_its_counter_up() {
        let (mut acts, alpha) = (Order::of_acts(), Arc::from("alpha"));
        let item = Item::Act(Act::Gone("gamma".to_owned()));
        acts.pending.push_back(Pending::new(5, 1, item));
        acts.take(Fetched { is_again: false, ..act(5) }, &alpha, 7);
        assert!(acts.next(false).is_some() && acts.pending.len() == 1);
    }

    /// Otherwise this node would make another roster of them than those that have not read them before.
    #[test]
    fn after_a_stored_roster_acts_count_again_also_those_of_this_node() {
        for (node, keeps) in [("alpha", false), ("alpha", true), ("gamma", false)] {
            let mut acts = Order { opening: Opening::Done, ..Order::of_acts() };
            let node = Arc::from(node);
            for counter in 1..3 {
                let item = Item::Act(Act::Gone("beta".to_owned()));
                acts.pending.push_back(Pending { was_sent: true, ..Pending::new(counter, 1, item) });
                acts.take(act(counter), &node, 7);
                let given = acts.next(keeps).map(|given| given.sequenced);
                let Some(Sequenced::Act { is_awaited, .. }) = given else { panic!("{given:?}") };
                assert_eq!(is_awaited, &*node == "alpha");
            }
            // The engine has lost some, and the roster was stored before these.
            acts.disconnected();
            acts.reset();
            for counter in 1..3 {
                acts.take(act(counter), &node, 7);
                let given = acts.next(keeps).map(|given| given.sequenced);
                let is_again =
                    matches!(given, Some(Sequenced::Act { is_again: true, is_awaited: false, .. }));
                assert!(is_again, "{node} {keeps} {counter}: {given:?}");
            }
        }
    }

    /// What happens to a room at a node, alpha. Another node, beta, speaks there as well.
    #[derive(Clone, Debug)]
    enum Happening {
        /// Alpha says lines, in so many parts.
        Own(u64),
        /// Beta says a line.
        Other,
        /// So many entries are read, and so many things are given.
        Read(usize),
        Give(usize),
        /// Replicas have everything so far.
        Replicated,
        /// The engine loses so many entries that replicas do not have: the nodes send them again.
        Failover(usize),
        /// The hub goes on from what it has, in this process or in the next one.
        Reset,
        HandOver,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            (1..4_u64).prop_map(Happening::Own),
            Just(Happening::Other),
            (1..6_usize).prop_map(Happening::Read),
            (1..4_usize).prop_map(Happening::Give),
            Just(Happening::Replicated),
            (0..6_usize).prop_map(Happening::Failover),
            Just(Happening::Reset),
            Just(Happening::HandOver),
        ]
    }

    /// A room at alpha, the stream, and what its hub has heard.
    struct World {
        order: Order,
        /// Entries of beta and of alpha, by the place, with the counter and whether they were sent before.
        stream: Vec<(Cursor, &'static str, u64, bool)>,
        /// How many of them replicas have.
        safe: usize,
        /// The last counters of alpha and beta.
        said: [u64; 2],
        end: Cursor,
        heard: Vec<String>,
        /// The last entry that the hub has.
        has: Cursor,
    }

    impl World {
        fn new() -> Self {
            let (order, end) = (main_room(), Cursor { epoch: 1, entry: 0 });
            Self { order, stream: Vec::new(), safe: 0, said: [0, 0], end, heard: Vec::new(), has: end }
        }

        /// As the script does: what is there is left out.
        fn append(&mut self, node: &'static str, counter: u64, is_again: bool) {
            if !self.stream.iter().any(|(_, other, there, _)| *other == node && *there >= counter) {
                self.end.entry += 1;
                self.stream.push((self.end, node, counter, is_again));
            }
        }

        /// Alpha sends everything that it still has.
        fn send_again(&mut self) {
            let parts = |one: &Pending| one.first..one.first + one.parts;
            let counters: Vec<u64> = self.order.pending.iter().flat_map(parts).collect();
            counters.into_iter().for_each(|counter| self.append("alpha", counter, true));
        }

        fn read(&mut self, most: usize) {
            let after = self.order.read;
            let new = self.stream.iter().filter(|(cursor, ..)| *cursor > after).take(most);
            for (cursor, node, counter, is_again) in new.cloned().collect::<Vec<_>>() {
                let part = lines(counter, &format!("{node} {counter}\n"));
                let count = (if node == "alpha" { 7 } else { 3 }, counter);
                let fetched = Fetched { node: node.into(), count, is_again, ..part };
                self.order.take(Fetched { cursor, seq: 1, ..fetched }, &Arc::from("alpha"), 7);
            }
        }

        fn give(&mut self, most: usize) {
            for given in std::iter::from_fn(|| self.order.next(true)).take(most) {
                match given.sequenced {
                    Sequenced::Entry { entry, stamp, .. } => {
                        let text = String::from_utf8(entry.text().to_vec()).unwrap();
                        self.heard.extend(text.lines().map(str::to_owned));
                        self.has = stamp.unwrap().cursor;
                    }
                    Sequenced::Repeated { stamp, .. } => self.has = stamp.cursor,
                    other => panic!("{other:?}"),
                }
            }
        }

        fn make(&mut self, happening: &Happening) {
            match *happening {
                Happening::Own(parts) => {
                    let first = self.said[0] + 1;
                    self.said[0] += parts;
                    let text: String = (first..first + parts).map(|part| format!("alpha {part}\n")).collect();
                    let Content::Entry(entry) = lines(first, &text).content else { panic!("lines") };
                    let item = Item::Entry(Arc::new(Name::known("main")), entry);
                    let pending = Pending { was_sent: true, ..Pending::new(first, parts, item) };
                    self.order.pending.push_back(pending);
                    (first..first + parts).for_each(|counter| self.append("alpha", counter, false));
                }
                Happening::Other => {
                    self.said[1] += 1;
                    self.append("beta", self.said[1], false);
                }
                Happening::Read(most) => self.read(most),
                Happening::Give(most) => self.give(most),
                Happening::Replicated => self.safe = self.stream.len(),
                Happening::Failover(most) => {
                    let lost = self.stream.split_off(self.stream.len().saturating_sub(most).max(self.safe));
                    self.end = Cursor { epoch: self.end.epoch + 1, entry: 0 };
                    self.order.disconnected();
                    self.order.opening = Opening::Done;
                    for (_, node, counter, _) in lost.into_iter().filter(|(_, node, ..)| *node == "beta") {
                        self.append(node, counter, true);
                    }
                    self.send_again();
                }
                Happening::Reset => {
                    self.order.open(Some(self.has));
                    self.order.opening = Opening::Done;
                }
                Happening::HandOver => {
                    let before = std::mem::replace(&mut self.order, main_room());
                    let again = before.pending.into_iter().map(|one| {
                        let item = Item::clone(&one.item);
                        let is_given = one.is_given;
                        Pending { is_given, was_sent: true, ..Pending::new(one.first, one.parts, item) }
                    });
                    self.order.pending = again.collect();
                    self.order.open(Some(self.has));
                    (self.order.opening, self.order.seen) =
                        (Opening::Done, Seen::of(before.seen.given().clone()));
                    self.send_again();
                }
            }
        }
    }

    proptest! {
        #[test]
        fn each_line_is_heard_once_and_in_the_order_of_its_node(
            happenings in proptest::collection::vec(happening(), 0..60)
        ) {
            let mut world = World::new();
            happenings.iter().for_each(|one| world.make(one));
            world.read(usize::MAX);
            world.give(usize::MAX);
            for (node, last) in ["alpha", "beta"].iter().zip(world.said) {
                let heard: Vec<&String> = world.heard.iter().filter(|line| line.starts_with(node)).collect();
                let said: Vec<String> = (1..=last).map(|counter| format!("{node} {counter}")).collect();
                prop_assert_eq!(heard, said.iter().collect::<Vec<_>>());
            }
        }
    }
}
