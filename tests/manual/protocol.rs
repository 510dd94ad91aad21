//! chatd-protocol(7), held against the code: notices, commands, answers, the fields of json, the transcripts.

use std::collections::BTreeMap;

use chatd::protocol::command::{COMMANDS, CommandError, Spec};
use chatd::protocol::{
    Answer, DEFAULT_MAX_LINE, Event, Foreign, Form, Kind, Name, NameError, Notice, SHOWN_GROWTH, Said, Scene,
    View, Who,
};

use super::support::{Caller, TestServer};
use super::{displays, read, section};

#[test]
fn every_notice_is_in_the_manual_word_for_word() {
    let page = read("man/chatd-protocol.7");
    let said = |notice: &str| page.lines().any(|line| line == notice || line == format!(".It Li {notice}"));
    let most = SHOWN_GROWTH * DEFAULT_MAX_LINE;
    let notices = [
        Notice::LineTooLong { max_line: DEFAULT_MAX_LINE, lines: 1 },
        Notice::LineTooLong { max_line: DEFAULT_MAX_LINE, lines: 3 },
        Notice::LineCut { most, lines: 1 },
        Notice::LineCut { most, lines: 3 },
        Notice::Skipped { lines: 1 },
        Notice::Skipped { lines: 1024 },
        Notice::ServerFull,
        Notice::AddressFull,
        Notice::CannotStart,
        Notice::Idle,
        Notice::Stopping,
        Notice::Crashed,
        Notice::Unknown,
    ];
    for notice in notices.into_iter().chain(Foreign::all().map(Notice::Foreign)) {
        assert!(said(&format!("-!- {notice}")), "{notice}");
        // A new notice does not compile here: give it a place in the list above and in the page.
        match notice {
            Notice::LineTooLong { .. } | Notice::LineCut { .. } => {}
            Notice::Skipped { .. } | Notice::ServerFull | Notice::CannotStart => {}
            Notice::AddressFull | Notice::Idle | Notice::Crashed | Notice::Unknown | Notice::Stopping => {}
            // All of them are in the list.
            Notice::Foreign(_) => {}
        }
    }
}

#[test]
fn every_command_is_in_the_manual_as_it_is_typed() {
    let page = read("man/chatd-protocol.7");
    let commands = section(&page, ".Ss Commands", ".Ss ");
    let listed: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix(".It Ic ")).collect();
    let known = COMMANDS.iter().map(Spec::to_string).chain(["//TEXT".to_owned()]);
    assert_eq!(listed, known.collect::<Vec<_>>());
}

/// Every answer, as it stands in the manual.
fn answers() -> Vec<Answer> {
    let name = |text: &str| Name::parse(text).unwrap();
    let alice = || name("alice");
    let who = || Who { id: 1, name: alice(), verified: false };
    let msg = Spec::find("msg").unwrap();
    let mut answers = vec![
        Answer::Named(alice()),
        Answer::Taken { name: alice(), hint: Some(name("alice2")) },
        Answer::Taken { name: alice(), hint: None },
        Answer::IsVerified(alice()),
        Answer::Deposed { name: alice(), now: Name::guest(7) },
        Answer::Who { count: 3, names: ["alice", "+bob", "guest7"].map(String::from).to_vec() },
        Answer::Told(who()),
        Answer::NobodyCalledThat,
        Answer::OnlyAlike(["alice", "+bob"].map(String::from).to_vec()),
        Answer::ThatIsYou,
        Answer::IgnoresYou(who()),
        Answer::DoesNotRead(who()),
        Answer::Entered { room: name("ops"), members: 3 },
        Answer::AlreadyThere,
        Answer::TooManyRooms(100),
        Answer::NoMemory,
        Answer::Rooms { count: 2, rooms: vec![(name("main"), 7), (name("ops"), 3)] },
        Answer::Last(0),
        Answer::Last(1),
        Answer::Last(20),
        Answer::EndOfLast,
        Answer::NoHistory,
        Answer::Viewed(View::Json),
        Answer::Timed { times: true, view: View::Names },
        Answer::Timed { times: false, view: View::Names },
        Answer::Timed { times: true, view: View::Plain },
        Answer::Ignored(who()),
        Answer::HeardAgain(who()),
        Answer::IgnoresTooMany(100),
        Answer::Refused(CommandError::Usage(msg)),
        Answer::Unknown(Some(msg)),
        Answer::Unknown(None),
    ];
    let names = [
        NameError::Empty,
        NameError::TooLong,
        NameError::BadCharacter,
        NameError::BadStart,
        NameError::ManyMarks,
        NameError::MixedScripts,
        NameError::Reserved,
    ];
    answers.extend(names.map(|error| Answer::Refused(CommandError::Name(error))));
    answers
}

#[test]
fn every_answer_is_in_the_manual_word_for_word() {
    let page = read("man/chatd-protocol.7");
    for answer in answers() {
        let mut line = Vec::new();
        answer.encode(Form::NAMES, &mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(page.contains(&format!("\n{line}")), "{line}");
        // A new answer does not compile here: give it a place in the list above and in the page.
        match answer {
            Answer::Help | Answer::Named(_) | Answer::Taken { .. } | Answer::IsVerified(_) => {}
            Answer::Deposed { .. } | Answer::Who { .. } | Answer::Told(_) | Answer::NobodyCalledThat => {}
            Answer::OnlyAlike(_) | Answer::ThatIsYou | Answer::IgnoresYou(_) | Answer::DoesNotRead(_) => {}
            Answer::Entered { .. } | Answer::AlreadyThere | Answer::TooManyRooms(_) | Answer::NoMemory => {}
            Answer::Rooms { .. } | Answer::Last(_) | Answer::EndOfLast | Answer::NoHistory => {}
            Answer::Viewed(_)
            | Answer::Timed { .. }
            | Answer::Ignored(_)
            | Answer::HeardAgain(_)
            | Answer::IgnoresTooMany(_) => {}
            Answer::Refused(_) | Answer::Unknown(_) => {}
        }
    }
}

/// The bytes of a text in the notation of C: `\n`, `\r`, `\033`, `\xff`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (byte, len) = match rest.as_bytes() {
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b'x', ..] => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 4),
            [b'\\', b'0'..=b'3', ..] => (u8::from_str_radix(&rest[1..4], 8).unwrap(), 4),
            [first, ..] => (*first, c.len_utf8()),
            [] => break,
        };
        bytes.push(byte);
        rest = &rest[len..];
    }
    bytes
}

#[test]
fn the_transcripts_of_the_manual_are_what_happens() {
    let displays = displays(&read("man/chatd-protocol.7"));
    let transcripts: Vec<_> = displays.iter().filter(|text| text.contains("ann < Hello")).collect();
    assert_eq!(transcripts.len(), 2);
    transcripts.into_iter().for_each(|transcript| play(transcript));
}

fn play(transcript: &str) {
    let server = TestServer::start();
    let mut people = BTreeMap::new();
    for line in transcript.lines() {
        // What is printed last is where it fails, if it does.
        println!("{line}");
        let (name, said) = line.split_once([' ']).unwrap();
        let person = people.entry(name).or_insert_with(|| Caller::connect(server.address));
        match said.trim_start().split_once(' ').unwrap() {
            (">", "(end)") => person.end_input(),
            (">", text) => person.say(unescape(text)),
            ("<", "(end)") => person.expect_end(),
            ("<", text) => person.expect(unescape(text)),
            _ => panic!("{line}: neither > nor <"),
        }
    }
    assert!(people.len() >= 3);
}

/// One line of every type that the json view has.
fn objects() -> Vec<serde_json::Value> {
    let mut out = Vec::new();
    let form = Form::JSON;
    let who = |id, name: &str| Who { id, name: Name::parse(name).unwrap(), verified: id == 2 };
    let (ann, ben) = (who(1, "ann"), who(2, "алиса"));
    let time = "2026-11-24T15:48:01.5Z".parse().unwrap();
    for kind in [Kind::Message, Kind::Emote] {
        let text = "say \"hi\"\\ \u{2603}\n\n".as_bytes();
        form.said(&Said { kind, who: &ben, room: "main", time, seq: 41, text }, &mut out);
    }
    form.private(&ben, &ann, "psst", time, &mut out);
    let scene = Scene { room: "main", time, members: 2 };
    let both = [ann.clone(), ben.clone()];
    form.event(Event::Joined(&both), scene, &mut out);
    form.event(Event::Left(&both), scene, &mut out);
    form.event(Event::Renamed { from: &ann, to: &who(1, "amy") }, scene, &mut out);
    Notice::Idle.encode(form, &mut out);
    Notice::Skipped { lines: 7 }.encode(form, &mut out);
    Answer::Help.encode(form, &mut out);
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_line_of_json_fits_the_schema_and_has_the_fields_of_the_manual() {
    let page = displays(&read("man/chatd-protocol.7"));
    let table = page.iter().find_map(|text| text.strip_prefix("type     fields\n")).unwrap();
    let rows: BTreeMap<&str, Vec<&str>> = table
        .lines()
        .map(|row| row.split_once(' ').unwrap())
        .map(|(kind, fields)| (kind, fields.split_whitespace().collect()))
        .collect();
    let schema: serde_json::Value = serde_json::from_str(&read("packaging/json-view.schema.json")).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for object in objects() {
        if let Err(error) = validator.validate(&object) {
            panic!("{error}: {object}");
        }
        let kind = object["type"].as_str().unwrap();
        let fields: Vec<_> = object.as_object().unwrap().keys().filter(|key| *key != "type").collect();
        let mut expected = rows[kind].clone();
        expected.sort_unstable();
        assert_eq!(fields, expected, "{kind}");
        let defined = &schema["$defs"][kind];
        let required = match defined["$ref"].as_str() {
            Some(reference) => &schema["$defs"][reference.rsplit('/').next().unwrap()]["required"],
            None => &defined["required"],
        };
        let required: Vec<_> = required.as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
        assert_eq!(required, rows[kind], "{kind}: the order, too");
        seen.insert(kind.to_owned());
    }
    assert_eq!(seen.len(), rows.len());
    for wrong in [
        serde_json::json!({ "type": "message", "text": "hi" }),
        serde_json::json!({ "type": "skipped", "lines": 0 }),
        serde_json::json!({ "type": "other" }),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}
