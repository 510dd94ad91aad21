//! The manual, the shipped configuration and the help, held against the code and against each other.
//!
//! Facts that are told twice are checked here: options, keys, defaults, what a reload changes, signals, exit codes,
//! notices, log messages, the order of the shutdown. The transcripts in chatd-protocol(7) and README.md are played against
//! a server. The prose of the pages is held to short sentences.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

mod changelog;
mod cluster;
mod companion;
mod completions;
mod diagnostics;
mod form;
mod metrics;
mod operators;
mod package;
mod programs;
mod prose;
mod protocol;
mod readme;
mod reports;
// Other tests need more of it.
#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chatd::exit::Exit;
use chatd::protocol::Form;
use chatd::service::config::{Config, KEYS, parse_file};
use programs::CHATD;

/// The pages of the manual.
const MANUAL: [&str; 7] = [
    "man/chatc.1",
    "man/chatctl.1",
    "man/chatd.8",
    "man/chatd.toml.5",
    "man/chatd-cluster.7",
    "man/chatd-metrics.7",
    "man/chatd-protocol.7",
];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn chatd(options: &[&str]) -> Output {
    support::clean(&mut Command::new(env!("CARGO_BIN_EXE_chatd"))).args(options).output().unwrap()
}

/// The part of a page from the line `start` up to the next that begins with `end`.
fn section<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    let start = format!("{start}\n");
    let (_, after) = page.split_once(&start).unwrap_or_else(|| panic!("no {start:?}"));
    after.find(&format!("\n{end}")).map_or(after, |at| &after[..=at])
}

/// The literal displays of a page, as they are shown.
fn displays(page: &str) -> Vec<String> {
    let blocks = page.split(".Bd -literal -offset indent\n").skip(1);
    blocks.map(|block| block.split(".Ed\n").next().unwrap().replace("\\e", "\\")).collect()
}

/// The code displays of a text in Markdown, without their indent.
fn displays_of_markdown(text: &str) -> Vec<String> {
    let mut displays = vec![String::new()];
    for line in text.lines() {
        match (line.strip_prefix("    "), displays.last_mut()) {
            (Some(code), Some(last)) => *last += &format!("{code}\n"),
            _ => displays.push(String::new()),
        }
    }
    displays.retain(|display| !display.is_empty());
    displays
}

/// The words of a part of a page, without macros.
fn words(text: &str) -> String {
    let bare = text.lines().map(|line| match line.strip_prefix('.') {
        Some(request) => request.split_once(' ').map_or("", |(_, words)| words),
        None => line,
    });
    bare.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ").replace(" ;", ";").replace('`', "")
}

/// What chatd.toml(5) says of each key.
fn key_entries(page: &str) -> BTreeMap<String, String> {
    let keys = section(page, ".Sh KEYS", ".Sh ");
    let entries = keys.split("\n.It Ic ").skip(1).filter_map(|entry| entry.split_once('\n'));
    entries.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

#[test]
fn every_key_is_in_the_manual_with_its_default_and_what_changes_it() {
    let entries = key_entries(&read("man/chatd.toml.5"));
    let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(entries.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    for key in &KEYS {
        let entry = &entries[key.name];
        let default = format!("\nDefault: {}.\n", key.value(&Config::default()));
        assert!(entry.contains(&default), "{}: {default}", key.name);
        let change = if key.reloadable { "\nA reload changes it.\n" } else { "\nA restart changes it.\n" };
        assert!(entry.contains(change), "{}: {change}", key.name);
        assert!(entry.starts_with("Type: "), "{}", key.name);
        let example = displays(entry);
        assert!(example.len() == 1 && example[0].starts_with(&format!("{} = ", key.name)), "{}", key.name);
    }
}

#[test]
fn the_examples_of_the_manual_are_right_and_change_something() {
    for example in displays(&read("man/chatd.toml.5")) {
        let part =
            parse_file(&example, Path::new("example")).unwrap_or_else(|error| panic!("{error}: {example}"));
        for key in KEYS.iter().filter(|key| has_key(&example, key.name)) {
            let (raw, _) = part.get(key.name).unwrap();
            let mut config = Config::default();
            key.set(&mut config, raw).unwrap();
            assert_ne!(config, Config::default(), "{example}");
        }
    }
}

fn has_key(text: &str, name: &str) -> bool {
    text.lines().any(|line| line.starts_with(&format!("{name} = ")))
}

#[test]
fn the_limits_of_the_manual_are_those_of_the_code() {
    let entries = key_entries(&read("man/chatd.toml.5"));
    for key in &KEYS {
        let line = entries[key.name].lines().next().unwrap();
        let Some((least, most)) = line.split_once("from ").and_then(|(_, range)| range.split_once(" to "))
        else {
            continue;
        };
        let most = most.split([',', '.']).next().unwrap();
        for bound in [least, most] {
            let text = format!("{} = \"{bound}\"", key.name);
            parse_file(&text, Path::new("bound")).unwrap_or_else(|error| panic!("{error}"));
        }
        let too_much = more(most);
        let error = parse_file(&format!("{} = \"{too_much}\"", key.name), Path::new("bound")).unwrap_err();
        assert!(error.to_string().ends_with(&format!("the most is {most}")), "{error}");
        if let Some(too_little) = less(least) {
            let error =
                parse_file(&format!("{} = \"{too_little}\"", key.name), Path::new("bound")).unwrap_err();
            assert!(error.to_string().ends_with(&format!("the least is {least}")), "{error}");
        }
    }
}

/// The number of `value` plus one, with its unit.
fn more(value: &str) -> String {
    let (number, unit) = split_unit(value);
    format!("{}{unit}", number + 1)
}

/// Less than `value`; none if that is 0, or would be, which may mean something else.
fn less(value: &str) -> Option<String> {
    match split_unit(value) {
        (0 | 1, "" | "ms") => None,
        (1, "s") => Some("999ms".to_owned()),
        (1, "MiB") => Some("1023KiB".to_owned()),
        (0, _) => None,
        (number, unit) => Some(format!("{}{unit}", number - 1)),
    }
}

fn split_unit(value: &str) -> (u64, &str) {
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    (value[..end].parse().unwrap(), &value[end..])
}

#[test]
fn every_key_is_in_the_shipped_file_with_its_default_and_what_changes_it() {
    let shipped = read("packaging/chatd.toml");
    let is_key = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    assert_eq!(shipped.lines().filter(is_key).count(), KEYS.len());
    let mut paragraphs = BTreeMap::new();
    for paragraph in shipped.split("\n\n") {
        let (about, keys): (Vec<_>, Vec<_>) = paragraph.lines().partition(|line| line.starts_with("# "));
        for key in keys {
            paragraphs.insert(key, about.join(" "));
        }
    }
    for key in &KEYS {
        let line = format!("#{} = {}", key.name, key.value(&Config::default()));
        let about = paragraphs.get(line.as_str()).unwrap_or_else(|| panic!("no line {line:?}"));
        assert_eq!(about.contains("(restart)"), !key.reloadable, "{}: {about}", key.name);
    }
}

#[test]
fn the_shipped_file_passes_the_check() {
    let file = root("packaging/chatd.toml");
    let output = chatd(&["--check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}: ok\n", file.display()));
}

#[test]
fn the_manual_warns_that_newcomers_can_read_what_was_said_before() {
    let security = words(section(&read("man/chatd.8"), ".Sh SECURITY CONSIDERATIONS", ".Sh "));
    let history = Config::default().history;
    for warning in [format!("history lines of a room, {history} unless"), "history = 0 turns that off".into()]
    {
        assert!(security.contains(&warning), "{warning:?}: {security}");
    }
}

#[test]
fn the_memory_that_the_manual_speaks_of_is_what_the_defaults_make_of_it() {
    let limits = words(section(&read("man/chatd.8"), ".Ss Limits", ".Sh "));
    let config = Config::default();
    let (memory, log) = (config.memory.bytes(), config.log_size.bytes());
    // With more than that in use, rooms drop lines.
    let kept = memory - memory / 16;
    let room = |forms: usize| forms * log + log / 4;
    let [one, all] = [1, Form::ALL.len()].map(room);
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    for said in [
        format!("Lines take at most memory , {} unless configured", mib(memory)),
        format!("With {} of log_size , the default", mib(log)),
        format!("takes {} if it is shown in one way, and {} if", mib(one), mib(all)),
        format!("space for {} full rooms of the first kind, or {} of the second", kept / one, kept / all),
    ] {
        assert!(limits.contains(&said), "{said:?}: {limits}");
    }
}

/// At [::] there is no IPv4.
#[test]
fn whoever_is_shown_how_to_listen_on_every_ipv6_network_is_shown_it_for_ipv4_too() {
    for text in [CHATD.help(), read("README.md"), read("man/chatd.8"), read("packaging/chatd.toml")] {
        for line in text.lines().filter(|line| line.contains("[::]:5001")) {
            assert!(line.contains("0.0.0.0:5001"), "{line}");
        }
    }
}

#[test]
fn the_unit_does_not_start_again_what_would_fail_again() {
    let unit = read("packaging/systemd/chatd.service");
    let codes = format!("RestartPreventExitStatus={} {}", Exit::Usage.code(), Exit::Config.code());
    assert!(unit.lines().any(|line| line == codes), "{codes}");
}

/// Sockets are opened before the network is up.
#[test]
fn the_socket_unit_opens_sockets_at_addresses_that_are_not_there_yet() {
    assert!(read("packaging/systemd/chatd.socket").lines().any(|line| line == "FreeBind=yes"));
    let manual = read("man/chatd.8");
    assert!(section(&manual, ".Ss The service", ".Ss ").contains("\n.Ql FreeBind=yes"));
    assert!(read("packaging/README.md").contains("`FreeBind=yes`"));
}

/// The signals that chatd listens to: `SIGTERM`.
fn signals() -> BTreeSet<String> {
    let code = read("src/service/signals.rs");
    let (_, list) = code.split_once("Signals::new([").unwrap();
    list.split(']').next().unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn every_signal_is_in_the_manual_and_in_the_readme() {
    let of_code = signals();
    let manual = read("man/chatd.8");
    let items = section(&manual, ".Ss Signals", ".Ss ");
    let items = items.lines().filter(|line| line.starts_with(".It Dv "));
    let of_manual = items.flat_map(str::split_whitespace).filter(|word| word.starts_with("SIG"));
    assert_eq!(of_code, of_manual.map(str::to_owned).collect());
    let readme = read("README.md");
    for signal in of_code {
        let bare = signal.trim_start_matches("SIG");
        assert!(readme.lines().any(|line| line.starts_with('|') && line.contains(bare)), "README: {bare}");
    }
}

#[test]
fn the_shutdown_is_told_in_the_same_words_everywhere() {
    let manual = read("man/chatd.8");
    let items = section(section(&manual, ".Ss Shutdown", ".Ss "), ".Bl -enum", ".El");
    let of_manual: Vec<_> = items.split(".It\n").skip(1).map(words).collect();
    assert_eq!(of_manual.len(), 7);
    let code = read("src/lib.rs");
    let said = words(&code.lines().map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join("\n"));
    let mut rest = said.as_str();
    for (number, item) in of_manual.iter().enumerate() {
        let item = format!("{}. {item}", number + 1);
        let at = rest.find(&item).unwrap_or_else(|| panic!("no {item:?} in {rest:?}"));
        rest = &rest[at + item.len()..];
    }
}
