//! chatd-protocol(7), held against the code: notices, commands, answers, the fields of json, the transcripts.

use std::collections::BTreeMap;

use chatd::protocol::object::History;
use chatd::protocol::syntax::{COMMANDS, Spec};
use chatd::protocol::{
    DEFAULT_MAX_LINE, Event, Foreign, Form, Key, Kind, Name, NameError, NoName, Notice, Object, Person,
    Proof, Reason, Report, RoomCount, SHOWN_GROWTH, Said, Scene, View, Who,
};

use super::support::{Caller, TestServer};
use super::{displays, read, section};

/// Every reason for which chatd closes a connection.
fn closings() -> [(&'static str, Notice); 7] {
    [
        ("closing", Notice::Closing { reason: Reason::CannotStart }),
        ("closing", Notice::Closing { reason: Reason::Idle }),
        ("closing", Notice::Closing { reason: Reason::Stopping }),
        ("closing", Notice::Closing { reason: Reason::Lost }),
        ("closing", Notice::Closing { reason: Reason::Restarting }),
        ("closing", Notice::Closing { reason: Reason::NeedsTls }),
        ("closing", Notice::Closing { reason: Reason::NewKeys }),
    ]
}

/// Every notice with its code, as it stands in the manual: at least one for each code, in their order.
fn notices() -> Vec<(&'static str, Notice)> {
    let alice = || "alice".to_owned();
    let text = |text: &str| text.to_owned();
    let person =
        |id, name: &'static str, verified| Person::of(&Who { id, name: Name::known(name), verified }, false);
    let max = DEFAULT_MAX_LINE;
    let msg = Spec::find("msg").unwrap().to_string();
    let mut notices = vec![
        ("too_long", Notice::TooLong { lines: 1, max }),
        ("too_long", Notice::TooLong { lines: 3, max }),
        ("cut", Notice::Cut { lines: 1, max: SHOWN_GROWTH * max }),
        ("cut", Notice::Cut { lines: 3, max: SHOWN_GROWTH * max }),
        ("full", Notice::Full),
        ("address_full", Notice::AddressFull),
        ("crashed", Notice::Crashed),
        ("usage", Notice::Usage { command: msg.clone() }),
        ("unknown_command", Notice::UnknownCommand { nearest: Some(msg) }),
        ("unknown_command", Notice::UnknownCommand { nearest: None }),
        ("named", Notice::Named { name: alice(), key: None }),
        ("bad_key", Notice::BadKey { name: alice() }),
        ("verified", Notice::Verified { name: alice() }),
        ("deposed", Notice::Deposed { name: alice(), now: text("guest7") }),
        ("name_taken_over", Notice::NameTakenOver { name: alice(), now: text("guest7") }),
        ("name_lost", Notice::NameLost { name: alice(), now: text("guest7") }),
        (
            "who",
            Notice::Who {
                count: 3,
                members: vec![person(1, "alice", false), person(2, "bob", true), person(7, "guest7", false)],
            },
        ),
        ("told", Notice::Told { name: alice(), verified: false }),
        ("nobody", Notice::Nobody),
        ("alike", Notice::Alike { members: vec![person(1, "alice", false), person(2, "bob", true)] }),
        ("yourself", Notice::Yourself),
        ("ignores_you", Notice::IgnoresYou { name: alice(), verified: false }),
        ("does_not_read", Notice::DoesNotRead { name: alice(), verified: false }),
        ("entered", Notice::Entered { room: text("ops"), members: 3, epoch: 7 }),
        ("already_there", Notice::AlreadyThere),
        ("too_many_rooms", Notice::TooManyRooms { max: 100 }),
        ("no_memory", Notice::NoMemory),
        (
            "rooms",
            Notice::Rooms {
                count: 2,
                rooms: [("main", 7), ("ops", 3)]
                    .map(|(room, members)| RoomCount { room: text(room), members })
                    .into(),
            },
        ),
        ("no_history", Notice::NoHistory),
        ("viewed", Notice::Viewed { view: View::Json }),
        ("timed", Notice::Timed { times: true, view: View::Names }),
        ("timed", Notice::Timed { times: false, view: View::Names }),
        ("timed", Notice::Timed { times: true, view: View::Plain }),
        ("ignored", Notice::Ignored { name: alice(), verified: false }),
        ("heard", Notice::Heard { name: alice(), verified: false }),
        ("ignores_too_many", Notice::IgnoresTooMany { max: 100 }),
    ];
    notices.extend([Some(30), None].map(|days| ("archived", Notice::Archived { days })));
    notices.extend([Some(text("alice2")), None].map(|hint| ("taken", Notice::Taken { name: alice(), hint })));
    // They come after "address_full".
    drop(notices.splice(6..6, closings()));
    let reasons = [
        NameError::Empty,
        NameError::TooLong,
        NameError::BadCharacter,
        NameError::BadStart,
        NameError::ManyMarks,
        NameError::MixedScripts,
        NameError::Reserved,
    ];
    notices.extend(reasons.map(|reason| ("bad_name", Notice::BadName { reason })));
    notices.extend(proofs());
    notices.extend(nodes());
    notices.extend(super::reports::notices());
    notices.extend(Foreign::all().map(|protocol| ("foreign", Notice::Foreign { protocol })));
    notices
}

/// What chatd says about verified names that a client does not get.
fn proofs() -> impl Iterator<Item = (&'static str, Notice)> {
    let (alice, a1ice, guest) = (|| "alice".to_owned(), || "a1ice".to_owned(), || "guest7".to_owned());
    let held = [Proof::Kernel, Proof::Certificate]
        .map(|proof| ("name_held", Notice::NameHeld { name: alice(), now: guest(), holder: a1ice(), proof }));
    let bad = NoName::Bad(NameError::Reserved);
    let reasons = [NoName::Unreadable, NoName::NoCommonName, NoName::SeveralCommonNames, bad];
    let no_name =
        reasons.map(|reason| ("no_certificate_name", Notice::NoCertificateName { reason, now: guest() }));
    held.into_iter().chain(no_name)
}

/// What chatd says about the engine of several nodes.
fn nodes() -> [(&'static str, Notice); 3] {
    [
        ("engine_away", Notice::EngineAway),
        ("engine_back", Notice::EngineBack),
        ("engine_failover", Notice::EngineFailover),
    ]
}

/// What else chatd says to one connection, as sentences.
fn sentences() -> Vec<Object<'static>> {
    let history = |since, pattern: Option<&'static str>, lines, missing, more| {
        let pattern = pattern.map(Into::into);
        let room = "main".into();
        Object::History(History { room, epoch: 1, first_kept: 1, since, pattern, lines, missing, more })
    };
    let (token, room) = ("TOKEN".into(), "main".into());
    vec![
        Object::Skipped { lines: 1 },
        Object::Skipped { lines: 1024 },
        Object::Synced {
            token,
            id: 7,
            name: "ann".into(),
            verified: false,
            host: None,
            room,
            epoch: 1,
            seq: 7,
        },
        history(None, None, 0, 0, 0),
        history(None, None, 1, 0, 0),
        history(None, None, 20, 0, 0),
        history(None, Some("x"), 0, 0, 0),
        history(None, Some("x"), 1, 0, 0),
        history(None, Some("x"), 20, 0, 0),
        history(Some(7), None, 0, 0, 0),
        history(Some(7), None, 1, 0, 0),
        history(Some(7), None, 20, 4, 9),
        Object::HistoryEnd,
    ]
}

#[test]
fn every_sentence_of_chatd_is_in_the_manual_word_for_word() {
    let page = read("man/chatd-protocol.7");
    let said = |line: &str| page.lines().any(|one| one == line || one == format!(".It Li {line}"));
    let notices = notices().into_iter().map(|(_, notice)| notice.to_string());
    for sentence in notices.chain(sentences().iter().map(Object::to_string)) {
        let line = format!("-!- {sentence}");
        assert!(said(&line), "{line}");
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
    }
}

#[test]
fn every_code_is_in_the_manual_with_its_fields_and_is_what_goes_out() {
    let page = displays(&read("man/chatd-protocol.7"));
    let tables = page.iter().filter_map(|text| text.strip_prefix("code              fields\n"));
    let rows = tables.flat_map(str::lines).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let rows: BTreeMap<&str, Vec<&str>> = rows.map(|row| (row[0], row[1..].to_vec())).collect();
    let of_source: BTreeMap<&str, Vec<&str>> =
        codes().map(|(code, fields)| (*code, fields.to_vec())).collect();
    let greeting = Notice::Greeting { greeting: "hello".to_owned() };
    let help = Notice::Help { command: "/who".to_owned(), about: "who is here".to_owned() };
    let named = Notice::Named { name: "ann".to_owned(), key: Some(Key(7)) };
    let all = [("greeting", greeting), ("help", help), ("named", named)].into_iter().chain(notices());
    let mut seen: BTreeMap<&str, std::collections::BTreeSet<String>> = BTreeMap::new();
    for (code, notice) in all {
        let mut line = Vec::new();
        Form::JSON.notice(&notice, &mut line);
        let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(object["code"], code);
        let fields = object
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !["type", "code", "text"].contains(&key.as_str()));
        seen.entry(code).or_default().extend(fields.cloned());
    }
    assert!(of_source.keys().eq(seen.keys()), "{:?} {:?}", of_source.keys(), seen.keys());
    assert!(of_source.keys().eq(rows.keys()), "{:?} {:?}", of_source.keys(), rows.keys());
    let schema: serde_json::Value = serde_json::from_str(&read("packaging/json-view.schema.json")).unwrap();
    let schema = &schema["$defs"]["notice"];
    let codes: Vec<_> = codes().map(|(code, _)| serde_json::Value::from(*code)).collect();
    assert_eq!(schema["properties"]["code"]["enum"], serde_json::Value::from(codes), "in the schema");
    for (code, fields) in &seen {
        let rules = schema["allOf"].as_array().unwrap().iter();
        let rule = rules.clone().find(|rule| rule["if"]["properties"]["code"]["const"] == *code);
        let in_schema =
            rule.map(|rule| rule["then"]["properties"].as_object().unwrap().keys().cloned().collect());
        assert_eq!(*fields, in_schema.unwrap_or_default(), "{code} in the schema");
        let in_page: std::collections::BTreeSet<String> =
            rows[code].iter().map(|field| field.trim_matches(['[', ']']).to_owned()).collect();
        assert_eq!(*fields, in_page, "{code}");
    }
}

#[test]
fn every_command_is_in_the_manual_as_it_is_typed() {
    let page = read("man/chatd-protocol.7");
    for (start, is_control, more) in
        [(".Ss Commands", false, Some("//TEXT")), (".Ss Commands of operators", true, None)]
    {
        let commands = section(&page, start, ".Ss ");
        let listed: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix(".It Ic ")).collect();
        let known = COMMANDS.iter().filter(|spec| spec.is_control == is_control).map(Spec::to_string);
        assert_eq!(listed, known.chain(more.map(str::to_owned)).collect::<Vec<_>>());
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
    let (ann, mut ben) = (who(1, "ann"), who(2, "алиса"));
    ben.name = ben.name.at(Some("alpha"));
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
    notices().iter().for_each(|(_, notice)| form.notice(notice, &mut out));
    form.notice(&Notice::Named { name: "ann".to_owned(), key: Some(Key(7)) }, &mut out);
    sentences().iter().for_each(|object| form.object(object, &mut out));
    form.object(&Object::Epoch { room: "main".into(), epoch: 2, seq: 41 }, &mut out);
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_line_of_json_fits_the_schema_and_has_the_fields_of_the_manual() {
    let page = displays(&read("man/chatd-protocol.7"));
    let table = page.iter().find_map(|text| text.strip_prefix("type     fields\n")).unwrap();
    let rows: BTreeMap<&str, Vec<&str>> = table
        .lines()
        .map(|row| row.split_once(' ').unwrap_or((row, "")))
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
        let mut expected: Vec<&str> =
            rows[kind].iter().copied().filter(|field| !field.starts_with('[')).collect();
        let more: Vec<&str> =
            rows[kind].iter().filter_map(|field| field.strip_prefix('[')?.strip_suffix(']')).collect();
        expected.extend(fields.iter().map(|field| field.as_str()).filter(|field| more.contains(field)));
        expected.sort_unstable();
        // What else a notice has depends on its code.
        let fields =
            fields.into_iter().filter(|field| kind != "notice" || expected.contains(&field.as_str()));
        assert_eq!(fields.collect::<Vec<_>>(), expected, "{kind}");
        let defined = &schema["$defs"][kind];
        let required = match defined["$ref"].as_str() {
            Some(reference) => &schema["$defs"][reference.rsplit('/').next().unwrap()]["required"],
            None => &defined["required"],
        };
        let required: Vec<_> = required.as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
        let always: Vec<&str> = rows[kind].iter().copied().filter(|field| !field.starts_with('[')).collect();
        assert_eq!(required, always, "{kind}: the order, too");
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

/// Every code with its fields: of notices to everybody, and of those to operators.
fn codes() -> impl Iterator<Item = &'static (&'static str, &'static [&'static str])> {
    Notice::CODES.iter().chain(Report::CODES)
}
