//! What the Debian package says of itself, in Cargo.toml: Debian Policy, 3.4.

use super::read;

/// Debian's own lists are made for that many columns.
const COLUMNS: usize = 80;

fn package() -> toml::Table {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    manifest["package"].as_table().unwrap().clone()
}

/// cargo-deb takes it from the description, and breaks one that is too long in the middle of a sentence.
#[test]
fn the_synopsis_is_one_short_phrase() {
    let package = package();
    let synopsis = package["description"].as_str().unwrap();
    assert!(synopsis.chars().count() < COLUMNS, "{synopsis}");
    assert!(!synopsis.ends_with('.') && !synopsis.contains(['\n', ':']), "{synopsis}");
    let first = synopsis.split(' ').next().unwrap();
    assert!(!["a", "an", "the", "chatd"].contains(&first.to_lowercase().as_str()), "{synopsis}");
    assert!(first.starts_with(char::is_lowercase), "it is no sentence: {synopsis}");
}

#[test]
fn the_description_is_more_than_the_synopsis_and_no_terminal_breaks_its_lines() {
    let package = package();
    let description = package["metadata"]["deb"]["extended-description"].as_str().unwrap().trim();
    assert!(!description.contains(package["description"].as_str().unwrap()), "{description}");
    assert!(description.lines().count() > 3, "{description}");
    for line in description.lines() {
        // Each is shown after a space; an empty one is written as a full stop.
        assert!(line.chars().count() < COLUMNS - 1 && !line.is_empty() && !line.starts_with(' '), "{line:?}");
    }
}
