//! The changelog names everything that there is to use: keys, options, commands, signals and exit codes.

use std::collections::BTreeSet;

use chatd::client::cli::Cli;
use chatd::ctl;
use chatd::protocol::syntax::COMMANDS;
use chatd::service::config::KEYS;
use clap::CommandFactory;

use super::programs::{CHATD, PROGRAMS};
use super::{read, signals};

/// What stands between backquotes, word by word.
fn named() -> BTreeSet<String> {
    let text = read("CHANGELOG.md");
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.flat_map(|code| code.split([' ', '\n', '=']).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Fails with those of the words that are not named.
fn expect(words: impl Iterator<Item = String>) {
    let (named, words): (_, BTreeSet<_>) = (named(), words.collect());
    assert!(!words.is_empty());
    let missing: Vec<_> = words.difference(&named).collect();
    assert!(missing.is_empty(), "not in CHANGELOG.md: {missing:?}");
}

#[test]
fn every_key_is_in_the_changelog() {
    expect(KEYS.iter().map(|key| key.name.to_owned()));
}

#[test]
fn every_option_of_chatd_that_is_no_key_is_in_the_changelog() {
    let is_key = |option: &String| KEYS.iter().any(|key| key.name.replace('_', "-") == *option);
    expect(CHATD.options().into_iter().filter(|option| !is_key(option)).map(|option| format!("--{option}")));
}

#[test]
fn every_option_of_chatc_is_in_the_changelog() {
    expect(Cli::command().get_opts().filter_map(|option| Some(format!("--{}", option.get_long()?))));
}

#[test]
fn every_task_and_option_of_chatctl_is_in_the_changelog() {
    let command = ctl::cli::Cli::command();
    expect(command.get_subcommands().map(|task| task.get_name().to_owned()));
    let options = command.get_subcommands().flat_map(clap::Command::get_opts).chain(command.get_opts());
    expect(options.filter_map(|option| Some(format!("--{}", option.get_long()?))));
}

#[test]
fn every_command_is_in_the_changelog() {
    expect(COMMANDS.iter().map(|command| format!("/{}", command.name)));
}

#[test]
fn every_signal_is_in_the_changelog() {
    expect(signals().iter().map(|signal| signal.trim_start_matches("SIG").to_owned()));
}

#[test]
fn every_exit_code_is_in_the_changelog() {
    let text = read("CHANGELOG.md").split_whitespace().collect::<Vec<_>>().join(" ");
    for program in PROGRAMS {
        let codes: Vec<String> = program.exits.iter().map(|exit| format!("`{}`", exit.code())).collect();
        let (last, others) = codes.split_last().unwrap();
        let codes = format!("{} and {last}", others.join(", "));
        assert!(text.contains(&codes), "not in CHANGELOG.md: {codes}");
    }
}
