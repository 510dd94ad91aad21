//! `chatctl watch`: what it prints, and how it ends.

use crate::fake::{Fake, answered, message, notice};
use crate::process::Process;
use crate::server::Guest;
use crate::terminal::Terminal;

fn watching(room: &str) -> String {
    notice(&format!("\"code\":\"watch\",\"room\":\"{room}\""), "you hear it")
}

/// Waits until it hears rooms.
#[track_caller]
fn start(fake: &Fake, options: &[&str], asked: &str, room: &str) -> (Process, Guest) {
    let process = Process::run(fake.command(options));
    let mut guest = fake.greeted();
    answered(&mut guest, asked, &watching(room));
    (process, guest)
}

#[test]
fn a_room_is_heard() {
    let fake = Fake::start();
    let (mut process, mut guest) = start(&fake, &["watch", "Ops"], "/watch Ops", "Ops");
    assert_eq!(process.hear(), "you hear Ops; Ctrl-C ends it");
    guest.say("garbage\n".to_owned() + &message("ops", "ann", "a\\u001b[2Jb"));
    assert_eq!(process.hear(), "15:48 <ann> a^[[2Jb");
    guest.say("{\"type\":\"skipped\",\"lines\":7}\n");
    assert!(process.hear().ends_with("-!- 7 lines skipped (you were not reading)"));
    process.signal("TERM");
    let left = process.wait();
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""));
}

#[test]
fn of_all_rooms_each_line_says_which() {
    let fake = Fake::start();
    let (mut process, mut guest) = start(&fake, &["watch"], "/watch *", "*");
    assert_eq!(process.hear(), "you hear every room; Ctrl-C ends it");
    guest.say(message("ops", "ann", "hi") + &message("main", "bob", "ho"));
    guest.say(
        "{\"type\":\"join\",\"time\":\"2026-11-28T15:48:01.500Z\",\"room\":\"dev\",\"id\":2,\"name\":\"cem\",\
         \"verified\":false,\"members\":3}\n",
    );
    for line in ["[ops] 15:48 <ann> hi", "[main] 15:48 <bob> ho", "[dev] 15:48 -!- cem joined (3 here)"] {
        assert_eq!(process.hear(), line);
    }
    drop(guest);
    let left = process.wait();
    assert_eq!(left.code, Some(69));
    assert!(left.errors.contains("closed the connection"), "{left:?}");
}

#[test]
fn objects_are_printed_as_they_came() {
    let fake = Fake::start();
    let (mut process, mut guest) = start(&fake, &["watch", "ops", "--json"], "/watch ops", "ops");
    assert_eq!(process.hear() + "\n", watching("ops"));
    let said = message("ops", "ann", "hi");
    guest.say(&said);
    assert_eq!(process.hear() + "\n", said);
    process.signal("INT");
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn a_room_that_does_not_exist_is_refused() {
    let fake = Fake::start();
    let refusal = notice("\"code\":\"no_room\",\"room\":\"ops\"", "there is no room ops");
    let left = fake.answer(&["watch", "ops"], "/watch ops", &refusal);
    assert_eq!(
        (left.code, left.errors.as_str()),
        (Some(1), "chatctl: there is no room ops; see: chatctl rooms\n")
    );
}

#[test]
fn on_a_terminal_no_row_lies() {
    let fake = Fake::start();
    let mut terminal = Terminal::run(&fake.command(&["watch", "ops"]));
    let mut guest = fake.greeted();
    answered(&mut guest, "/watch ops", &watching("ops"));
    guest.say(message("ops", "eve", &format!("hi{}15:48 <root> it stops", " ".repeat(30))));
    terminal.until("the line", |terminal| terminal.rows().iter().any(|row| row.contains("it stops")));
    assert!(!terminal.rows().iter().any(|row| row.starts_with("15:48 <root>")), "{:?}", terminal.rows());
    terminal.signal("TERM");
    assert_eq!(terminal.finish().0, Some(0));
}
