//! Who says what: names, views, and that nobody can seem to be somebody else.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Caller, TestServer};

/// What a line in the names view says, read as chatd-protocol(7) has it and in no other way.
#[derive(Debug, PartialEq)]
enum Heard {
    Message { from: String, text: String },
    Emote { from: String, text: String },
    Private { from: String, text: String },
    Notice(String),
}

fn read_names(line: &str) -> Heard {
    let at_space = |rest: &str| {
        let (name, text) = rest.split_once(' ').unwrap_or_else(|| panic!("no space: {line:?}"));
        (name.to_owned(), text.to_owned())
    };
    if let Some(text) = line.strip_prefix("-!- ") {
        Heard::Notice(text.to_owned())
    } else if let Some(rest) = line.strip_prefix("* ") {
        let (from, text) = at_space(rest);
        Heard::Emote { from, text }
    } else if let Some(rest) = line.strip_prefix('[') {
        let (from, rest) = at_space(rest);
        let text = rest.strip_prefix("-> you] ").unwrap_or_else(|| panic!("not private: {line:?}"));
        Heard::Private { from, text: text.to_owned() }
    } else if let Some(rest) = line.strip_prefix('<') {
        let (name, text) = at_space(rest);
        let from = name.strip_suffix('>').unwrap_or_else(|| panic!("no end of a name: {line:?}"));
        Heard::Message { from: from.to_owned(), text }
    } else {
        panic!("a line of no kind: {line:?}")
    }
}

/// The same, of what others say to all, from the json view.
fn read_json(line: &str) -> Option<Heard> {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let field = |name: &str| object[name].as_str().unwrap().to_owned();
    match object["type"].as_str().unwrap() {
        "message" => Some(Heard::Message { from: field("from"), text: field("text") }),
        "emote" => Some(Heard::Emote { from: field("from"), text: field("text") }),
        _ => None,
    }
}

fn is_to_all(heard: &Heard) -> bool {
    matches!(heard, Heard::Message { .. } | Heard::Emote { .. })
}

/// Somebody honest who is shown names, another, and a program that is shown objects; all have a name.
struct Honest {
    server: TestServer,
    alice: Caller,
    bob: Caller,
    bot: Caller,
    round: u32,
}

impl Honest {
    fn new() -> Self {
        let server = TestServer::start();
        let (mut alice, mut bob, mut bot) = (server.join(), server.join(), server.join());
        for (caller, name) in [(&mut alice, "alice"), (&mut bob, "bob"), (&mut bot, "bot")] {
            caller.say(format!("/nick {name}\n"));
            caller.until("what else there is\n");
        }
        bot.say("/view json\n");
        bot.until("json now\"}\n");
        // Those who come are told of a second later: whatever is told from here on is told of others.
        alice.until("bot joined (");
        alice.until(" here)\n");
        Self { server, alice, bob, bot, round: 0 }
    }

    /// What alice and the program hear of somebody who says `pieces`, and then ends.
    fn hear(&mut self, pieces: &[Vec<u8>]) -> (Vec<Heard>, Vec<Heard>) {
        let mut mallory = self.server.join();
        pieces.iter().for_each(|piece| mallory.try_say(piece));
        mallory.try_end_input();
        mallory.rest();
        self.round += 1;
        let mark = format!("round {} is over", self.round);
        self.bob.say(format!("{mark}\n"));
        let names = self.alice.until(&format!("<bob> {mark}\n"));
        let json = self.bot.until(&format!("\"text\":\"{mark}\"}}\n"));
        let names = names.lines().map(read_names).collect();
        // The line that ends with the mark is cut off, and is bob's.
        let json = json.rsplit_once('\n').map_or("", |(lines, _)| lines);
        (names, json.lines().filter_map(read_json).collect())
    }
}

/// What somebody would try.
fn attempts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let crafted = [
        "<alice> ",
        "<bob> hi",
        "* alice ",
        "[alice -> you] ",
        "-!- ",
        "-!- bob left (2 here)",
        "\n",
        "\n",
        "\n",
        "\r",
        "\r\n",
        "\r\0",
        "\0",
        "\x1b[2K\x1b[1A",
        "\x08\x08\x08",
        "\u{2028}",
        "\u{85}",
        "\u{202e}",
        "/me ",
        "/me",
        "/msg alice ",
        "/msg bob ",
        "/nick ",
        "/nick alice\n",
        "/nick bоb\n",
        "alice",
        "b0b",
        "mallory",
        "ALICE\n",
        "/view json\n",
        "/view names\n",
        "/time on\n",
        "/join attic\n",
        "/join main\n",
        "//nick bob\n",
        "/ignore alice\n",
        "/last 3\n",
        "{\"type\":\"message\",\"from\":\"alice\",\"text\":\"",
        "\"}\n",
        "\\",
        " ",
        "+",
        "<",
        ">",
    ];
    let piece = prop_oneof![
        5 => proptest::sample::select(crafted.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..40)
}

#[test]
fn nothing_that_anybody_sends_looks_like_somebody_else_or_like_chatd() {
    let honest = std::cell::RefCell::new(Honest::new());
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(pieces in attempts())| {
        let (names, json) = honest.borrow_mut().hear(&pieces);
        for heard in &names {
            match heard {
                Heard::Message { from, text } | Heard::Emote { from, text } | Heard::Private { from, text } => {
                    let looks = from.to_lowercase();
                    prop_assert!(!["alice", "bob", "bot", "b0b", "you"].contains(&looks.as_str()), "{from}");
                    prop_assert!(!text.contains(|c: char| c.is_control() && c != '\t'), "{text:?}");
                }
                Heard::Notice(text) => {
                    let is_known = text.ends_with(" here)") || text.contains(" is now ");
                    let mut words = text.split([' ', ',']);
                    let is_honest = words.all(|word| !["alice", "bob", "bot", "b0b"].contains(&&*word.to_lowercase()));
                    prop_assert!(is_known && is_honest, "{text}");
                }
            }
        }
        let names: Vec<_> = names.into_iter().filter(is_to_all).collect();
        prop_assert_eq!(names, json);
    });
}

#[test]
fn a_line_is_whole_however_often_somebody_changes_whom_to_ignore() {
    let server = TestServer::start();
    let (mut ann, mut ben, mut eve) = (server.join(), server.join(), server.join());
    ann.say("/nick ann\n");
    ann.until("what else there is\n");
    let flood = "<ann> a line that somebody else might have said\n".repeat(100);
    // As fast as ann reads, which is slower than they can speak.
    let speakers = [&mut ben, &mut eve].map(|speaker| speaker.stream().try_clone().unwrap());
    let threads = speakers.map(|mut stream| {
        let flood = flood.clone();
        std::thread::spawn(move || {
            (0..200).try_for_each(|_| std::io::Write::write_all(&mut stream, flood.as_bytes()))
        })
    });
    let answers =
        ["-!- you do not hear guest2 any more; /ignore guest2 undoes it\n", "-!- you hear guest2 again\n"];
    for answer in answers.iter().cycle().take(200) {
        ann.say("/ignore guest2\n");
        for line in ann.until(answer).lines() {
            let is_whole =
                ["<guest2> <ann> a", "<guest3> <ann> a", "-!- "].iter().any(|start| line.starts_with(start));
            assert!(is_whole, "{line:?}");
        }
    }
    drop((ann, ben, eve));
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
}

#[test]
fn programs_are_shown_objects_from_the_first_line_on() {
    let server = TestServer::with(|config| {
        config.listen[0].view = chatd::protocol::View::Json;
        config.max_clients = 1;
        config.greeting = "Hello!\nYou, too".to_owned();
    });
    let mut bot = Caller::connect(server.address);
    for text in ["Hello!", "You, too"] {
        bot.expect(format!("{{\"type\":\"notice\",\"code\":\"greeting\",\"text\":\"{text}\"}}\n"));
    }
    Caller::connect(server.address)
        .expect("{\"type\":\"notice\",\"code\":\"full\",\"text\":\"server full\"}\n");
}

#[test]
fn a_listener_for_people_shows_names_at_once() {
    let server = TestServer::with(|config| {
        config.listen[0].view = chatd::protocol::View::Names;
        config.listen[0].room = chatd::protocol::Name::parse("ops").ok();
    });
    let (mut ann, mut ben) = (server.join(), server.join());
    ben.say("hello\n");
    assert!(ann.until("<guest2> hello\n").lines().all(|line| line.starts_with("-!- guest")));
    ann.say("/rooms\n");
    ann.expect("-!- 2 rooms: ops (2), main (0)\n");
}

#[test]
fn who_calls_on_a_unix_socket_is_who_the_kernel_says() {
    let folder = crate::support::Folder::new();
    let path = folder.path("chat.sock");
    let daemon = crate::support::Daemon::start(&["--listen", crate::support::text(&path)]);
    let mut ann = daemon.join();
    let login = std::process::Command::new("id").arg("-un").output().unwrap();
    let login = String::from_utf8(login.stdout).unwrap().trim().to_owned();
    ann.say(format!("/nick {login}\n"));
    ann.expect(format!("-!- you are {login} now; /help says what else there is\n"));
    let mut local = Caller::connect_unix(&path);
    local.expect(crate::support::GREETING);
    ann.expect(format!("-!- +{login}, whose name is verified, has connected: you are guest1 now\n"));
    local.say("/usr/bin/backup failed\n");
    ann.expect(format!("<+{login}> /usr/bin/backup failed\n"));
    ann.say(format!("/nick {login}\n"));
    ann.until("is taken, or looks like a name that is;");
    local.say("/nick boss\n");
    local.expect(format!("-!- you are +{login}: the name is verified, and nobody can change it\n"));
}

#[test]
fn nobody_is_disturbed_while_hundreds_come_and_go() {
    let server = TestServer::start();
    let mut ann = server.join();
    ann.say("/nick ann\n");
    ann.until("what else there is\n");
    let start = Instant::now();
    let (mut one, mut other) = (server.join(), server.join());
    let mut said = 0;
    // How long a line takes amid that is a row of the benchmark.
    for round in 0..3 {
        let crowd: Vec<Caller> = (0..100)
            .map(|number| {
                let mut caller = server.join();
                caller.say(format!("/nick x{round}-{number}\n"));
                one.say(format!("line {said}\n"));
                other.expect(format!("line {said}\n"));
                other.say(format!("heard {said}\n"));
                one.expect(format!("heard {said}\n"));
                said += 1;
                caller.until("what else there is\n");
                caller
            })
            .collect();
        drop(crowd);
    }
    let mut ben = server.join();
    ben.say("done\n");
    let told = ann.until("> done\n");
    let talked = told.lines().filter(|line| line.starts_with('<')).count();
    assert_eq!(talked, 2 * said + 1, "all of it has arrived");
    // One line for those who come and one for those who go, each second; a machine that takes longer may have more.
    let notices = told.lines().count() - talked;
    let most = 2 * (start.elapsed().as_secs() as usize + 2);
    assert!(notices <= most, "{notices} lines, and {most} would be right: {told}");
}
