//! Which incarnation of its node this process is, as a note in the crash table: a restart and a crash leave it to the
//! next process, which goes on as the same node.

use crate::net::crash_table::Notes;

/// What the note begins with; the name of the node follows.
const INCARNATION: &str = "incarnation ";

/// Returns those of the notes that are about nodes.
pub(super) fn in_notes(notes: &[(String, u64)]) -> Vec<(String, u64)> {
    notes.iter().filter(|(text, _)| has(text)).cloned().collect()
}

/// Returns the incarnation in the notes of the process before; `None` if it was no node, or another one.
pub fn read(notes: &[(String, u64)], node: &str) -> Option<u64> {
    let is_it = |text: &str| text.strip_prefix(INCARNATION) == Some(node);
    notes.iter().find(|(text, _)| is_it(text)).map(|(_, number)| *number)
}

/// Writes the incarnation for the next process, and forgets those of other nodes.
pub fn write(notes: &mut Notes, node: &str, incarnation: u64) {
    forget_others(notes, Some(node));
    if let Err(error) = notes.set(&format!("{INCARNATION}{node}"), incarnation) {
        // It costs the time until the other nodes have given up on the process before.
        log::debug!("cannot store the incarnation of this node for the next process: {error}");
    }
}

/// Forgets the incarnations of all nodes, or of all others.
pub fn forget_others(notes: &mut Notes, own: Option<&str>) {
    let is_other = |text: &&str| text.strip_prefix(INCARNATION).is_some_and(|node| Some(node) != own);
    let others: Vec<String> = notes.texts().filter(is_other).map(str::to_owned).collect();
    others.iter().for_each(|text| notes.forget(text));
}

/// Returns whether a note is one of these.
pub(super) fn has(text: &str) -> bool {
    text.starts_with(INCARNATION)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::chat;
    use crate::net::crash_table::CrashTable;

    #[test]
    fn a_note_goes_from_process_to_process_and_the_hub_does_not_see_it() {
        let table = CrashTable::new().unwrap();
        let file = table.as_fd().try_clone_to_owned().unwrap();
        let mut notes = table.notes().unwrap();
        notes.set("room 1 main", 5).unwrap();
        write(&mut notes, "alpha", 7);
        write(&mut notes, "alpha", 8);
        // The longest name.
        let long = "n".repeat(64);
        write(&mut notes, &long, 9);
        assert_eq!(chat::Notes::texts(&notes), ["room 1 main"]);
        drop((notes, table));
        let (_, left) = CrashTable::take_over(file).unwrap();
        assert_eq!([read(&left.notes, "alpha"), read(&left.notes, &long)], [None, Some(9)]);
        assert_eq!(in_notes(&left.notes).len(), 1);
        assert_eq!(read(&[], "alpha"), None);
    }
}
