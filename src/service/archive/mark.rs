//! Marks: the objects in an archive that are no part of the json view.
//!
//! A mark says which epoch the lines after it have, and how many lines are missing before it. Every file begins with one,
//! and there is another at least every [`MARK_BYTES`], so that the end of a file can be read without its beginning.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Most bytes of a file between two marks, besides one write.
pub const MARK_BYTES: u64 = 512 * 1024;

/// What the line of a mark begins with.
pub const BEGINNING: &[u8] = br#"{"type":"archive","#;

/// An object of the archive itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Object<'a> {
    #[serde(borrow)]
    Archive(Mark<'a>),
}

/// A mark, with its fields in the order of chatd(8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark<'a> {
    /// When the next line was said, or when chatd started or stopped: in UTC, with milliseconds (RFC 3339).
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// The name of the room.
    pub room: Cow<'a, str>,
    /// The epoch of the lines that follow.
    pub epoch: u64,
    /// The number of the last line before.
    pub seq: u64,
    /// After a crash the room goes on behind this number. The same as `seq` if chatd has stopped in order.
    pub reserved: u64,
    /// Number of lines that are missing before this.
    pub lost: u64,
    /// Whether chatd crashed before this: the last lines before it may be missing, and nobody knows how many.
    #[serde(default)]
    pub crashed: bool,
}

impl<'a> Mark<'a> {
    /// Reads a line without its LF. Returns `None` if it is no mark.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let line = line.starts_with(BEGINNING).then(|| std::str::from_utf8(line).ok())??;
        let Object::Archive(mark) = serde_json::from_str(line).ok()?;
        Some(mark)
    }

    /// Appends the mark as a line.
    pub fn append(self, out: &mut Vec<u8>) {
        // Numbers and text can always be written, and writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *out, &Object::Archive(self));
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_is_written_and_nothing_else_is_one() {
        let mark = Mark {
            time: "now".into(),
            room: "main".into(),
            epoch: 7,
            seq: 41,
            reserved: 50,
            lost: 2,
            crashed: true,
        };
        let mut out = Vec::new();
        mark.clone().append(&mut out);
        assert!(out.starts_with(BEGINNING) && out.ends_with(b"\"lost\":2,\"crashed\":true}\n"));
        assert_eq!(Mark::read(out.trim_ascii_end()), Some(mark.clone()));
        let earlier = out.trim_ascii_end().strip_suffix(b",\"crashed\":true}").unwrap();
        assert_eq!(Mark::read(&[earlier, b"}"].concat()), Some(Mark { crashed: false, ..mark }));
        for other in [&b"{\"type\":\"archive\",\"epoch\":7}"[..], b"{\"type\":\"message\"}", b"", b"\xff"] {
            assert_eq!(Mark::read(other), None);
        }
    }
}
