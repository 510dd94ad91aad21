//! The configuration in force, as a file that chatd reads.
//!
//! Called by `service::cli` for `--print-config`. What it writes parses back to the same configuration, wherever the
//! values came from. Never writes a line break or a control character that a path or value brought along.

use super::error::Origin;
use super::key::{KEYS, Key};
use super::load::{DEFAULT_FILE, Loaded};
use super::settings::Config;

/// The configuration as TOML: for each key what it does, its value, and where the value comes from.
pub fn print(loaded: &Loaded) -> String {
    let mut text =
        format!("# The configuration of chatd in force; chatd.toml(5) explains it.\n# {}\n", file(loaded));
    for key in &KEYS {
        text.push_str(&entry(key, loaded));
    }
    text
}

/// The same without a word about it: for another process to go on with.
pub fn text(config: &Config) -> String {
    KEYS.iter().map(|key| format!("{} = {}\n", key.name, key.value(config))).collect()
}

fn file(loaded: &Loaded) -> String {
    match &loaded.file {
        Some(path) => format!("File: {}", one_line(&path.display().to_string())),
        None => format!("File: none (there is no {DEFAULT_FILE})"),
    }
}

fn entry(key: &Key, loaded: &Loaded) -> String {
    let origin = match loaded.origin(key.name) {
        Origin::Default => "default".to_owned(),
        origin => format!("from {}", one_line(&origin.place(key.name))),
    };
    format!("\n# {}.\n{} = {} # {origin}\n", key.about, key.name, key.value(&loaded.config))
}

/// TOML comments cannot hold control characters; paths can.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
