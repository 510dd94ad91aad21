//! A server that means no good: it drives nobody's terminal, and fills nobody's memory.

use crate::process::Process;
use crate::server::Fake;
use crate::terminal::Terminal;

#[test]
fn a_hostile_server_cannot_drive_the_terminal() {
    let fake = Fake::start();
    let mut terminal = Terminal::start(&[&fake.address()]);
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
    let mut terminal = Terminal::start(&["--nick", "alice", &fake.address()]);
    let mut guest = fake.accept();
    assert_eq!(
        [guest.line(), guest.line(), guest.line()],
        ["/nick alice\n", "/view json\n", "/nick alice\n"]
    );
    guest.say("{\"type\":\"notice\",\"text\":\"lines are shown in json now\"}\n");
    guest.say("{\"type\":\"notice\",\"text\":\"you are alice now; /help says what else there is\"}\n");
    terminal.expect_row(">");
    terminal.keys("safe");
    guest.say("{\"type\":\"message\",\"from\":\"b\\u001b[2Jo\\nb\",\"text\":\"\\u001b[H\\u0007\\u202e\"}\n");
    guest.say("{\"type\":\"message\",\"from\":7}\n{\"type\":\n\"\\ud800\"\n[[[[[[\n");
    terminal.expect_row("<b^[[2Jo^Jb> ^[[H^G\\u{202e}");
    terminal
        .until("the line being typed", |terminal| terminal.rows().last().is_some_and(|row| row == "> safe"));
    terminal.expect_row("[[[[[[");
}

#[test]
fn a_line_without_end_is_cut_and_what_follows_is_heard() {
    let fake = Fake::start();
    let mut process = Process::start(&["--listen", "--count", "2", &fake.address()]);
    let mut guest = fake.accept();
    for _ in 0..5 << 10 {
        guest.say([b'x'; 1024]);
    }
    guest.say("\nnext\n");
    let left = process.wait();
    assert_eq!(left.code, Some(0));
    assert!(left.output.ends_with("x [cut]\nnext\n") && left.output.len() < (4 << 20) + 100);
}

#[test]
fn bytes_of_any_kind_come_out_as_text() {
    let fake = Fake::start();
    let mut process = Process::start(&["--listen", &fake.address()]);
    let mut guest = fake.accept();
    // Every pair of bytes stands somewhere in it.
    let bytes: Vec<u8> =
        (0..=255u8).flat_map(|one| (0..=255u8).flat_map(move |other| [one, other])).collect();
    guest.say(b"begin\n");
    guest.say(&bytes);
    drop(guest);
    let left = process.wait();
    assert_eq!(left.code, Some(1), "{}", left.errors);
    assert!(left.output.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()));
}

#[test]
fn a_flood_does_not_hold_up_the_end() {
    let fake = Fake::start();
    let mut process = Process::start(&["--listen", "--timeout", "300ms", &fake.address()]);
    let mut guest = fake.accept();
    let flooding = std::thread::spawn(move || while guest.try_say(&b"flood\n".repeat(1000)) {});
    assert_eq!(process.wait().code, Some(0));
    flooding.join().unwrap();
}

#[test]
fn a_daemon_that_reads_nothing_does_not_hold_up_ctrl_c() {
    let fake = Fake::narrow();
    let mut terminal = Terminal::start(&[&fake.address()]);
    let mut guest = fake.accept();
    terminal.expect(&[">"]);
    // More than the sockets take: Ctrl-Y brings back what Ctrl-U took, twice, and so on.
    terminal.keys(&"x".repeat(1000));
    terminal.keys(&"\x15\x19\x19".repeat(5));
    terminal.keys("\x15");
    terminal.keys(&"\x19\r".repeat(40));
    guest.say("still heard\n");
    terminal.expect_row("still heard");
    // What was typed before it may still be on its way, and be thrown away with it.
    let code = loop {
        terminal.keys("\x03");
        if let Some(code) = terminal.code_soon() {
            break code;
        }
    };
    assert_eq!(code, 0);
}
