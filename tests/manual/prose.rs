//! How the pages are written: short sentences, and none of the words that chatd's glossary has another word for.
//!
//! What is compared is prose: displays, tables, transcripts and literal text are left out, so a name that a program has
//! may be any word.

use super::{MANUAL, read};

/// What else is held to it besides the manual. Every page that is written for readers belongs here.
const PAGES: [&str; 6] = [
    "README.md",
    "SECURITY.md",
    "packaging/README.md",
    "docs/from-ncat-chat.md",
    "docs/from-ngircd.md",
    "docs/from-ssh-chat.md",
];

/// Most words of a sentence.
const MOST_WORDS: usize = 30;

/// Words that the glossary in `src/lib.rs` has another word for.
const NOT_USED: [&str; 30] = [
    "house",
    "audience",
    "seat",
    "seats",
    "outlet",
    "parcel",
    "parcels",
    "marks",
    "keeping",
    "kept",
    "comings",
    "past",
    "unsaid",
    "pace",
    "ear",
    "door",
    "doors",
    "manager",
    "handler",
    "helper",
    "util",
    "data",
    "info",
    "whoever",
    "whomever",
    "whosoever",
    "oneself",
    "one's",
    "nobody's",
    "hereby",
];
/// Where such a word is right: the phrase in which it stands.
const RIGHT: [&str; 2] = ["service manager", "util-linux"];

/// The prose of a page, a paragraph each: in a manual page without displays and literal text, in Markdown without code,
/// tables and addresses.
fn paragraphs(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<String> = if name.ends_with(".md") { markdown(text) } else { mdoc(text) };
    let paragraphs = lines.split(String::is_empty).map(|lines| lines.join(" "));
    paragraphs.filter(|paragraph| !paragraph.is_empty()).collect()
}

fn markdown(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence || line.starts_with("    ") || line.starts_with('|') || line.starts_with('#') {
            lines.push(String::new());
            continue;
        }
        let item = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        if item.starts_with("- ") || item.starts_with("* ") || item.starts_with(". ") {
            lines.push(String::new());
        }
        lines.push(without(&without(line, '(', ')', "]("), '`', '`', "`"));
    }
    // A span of code may go over the end of a line.
    lines
}

/// The line with what is between `open` and `close` replaced by one word, where `start` begins it.
fn without(line: &str, open: char, close: char, start: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(start) {
        let inside = at + start.len();
        let Some(end) = rest[inside..].find(close) else { break };
        text.push_str(&rest[..at]);
        text.push_str(if open == '`' { "CODE" } else { "]" });
        rest = &rest[inside + end + close.len_utf8()..];
    }
    text + rest
}

fn mdoc(text: &str) -> Vec<String> {
    /// What begins another paragraph.
    const BREAKS: [&str; 11] = [".Pp", ".Sh", ".Ss", ".It", ".Bl", ".El", ".Bd", ".Ed", ".Dl", ".D1", ".Nd"];
    let mut is_display = false;
    let mut lines = Vec::new();
    let is_prose =
        |line: &&str| ![".\\\"", "Type: ", "Default: "].iter().any(|start| line.starts_with(start));
    for line in text.lines().filter(is_prose) {
        is_display = (is_display || line.starts_with(".Bd")) && !line.starts_with(".Ed");
        if is_display || BREAKS.iter().any(|start| line.starts_with(start)) {
            lines.push(String::new());
        } else if let Some(macro_) = line.strip_prefix('.') {
            lines.push(of_macro(macro_));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// What a macro shows: literal text is one word, and what ends a sentence ends it.
fn of_macro(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let closing = |word: &&&str| word.chars().all(|c| c.is_ascii_punctuation()) && word.len() == 1;
    let ending = words.iter().rev().take_while(closing).count();
    let end = words[words.len() - ending..].concat();
    let is_prose = matches!(words.first(), Some(&"Em" | &"Sy" | &"Pq" | &"No"));
    let shown = if is_prose { words[1..].join(" ") } else { format!("CODE{end}") };
    match words.first() {
        Some(&"Po" | &"Pc" | &"Sm" | &"Oo" | &"Oc" | &"Os" | &"Dd" | &"Dt") => end,
        _ => shown,
    }
}

/// The sentences of a paragraph.
fn sentences(paragraph: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (at, c) in paragraph.char_indices() {
        let after = &paragraph[at + c.len_utf8()..];
        let ends = matches!(c, '.' | ':' | '?' | '!') && (after.is_empty() || after.starts_with(' '));
        if ends && !paragraph[..at].ends_with("e.g") && !paragraph[..at].ends_with("i.e") {
            sentences.push(paragraph[start..=at].trim());
            start = at + 1;
        }
    }
    sentences.push(paragraph[start..].trim());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

/// The words of a sentence, without what stands around them.
fn words(sentence: &str) -> Vec<&str> {
    let bare = |word: &'_ str| -> bool { word.chars().any(char::is_alphanumeric) };
    sentence.split_whitespace().filter(|word| bare(word)).collect()
}

#[test]
fn no_sentence_of_a_page_is_too_long() {
    let mut long = Vec::new();
    for name in MANUAL.into_iter().chain(PAGES) {
        for paragraph in paragraphs(name, &read(name)) {
            let is_long = |sentence: &&str| words(sentence).len() > MOST_WORDS;
            for sentence in sentences(&paragraph).into_iter().filter(is_long) {
                long.push(format!("{name}: {} words: {sentence}", words(sentence).len()));
            }
        }
    }
    assert!(long.is_empty(), "split these sentences:\n{}", long.join("\n"));
}

#[test]
fn no_page_uses_a_word_that_the_glossary_has_another_word_for() {
    let mut found = Vec::new();
    for name in MANUAL.into_iter().chain(PAGES) {
        for paragraph in paragraphs(name, &read(name)) {
            for sentence in sentences(&paragraph) {
                let lower = RIGHT.iter().fold(sentence.to_lowercase(), |text, right| text.replace(right, ""));
                let words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
                let used: Vec<_> = words.filter(|word| NOT_USED.contains(word)).collect();
                if !used.is_empty() {
                    found.push(format!("{name}: {used:?}: {sentence}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_rules_see_prose_and_nothing_else() {
    let page = ".Sh DESCRIPTION\n.Nm\ndoes this.\nThat\n.Pq see\n.Ql kept ,\ntoo.\n.Bd -literal\nkept data\n.Ed\n.It word\nLast";
    let of_page = paragraphs("x.8", page);
    assert_eq!(of_page, ["CODE does this. That see CODE, too.", "Last"]);
    assert_eq!(sentences(&of_page[0]), ["CODE does this.", "That see CODE, too."]);
    let text = "# Kept\n\nSee [this page](kept.md) and `kept data`.\n\n    kept\n\n- one\n  item\n- two\n\n| kept |\n";
    assert_eq!(paragraphs("x.md", text), ["See [this page] and CODE.", "- one   item", "- two"]);
    assert_eq!(words("- two, three 4."), ["two,", "three", "4."]);
}
