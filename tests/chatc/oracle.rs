//! The promise of the pipe: what ends with 0 is in the room exactly once, whatever happens to the daemon meanwhile.
//!
//! Many chatc say numbered lines while the daemon is restarted and killed, with a service manager that keeps the
//! connections. Somebody in the room writes down what is said there. `CHATC_ORACLE=large cargo test --test chatc oracle`
//! says 10,000 lines from 50 at a time, over 20 restarts and 20 crashes.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};

use crate::manager::Manager;
use crate::process::pipe;
use crate::secured::{Authority, Secured};
use crate::support::{Daemon, text};

/// Lines that one chatc says.
const LINES: usize = 4;

/// How much is said, and how often the daemon is restarted, and killed.
struct Size {
    speakers: usize,
    runs: usize,
    turns: usize,
}

impl Size {
    fn wanted() -> Self {
        match std::env::var("CHATC_ORACLE").as_deref() {
            Ok("large") => Self { speakers: 50, runs: 50, turns: 20 },
            _ => Self { speakers: 4, runs: 15, turns: 3 },
        }
    }
}

/// Restarts and kills the daemon by turns, while others speak: each turn when so many runs more have ended.
fn shake(manager: &Manager, daemon: &mut Daemon, size: &Size, ended: &Receiver<()>, options: &[&str]) {
    let steps = 2 * size.turns;
    for step in 0..steps {
        ended.iter().nth(size.speakers * size.runs / (steps + 1) - 1).expect("more runs end");
        if step % 2 == 0 {
            manager.restart(daemon, options);
        } else {
            manager.crash(daemon, 1, options);
        }
    }
}

#[test]
fn each_line_of_a_chatc_that_ends_with_0_is_in_the_room_exactly_once() {
    let manager = Manager::with_store();
    let address = manager.address().to_string();
    hold_to_the_promise(&manager, &[], &[&address]);
}

#[test]
fn behind_a_tls_proxy_it_is_so_too() {
    let (manager, authority) = (Manager::with_store(), Authority::new());
    let secured = Secured::to(manager.address(), authority.issue(&["127.0.0.1"], |_| {}).config());
    hold_to_the_promise(&manager, &[], &["--tls", "--ca", text(&authority.file()), &secured.address]);
}

#[test]
fn over_the_tls_of_chatd_it_is_so_too() {
    let (manager, authority) = (Manager::with_store(), Authority::new());
    let [cert, key] = authority.files_for(&["127.0.0.1"]);
    let (address, tls) =
        (manager.address().to_string(), ["--tls-cert", text(&cert), "--tls-key", text(&key)]);
    hold_to_the_promise(&manager, &tls, &["--tls", "--ca", text(&authority.file()), &address]);
}

/// The daemon has the options `of_daemon`, and those who speak are chatc with `options`.
fn hold_to_the_promise(manager: &Manager, of_daemon: &[&str], options: &[&str]) {
    let size = Size::wanted();
    let mut daemon = manager.start("", of_daemon);
    let mut witness = manager.join();
    let said = Mutex::new(Vec::new());
    let (ended_tx, ended) = mpsc::channel();
    let heard = std::thread::scope(|scope| {
        let hearing = scope.spawn(move || {
            let mut heard = String::new();
            while !heard.ends_with("that was all\n") {
                heard += &(witness.until("\n") + "\n");
            }
            heard
        });
        for speaker in 0..size.speakers {
            let (said, ended_tx) = (&said, ended_tx.clone());
            scope.spawn(move || {
                for run in 0..size.runs {
                    let lines: Vec<_> = (0..LINES).map(|line| format!("{speaker}-{run}-{line}")).collect();
                    let left = pipe(&(lines.join("\n") + "\n"), options);
                    assert!(matches!(left.code, Some(0 | 1 | 69)), "{left:?}");
                    if left.code == Some(1) {
                        // What is neither in doubt nor refused nor left unsaid is in the room.
                        let is_named = |line: &String| {
                            left.errors.lines().any(|named| named.ends_with(&format!(": {line}")))
                        };
                        let unknown = ["the rest of the input", "nobody can tell"];
                        let is_read = !unknown.iter().any(|words| left.errors.contains(words));
                        let sure = lines.iter().filter(|line| is_read && !is_named(line)).cloned();
                        said.lock().unwrap().extend(sure);
                    } else if left.code == Some(0) {
                        said.lock().unwrap().extend(lines);
                    }
                    let _ = ended_tx.send(());
                }
            });
        }
        drop(ended_tx);
        shake(manager, &mut daemon, &size, &ended, of_daemon);
        ended.iter().for_each(drop);
        assert_eq!(pipe("that was all\n", options).code, Some(0));
        hearing.join().unwrap()
    });
    let mut counts: HashMap<&str, usize> = HashMap::new();
    heard.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    let said = said.into_inner().unwrap();
    let all = size.speakers * size.runs * LINES;
    assert!(said.len() > all / 2, "most of them are sure: {} of {all}", said.len());
    let wrong: Vec<_> = said.iter().filter(|line| counts.get(line.as_str()) != Some(&1)).collect();
    assert!(wrong.is_empty(), "of {} lines that are sure: {wrong:?} {counts:?}", said.len());
    let twice: Vec<_> = counts
        .iter()
        .filter(|(line, count)| line.contains('-') && !line.starts_with("-!-") && **count > 1)
        .collect();
    assert!(twice.is_empty(), "said twice: {twice:?}");
}
