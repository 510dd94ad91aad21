//! The rules of the house, held against its source.
//!
//! Each test is one rule and reads src/, tests/ and benches/; a failure names file and line. A rule that a change
//! cannot keep is a reason to look at the change again, not to add an exception here.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/source.rs"]
mod source;

use circles::Imports;
use source::{Source, after_word, end_of_block, entries, names, sources};

/// The longest function, in lines, by the folder it is in; the first entry that fits counts.
const MAX_FUNCTION: [(&str, usize); 4] =
    [("src/chat/", 50), ("src/net/", 50), ("src/cluster/", 50), ("", 80)];
/// The longest file without its tests, in lines.
const MAX_FILE: usize = 400;
/// How far above an unsafe block its reason may begin, in lines.
const SAFETY_REACH: usize = 6;

/// Where a test may pause or look at how long something took, and why: a file, what the line has, and the reason.
const TIMED: [(&str, &str, &str); 7] = [
    ("tests/systemd/machine.rs", "thread::sleep", "a pause between two looks at what is waited for"),
    ("tests/systemd/", "println!", "it is told, and held against nothing"),
    ("tests/cluster/rounds.rs", "row.longest", "it is told, and held against nothing"),
    ("tests/support/checks.rs", "println!", "it is told, and held against nothing"),
    ("tests/names.rs", "let most = ", "the longer it took, the more there may be"),
    ("src/net/session.rs", "let most = ", "the longer it took, the more there may be"),
    ("tests/", ".elapsed() >= ", "it may not be earlier, and a busy machine is only later"),
];

/// What each part of src/ may import of the others; src/bin/ may import everything.
const FLOORS: [(&str, &[&str]); 11] = [
    ("certificate", &[]),
    ("duration", &[]),
    ("exit", &[]),
    ("rt", &[]),
    ("protocol", &["duration"]),
    ("chat", &["protocol", "rt", "duration"]),
    ("net", &["chat", "protocol", "rt", "certificate"]),
    ("cluster", &["chat", "protocol", "rt"]),
    ("client", &["net", "protocol", "rt", "duration", "exit", "certificate"]),
    ("ctl", &["client", "net", "protocol", "rt", "duration", "exit"]),
    ("service", &["net", "cluster", "chat", "protocol", "rt", "duration", "exit", "certificate"]),
];

impl Source {
    /// The part of src/ that this belongs to: `net`, `rt`; none for `src/lib.rs`, `src/bin/` and what is elsewhere.
    fn floor(&self) -> Option<&str> {
        let part = self.name.strip_prefix("src/")?.split(['/', '.']).next()?;
        FLOORS.iter().map(|(floor, _)| *floor).find(|floor| *floor == part)
    }
}

/// Fails with all that was found, if anything was.
#[track_caller]
fn expect_none(found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// All lines of all files in which `is_bad` finds something to say.
fn bad_lines(is_bad: impl Fn(&Source, usize, &str) -> Option<String>) -> Vec<String> {
    let found = |source: &Source| -> Vec<String> {
        let say =
            |(number, line)| Some(format!("{}:{number}: {}", source.name, is_bad(source, number, line)?));
        source.numbered().filter_map(say).collect()
    };
    sources().iter().flat_map(found).collect()
}

/// The parts of the crate that code names, as `crate::x`, `crate::{x, y::{z}}` or `super::x`.
fn parts_named(code: &str) -> Vec<&str> {
    let paths = after_word(code, "crate::").chain(after_word(code, "super::"));
    let heads = paths.flat_map(|path| path.strip_prefix('{').map_or_else(|| vec![path], entries));
    heads
        .filter_map(|head| head.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next())
        .filter(|head| FLOORS.iter().any(|(floor, _)| floor == head))
        .collect()
}

#[test]
fn imports_point_down() {
    expect_none(bad_lines(|source, number, line| {
        let floor = source.floor()?;
        let (_, below) = FLOORS.iter().find(|(name, _)| *name == floor)?;
        // A list may go over several lines; it is looked at where it begins.
        let rest = source.code[number - 1..].join("\n");
        let code = if line.trim_end().ends_with("::{") { rest.split(';').next()? } else { line };
        let up = parts_named(code).into_iter().find(|part| *part != floor && !below.contains(part))?;
        Some(format!("{floor} imports {up}; it may import {below:?} alone"))
    }));
}

/// Files that import each other are one thing in two files, or share something that belongs in a third.
#[test]
fn no_file_imports_itself_through_others() {
    let imports = Imports::of(&sources());
    let circles = imports.circles().into_values();
    expect_none(
        circles.map(|circle| format!("{circle}: move what both need to a file that both may import")),
    );
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let is_silent = |source: &&Source| !source.lines.first().is_some_and(|line| line.starts_with("//! "));
    expect_none(sources().iter().filter(is_silent).map(|source| {
        format!("{}:1: begin with `//!`: what the file owns, who calls it, what it never does", source.name)
    }));
}

#[test]
fn nothing_is_left_to_be_done() {
    // In two halves, so that this file passes.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("db", "g!("),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    expect_none(sources().iter().flat_map(|source| {
        let left = |(at, line): (usize, &String)| {
            let word = words.iter().find(|word| names(line, word))?;
            Some(format!("{}:{}: {word}: do it, or state the limit", source.name, at + 1))
        };
        source.lines.iter().enumerate().filter_map(left).collect::<Vec<_>>()
    }));
}

#[test]
fn no_test_is_ignored() {
    // The attribute, alone or behind a condition, wherever its lines are broken; not a word that begins like it.
    let is_attribute =
        |line: &str| line.contains("#[") || line.contains(", ignore") || line.trim() == "ignore";
    let ignored = |line: &str| is_attribute(line) && names(line, "ignore");
    expect_none(bad_lines(|_, _, line| ignored(line).then(|| "run it, or remove it".to_owned())));
}

#[test]
fn only_rt_names_the_runtime() {
    const RUNTIME: [&str; 3] = ["async_std", "async_io", "async_global_executor"];
    expect_none(bad_lines(|source, _, line| {
        let name = RUNTIME.iter().find(|name| names(line, name))?;
        (source.name != "src/rt.rs").then(|| format!("{name}; only src/rt.rs names it"))
    }));
}

#[test]
fn unsafe_code_says_why_it_is_safe() {
    expect_none(bad_lines(|source, number, line| {
        let above = &source.lines[number.saturating_sub(1 + SAFETY_REACH)..number];
        let is_bare = names(line, "unsafe") && !above.iter().any(|line| line.contains("SAFETY:"));
        is_bare.then(|| format!("unsafe without a SAFETY: comment in the {SAFETY_REACH} lines above"))
    }));
}

#[test]
fn functions_fit_on_two_screens() {
    expect_none(bad_lines(|source, number, line| {
        let named = |after: &str| after.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let is_function = after_word(line, "fn ").any(named) && !source.is_test_module_line(number);
        let end = is_function.then(|| end_of_block(&source.code, number - 1)).flatten()?;
        let len = end + 2 - number;
        let (_, most) = MAX_FUNCTION.iter().find(|(place, _)| source.name.starts_with(place))?;
        (len > *most).then(|| format!("a function of {len} lines; the most is {most}"))
    }));
}

#[test]
fn files_are_short_enough_to_be_read() {
    expect_none(sources().iter().filter_map(|source| {
        let len = (1..=source.code.len()).filter(|number| !source.is_test_module_line(*number)).count();
        let most = format!("{MAX_FILE}; split it by noun");
        (len > MAX_FILE)
            .then(|| format!("{}:1: {len} lines without its tests; the most is {most}", source.name))
    }));
}

/// It would fail on a busy machine, or pass because nothing has had the time to go wrong.
#[test]
fn no_test_depends_on_how_fast_anything_is() {
    expect_none(bad_lines(|source, number, line| {
        let is_timed = ["sleep", "park_timeout", "elapsed"].iter().any(|word| names(line, word));
        let has_reason =
            |(file, part, _): &(&str, &str, &str)| source.name.starts_with(file) && line.contains(part);
        let is_bad = source.is_test[number - 1] && is_timed && !TIMED.iter().any(has_reason);
        is_bad.then(|| "a pause or a time; count, wait for what comes next, or set the clock".to_owned())
    }));
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    expect_none(bad_lines(|source, number, line| {
        let unwraps = !source.is_test[number - 1] && line.contains(".unwrap()");
        unwraps.then(|| "unwrap(); handle it, or say with expect() why it holds".to_owned())
    }));
}

#[test]
fn the_rules_know_what_a_path_names() {
    assert_eq!(parts_named("super::rt::run(crate::netting, crate::chat::Room)"), ["chat", "rt"]);
    assert_eq!(
        parts_named("use crate::{\n    chat::{net, Room},\n    protocol,\n};\nnet"),
        ["chat", "protocol"]
    );
}
