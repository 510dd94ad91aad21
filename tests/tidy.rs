//! The rules of the house, held against its source.
//!
//! Each test is one rule and reads src/, tests/ and benches/; a failure names file and line. A rule that a change
//! cannot keep is a reason to look at the change again, not to add an exception here.

// A failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// The longest function, in lines.
const MAX_FUNCTION: usize = 80;
/// The longest file without its tests, in lines.
const MAX_FILE: usize = 400;
/// How far above an unsafe block its reason may begin, in lines.
const SAFETY_REACH: usize = 6;

/// Where a test may pause or look at how long something took, and why: a file, what the line has, and the reason.
const TIMED: [(&str, &str, &str); 5] = [
    ("tests/systemd/machine.rs", "thread::sleep", "a pause between two looks at what is waited for"),
    ("tests/systemd/", "println!", "it is told, and held against nothing"),
    ("tests/names.rs", "let most = ", "the longer it took, the more there may be"),
    ("src/net/session/handover.rs", "let most = ", "the longer it took, the more there may be"),
    ("tests/", ".elapsed() >= ", "it may not be earlier, and a busy machine is only later"),
];

/// What each part of src/ may import of the others; src/bin/ may import everything.
const FLOORS: [(&str, &[&str]); 7] = [
    ("duration", &[]),
    ("rt", &[]),
    ("protocol", &[]),
    ("chat", &["protocol", "rt"]),
    ("net", &["chat", "protocol", "rt"]),
    ("client", &["net", "protocol", "rt", "duration"]),
    ("service", &["net", "chat", "protocol", "rt", "duration"]),
];

/// A source file.
struct Source {
    /// Relative to the root, with `/`.
    name: String,
    /// As it is.
    lines: Vec<String>,
    /// The same lines without comments and the insides of strings.
    code: Vec<String>,
    /// For each line, whether it is only compiled for tests.
    is_test: Vec<bool>,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let all_test = name.starts_with("tests/") || is_test_module(path);
        Self::parse(name, &text, all_test)
    }

    fn parse(name: String, text: &str, all_test: bool) -> Self {
        let code: Vec<String> = code_of(text).lines().map(str::to_owned).collect();
        let mut is_test = vec![all_test; code.len()];
        for at in (0..code.len()).filter(|&at| code[at].trim() == "#[cfg(test)]") {
            if let Some(end) = end_of_block(&code, at) {
                is_test[at..=end].fill(true);
            }
        }
        Self { name, lines: text.lines().map(str::to_owned).collect(), code, is_test }
    }

    /// The code of each line with its number, counted from 1.
    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(at, line)| (at + 1, line.as_str()))
    }

    /// The part of src/ that this belongs to: `net`, `rt`; none for `src/lib.rs`, `src/bin/` and what is elsewhere.
    fn floor(&self) -> Option<&str> {
        let part = self.name.strip_prefix("src/")?.split(['/', '.']).next()?;
        FLOORS.iter().map(|(floor, _)| *floor).find(|floor| *floor == part)
    }
}

/// Whether a file is a module that its parent declares for tests alone.
fn is_test_module(path: &Path) -> bool {
    let parent = fs::read_to_string(path.with_file_name("mod.rs")).unwrap_or_default();
    let declaration = format!("mod {};", path.file_stem().unwrap().to_str().unwrap());
    let lines: Vec<&str> = parent.lines().map(str::trim).collect();
    lines.windows(2).any(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with(&declaration))
}

/// All source files, in order.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches"].map(|name| root.join(name)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 20, "the source is found");
    files.iter().map(|path| Source::read(root, path)).collect()
}

/// The text with comments and the insides of strings and characters blanked out; lines stay lines.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = comment(rest).or_else(|| string(rest, &code)).or_else(|| character(rest));
        let (taken, after) = rest.split_at(len.unwrap_or(first.len_utf8()));
        match len {
            None => code.push(first),
            Some(_) => code.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        rest = after;
    }
    code
}

/// The length of the comment that begins here.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut depth = 0;
    let mut at = 0;
    while text.starts_with("/*") {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return Some(at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [] => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// The length of the string that begins here, after `before`.
fn string(text: &str, before: &str) -> Option<usize> {
    let bare = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - bare.len();
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    if let Some(raw) = bare.strip_prefix('r') {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = raw[hashes..].strip_prefix('"')?;
        let len = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + len);
    }
    let inside = bare.strip_prefix('"')?;
    Some(prefix + 1 + up_to(inside, '"'))
}

/// The length of the character literal that begins here; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let mut chars = inside.chars();
    let is_literal = chars.next()? == '\\' || chars.next()? == '\'';
    is_literal.then(|| 1 + up_to(inside, '\''))
}

/// The length up to and with `end`, where a backslash hides what follows it.
fn up_to(text: &str, end: char) -> usize {
    let mut hidden = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if hidden => hidden = false,
            '\\' => hidden = true,
            _ if c == end => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The line with the brace that ends the block which begins at or after line `start`; none if a semicolon outside
/// of brackets comes first.
fn end_of_block(code: &[String], start: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, line) in code.iter().enumerate().skip(start) {
        // An attribute is not part of what it stands at.
        for c in line.chars().filter(|_| !line.trim_start().starts_with("#[")) {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if braces == 0 && brackets == 0 => return None,
                '{' => braces += 1,
                '}' if braces == 1 => return Some(at),
                '}' => braces -= 1,
                _ => {}
            }
        }
    }
    None
}

/// What follows each occurrence of `word` in `line` where it stands as a word.
fn after_word<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).filter_map(move |(at, _)| {
        let after = &line[at + word.len()..];
        let goes_on = word.ends_with(part_of_word) && after.starts_with(part_of_word);
        (!line[..at].ends_with(part_of_word) && !goes_on).then_some(after)
    })
}

fn names(line: &str, word: &str) -> bool {
    after_word(line, word).next().is_some()
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

/// The entries of the list that begins here, after its brace.
fn entries(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut split_at = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth < 0 || (depth == 0 && c == ',')
    };
    let end = list.find(';').unwrap_or(list.len());
    list[..end].split(&mut split_at).collect()
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
    let ignored = |line: &str| line.contains("#[ignore") || line.contains(", ignore");
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
        (len > MAX_FUNCTION).then(|| format!("a function of {len} lines; the most is {MAX_FUNCTION}"))
    }));
}

impl Source {
    /// Whether the line stands in a `#[cfg(test)]` module; the files of tests/ are not such modules.
    fn is_test_module_line(&self, number: usize) -> bool {
        self.is_test[number - 1] && !self.name.starts_with("tests/")
    }
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
fn the_rules_see_code_and_not_comments_or_strings() {
    for (text, code) in [
        ("a // b { \nc", "a        \nc"),
        ("a /* b /* c */ \n */ d", "a              \n    d"),
        (r#"f("}\"", b"{")"#, "f(     ,     )"),
        ("r#\"a\"b\"# + r\"\\\"", "         +     "),
        (r"f('{', '\'', b'\\', 'ü')", "f(   ,     , b    ,    )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
}

#[test]
fn the_rules_know_where_things_end() {
    let text =
        "fn f() -> [u8; 2] {\n    {}\n}\nfn g();\n#[cfg(test)]\nmod tests {\n    fn h() {}\n}\nfn i() {}";
    let source = Source::parse("src/x.rs".to_owned(), text, false);
    assert_eq!(end_of_block(&source.code, 0), Some(2));
    assert_eq!(end_of_block(&source.code, 3), None);
    assert_eq!(source.is_test, [false, false, false, false, true, true, true, true, false]);
    assert_eq!(parts_named("super::rt::run(crate::netting, crate::chat::Room)"), ["chat", "rt"]);
    assert_eq!(
        parts_named("use crate::{\n    chat::{net, Room},\n    protocol,\n};\nnet"),
        ["chat", "protocol"]
    );
    assert!(!names("signal_hook_async_std", "async_std") && names("use async_std::task;", "async_std"));
}
