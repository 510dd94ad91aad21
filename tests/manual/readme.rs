//! README.md, held against the program: its transcripts are played, its line of json fits the schema.

use std::collections::BTreeMap;

use super::support::{Caller, TestServer};
use super::{displays_of_markdown, read};

/// What ben does before ann hears a line: both have only just connected, ann first.
const BEN: [(&str, &str); 3] =
    [("<guest2> hello", "hello"), ("-!- guest2 is now ben", "/nick ben"), ("<ben> it is me", "it is me")];

/// Plays one side of a conversation: what chatd says begins with `-!- ` or `<`, everything else is typed.
fn play(transcript: &str, ann: &mut Caller, ben: &mut Caller) {
    let before: BTreeMap<_, _> = BEN.into_iter().collect();
    for line in transcript.lines() {
        println!("{line}");
        if let Some(said) = before.get(line) {
            ben.say(format!("{said}\n"));
        }
        if line.starts_with("-!- ") || line.starts_with('<') {
            ann.expect(format!("{line}\n"));
        } else {
            ann.say(format!("{line}\n"));
        }
    }
}

#[test]
fn the_first_five_minutes_are_as_the_readme_has_them() {
    let displays = displays_of_markdown(&read("README.md"));
    let with = |start: &str| displays.iter().find(|text| text.starts_with(start)).unwrap();
    let server = TestServer::start();
    let (mut ann, mut ben) = (server.join(), server.join());
    play(with("/nick ann"), &mut ann, &mut ben);
    play(with("/join ops"), &mut ann, &mut ben);
}

#[test]
fn the_json_of_the_readme_fits_the_schema() {
    let displays = displays_of_markdown(&read("README.md"));
    let lines = displays.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with('{'));
    let objects: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!objects.is_empty());
    let schema = serde_json::from_str(&read("packaging/json-view.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for object in objects {
        validator.validate(&object).unwrap_or_else(|error| panic!("{error}: {object}"));
    }
}
