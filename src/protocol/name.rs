//! Names: what a member, or a room, is called.
//!
//! A name has letters and digits of one script, `-` and `_`. Two names that look alike count as the same (UTS 39), so
//! no member can be mistaken for another. This file has the rules for a name and what it looks like; `chat::names`
//! knows who holds it. No name contains a character that has a meaning in the lines that chatd makes, except the `@`
//! before the node of a user of a cluster's machines: `ann@alpha`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::{GeneralSecurityProfile, MixedScript, confusable_detection::skeleton};

/// Most characters of a name, in NFC (UAX 15).
pub const MAX_NAME: usize = 24;

/// Most characters of a name in a snapshot: `guest` and the longest number have more than [`MAX_NAME`].
const MAX_KEPT: usize = 32;

/// Most bytes of a word of ASCII, such as the name of a node.
const MAX_WORD: usize = 64;

/// Most combining marks on a letter, in NFD: Vietnamese and Thai need two.
pub const MOST_MARKS: usize = 2;

/// The name of a guest, before its number.
pub const GUEST: &str = "guest";

/// The name of a user whose login name cannot be shown, before the user ID.
const USER: &str = "uid";

/// Names that chatd reserves, because they look like its own words.
const RESERVED: [&str; 3] = ["chatd", "server", "you"];

/// The name of a member or a room. It may have a node: then the kernel of that machine proves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct Name(
    /// The name as it is shown, and then each of its keys, after a [`SEPARATOR`]. Who has the name shares it. The node has
    /// no part in the keys.
    Arc<str>,
);

/// A character that no name contains.
const SEPARATOR: char = '\0';

/// What stands before the node.
const AT: char = '@';

/// A name as a snapshot has it.
#[derive(Serialize, Deserialize)]
struct Kept {
    text: String,
    /// Whether it is the name of a guest.
    guest: bool,
}

impl From<Name> for Kept {
    fn from(name: Name) -> Self {
        Self { guest: name.is_guest(), text: name.as_str().to_owned() }
    }
}

/// Checks less than [`Name::parse`]: the name was checked when it was taken. This only refuses what cannot be a name at
/// all.
impl TryFrom<Kept> for Name {
    type Error = NameError;

    fn try_from(kept: Kept) -> Result<Self, NameError> {
        let means_something = |c: char| c.is_control() || c.is_whitespace() || "<>[]*+".contains(c);
        let (login, node) = parts(&kept.text)?;
        if login.is_empty() {
            Err(NameError::Empty)
        } else if login.chars().count() > MAX_KEPT {
            Err(NameError::TooLong)
        } else if login.contains(means_something) {
            Err(NameError::BadCharacter)
        } else if kept.guest {
            Ok(Self(login.into()))
        } else {
            Ok(Self::from_checked(login.to_owned()).at(node))
        }
    }
}

impl Name {
    /// Returns the name that a member has typed, in NFC.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text: String = text.nfc().collect();
        check(&text)?;
        let name = Self::from_checked(text);
        if name.is_reserved() { Err(NameError::Reserved) } else { Ok(name) }
    }

    /// Returns the name of a guest: `guest7`. [`Name::parse`] refuses every name that looks like one.
    pub fn guest(number: u64) -> Self {
        Self(format!("{GUEST}{number}").into())
    }

    /// Returns the name of a login on this machine. It can also have dots, and begin with `_`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn login(text: &str) -> Result<Self, NameError> {
        let text: String = text.nfc().collect();
        let plain = text.trim_start_matches('_').replace('.', "-");
        check(&plain)?;
        if text.chars().count() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        let name = Self::from_checked(text);
        let is_number = Self::from_checked(plain).has_key_before(USER);
        if is_number || name.is_reserved() { Err(NameError::Reserved) } else { Ok(name) }
    }

    /// Returns a name that somebody can have who is no guest: one that was typed, or a verified one.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn any(text: &str) -> Result<Self, NameError> {
        Self::parse(text).or_else(|_| Self::verified(text))
    }

    /// Returns the name that a proof gives: of a login, a user without one, or a certificate. It may have a node.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn verified(text: &str) -> Result<Self, NameError> {
        let (login, node) = parts(text)?;
        let uid =
            || login.strip_prefix(USER).and_then(|number| number.parse().ok()).ok_or(NameError::Reserved);
        let name = Self::login(login).or_else(|_| uid().map(Self::user))?;
        Ok(name.at(node))
    }

    /// Returns the name of the same login at this node; at none, if the kernel does not prove it, or there is one node
    /// alone. Does not check the node.
    #[must_use]
    pub fn at(&self, node: Option<&str>) -> Self {
        if self.node() == node {
            return self.clone();
        }
        let (login, keys) = (self.login_name(), &self.0[self.as_str().len()..]);
        let text = node.map_or_else(|| format!("{login}{keys}"), |node| format!("{login}{AT}{node}{keys}"));
        Self(text.into())
    }

    /// Returns the node whose kernel proves the name, in a cluster.
    pub fn node(&self) -> Option<&str> {
        self.as_str().split_once(AT).map(|(_, node)| node)
    }

    /// Returns the name without its node.
    pub fn login_name(&self) -> &str {
        self.as_str().split(AT).next().unwrap_or_default()
    }

    /// Returns the name of a user whose login name cannot be shown: `uid1000`. [`Name::login`] refuses every name that
    /// looks like one.
    pub fn user(uid: u32) -> Self {
        Self::from_checked(format!("{USER}{uid}"))
    }

    /// Returns whether this is the name of a guest.
    pub fn is_guest(&self) -> bool {
        self.keys().next().is_none()
    }

    /// Returns a name that chatd itself gives. Checks nothing.
    pub fn known(text: &'static str) -> Self {
        Self::from_checked(text.to_owned())
    }

    fn from_checked(mut text: String) -> Self {
        let lower = text.to_lowercase();
        let seen: String = skeleton(&text).collect();
        let mut keys: Vec<String> = Vec::new();
        let upper: String = skeleton(&text.to_uppercase()).collect();
        for key in [skeleton(&lower).collect(), seen.to_lowercase(), seen, upper] {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for key in keys {
            text.push(SEPARATOR);
            text.push_str(&key);
        }
        Self(text.into())
    }

    /// Returns the name as it is shown.
    pub fn as_str(&self) -> &str {
        self.0.split(SEPARATOR).next().unwrap_or_default()
    }

    /// Returns what the name looks like, as it stands, in upper case and in lower case (UTS 39, 4: skeletons). Of two
    /// names that have one of these in common, only one can be in use. The name of a guest has none.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR).skip(1)
    }

    /// Returns whether one name can be mistaken for the other.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.keys().any(|key| other.keys().any(|others| key == others))
    }

    /// Returns whether the name looks as if it begins with `word`.
    fn has_key_before(&self, word: &'static str) -> bool {
        let word = Self::known(word);
        self.keys().any(|key| word.keys().any(|word| key.starts_with(word)))
    }

    fn is_reserved(&self) -> bool {
        self.has_key_before(GUEST) || RESERVED.into_iter().any(|word| self.looks_like(&Self::known(word)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns whether this can be the name of a node.
pub fn is_node(text: &str) -> bool {
    is_word(text, "-._")
}

/// Returns whether this is one to 64 ASCII letters and digits, with these other characters between them.
pub fn is_word(text: &str, between: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let is_inside = |c: char| is_end(c) || between.contains(c);
    text.len() <= MAX_WORD
        && text.chars().all(is_inside)
        && text.starts_with(is_end)
        && text.ends_with(is_end)
}

/// Returns a name without its node, and the node.
///
/// # Errors
/// What stands behind the `@` is no node.
fn parts(text: &str) -> Result<(&str, Option<&str>), NameError> {
    match text.split_once(AT) {
        None => Ok((text, None)),
        Some((login, node)) if is_node(node) => Ok((login, Some(node))),
        Some(_) => Err(NameError::BadCharacter),
    }
}

/// Checks the form of `text`, which has to be in NFC.
///
/// # Errors
/// The first rule that it breaks.
fn check(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.chars().count() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    if !text.chars().all(is_allowed) {
        return Err(NameError::BadCharacter);
    }
    // Vowel signs are alphabetic too. A terminal would draw them on the character before the name.
    if !first.is_alphanumeric() || is_combining_mark(first) {
        return Err(NameError::BadStart);
    }
    if has_many_marks(text) {
        return Err(NameError::ManyMarks);
    }
    if !text.is_single_script() {
        return Err(NameError::MixedScripts);
    }
    Ok(())
}

/// Returns whether a letter has more than [`MOST_MARKS`] marks, or the same one twice in a row (UTS 39, 5.4). A
/// terminal would draw them over other lines.
fn has_many_marks(text: &str) -> bool {
    let marks: Vec<char> = text.nfd().map(|c| if is_combining_mark(c) { c } else { ' ' }).collect();
    let is_twice = marks.windows(2).any(|pair| pair[0] != ' ' && pair[0] == pair[1]);
    is_twice || marks.windows(MOST_MARKS + 1).any(|some| !some.contains(&' '))
}

fn is_allowed(c: char) -> bool {
    let is_word = c.is_alphanumeric() || is_combining_mark(c);
    matches!(c, '-' | '_') || (is_word && c.identifier_allowed())
}

/// Why a text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// It has more than [`MAX_NAME`] characters.
    TooLong,
    /// It has a character that is no letter, no digit, and neither `-` nor `_`.
    BadCharacter,
    /// It begins with `-`, `_` or a mark.
    BadStart,
    /// A letter has more than [`MOST_MARKS`] marks, or the same one twice.
    ManyMarks,
    /// Its letters are of more than one script.
    MixedScripts,
    /// It looks like a name that chatd gives or reserves.
    Reserved,
}

/// Writes the rule, without anything that the member typed.
impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name must have at least one character"),
            Self::TooLong => write!(f, "a name can have at most {MAX_NAME} characters"),
            Self::BadCharacter => f.write_str("a name can have only letters, digits, - and _"),
            Self::BadStart => f.write_str("a name must begin with a letter or a digit"),
            Self::ManyMarks => {
                write!(f, "a letter of a name can have at most {MOST_MARKS} marks, all different")
            }
            Self::MixedScripts => f.write_str("the letters of a name must be of one script"),
            Self::Reserved => f.write_str("that name is reserved for chatd"),
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(text: &str) -> NameError {
        Name::parse(text).unwrap_err()
    }

    fn alike(one: &str, other: &str) -> bool {
        Name::parse(one).unwrap().looks_like(&Name::parse(other).unwrap())
    }

    #[test]
    fn letters_digits_dashes_and_underscores_of_one_script_are_a_name() {
        for text in ["a", "Alice", "bob-2", "x_y", "7of9", "Zoë", "алиса", "あいう", "张伟", "नमस्ते", "สมชาย"]
        {
            assert_eq!(Name::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(Name::parse("Zoe\u{308}").unwrap().as_str(), "Zo\u{eb}", "NFC");
    }

    #[test]
    fn each_rule_has_its_own_answer() {
        assert_eq!(refusal(""), NameError::Empty);
        assert_eq!(refusal(&"a".repeat(MAX_NAME + 1)), NameError::TooLong);
        assert!(Name::parse(&"é".repeat(MAX_NAME)).is_ok(), "characters, not bytes");
        for text in
            ["a b", "<ann>", "+ann", "a*", "ann!", "😀", "a\u{200d}b", "a\u{7f}", "-!-", "a:b", "\u{202e}a"]
        {
            assert_eq!(refusal(text), NameError::BadCharacter, "{text:?}");
        }
        for text in ["-", "_a", "\u{301}a", "\u{93e}", "\u{93f}क", "\u{e31}ก"] {
            assert_eq!(refusal(text), NameError::BadStart, "{text:?}");
        }
        assert_eq!(Name::login("_\u{93e}"), Err(NameError::BadStart));
        assert_eq!(refusal("pаypal"), NameError::MixedScripts, "its first a is Cyrillic");
    }

    #[test]
    fn what_could_be_mistaken_for_another_looks_like_it() {
        for (one, other) in [
            ("Alice", "alice"),
            ("ALICE", "alice"),
            ("Ian", "lan"),
            ("bob0", "bobO"),
            ("bill", "bi11"),
            ("rnary", "mary"),
            ("соре", "cope"),
            ("aIice", "alice"),
            ("AL1CE", "alice"),
            ("ALlCE", "alice"),
            ("al1ce", "ALICE"),
            ("Straße", "STRASSE"),
        ] {
            assert!(alike(one, other) && alike(other, one), "{one} {other}");
        }
        assert!(!alike("ann", "anna") && !alike("bob-1", "bob_1"));
    }

    #[test]
    fn marks_are_not_piled_up() {
        for name in ["a\u{301}", "นี้", "ทั้งหมด", "ạ̄"] {
            assert!(Name::parse(name).is_ok(), "{name}");
        }
        for name in ["a\u{323}\u{323}", "x\u{323}\u{304}\u{331}", "a\u{301}\u{302}\u{303}\u{304}"] {
            assert_eq!(refusal(name), NameError::ManyMarks, "{name}");
        }
    }

    #[test]
    fn nobody_can_be_called_what_chatd_calls_guests_and_itself() {
        for text in [
            "guest1",
            "GUEST1",
            "Guest",
            "guest-7",
            "guestl",
            "guеst".replace('е', "e").as_str(),
            "chatd",
            "You",
            "server",
            "y0u",
        ] {
            assert_eq!(refusal(text), NameError::Reserved, "{text:?}");
        }
        assert_eq!(Name::guest(7).as_str(), "guest7");
    }

    #[test]
    fn a_login_name_may_have_dots_and_begin_with_a_dash_below() {
        for text in ["root", "john.doe", "_apt", "systemd-network", "www-data"] {
            assert_eq!(Name::login(text).unwrap().as_str(), text);
        }
        for (text, error) in [
            ("", NameError::Empty),
            ("...", NameError::BadStart),
            ("a b", NameError::BadCharacter),
            ("uid1000", NameError::Reserved),
            ("guest1", NameError::Reserved),
            ("a.really.long.name.of.somebody", NameError::TooLong),
        ] {
            assert_eq!(Name::login(text), Err(error), "{text:?}");
        }
        assert_eq!(Name::user(1000).as_str(), "uid1000");
    }

    #[test]
    fn a_node_is_shown_and_changes_nothing_of_what_a_name_looks_like() {
        let ann = Name::login("ann").unwrap();
        let (alpha, beta) = (ann.at(Some("alpha")), ann.at(Some("beta")));
        assert_eq!((alpha.as_str(), alpha.login_name(), alpha.node()), ("ann@alpha", "ann", Some("alpha")));
        assert!(alpha != beta && alpha != ann && alpha.looks_like(&beta) && alpha.looks_like(&ann));
        assert_eq!((alpha.at(Some("beta")), alpha.at(None)), (beta, ann));
        for text in ["ann@alpha", "john.doe@a-1.example.org", "uid1000@alpha"] {
            assert_eq!(Name::verified(text).unwrap().as_str(), text);
            assert_eq!(Name::any(text), Name::verified(text));
            assert_eq!(refusal(text), NameError::BadCharacter, "nobody types it");
            assert_eq!(Name::login(text), Err(NameError::BadCharacter), "no login has it");
        }
        let long = format!("ann@{}", "a".repeat(MAX_WORD + 1));
        for text in ["ann@", "@alpha", "ann@a b", "ann@a@b", "ann@-a", "ann@a\u{1b}", "guest7@alpha", &long] {
            assert!(Name::verified(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_with_its_node_is_written_and_read_again() {
        let ann = Name::login("ann").unwrap().at(Some("alpha"));
        let text = serde_json::to_string(&ann).unwrap();
        assert_eq!(text, r#"{"text":"ann@alpha","guest":false}"#);
        assert_eq!(serde_json::from_str::<Name>(&text).unwrap(), ann);
        for bad in ["ann@", "@alpha", "ann@a b", "ann@a@b"] {
            let text = text.replace("ann@alpha", bad);
            assert!(serde_json::from_str::<Name>(&text).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_name_has_nothing_that_means_anything_in_a_line(text in "\\PC{0,30}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert!(!name.as_str().contains(|c: char| c.is_whitespace() || c.is_control()));
                prop_assert!(!name.as_str().contains(['<', '>', '[', ']', '*', '+', '!', ':', '/', '"', '\\']));
                prop_assert!(name.as_str().chars().count() <= MAX_NAME);
                prop_assert_eq!(Name::parse(name.as_str()).unwrap(), name.clone());
                prop_assert!(name.looks_like(&name));
            }
        }

        #[test]
        fn no_name_is_that_of_a_guest(number: u64) {
            let guest = Name::guest(number);
            prop_assert_eq!(Name::parse(guest.as_str()), Err(if guest.as_str().len() > MAX_NAME { NameError::TooLong } else { NameError::Reserved }));
        }
    }
}
