//! Crowds: sessions that talk through restarts and crashes, and know what each of them must hear.

use std::ops::Range;

use crate::clients::{CIPHERS, Service};
use crate::guest::sessions_in_kernel;
use crate::support::oracle::{Oracle, Plan};

/// Lines that they say in a second, together, as far as the machine can.
const RATE: u32 = 1000;
/// Sessions that speak TLS; of eight in a crowd one comes in at the unix socket and does not.
const SECURE: u32 = 200;
const ALL: u32 = 228;

/// Lines that they may be ahead of what is heard.
const AHEAD: u64 = 50;

/// What happens to the daemon while a crowd talks.
#[derive(Clone, Copy)]
pub struct Trouble {
    restarts: u32,
    kills: u32,
}

/// The full measure.
pub const TWENTY_RESTARTS: Trouble = Trouble { restarts: 20, kills: 0 };
pub const FIFTY_KILLS: Trouble = Trouble { restarts: 0, kills: 50 };

/// Waits until they have heard something more, and as much more as looks like chance, so that things happen at any
/// moment of the traffic.
fn go_on(oracle: &Oracle, number: u32) {
    let chance = number.wrapping_mul(2_654_435_761) >> 22;
    oracle.wait_until_heard(oracle.heard() + u64::from(ALL) * u64::from(50 + chance / 16));
}

/// A crowd that speaks with these ciphers; without any, in plain text.
pub fn talk(ciphers: Range<usize>, trouble: Trouble) {
    let mut service = Service::with(!ciphers.is_empty());
    let is_plain = ciphers.is_empty();
    let mut plan = Plan::new(service.manager.address(), ALL, RATE);
    plan.unix = Some(service.unix());
    plan.most_ahead = Some(AHEAD);
    plan.tls = ciphers.map(|cipher| service.client(cipher)).collect();
    let oracle = Oracle::start(plan);
    let (encrypted, decrypted) = sessions_in_kernel();
    let least = if is_plain { 0 } else { SECURE.into() };
    assert!(encrypted >= least && decrypted == encrypted, "in the kernel: {encrypted}, {decrypted}");
    for number in 0..trouble.restarts {
        go_on(&oracle, number);
        oracle.begin();
        service.restart();
    }
    for number in 0..trouble.kills {
        go_on(&oracle, number);
        oracle.begin();
        oracle.crash(|| service.kill(ALL));
        service.start_again();
        oracle.wait_until_told();
    }
    go_on(&oracle, 0);
    assert_eq!(sessions_in_kernel(), (encrypted, decrypted), "each has been kept");
    let report = oracle.finish();
    println!("{report}");
    match trouble.kills {
        0 => report.expect_everything(),
        _ => report.expect_no_faults(),
    }
}

pub fn restarts() {
    talk(0..CIPHERS.len(), Trouble { restarts: 5, kills: 0 });
}

pub fn kills() {
    talk(0..CIPHERS.len(), Trouble { restarts: 0, kills: 10 });
}
