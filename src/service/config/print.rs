//! The configuration in force, as a file that chatd reads.
//!
//! Called by `service::cli` for `--print-config`. What it writes parses back to the same configuration. Never writes a
//! control character of a path.

use super::error::Origin;
use super::load::Loaded;
use super::options::DEFAULT_FILE;
use super::settings::{Config, KEYS};

/// What is true of an option, but not of a key in a file.
const REPEATED: &str = "; you can give it several times";

/// Returns the configuration as TOML: for each key what it does, its value, and the source of the value.
pub fn print(loaded: &Loaded) -> String {
    let file = match &loaded.file {
        Some(path) => format!("File: {}", one_line(&path.display().to_string())),
        None => format!("File: none (there is no {DEFAULT_FILE})"),
    };
    let mut text = format!("# The configuration of chatd in force; chatd.toml(5) explains it.\n# {file}\n");
    for warning in &loaded.warnings {
        text.push_str(&format!("# Warning: {}\n", one_line(warning)));
    }
    for key in &KEYS {
        let origin = match loaded.origin(key.name) {
            Origin::Default => "default".to_owned(),
            origin => format!("from {}", one_line(&origin.place(key.name))),
        };
        let value = key.value(&loaded.config);
        let about = key.about.trim_end_matches(REPEATED);
        text.push_str(&format!("\n# {about}.\n{} = {value} # {origin}\n", key.name));
    }
    text
}

/// Returns the configuration as TOML without comments, for the next process.
pub fn text(config: &Config) -> String {
    KEYS.iter().map(|key| format!("{} = {}\n", key.name, key.value(config))).collect()
}

/// TOML comments cannot hold control characters; paths can.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
