//! The options of the configuration: `--config`, and one for each key, which comes from the table of keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::settings::{Config, GONE, KEYS, Key};

/// Where the configuration is if no other file is named; it need not be there.
pub const DEFAULT_FILE: &str = "/etc/chatd/chatd.toml";

const FILE: &str = "config";

/// The file, and the values of keys, as they were typed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The configuration file, which must exist.
    pub(super) file: Option<PathBuf>,
    given: BTreeMap<&'static str, Vec<String>>,
}

impl Options {
    /// The values given for a key, in order; `None` if the option was not used. Only a list has more than one.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.given.get(key).map(Vec::as_slice)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one(FILE).cloned();
        for name in KEYS.iter().map(|key| key.name).chain(GONE.map(|(name, _)| name)) {
            if let Some(values) = matches.get_many::<String>(name) {
                self.given.insert(name, values.cloned().collect());
            }
        }
        Ok(())
    }
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        let file =
            Arg::new(FILE).short('c').long(FILE).value_name("FILE").value_parser(value_parser!(PathBuf));
        let about =
            format!("Read this configuration file, which must exist [default: {DEFAULT_FILE} if it exists]");
        let gone = GONE.map(|(name, _)| Arg::new(name).long(name).hide(true));
        command.arg(file.help(about)).args(KEYS.iter().map(option)).args(gone)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn option(key: &'static Key) -> Arg {
    let default = key.value(&Config::default());
    let default = default.trim_matches(['[', ']']).trim_matches('"');
    let default = if default.is_empty() { "none" } else { default };
    let option = Arg::new(key.name)
        .long(key.option)
        .value_name(key.takes)
        .help(format!("{} [default: {default}]", key.about))
        .help_heading("Settings")
        .action(if key.is_list() { ArgAction::Append } else { ArgAction::Set });
    if key.is_switch() {
        // `--raw` alone is what people type; with `=` a following word cannot be taken for its value.
        return option.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    option
}
