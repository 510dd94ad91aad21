//! What a kill leaves in the socket of a connection: new keys (KeyUpdate), and the end of the input.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use chatd::chat::SessionId;
use chatd::net::crash_table::CrashTable;
use chatd::net::parcel::Parcel;
use chatd::net::tls::Channel;
use chatd::net::tls::kernel::{Left, left_in};
use nix::libc;

use crate::clients::{CIPHERS, Service};
use crate::guest::{new_keys, takes_new_keys};
use crate::support::{Caller, wait_until};

/// How many of [`CIPHERS`] may have new keys: those of TLS 1.3.
const NEW: usize = 3;

/// Receives what has come on each connection that is kept, and does nothing with it: as a process that dies then. It sets
/// new keys before, if it `has_secrets`.
fn receive_and_die(service: &Service, has_secrets: bool) {
    let (_, left) = CrashTable::take_over(kept(service, "table")).unwrap();
    let secrets_of = |id| {
        let session = left.sessions.iter().find(|session| session.id == id).filter(|_| has_secrets)?;
        session.secrets.as_ref().map(|secrets| secrets.as_slice())
    };
    for_each_kept(service, |id, socket| {
        if let Left::Keys(keys) = left_in(socket, secrets_of(id)) {
            // The end of the input, or an error: there is no text.
            let received = Channel::Kernel(keys).receive(socket.as_fd(), &mut [0; 99]);
            assert!(received.is_ok_and(|count| count == 0) || takes_new_keys());
        }
    });
}

/// Does something with each connection that is kept.
fn for_each_kept(service: &Service, job: impl Fn(SessionId, &OwnedFd)) {
    for parcel in parcels(service) {
        let mut messages = Vec::new();
        while let message = parcel.take().unwrap()
            && !message.is_empty()
        {
            messages.push(message);
        }
        for message in messages {
            message.iter().for_each(|(id, socket)| job(*id, socket));
            let again: Vec<_> = message.iter().map(|(id, socket)| (*id, socket.as_fd())).collect();
            parcel.put(&again).unwrap();
        }
    }
}

/// A descriptor that the service manager keeps.
fn kept(service: &Service, name: &str) -> OwnedFd {
    service.manager.kept(|kept| {
        let (_, fd) = kept.iter().find(|(other, _)| other == name).unwrap();
        fd.try_clone().unwrap()
    })
}

fn parcels(service: &Service) -> Vec<Parcel> {
    let names: Vec<String> = service.manager.kept(|kept| {
        kept.iter().filter_map(|(name, _)| name.strip_suffix("-in").map(str::to_owned)).collect()
    });
    let fd = |name: &str, end| kept(service, &format!("{name}-{end}"));
    names.iter().map(|name| Parcel { inlet: fd(name, "in"), outlet: fd(name, "out") }).collect()
}

/// Has new keys, and wants chatd to have some, too.
fn renew(caller: &mut Caller) {
    caller.wire().tls().refresh_traffic_keys().unwrap();
    caller.wire().flush().unwrap();
}

/// What a client has asked for before a restart and a crash is owed to it after that.
pub fn new_keys_are_owed_after_a_crash() {
    let mut service = Service::start();
    let mut ear = service.join_plain();
    let mut callers: Vec<Caller> = (0..NEW).map(|cipher| service.join(cipher)).collect();
    if !takes_new_keys() {
        return;
    }
    let before = new_keys();
    callers.iter_mut().for_each(renew);
    wait_until("chatd has their keys", || new_keys().0 == before.0 + NEW as u64);
    service.kill_at_rest(NEW as u32 + 1);
    service.start_again();
    service.restart();
    assert_eq!(new_keys().1, before.1, "nothing has been sent");
    ear.say("heard\n");
    callers.iter_mut().for_each(|caller| caller.expect("heard\n"));
    assert_eq!(new_keys().1, before.1 + NEW as u64);
}

/// Linux 6.14 and later take new keys, whatever happens to chatd. Others cannot.
pub fn new_keys_are_taken_or_end_the_connection() {
    let mut service = Service::start();
    let mut ear = service.join_plain();
    let mut callers: Vec<Caller> = (0..NEW).map(|cipher| service.join(cipher)).collect();
    if !takes_new_keys() {
        for mut caller in callers {
            caller.say("before\n");
            ear.expect("before\n");
            renew(&mut caller);
            let heard = String::from_utf8(caller.rest()).unwrap();
            assert!(heard.ends_with("connect again\n") && heard.contains("new keys"), "{heard:?}");
        }
        return;
    }
    let all = NEW as u32 + 1;
    for round in 0..7 {
        if matches!(round, 4 | 5) {
            service.kill_at_rest(all);
        }
        // A process may take several at once before it notes any.
        let updates = if round == 5 { 3 } else { 1 };
        (0..updates).for_each(|_| callers.iter_mut().for_each(renew));
        match round {
            0 | 1 | 6 => {}
            2 => service.restart(),
            3 => {
                service.kill_at_rest(all);
                service.start_again();
            }
            _ => {
                receive_and_die(&service, round == 5);
                service.start_again();
            }
        }
        for who in 0..NEW {
            let line = format!("{round} {who}\n");
            callers[who].say(&line);
            ear.expect(&line);
            callers
                .iter_mut()
                .enumerate()
                .filter(|(other, _)| *other != who)
                .for_each(|(_, caller)| caller.expect(&line));
        }
        ear.say("heard\n");
        callers.iter_mut().for_each(|caller| caller.expect("heard\n"));
    }
    // One that has new keys all the time, and says nothing, is closed.
    let mut restless = callers.pop().unwrap();
    for _ in 0..99 {
        if restless.wire().tls().refresh_traffic_keys().is_err() || restless.wire().flush().is_err() {
            break;
        }
    }
    // The connection may be reset: not all has been read.
    let _ = restless.wire().read_to_end(&mut Vec::new());
    ear.say("after\n");
    callers.iter_mut().for_each(|caller| caller.expect("after\n"));
}

/// A process that is killed while it receives a record cannot be given the text any more. With TLS 1.2 the kernel decrypts
/// right into its memory, and takes the record for a damaged one if it cannot.
pub fn a_record_that_was_being_received_outlives_a_kill() {
    let mut service = Service::start();
    let mut ear = service.join_plain();
    let mut callers: Vec<Caller> = (0..CIPHERS.len()).map(|cipher| service.join(cipher)).collect();
    service.kill_at_rest(CIPHERS.len() as u32 + 1);
    callers.iter_mut().for_each(|caller| caller.say("heard\n"));
    for_each_kept(&service, |_, socket| receive_nowhere(socket));
    service.start_again();
    callers.iter().for_each(|_| ear.expect("heard\n"));
    ear.say("here\n");
    for mut caller in callers {
        let others = "heard\n".repeat(CIPHERS.len() - 1);
        caller.expect(others + "here\n");
    }
}

/// Receives into memory that is not there.
#[allow(unsafe_code)]
fn receive_nowhere(socket: &OwnedFd) {
    // SAFETY: the kernel looks whether there is memory before it writes to it.
    let received = unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), 99, libc::MSG_DONTWAIT) };
    assert_eq!(received, -1);
}

/// A client that has ended its input, and keeps its connection open.
pub fn the_end_of_the_input_outlives_a_kill() {
    let mut service = Service::start();
    let mut callers: Vec<Caller> = (0..CIPHERS.len()).map(|cipher| service.join(cipher)).collect();
    service.kill_at_rest(CIPHERS.len() as u32);
    for caller in &mut callers {
        caller.wire().tls().send_close_notify();
        caller.wire().flush().unwrap();
    }
    receive_and_die(&service, false);
    service.start_again();
    callers.iter_mut().for_each(Caller::expect_end);
}
