//! A server that means no good: it drives nobody's terminal, and fills nobody's memory.

use crate::process::Process;
use crate::server::Fake;
use crate::terminal::Terminal;

#[test]
fn a_hostile_server_cannot_drive_the_terminal() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&["--plain", &fake.address()]);
    let mut guest = fake.accept();
    terminal.expect(&[">"]);
    terminal.keys("safe");
    terminal.expect(&["> safe"]);
    guest.say("\x1b[2J\x1b[Hhome\x1b]0;title\x07\r\nb\x08\x7f\rc\n\u{9b}31mred\u{202e}\n");
    guest.say(b"\xff\xfe\0\n");
    let rows = ["^[[2J^[[Hhome^[]0;title^G", "b^H^?^Mc", "\\u{9b}31mred\\u{202e}", "\\xff\\xfe^@", "> safe"];
    terminal.expect(&rows);
    assert_eq!(terminal.cursor(), (4, 6));
    terminal.keys("!\r");
    assert_eq!(guest.line(), "safe!\n");
}

#[test]
fn neither_can_what_its_objects_spell() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    terminal.expect(&["guest7@main>"]);
    terminal.keys("safe");
    let message = "{\"type\":\"message\",\"seq\":1,\"time\":\"2026-11-28T12:00:00Z\",\"room\":\"main\",\"id\":3,\
                   \"from\":\"b\\u001b[2Jo\\nb\",\"verified\":false,\"text\":\"\\u001b[H\\u0007\\u202e\"}\n";
    guest.say(message);
    // Half an object, wrong types, and what is none.
    guest.say("{\"type\":\"message\",\"from\":7}\n{\"type\":\n\"\\ud800\"\n{\"type\":\"synced\",\"token\":{}}\n[[[[[[\n");
    guest.say("{\"type\":\"notice\",\"code\":\"named\",\"name\":[],\"text\":\"\\u001b[2J\"}\n");
    terminal.expect_row("<b^[[2Jo^Jb> ^[[H^G\\u{202e}");
    terminal.expect_row("[[[[[[");
    terminal.expect_row("-!- ^[[2J");
    terminal.until("the line being typed", |terminal| {
        terminal.rows().last().is_some_and(|row| row == "guest7@main> safe")
    });
}

#[test]
fn a_line_without_end_is_cut_and_what_follows_is_heard() {
    let fake = Fake::start();
    let mut process = Process::start(&["--listen", "--plain", "--count", "2", &fake.address()]);
    let mut guest = fake.accept();
    for _ in 0..10 << 10 {
        guest.say([b'x'; 1024]);
    }
    guest.say("\nnext\n");
    let left = process.wait();
    assert_eq!(left.code, Some(0));
    assert!(left.output.ends_with("x [cut]\nnext\n") && left.output.len() < (4 << 20) + 100);
}

#[test]
fn a_long_object_is_heard_and_one_that_is_too_long_is_passed_by() {
    let fake = Fake::start();
    let mut process = Process::start(&["--listen", "--view", "plain", "--count", "2", &fake.address()]);
    let mut guest = fake.accept();
    guest.greet();
    for len in [1 << 20, 10 << 20, 1] {
        let text = "x".repeat(len);
        guest.say(format!(
            "{{\"type\":\"message\",\"seq\":{len},\"time\":\"2026-11-28T12:00:00Z\",\"room\":\"elsewhere\",\"id\":3,\
             \"from\":\"bob\",\"verified\":false,\"text\":\"{text}\"}}\n"
        ));
    }
    let left = process.wait();
    assert_eq!((left.code, left.output.len()), (Some(0), (1 << 20) + 1 + 2));
}

#[test]
fn bytes_of_any_kind_come_out_as_text() {
    // Every pair of bytes stands somewhere in it.
    let bytes: Vec<u8> =
        (0..=255u8).flat_map(|one| (0..=255u8).flat_map(move |other| [one, other])).collect();
    for option in ["--plain", "--view=names"] {
        let fake = Fake::start();
        let mut process = Process::start(&["--listen", option, &fake.address()]);
        let mut guest = fake.accept();
        if option != "--plain" {
            guest.greet();
        }
        guest.say(&bytes);
        drop(guest);
        let left = process.wait();
        assert_eq!(left.code, Some(1), "{}", left.errors);
        assert!(left.output.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()));
    }
}

#[test]
fn a_flood_does_not_hold_up_the_end() {
    let fake = Fake::start();
    let mut process = Process::start(&["--listen", "--plain", "--timeout", "300ms", &fake.address()]);
    let mut guest = fake.accept();
    let flooding = std::thread::spawn(move || while guest.try_say(&b"flood\n".repeat(1000)) {});
    assert_eq!(process.wait().code, Some(0));
    flooding.join().unwrap();
}

#[test]
fn a_daemon_that_reads_nothing_does_not_hold_up_ctrl_c() {
    let fake = Fake::narrow();
    let mut terminal = Terminal::start(&["--plain", &fake.address()]);
    let mut guest = fake.accept();
    terminal.expect(&[">"]);
    // More than the sockets take: Ctrl-Y brings back what Ctrl-U took, twice, and so on.
    terminal.keys(&"x".repeat(1000));
    terminal.keys(&"\x15\x19\x19".repeat(5));
    terminal.keys("\x15");
    for _ in 0..40 {
        terminal.keys("\x19\r");
    }
    guest.say("still heard\n");
    terminal.expect_row("still heard");
    terminal.keys("\x03");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn a_daemon_that_goes_away_at_any_step_leaves_a_code_and_the_terminal_as_it_was() {
    let viewed = "{\"type\":\"notice\",\"code\":\"viewed\",\"view\":\"json\",\"text\":\"x\"}\n";
    for steps in 0..4 {
        let fake = Fake::start();
        let (address, mut process) = (fake.address(), Process::start(&["--listen", &fake.address()]));
        let terminal = Terminal::start(&["--reconnect=false", &address]);
        for _ in 0..2 {
            let mut guest = fake.accept();
            for step in 0..steps {
                match step {
                    0 => assert_eq!(guest.line(), "/view json\n"),
                    1 => guest.say(viewed),
                    _ => drop(guest.sync()),
                }
            }
        }
        let expected = if steps < 3 { 69 } else { 1 };
        assert_eq!(process.wait().code, Some(expected), "after {steps} steps");
        assert_eq!(terminal.finish().0, Some(expected), "after {steps} steps");
    }
}
