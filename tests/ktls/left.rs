//! What a kill leaves in the socket of a connection: new keys (KeyUpdate), and the end of the input.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use chatd::net::parcel::Parcel;
use chatd::net::tls::Channel;
use chatd::net::tls::kernel::{Left, left_in};

use crate::clients::{CIPHERS, Service};
use crate::guest::takes_new_keys;
use crate::support::Caller;

/// How many of [`CIPHERS`] may have new keys: those of TLS 1.3.
const NEW: usize = 3;

/// Receives what has come on each connection that is kept, and does nothing with it: as a process that dies then.
fn receive_and_die(service: &Service) {
    for parcel in parcels(service) {
        let mut messages = Vec::new();
        while let message = parcel.take().unwrap()
            && !message.is_empty()
        {
            messages.push(message);
        }
        for message in messages {
            for (_, socket) in &message {
                if let Left::Keys(keys) = left_in(socket, None) {
                    // The end of the input, or an error: new keys are not known here.
                    let received = Channel::Kernel(keys).receive(socket.as_fd(), &mut [0; 99]);
                    assert!(received.is_ok_and(|count| count == 0) || takes_new_keys());
                }
            }
            let again: Vec<_> = message.iter().map(|(id, socket)| (*id, socket.as_fd())).collect();
            parcel.put(&again).unwrap();
        }
    }
}

fn parcels(service: &Service) -> Vec<Parcel> {
    service.manager.kept(|kept| {
        let fd = |name: String| -> OwnedFd {
            let (_, fd) = kept.iter().find(|(other, _)| *other == name).unwrap();
            fd.try_clone().unwrap()
        };
        let names = kept.iter().filter_map(|(name, _)| name.strip_suffix("-in"));
        names
            .map(|name| Parcel { inlet: fd(format!("{name}-in")), outlet: fd(format!("{name}-out")) })
            .collect()
    })
}

/// Has new keys, and wants chatd to have some, too.
fn renew(caller: &mut Caller) {
    caller.wire().tls().refresh_traffic_keys().unwrap();
    caller.wire().flush().unwrap();
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
    for round in 0..5 {
        if round == 4 {
            service.kill(all);
        }
        callers.iter_mut().for_each(renew);
        match round {
            0 | 1 => {}
            2 => service.restart(),
            3 => {
                service.kill(all);
                service.start_again();
            }
            _ => {
                receive_and_die(&service);
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

/// A client that has ended its input, and keeps its connection open.
pub fn the_end_of_the_input_outlives_a_kill() {
    let mut service = Service::start();
    let mut callers: Vec<Caller> = (0..CIPHERS.len()).map(|cipher| service.join(cipher)).collect();
    service.kill(CIPHERS.len() as u32);
    for caller in &mut callers {
        caller.wire().tls().send_close_notify();
        caller.wire().flush().unwrap();
    }
    receive_and_die(&service);
    service.start_again();
    callers.iter_mut().for_each(Caller::expect_end);
}
