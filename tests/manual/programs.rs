//! chatd(8), chatc(1) and chatctl(1), held against the help: options and exit codes.

use std::collections::BTreeSet;
use std::process::Command;

use chatd::exit::Exit;
use chatd::{client, ctl, service};
use clap::CommandFactory;

use super::{key_entries, read, section, support};

/// A program that has a manual.
pub struct Program {
    name: &'static str,
    page: &'static str,
    path: &'static str,
    command: fn() -> clap::Command,
    /// Its exit codes, in the order of the manual.
    pub exits: &'static [Exit],
}

pub const CHATD: Program = Program {
    name: "chatd",
    page: "man/chatd.8",
    path: env!("CARGO_BIN_EXE_chatd"),
    command: service::cli::Cli::command,
    exits: &[Exit::Ok, Exit::Failed, Exit::Usage, Exit::Config],
};
pub const CHATC: Program = Program {
    name: "chatc",
    page: "man/chatc.1",
    path: env!("CARGO_BIN_EXE_chatc"),
    command: client::cli::Cli::command,
    exits: &[Exit::Ok, Exit::Failed, Exit::Usage, Exit::NoDaemon],
};
const CHATCTL: Program = Program {
    name: "chatctl",
    page: "man/chatctl.1",
    path: env!("CARGO_BIN_EXE_chatctl"),
    command: ctl::cli::Cli::command,
    exits: &[Exit::Ok, Exit::Failed, Exit::Usage, Exit::NoDaemon, Exit::NotOperator],
};
pub const PROGRAMS: [Program; 3] = [CHATD, CHATC, CHATCTL];

impl Program {
    pub fn help(&self) -> String {
        let output = support::clean(&mut Command::new(self.path)).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The long options that the help lists.
    pub fn options(&self) -> BTreeSet<String> {
        let options = long_options(&self.help(), "--", |line| line.trim_start().starts_with('-'));
        let mut command = (self.command)();
        command.build();
        let shown = command.get_arguments().filter(|one| one.get_long().is_some() && !one.is_hide_set());
        assert_eq!(options.len(), shown.count(), "{options:?}");
        options
    }
}

/// The long options that stand at the beginning of the lines that `line` accepts.
fn long_options(text: &str, dashes: &str, line: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let options = text.lines().filter(|text| line(text)).filter_map(|line| line.split_once(dashes));
    options
        .map(|(_, name)| name.split(|c: char| !c.is_alphanumeric() && c != '-').next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_option_is_in_the_manual_and_every_option_of_the_manual_exists() {
    for program in PROGRAMS {
        let mut of_manual = long_options(&read(program.page), "Fl Fl ", |line| line.starts_with(".It Fl "));
        if program.name == CHATD.name {
            // Each key is an option, and has its entry in chatd.toml(5).
            let keys = key_entries(&read("man/chatd.toml.5"));
            of_manual.extend(keys.keys().map(|key| key.replace('_', "-")));
        }
        assert_eq!(program.options(), of_manual, "{}", program.name);
    }
}

#[test]
fn every_short_option_is_in_the_manual() {
    for program in PROGRAMS {
        let (help, manual) = (program.help(), read(program.page));
        let shorts = help.lines().filter_map(|line| line.trim_start().strip_prefix('-')?.split_once(", --"));
        let shorts: Vec<_> = shorts.collect();
        assert!(shorts.len() >= 2, "{shorts:?}");
        for (short, long) in shorts {
            let long = long.split(' ').next().unwrap();
            assert!(manual.contains(&format!("\n.It Fl {short} , Fl Fl {long}")), "-{short}, --{long}");
        }
    }
}

#[test]
fn every_exit_code_is_in_the_manual_and_in_the_help() {
    for program in PROGRAMS {
        let (help, manual) = (program.help(), read(program.page));
        let status = section(&manual, ".Sh EXIT STATUS", ".Sh ");
        let listed: Vec<_> = status.lines().filter_map(|line| line.strip_prefix(".It ")).collect();
        let codes: Vec<String> = program.exits.iter().map(|exit| exit.code().to_string()).collect();
        assert_eq!(listed, codes);
        let (_, help) = help.split_once("Exit status: ").unwrap();
        assert!(codes.iter().all(|code| help.split([' ', ',', '\n']).any(|word| word == code)), "{help}");
    }
}
