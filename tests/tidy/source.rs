//! Source files as the rules see them: lines, code without comments and strings, and what is only for tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
pub struct Source {
    /// Relative to the root, with `/`.
    pub name: String,
    /// As it is.
    pub lines: Vec<String>,
    /// The same lines without comments and the insides of strings.
    pub code: Vec<String>,
    /// For each line, whether it is only compiled for tests.
    pub is_test: Vec<bool>,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let all_test = name.starts_with("tests/") || is_test_module(path);
        Self::parse(name, &text, all_test)
    }

    pub fn parse(name: String, text: &str, all_test: bool) -> Self {
        let code: Vec<String> = code_of(text).lines().map(str::to_owned).collect();
        let mut is_test = vec![all_test; code.len()];
        for at in (0..code.len()).filter(|&at| code[at].trim() == "#[cfg(test)]") {
            let semicolon = || (at..code.len()).find(|at| code[*at].contains(';'));
            if let Some(end) = end_of_block(&code, at).or_else(semicolon) {
                is_test[at..=end].fill(true);
            }
        }
        Self { name, lines: text.lines().map(str::to_owned).collect(), code, is_test }
    }

    /// The code of each line with its number, counted from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(at, line)| (at + 1, line.as_str()))
    }

    /// Whether the line stands in a `#[cfg(test)]` module; the files of tests/ are not such modules.
    pub fn is_test_module_line(&self, number: usize) -> bool {
        self.is_test[number - 1] && !self.name.starts_with("tests/")
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
pub fn sources() -> Vec<Source> {
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
pub fn code_of(text: &str) -> String {
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
pub fn end_of_block(code: &[String], start: usize) -> Option<usize> {
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
pub fn after_word<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).filter_map(move |(at, _)| {
        let after = &line[at + word.len()..];
        let goes_on = word.ends_with(part_of_word) && after.starts_with(part_of_word);
        (!line[..at].ends_with(part_of_word) && !goes_on).then_some(after)
    })
}

/// Returns whether `word` stands in `line`, as a word.
pub fn names(line: &str, word: &str) -> bool {
    after_word(line, word).next().is_some()
}

/// The entries of the list that begins here, after its brace.
pub fn entries(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut split_at = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth < 0 || (depth == 0 && c == ',')
    };
    let end = list.find(';').unwrap_or(list.len());
    list[..end].split(&mut split_at).collect()
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
    assert!(!names("signal_hook_async_std", "async_std") && names("use async_std::task;", "async_std"));
}
