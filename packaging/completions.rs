//! Writes the completions of chatd, chatc and chatctl, for bash, zsh and fish, into the folder that is named.
//! `packaging/build-deb` calls it.
//!
//! The words that an option can have come from the table of keys, and are offered here alone: what is wrong with a value
//! is said by chatd, in the same words for options, variables and the file.

use std::error::Error;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory, ValueHint};
use clap_complete::Shell;

use chatd::service::config::KEYS;
use chatd::{client, ctl, service};

/// How the script for bash finds the word before the one that is completed.
const BASH_BEFORE: &str = "    prev=\"$3\"\n";

/// What follows it: bash takes the `=` of `--log=std` for a word of its own.
const BASH_EQUALS: &str = r#"    if [[ "${prev}" == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}="
    elif [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]]; then
        prev="${prev}="
    fi
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: completions FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let (chatc, chatctl) = (client::cli::Cli::command(), ctl::cli::Cli::command());
    for (name, command) in [("chatd", chatd()), ("chatc", chatc), ("chatctl", chatctl)] {
        for (shell, file) in [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            std::fs::write(folder.join(file), script(shell, &command, name))?;
        }
    }
    Ok(())
}

/// The options of chatd, with the words that each can have; what takes anything else offers nothing, not even files.
pub fn chatd() -> Command {
    let command = service::cli::Cli::command();
    // Options that are hidden are for old command lines; clap_complete would offer them.
    let options = command.get_arguments().filter(|option| !option.is_hide_set()).cloned();
    let command = Command::new("chatd").version(env!("CARGO_PKG_VERSION")).args(options);
    command.mut_args(|option| {
        match KEYS.iter().find(|key| key.name == option.get_id()).map(|key| key.words()) {
            Some(words) if !words.is_empty() => option.value_parser(PossibleValuesParser::new(words)),
            Some(_) => option.value_hint(ValueHint::Other),
            None => option,
        }
    })
}

/// The completions of a command for a shell. clap_complete does not know of what takes its value after `=` alone, so
/// that is put right here.
pub fn script(shell: Shell, command: &Command, name: &str) -> String {
    let mut command = command.clone();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => bash(&script, &command),
        Shell::Zsh => zsh(&script, &command),
        _ => fish(&script, &command),
    }
}

/// The long options that take a value, and whether they take it after `=` alone.
fn options(command: &Command) -> impl Iterator<Item = (&str, bool)> {
    command.get_opts().filter_map(|option| Some((option.get_long()?, option.is_require_equals_set())))
}

fn bash(script: &str, command: &Command) -> String {
    let script = script.replacen(BASH_BEFORE, &format!("{BASH_BEFORE}{BASH_EQUALS}"), 1);
    options(command).fold(script, |script, (option, is_after_equals)| {
        let also = if is_after_equals { String::new() } else { format!("--{option}|") };
        script.replacen(&format!(" --{option})\n"), &format!(" {also}--{option}=)\n"), 1)
    })
}

fn zsh(script: &str, command: &Command) -> String {
    let after_equals = options(command).filter(|(_, is_after_equals)| *is_after_equals);
    after_equals.fold(script.to_owned(), |script, (option, _)| {
        script.replacen(&format!("--{option}=["), &format!("--{option}=-["), 1)
    })
}

/// In fish, what has no `-r` takes its value after `=`.
fn fish(script: &str, command: &Command) -> String {
    let is_after_equals = |line: &str| {
        options(command).any(|(option, it_is)| it_is && line.contains(&format!(" -l {option} ")))
    };
    let lines = script.lines().map(|line| match is_after_equals(line) {
        true => line.replacen(" -r -f ", " -f ", 1) + "\n",
        false => format!("{line}\n"),
    });
    lines.collect()
}
