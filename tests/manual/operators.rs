//! chatctl(1), held against the code and the help: tasks, defaults.

use std::process::Command;

use chatd::ctl::cli::{Cli, DEFAULT_SOCKET, DEFAULT_TIMEOUT, SOCKET_VARIABLE};
use clap::CommandFactory;
use clap_complete::Shell;

use super::completions::source as completions;
use super::{read, section};

#[test]
fn every_task_is_in_the_manual_with_its_options() {
    let manual = read("man/chatctl.1");
    let tasks = section(&manual, ".Ss Tasks", ".Ss ");
    let items: Vec<_> = tasks.lines().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
    let command = Cli::command();
    let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    let listed: Vec<_> = items.iter().map(|item| item.split(' ').next().unwrap()).collect();
    assert_eq!(listed, known);
    for (item, task) in items.iter().zip(command.get_subcommands()) {
        let options: Vec<_> = task.get_opts().filter_map(clap::Arg::get_long).collect();
        let of_item = item.split("Fl Fl ").skip(1).map(|rest| rest.split(' ').next().unwrap());
        assert_eq!(of_item.collect::<Vec<_>>(), options, "{item}");
        let arguments = item.matches("Ar ").count() - item.matches("Fl Fl for Ar").count();
        let is_list = item.starts_with("log ");
        assert_eq!(arguments + usize::from(is_list), task.get_positionals().count(), "{item}");
    }
}

#[test]
fn shells_complete_the_tasks_of_chatctl() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = completions::script(shell, &Cli::command(), "chatctl");
        for task in Cli::command().get_subcommands() {
            assert!(script.contains(task.get_name()), "{shell}: {}", task.get_name());
        }
        assert!(script.contains("force") && script.contains("timeout"), "{shell}");
    }
    // bash can read it.
    let script = completions::script(Shell::Bash, &Cli::command(), "chatctl");
    assert!(Command::new("bash").args(["-n", "-c", &script]).status().unwrap().success());
}

#[test]
fn the_defaults_of_chatctl_are_those_of_its_manual() {
    let manual = read("man/chatctl.1");
    assert!(manual.contains(&format!("\nThe default is\n.Pa {DEFAULT_SOCKET} .\n")));
    assert!(manual.contains(&format!("\nThe default is {DEFAULT_TIMEOUT}.\n")));
    assert!(manual.contains(&format!("\n.It Ev {SOCKET_VARIABLE}\n")));
}

/// The answers that the page shows are those of the tests in tests/chatctl/answers.rs.
#[test]
fn the_status_of_the_manual_is_what_is_shown() {
    let shown = read("tests/chatctl/answers.rs");
    let manual = read("man/chatctl.1");
    let display = manual.split("$ chatctl status\n").nth(1).unwrap().split(".Ed").next().unwrap();
    assert_eq!(display.lines().count(), 13);
    for line in display.lines() {
        assert!(shown.contains(&format!("\"{line}\",")), "{line}");
    }
}
