//! Going on with an arbitrary state: whatever another process has left, it is refused, or everybody can go on talking.
//!
//! The input is a state, or the CBOR in one; tests/data/handover has real ones to begin with. Run by
//! `cargo fuzz run handover`.
#![no_main]

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatd::chat::{Hub, Input, Limits, Local, Now, Read, SessionId, Signal, Sink};
use chatd::service::handover::Handover;
use libfuzzer_sys::fuzz_target;

/// Takes everything.
#[derive(Debug)]
struct Socket;

impl Sink for Socket {
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn signal(&self, _signal: Signal) {}
}

const LIMITS: Limits =
    Limits { log_size: 4096, history: 10, max_rooms: 3, min_rate: 1000, memory: 1 << 20, commands: true };

/// The length of what stands before the CBOR in a file.
const HEAD: usize = 28;

fuzz_target!(|input: &[u8]| {
    // The checksum of a file that has been changed would be wrong.
    let body =
        if input.starts_with(b"chatd state\n") { input.get(HEAD..).unwrap_or_default() } else { input };
    let Ok(handover) = Handover::decode(&Handover::frame(body)) else { return };
    let mut now = Now { instant: Instant::now(), wall: jiff::Timestamp::UNIX_EPOCH };
    let restored = Hub::restore(LIMITS, Box::<Local>::default(), handover.hub, now, |_| Some(Arc::new(Socket)));
    let Ok((mut hub, readings)) = restored else { return };
    let ids: Vec<SessionId> = hub.sessions().collect();
    for round in 0..3 {
        for id in ids.iter().copied() {
            if !hub.has_input(id) {
                let text = format!("line {round}\n/last\n/view names\n/join room{round}\n").into_bytes();
                hub.traffic().begin_input(text.len());
                hub.apply(Input::Read(id, Box::new(Read { text, ..Read::default() })), now);
            }
        }
        for _ in 0..100 {
            hub.work(now, 100);
            // A socket that takes more is sent all there is.
            ids.iter().for_each(|id| hub.apply(Input::Writable(*id), now));
        }
        now.instant += Duration::from_secs(2);
        hub.tick(now);
    }
    for (id, reading) in readings {
        hub.apply(Input::Frozen(id, Box::new(reading)), now);
    }
    let again = Handover { last: handover.last, hub: hub.into_snapshot().0, cluster: handover.cluster };
    let bytes = again.encode();
    // Not compared as values: not every field of them is written down.
    assert!(Handover::decode(&bytes).unwrap().encode() == bytes);
});
