//! Going on with an arbitrary state: whatever another process has left, it is refused, or everybody can go on talking.
//!
//! The input is a state, or the CBOR in one; tests/data/handover has real ones to begin with. Run by
//! `cargo fuzz run handover`.
#![no_main]

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatd::chat::{Effects, House, Input, Limits, Now, Outlet, Reader};
use chatd::service::handover::Handover;
use libfuzzer_sys::fuzz_target;

/// Takes everything.
#[derive(Debug)]
struct Sink;

impl Outlet for Sink {
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

const LIMITS: Limits = Limits { log_size: 4096, history: 10, max_rooms: 3, min_rate: 1000 };

/// The length of what stands before the CBOR in a file.
const HEAD: usize = 28;

fuzz_target!(|input: &[u8]| {
    // The checksum of a file that has been changed would be wrong.
    let body =
        if input.starts_with(b"chatd state\n") { input.get(HEAD..).unwrap_or_default() } else { input };
    let Ok(handover) = Handover::decode(&Handover::frame(body)) else { return };
    let mut now = Now { instant: Instant::now(), wall: jiff::Timestamp::UNIX_EPOCH };
    let Ok(mut house) =
        House::put_back(LIMITS, handover.house, now, |_| Some(Arc::new(Sink) as Arc<dyn Outlet>))
    else {
        return;
    };
    let members: Vec<_> = house.members().cloned().collect();
    let mut readers: Vec<Reader> = members.iter().map(|member| Reader::new(Arc::clone(member))).collect();
    let mut effects = Effects::default();
    for round in 0..3 {
        for member in members.iter().filter(|member| !member.is_outstanding()) {
            member.begin_input();
            let text = format!("line {round}\n").into_bytes();
            house.traffic().begin_input(text.len());
            house.apply(Input::Say { from: member.id(), text, lines: 1 }, now, &mut effects);
        }
        for reader in &mut readers {
            for _ in 0..100 {
                let _ = reader.deliver();
            }
        }
        now.instant += Duration::from_secs(2);
        house.tick(now, &mut effects);
    }
    let again = Handover { last: handover.last, house: house.keep(), sessions: Vec::new() };
    assert_eq!(Handover::decode(&again.encode()).unwrap(), again);
});
