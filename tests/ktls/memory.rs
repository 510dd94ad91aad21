//! Memory of idle sessions: what chatd takes for each, and what the kernel takes for its keys. It is told, and held
//! against nothing here.

use std::fs;

use crate::clients::{CIPHERS, Service};
use crate::guest::sessions_in_kernel;
use crate::support::{Caller, GREETING};

const SESSIONS: usize = 1000;

/// Memory of the kernel for small things, in bytes.
fn slab() -> u64 {
    let table = fs::read_to_string("/proc/meminfo").unwrap();
    let line = table.lines().find_map(|line| line.strip_prefix("Slab:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// What so many sessions take: of chatd and of the kernel, for each.
fn of_each(service: &Service, join: impl Fn(&Service) -> Caller) -> (u64, u64) {
    // What is made once is made.
    let mut crowd: Vec<Caller> = (0..SESSIONS / 10).map(|_| join(service)).collect();
    let (rss, kernel) = (service.daemon.rss(), slab());
    crowd.extend((0..SESSIONS).map(|_| join(service)));
    let count = SESSIONS as u64;
    ((service.daemon.rss().saturating_sub(rss)) / count, slab().saturating_sub(kernel) / count)
}

pub fn of_idle_sessions() {
    let plain = of_each(&Service::start(), |service| {
        let mut caller = Caller::connect(service.manager.address());
        // Whoever speaks first joins at once.
        caller.say("/view plain\n");
        caller.expect(GREETING);
        caller.until("\n");
        caller
    });
    println!("plain: {} B of chatd, {} B of the kernel", plain.0, plain.1);
    for (cipher, (name, _)) in CIPHERS.iter().enumerate() {
        let service = Service::start();
        let (own, kernel) = of_each(&service, |service| service.join(cipher));
        println!("{name}: {own} B of chatd, {kernel} B of the kernel");
        assert!(sessions_in_kernel().0 >= SESSIONS as u64);
    }
}
