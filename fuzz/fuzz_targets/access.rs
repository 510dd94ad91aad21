//! Anything that comes in place of a PROXY header, and any text in place of a network or of whom a ban covers.

#![no_main]

use chatd::net::bans::{Muted, Subject};
use chatd::net::proxy::{MAX_HEADER, Recorded, read_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((_, length))) = read_header(bytes) {
        assert!(length <= bytes.len() && length <= MAX_HEADER);
        // What is behind it changes nothing, and without its end it is not complete.
        assert_eq!(read_header(&bytes[..length]), read_header(bytes));
        assert_eq!(read_header(&bytes[..length - 1]), Ok(None));
    }
    let _ = Recorded::split(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(subject) = text.parse::<Subject>() {
        assert_eq!(subject.to_string().parse(), Ok(subject));
    }
    if let Ok(muted) = text.parse::<Muted>() {
        assert_eq!(muted.to_string().parse(), Ok(muted));
    }
});
