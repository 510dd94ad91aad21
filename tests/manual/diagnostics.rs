//! DIAGNOSTICS in chatd(8), held against the source: every message of the levels `warn` and `error`, and no other.
//!
//! A message is compared with what differs in it left out: `{error}` in the source, words in capitals in the manual.

use std::collections::BTreeSet;
use std::path::Path;

use super::{read, root, section};

/// What messages are made with: the log, and what `main` prints when it fails.
const LOGGED: [&str; 2] = ["log::warn!(", "log::error!("];
/// Messages that are made elsewhere, and logged as `{failure}` or `{warning}`: the file and how they begin.
const ELSEWHERE: [(&str, &str); 13] = [
    ("src/service/bind_error.rs", "cannot listen on "),
    ("src/service/failure.rs", "cannot take the sockets"),
    ("src/service/failure.rs", "cannot wait for signals"),
    ("src/service/logging/backend.rs", "cannot start the thread of the log"),
    ("src/service/logging/queue.rs", "log lines lost: "),
    ("src/service/config/load.rs", "chatd ignores this key"),
    ("src/service/config/load.rs", "{error}; chatd speaks no TLS"),
    ("src/service/config/load.rs", "{error}; chatd has no password"),
    ("src/service/config/certificate.rs", r#"\"{path}\" is for no name"#),
    ("src/service/config/certificate.rs", r#"\"{path}\" is for {names}"#),
    ("src/service/config/certificate.rs", "anybody on this machine"),
    ("src/service/expiry.rs", "the certificate in {path} ended"),
    ("src/service/expiry.rs", "the certificate in {path} ends"),
];
/// Words in capitals that are part of a message.
const LITERAL: [&str; 3] = ["LISTEN_FDS", "NOTIFY_SOCKET", "TLS"];

/// The source of the daemon below `folder`, without tests.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("client") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let tests = text.match_indices("\n#[cfg(test)]\n").find(|(at, _)| is_module(&text[*at..]));
            found.push(text[..tests.map_or(text.len(), |(at, _)| at)].to_owned());
        }
    }
}

/// Returns whether an attribute that begins here is that of a module with its tests.
fn is_module(text: &str) -> bool {
    text.lines().nth(2).is_some_and(|line| line.ends_with("mod tests {"))
}

/// The first string in `code`, with its escapes resolved and all that is in braces shown as `*`.
fn first_string(code: &str) -> Option<String> {
    let (_, inside) = code.split_once('"')?;
    let mut chars = inside.chars().peekable();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(text),
            '\\' if chars.peek() == Some(&'\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
            '\\' => text.extend(chars.next()),
            '{' => {
                chars.by_ref().find(|c| *c == '}');
                text.push('*');
            }
            _ => text.push(c),
        }
    }
    None
}

/// A message without anything in it but what differs is made elsewhere.
fn is_message(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// The messages of the source.
fn of_source() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root("src"), &mut files);
    let logged = files.iter().flat_map(|code| LOGGED.iter().flat_map(|name| code.split(name).skip(1)));
    let mut messages: BTreeSet<String> =
        logged.filter_map(first_string).filter(|text| is_message(text)).collect();
    // Constants that a message names.
    for (name, value) in
        [("\"*\": *; going", "\"state\": *; going"), ("descriptor \"*\": *", "descriptor \"table\": *")]
    {
        let named =
            messages.iter().find(|message| message.contains(name) && message.contains("stored")).cloned();
        let named = named.unwrap_or_else(|| panic!("no message with {name}"));
        messages.remove(&named);
        messages.insert(named.replace(name, value));
    }
    for (file, start) in ELSEWHERE {
        let code = read(file);
        let at = code.find(&format!("\"{start}")).unwrap_or_else(|| panic!("{file}: no {start:?}"));
        messages.extend(first_string(&code[at..]));
    }
    messages
}

/// A message of the manual, with what differs shown as `*`.
fn pattern(line: &str) -> String {
    let text = line.replace("\\(dq", "\"");
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let mut pattern = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let starts_word = !pattern.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let is_word = starts_word && end > 1 && !rest[end..].starts_with(|c: char| c.is_alphanumeric());
        let len = if is_word { end } else { first.len_utf8() };
        let (word, after) = rest.split_at(len);
        pattern.push_str(if is_word && !LITERAL.contains(&word) { "*" } else { word });
        rest = after;
    }
    pattern
}

#[test]
fn every_message_of_warn_and_error_is_in_the_manual_and_no_other() {
    let page = read("man/chatd.8");
    let diagnostics = section(&page, ".Sh DIAGNOSTICS", ".Sh ");
    let listed: Vec<String> =
        diagnostics.lines().filter_map(|line| line.strip_prefix(".It ")).map(pattern).collect();
    let of_manual: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), of_manual.len(), "twice in the manual");
    let of_source = of_source();
    let missing: Vec<_> = of_source.difference(&of_manual).collect();
    let stale: Vec<_> = of_manual.difference(&of_source).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}\nno such message: {stale:#?}");
}

#[test]
fn every_message_of_the_manual_is_explained() {
    let page = read("man/chatd.8");
    let diagnostics = section(&page, ".Sh DIAGNOSTICS", ".Sh ");
    for pair in diagnostics.lines().collect::<Vec<_>>().windows(2) {
        let is_bare =
            pair[0].starts_with(".It ") && [".It", ".El"].iter().any(|macro_| pair[1].starts_with(macro_));
        assert!(!is_bare, "{}", pair[0]);
    }
}

#[test]
fn what_differs_in_a_message_is_left_out() {
    assert_eq!(
        pattern("ADDRESS: cannot use \\(dqNAME\\(dq: ERROR, LISTEN_FDS"),
        "*: cannot use \"*\": *, LISTEN_FDS"
    );
    assert_eq!(pattern("raise LimitNOFILE= to COUNT"), "raise LimitNOFILE= to *");
    assert_eq!(first_string("(\n  \"a {b} \\\"c\\\": \\\n   d\", e").unwrap(), "a * \"c\": d");
}
