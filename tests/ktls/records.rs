//! Records: what clients do with them that chatd has to bear, and what it sends in the end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::clients::{CIPHERS, LOOKS, Service};
use crate::guest::sessions_in_kernel;
use crate::support::wire::Wire;
use crate::support::{Caller, GREETING};

/// Bytes of the header of a record.
const HEADER: usize = 5;

/// Sends bytes as they are.
fn push(caller: &Caller, bytes: &[u8]) {
    caller.stream().write_all(bytes).unwrap();
}

/// Those who speak TLS with each cipher, those who come in at the same port and do not, and those at the unix socket.
pub fn all_talk_with_each_other() {
    let service = Service::start();
    let mut all: Vec<Caller> = (0..CIPHERS.len()).map(|cipher| service.join(cipher)).collect();
    let count = CIPHERS.len() as u64;
    assert_eq!(sessions_in_kernel(), (count, count));
    all.extend([service.join_plain(), service.manager.join()]);
    for who in 0..all.len() {
        let line = format!("line {who}\n");
        all[who].say(&line);
        for caller in all.iter_mut().enumerate().filter(|(other, _)| *other != who).map(|(_, caller)| caller)
        {
            caller.expect(&line);
        }
    }
}

/// On an old kernel a part of a record makes a socket readable, and there is nothing to read.
pub fn half_a_record_wakes_nobody() {
    let service = Service::start();
    let mut ear = service.join_plain();
    for cipher in 0..CIPHERS.len() {
        for part in [1, usize::MAX] {
            let mut caller = service.join(cipher);
            let records = caller.wire().records_of(b"hello\n");
            let (first, second) = records.split_at(part.min(records.len() - 1));
            push(&caller, first);
            service.daemon.wait_until_asleep(LOOKS);
            push(&caller, second);
            ear.expect("hello\n");
        }
    }
}

/// Somebody who has sent a part of a record when something happens to the daemon sends the rest after it.
fn half_a_record_through(happen: fn(&mut Service, u32)) {
    let mut service = Service::start();
    let mut callers: Vec<Caller> = (0..CIPHERS.len()).map(|cipher| service.join(cipher)).collect();
    let mut ear = service.join_plain();
    let all = callers.len() as u32 + 1;
    for part in [1, HEADER, HEADER + 1, usize::MAX] {
        let records: Vec<_> = callers
            .iter_mut()
            .enumerate()
            .map(|(who, caller)| caller.wire().records_of(format!("{who}\n").as_bytes()))
            .collect();
        // Else a client may get an empty line after a kill.
        service.daemon.wait_until_asleep(LOOKS);
        let cut = |record: &[u8]| part.min(record.len() - 1);
        callers.iter().zip(&records).for_each(|(caller, record)| push(caller, &record[..cut(record)]));
        happen(&mut service, all);
        for (who, (caller, record)) in callers.iter().zip(&records).enumerate() {
            push(caller, &record[cut(record)..]);
            ear.expect(format!("{who}\n"));
        }
        for (who, caller) in callers.iter_mut().enumerate() {
            let heard = (0..CIPHERS.len()).filter(|other| *other != who).map(|other| format!("{other}\n"));
            caller.expect(heard.collect::<String>());
        }
    }
}

pub fn half_a_record_is_finished_after_a_restart() {
    half_a_record_through(|service, _| service.restart());
}

pub fn half_a_record_is_finished_after_a_kill() {
    half_a_record_through(|service, all| {
        service.kill(all);
        service.start_again();
    });
}

/// The end of TLS alone: the connection could go on.
pub fn close_notify_ends_the_input() {
    let service = Service::start();
    let mut ear = service.join_plain();
    for cipher in 0..CIPHERS.len() {
        let mut caller = service.join(cipher);
        caller.say("bye\n");
        caller.wire().tls().send_close_notify();
        caller.wire().flush().unwrap();
        ear.expect("bye\n");
        // It is answered in the same way: otherwise this is an error.
        caller.expect_end();
    }
}

/// As `echo hi | openssl s_client` does it: the last of the handshake, a line and the end come together.
pub fn who_closes_at_once_is_heard() {
    let service = Service::start();
    let mut ear = service.join_plain();
    for cipher in 0..CIPHERS.len() {
        let mut wire = begin(&service, cipher);
        while wire.tls().is_handshaking() {
            let hello = wire.records();
            wire.stream().write_all(&hello).unwrap();
            wire.take_records().unwrap();
        }
        let mut last = wire.records_of(b"hi\n");
        wire.tls().send_close_notify();
        last.extend(wire.records());
        wire.stream().write_all(&last).unwrap();
        wire.stream().shutdown(Shutdown::Write).unwrap();
        ear.expect("hi\n");
        let mut heard = String::new();
        wire.read_to_string(&mut heard).expect("a close_notify");
        assert_eq!(heard, GREETING);
    }
}

/// A connection on which no byte has been sent.
fn begin(service: &Service, cipher: usize) -> Wire {
    let stream = TcpStream::connect(service.manager.address()).unwrap();
    Wire::secure(stream, &service.client(cipher))
}

/// Nobody can go on with it.
pub fn a_handshake_that_is_not_done_is_closed_at_a_restart() {
    let mut service = Service::start();
    let mut stays = service.join(0);
    let mut ends: Vec<Wire> = (0..CIPHERS.len()).map(|cipher| begin(&service, cipher)).collect();
    for wire in &mut ends {
        let hello = wire.records();
        wire.stream().write_all(&hello[..hello.len() / 2]).unwrap();
    }
    service.restart();
    for wire in &ends {
        let mut heard = Vec::new();
        // It may have been closed before all had been read of it.
        let _ = wire.stream().read_to_end(&mut heard);
    }
    service.join_plain().say("hello\n");
    stays.expect("hello\n");
}

/// What is no record, or none that was sent like this, ends one connection.
pub fn broken_records_end_one_connection() {
    let service = Service::start();
    let mut ear = service.join_plain();
    for cipher in 0..CIPHERS.len() {
        for spoil in [flip, enlarge, garble] {
            let mut caller = service.join(cipher);
            let mut records = caller.wire().records_of(b"never heard\n");
            spoil(&mut records);
            push(&caller, &records);
            // The end comes as it can: the other side cannot go on either.
            let _ = caller.stream().read_to_end(&mut Vec::new());
        }
        let mut good = service.join(cipher);
        good.say("good\n");
        ear.expect("good\n");
    }
}

fn flip(record: &mut [u8]) {
    record[HEADER + 3] ^= 1;
}

/// A length that no record may have.
fn enlarge(record: &mut [u8]) {
    record[3..HEADER].copy_from_slice(&u16::MAX.to_be_bytes());
}

fn garble(record: &mut [u8]) {
    record.fill(b'A');
}

/// A stop says goodbye, and that it was meant.
pub fn a_stop_ends_with_close_notify() {
    let mut service = Service::start();
    let mut callers: Vec<Caller> = (0..CIPHERS.len()).map(|cipher| service.join(cipher)).collect();
    service.daemon.signal("TERM");
    callers.iter_mut().for_each(Caller::expect_end);
    assert!(service.daemon.wait().success());
}
