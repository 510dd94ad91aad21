//! Names: what a member, or a room, is called.
//!
//! A name has letters and digits of one script, `-` and `_`, and stands for everything that looks like it (Unicode
//! TR 39): whoever holds it can be mistaken for nobody else. This says what a name may be and what it looks like; who
//! holds it is the hub's to know. No name contains anything that has a meaning in a line of chatd's own.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::{GeneralSecurityProfile, MixedScript, confusable_detection::skeleton};

/// The most characters in a name, in NFC.
pub const MAX_NAME: usize = 24;

/// The most characters in what is kept as a name: `guest` and the longest number are a little longer than others.
const MAX_KEPT: usize = 32;

/// The most marks on a letter, taken apart (NFD): two in Vietnamese, or in Thai.
pub const MOST_MARKS: usize = 2;

/// What guests are called, before their number.
pub const GUEST: &str = "guest";

/// What users of the machine are called whose login name cannot be shown, before their number.
const USER: &str = "uid";

/// Names that would look like chatd's own words.
const RESERVED: [&str; 3] = ["chatd", "server", "you"];

/// What a member or a room is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct Name {
    text: Box<str>,
    keys: Box<[Box<str>]>,
}

/// A name as it is handed over to another process.
#[derive(Serialize, Deserialize)]
struct Kept {
    text: String,
    /// It is that of a guest.
    guest: bool,
}

impl From<Name> for Kept {
    fn from(name: Name) -> Self {
        Self { guest: name.is_guest(), text: name.text.into_string() }
    }
}

/// Has been checked for more than this when it was taken: this is for what is no name at all.
impl TryFrom<Kept> for Name {
    type Error = NameError;

    fn try_from(kept: Kept) -> Result<Self, NameError> {
        let means_something = |c: char| c.is_control() || c.is_whitespace() || "<>[]*+".contains(c);
        if kept.text.is_empty() {
            Err(NameError::Empty)
        } else if kept.text.chars().count() > MAX_KEPT {
            Err(NameError::TooLong)
        } else if kept.text.contains(means_something) {
            Err(NameError::BadCharacter)
        } else if kept.guest {
            Ok(Self { text: kept.text.into(), keys: Box::default() })
        } else {
            Ok(Self::from_checked(kept.text))
        }
    }
}

impl Name {
    /// A name as somebody has typed it, in NFC.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text: String = text.nfc().collect();
        check(&text)?;
        let name = Self::from_checked(text);
        if name.is_reserved() { Err(NameError::Reserved) } else { Ok(name) }
    }

    /// The name of a guest, `guest7`: [`Name::parse`] accepts none that looks like it.
    pub fn guest(number: u64) -> Self {
        Self { text: format!("{GUEST}{number}").into(), keys: Box::default() }
    }

    /// The name with which somebody logs in to the machine: it may also have dots, and begin with `_`.
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

    /// The name of a user who has none that can be shown, as somebody has typed it.
    ///
    /// # Errors
    /// It is none.
    pub fn of_user(text: &str) -> Result<Self, NameError> {
        let uid = text.strip_prefix(USER).and_then(|number| number.parse().ok());
        uid.map(Self::user).ok_or(NameError::Reserved)
    }

    /// The name of a user who has none that can be shown, `uid1000`: [`Name::login`] accepts none that looks like it.
    pub fn user(uid: u32) -> Self {
        Self::from_checked(format!("{USER}{uid}"))
    }

    /// Says whether this is the name of a guest.
    pub fn is_guest(&self) -> bool {
        self.keys.is_empty()
    }

    /// A name that chatd itself gives.
    pub fn known(text: &'static str) -> Self {
        Self::from_checked(text.to_owned())
    }

    fn from_checked(text: String) -> Self {
        let lower = text.to_lowercase();
        let seen: String = skeleton(&text).collect();
        let mut keys: Vec<Box<str>> = Vec::new();
        let upper: String = skeleton(&text.to_uppercase()).collect();
        for key in [skeleton(&lower).collect(), seen.to_lowercase(), seen, upper] {
            if !keys.iter().any(|known| **known == *key) {
                keys.push(key.into());
            }
        }
        Self { text: text.into(), keys: keys.into() }
    }

    /// The name as it is shown.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it looks like, in upper case, in lower case and as it stands: of two names that have one of these in
    /// common, only one may be in use. A guest's has none.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    /// Says whether one could be mistaken for the other.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.keys().any(|key| other.keys().any(|others| key == others))
    }

    /// Says whether it begins like that.
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
        f.write_str(&self.text)
    }
}

/// Says which rule of form `text`, which is in NFC, breaks.
fn check(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.chars().count() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    if !text.chars().all(is_allowed) {
        return Err(NameError::BadCharacter);
    }
    // Vowel signs are alphabetic, too, and would be drawn on what stands before the name.
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

/// Says whether marks are piled up, or repeated, so that they would be drawn over other lines (UTS 39, 5.4).
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// It has more than [`MAX_NAME`] characters.
    TooLong,
    /// It has something else than letters, digits, `-` and `_`.
    BadCharacter,
    /// It begins with `-`, `_` or a mark.
    BadStart,
    /// It has more than [`MOST_MARKS`] marks on a letter, or one twice.
    ManyMarks,
    /// Its letters are of several scripts.
    MixedScripts,
    /// It looks like a name that chatd gives.
    Reserved,
}

/// How a name is meant, without anything that was typed.
impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name has at least one character"),
            Self::TooLong => write!(f, "a name has at most {MAX_NAME} characters"),
            Self::BadCharacter => f.write_str("a name has letters, digits, - and _"),
            Self::BadStart => f.write_str("a name begins with a letter or a digit"),
            Self::ManyMarks => write!(f, "a name has at most {MOST_MARKS} marks on a letter, and none twice"),
            Self::MixedScripts => f.write_str("a name has letters of one script"),
            Self::Reserved => f.write_str("that name is one of chatd's own"),
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
