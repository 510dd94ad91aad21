//! A daemon that goes away and comes back: name, room and what was missed are taken up again.

use std::process::Command;
use std::time::Instant;

use crate::process::pipe;
use crate::server::Way;
use crate::support::{Daemon, PATIENCE, TestServer, clean};
use crate::terminal::Terminal;

/// The rows after the one that begins like this.
pub fn after(terminal: &Terminal, start: &str) -> Vec<String> {
    terminal.rows().into_iter().skip_while(|row| !row.starts_with(start)).skip(1).collect()
}

/// All that is on the screen, wherever its lines are broken.
pub fn without_spaces(terminal: &Terminal) -> String {
    terminal.rows().concat().replace(' ', "")
}

/// Another daemon where there was one.
fn anew(address: &str) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    clean(&mut command).args(["--listen", address, "--log", "stderr"]);
    Daemon::run(command)
}

/// Types a line, which is written before the next is asked for.
#[track_caller]
fn type_and_write(terminal: &mut Terminal, line: &str) {
    terminal.keys(&format!("{line}\r"));
    terminal.until("the next prompt", |terminal| {
        let rows = terminal.rows();
        rows.ends_with(&[format!("> {line}"), ">".to_owned()])
    });
}

/// Stops a daemon where it is, and waits until all of its threads have stopped.
#[track_caller]
fn freeze(daemon: &Daemon) {
    daemon.signal("STOP");
    let deadline = Instant::now() + PATIENCE;
    let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.contains(") T ")
    };
    while !std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().all(is_stopped) {
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::yield_now();
    }
}

/// Waits for the prompt, and for all that the daemon says first: what comes later answers what was typed.
#[track_caller]
fn greeted(terminal: &mut Terminal) {
    terminal.until("the greeting and a prompt", |terminal| {
        let rows = terminal.rows();
        rows.concat().contains("Hello, ") && rows.last().is_some_and(|row| row == ">")
    });
}

#[track_caller]
fn say(text: &str, address: &str) {
    let left = pipe(text, &["--nick", "bob", "--room", "ops", address]);
    assert_eq!(left.code, Some(0), "{left:?}");
}

/// Its connection is lost, and it has noticed.
#[track_caller]
pub fn lose(way: &Way, terminal: &mut Terminal) {
    way.cut();
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
}

/// Somebody called alice in ops, who has heard a line there.
#[track_caller]
fn alice_in_ops(way: &Way, address: &str) -> Terminal {
    let mut terminal = Terminal::start(&["--nick", "alice", "--room", "ops", &way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    say("one\n", address);
    terminal.expect_row("<bob> one");
    terminal
}

#[test]
fn what_was_missed_is_shown_once_and_in_order() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let way = Way::to(server.address);
    // A room is there as long as somebody is.
    let mut witness = server.join();
    witness.say("/join ops\n");
    witness.expect("-!- you are in ops now (1 here)\n");
    let mut terminal = alice_in_ops(&way, &address);
    terminal.keys("mine\r");
    witness.expect("one\nmine\n");
    say("two\n", &address);
    terminal.expect_row("<bob> two");
    terminal.keys("half");
    lose(&way, &mut terminal);
    say("three\nfour\n", &address);
    way.mend();
    let rows = ["<bob> three", "<bob> four", "> half"];
    terminal.until("what was missed, and the line being typed", |terminal| {
        let rest = after(terminal, "chatc: 2 lines were said meanwhile:");
        rest.iter().filter(|row| !row.starts_with("-!- ")).eq(rows.iter())
    });
    terminal.keys(" a line\r");
    assert_eq!(witness.until("half a line\n"), "two\nthree\nfour\n");
    say("five\n", &address);
    terminal.expect_row("<bob> five");
    let rows = terminal.rows();
    assert!(rows.contains(&"> half a line".to_owned()), "{rows:#?}");
    witness.expect("five\n");
}

#[test]
fn more_lines_than_the_daemon_keeps_are_counted_and_not_hidden() {
    let server = TestServer::with(|config| config.history = 3);
    let address = server.address.to_string();
    let way = Way::to(server.address);
    let mut witness = server.join();
    witness.say("/join ops\n");
    witness.expect("-!- you are in ops now (1 here)\n");
    let mut terminal = alice_in_ops(&way, &address);
    terminal.keys("mine\r");
    witness.expect("one\nmine\n");
    lose(&way, &mut terminal);
    say("2\n3\n4\n5\n6\n7\n8\n", &address);
    way.mend();
    // Of what the room was told, one line may be one's own.
    let told = "bytheirnumbers,atleast7linesweresaidmeanwhile;thesearethelast3:<bob>6<bob>7<bob>8";
    terminal.until("how many", |terminal| without_spaces(terminal).contains(told));
}

#[test]
fn whoever_has_ignored_somebody_is_told_no_number() {
    let server = TestServer::with(|config| config.history = 3);
    let address = server.address.to_string();
    let way = Way::to(server.address);
    let mut bot = server.join();
    bot.say("/nick bot\n/join ops\n");
    bot.until("-!- you are in ops now (1 here)\n");
    let mut terminal = alice_in_ops(&way, &address);
    terminal.keys("/ignore bot\r");
    terminal.until("an answer", |terminal| without_spaces(terminal).contains("youdonothearbotanymore"));
    lose(&way, &mut terminal);
    say("2\n3\n4\n5\n6\n7\n8\n", &address);
    way.mend();
    let told = "chatc:morelinesmayhavebeensaidmeanwhile;thesearethelast3:<bob>6<bob>7<bob>8";
    terminal.until("how many", |terminal| without_spaces(terminal).contains(told));
}

#[test]
fn where_nothing_is_kept_it_is_said_that_lines_may_be_missing() {
    let server = TestServer::with(|config| config.history = 0);
    let way = Way::to(server.address);
    let mut terminal = Terminal::start(&["--nick", "alice", &way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    // The prompt is there before it is known where the room is; with a line, that is known.
    let mut witness = server.join();
    witness.say("one\n");
    terminal.until("a line", |terminal| terminal.rows().iter().any(|row| row.ends_with("> one")));
    lose(&way, &mut terminal);
    way.mend();
    let told = "chatc:linesmayhavebeensaidmeanwhile,whicharenotkepthere";
    terminal.until("a remark", |terminal| without_spaces(terminal).contains(told));
}

#[test]
fn what_others_say_is_shown_even_if_one_has_said_the_same() {
    let server = TestServer::start();
    let address = server.address.to_string();
    let way = Way::to(server.address);
    let mut witness = server.join();
    let mut terminal = Terminal::start(&["--view", "names", &way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    terminal.keys("ok\ryes\r");
    witness.expect("ok\nyes\n");
    witness.say("well\n");
    terminal.until("an answer", |terminal| terminal.rows().iter().any(|row| row.ends_with("> well")));
    lose(&way, &mut terminal);
    assert_eq!(pipe("no\nok\nyes\n", &["--nick", "bob", &address]).code, Some(0));
    way.mend();
    terminal.until("all that bob has said", |terminal| {
        let rest = after(terminal, "chatc: connected again");
        rest.iter().filter(|row| row.starts_with("<bob> ")).eq(["<bob> no", "<bob> ok", "<bob> yes"])
    });
}

#[test]
fn a_daemon_that_has_started_anew_is_taken_up_again() {
    let first = Daemon::start(&[]);
    let address = first.address.to_string();
    let mut terminal = Terminal::start(&["--nick", "alice", "--room", "ops", &address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    say("one\ntwo\n", &address);
    terminal.expect_row("<bob> two");
    first.signal("TERM");
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
    terminal.keys("too early\r");
    terminal
        .until("a remark", |terminal| terminal.rows().concat().contains("not connected, nobody got that"));
    let second = anew(&address);
    terminal.until("the room", |terminal| {
        after(terminal, "chatc: connected again")
            .iter()
            .any(|row| row.starts_with("-!- you are in ops now ("))
    });
    // Its lines begin with 1 again.
    say("anew\n", &address);
    terminal.expect_row("<bob> anew");
    let mut witness = second.join();
    witness.say("/join ops\n");
    witness.until("-!- you are in ops now (2 here)\n");
    terminal.keys("\x1b[A\r");
    witness.expect("too early\n");
    // Once more, however short a time it has lasted.
    second.signal("KILL");
    terminal.until("another remark", |terminal| {
        after(terminal, "chatc: connected again").concat().contains("; connecting again")
    });
}

#[test]
fn it_says_once_that_the_connection_is_lost_and_can_be_left_meanwhile() {
    let server = TestServer::start();
    let way = Way::to(server.address);
    let mut terminal = Terminal::start(&[&way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    lose(&way, &mut terminal);
    // It comes and goes: whoever connects is turned away.
    terminal.keys("x\r");
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("nobody got that"));
    terminal.keys("\x04");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_eq!(rows.concat().matches("connecting again").count(), 1, "{rows:#?}");
}

#[test]
fn a_plain_session_stays_plain_when_it_comes_back() {
    let server = TestServer::start();
    let way = Way::to(server.address);
    let mut other = server.join();
    let mut terminal = Terminal::start(&[&way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    lose(&way, &mut terminal);
    other.say("missed\n");
    way.mend();
    terminal.expect_row("chatc: connected again");
    terminal.until("the greeting", |terminal| {
        after(terminal, "chatc: connected again").iter().any(|row| row.starts_with("Hello, "))
    });
    terminal.keys("back\r");
    // Nothing was asked for in its name.
    other.expect("back\n");
    assert!(!without_spaces(&terminal).contains("maynothavebeenheard"), "nothing was typed");
}

#[test]
fn what_a_daemon_did_not_take_before_it_died_is_told() {
    for view in [&[][..], &["--view", "plain"]] {
        let first = Daemon::start(&[]);
        let address = first.address.to_string();
        let mut witness = first.join();
        let mut terminal = Terminal::start(&[&["--nick", "alice"], view, &[&address]].concat());
        terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
        terminal.keys("one\r/who\r");
        witness.expect("one\n");
        // The answer to what was asked before that has come, too.
        terminal.until("an answer", |terminal| terminal.rows().concat().contains("2 here: "));
        freeze(&first);
        type_and_write(&mut terminal, "important");
        first.signal("KILL");
        terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
        let second = anew(&address);
        terminal.until("what was lost", |terminal| {
            without_spaces(terminal).ends_with("chatc:perhapsnobodygotthis;Upbringsitback:important>")
        });
        let mut witness = second.join();
        terminal.keys("\x1b[A\r");
        witness.expect("important\n");
        assert!(!without_spaces(&terminal).contains("back:one"), "that has arrived");
    }
}

#[test]
fn what_was_lost_on_the_way_is_told_and_what_arrived_is_not() {
    let server = TestServer::start();
    let way = Way::to(server.address);
    let mut witness = server.join();
    let mut terminal = Terminal::start(&["--nick", "alice", &way.address]);
    terminal.until("a prompt", |terminal| terminal.rows().last().is_some_and(|row| row == ">"));
    witness.say("hello\n");
    terminal.until("a line", |terminal| terminal.rows().concat().contains("> hello"));
    way.lose_answers();
    type_and_write(&mut terminal, "arrived");
    witness.expect("arrived\n");
    way.lose_questions();
    type_and_write(&mut terminal, "lost");
    type_and_write(&mut terminal, "/msg guest1 lost");
    lose(&way, &mut terminal);
    way.mend();
    terminal.until("what was lost", |terminal| {
        let sure = "chatc:nobodygotthis;Upbringsitback:lost";
        let unsure = "chatc:perhapsnobodygotthis;Upbringsitback:/msgguest1lost";
        without_spaces(terminal).ends_with(&format!("{sure}{unsure}>"))
    });
}

#[test]
fn in_text_what_was_typed_last_is_said_to_be_in_doubt() {
    let first = Daemon::start(&[]);
    let address = first.address.to_string();
    let mut terminal = Terminal::start(&[&address]);
    greeted(&mut terminal);
    freeze(&first);
    type_and_write(&mut terminal, "important");
    first.signal("KILL");
    terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
    let second = anew(&address);
    let doubt = "chatc:connectedagainchatc:whatwastypedlastmaynothavebeenheard;Upbringsitback";
    terminal.until("a doubt", |terminal| without_spaces(terminal).contains(doubt));
    let mut witness = second.join();
    terminal.keys("\x1b[A\r");
    witness.expect("important\n");
}

#[test]
fn what_is_in_doubt_at_the_end_is_said_and_ends_with_1() {
    for (options, is_dead) in
        [(&["--reconnect=false"][..], true), (&[], true), (&[], false), (&["--nick", "alice"], false)]
    {
        let daemon = Daemon::start(&[]);
        let address = daemon.address.to_string();
        let mut terminal = Terminal::start(&[options, &[&address]].concat());
        greeted(&mut terminal);
        freeze(&daemon);
        type_and_write(&mut terminal, "important");
        if is_dead {
            daemon.signal("KILL");
        }
        if is_dead && options.is_empty() {
            terminal.until("a remark", |terminal| terminal.rows().concat().contains("; connecting again"));
        }
        if options != ["--reconnect=false"] {
            terminal.keys("\x04");
        }
        let (code, rows) = terminal.finish();
        assert_eq!(code, Some(1), "{rows:#?}");
        let words = rows.concat().replace(' ', "");
        assert!(words.ends_with(";whatwastypedlastmaynothavebeenheard"), "{rows:#?}");
    }
}
