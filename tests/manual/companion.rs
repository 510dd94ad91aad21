//! chatc(1), held against the code and the help: keys, limits.

use chatd::client::END_PATIENCE;
use chatd::client::cli::Cli;
use chatd::client::dialer::CONNECT_TIMEOUT;
use chatd::client::editor::{ASK_LINES, HISTORY_LINES};
use chatd::client::listen::{MAX_OUTPUT, MAX_QUEUED};
use chatd::client::request::MAX_WAITING;
use chatd::client::session::ANSWER_TIMEOUT;
use chatd::client::talk::LEAVE_TIMEOUT;
use chatd::client::target::Target;
use chatd::service::config::Config;
use clap::CommandFactory;

use super::programs::CHATC;
use super::{read, section};

#[test]
fn every_key_of_the_help_is_in_the_manual() {
    let (help, manual) = (CHATC.help(), read("man/chatc.1"));
    let keys = section(&manual, ".Ss The keyboard", ".Ss ");
    let words = help.split(|c: char| c.is_whitespace() || c == ',');
    let of_help: Vec<_> = words.filter(|word| word.starts_with("Ctrl-")).collect();
    assert_eq!(of_help, ["Ctrl-D", "Ctrl-C"]);
    for key in of_help {
        assert!(keys.contains(&format!("\n.It Li {key}\n")), "{key}");
    }
}

#[test]
fn every_signal_of_chatc_is_in_its_manual() {
    let code = read("src/client/event.rs");
    let (_, list) = code.split_once("const SIGNALS: [i32; 3] = [").unwrap();
    let mut of_code: Vec<_> = list.split(']').next().unwrap().split(", ").collect();
    let manual = read("man/chatc.1");
    let items = section(&manual, ".Ss Signals", ".S");
    let mut of_manual: Vec<_> =
        items.lines().flat_map(str::split_whitespace).filter(|word| word.starts_with("SIG")).collect();
    of_code.sort_unstable();
    of_manual.sort_unstable();
    assert_eq!(of_code, of_manual);
}

#[test]
fn the_default_address_is_that_of_chatd() {
    let default: Target = Cli::command().get_positionals().next().unwrap().get_default_values()[0]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(default.to_string(), Config::default().listen[0].address.to_string());
    assert!(read("man/chatc.1").contains(&format!("\nThe default is {default}; ")));
}

#[test]
fn every_variable_of_a_command_is_in_the_manual_of_chatc() {
    // They are named after the fields of the objects of lines.
    let schema: serde_json::Value = serde_json::from_str(&read("packaging/json-view.schema.json")).unwrap();
    let manual = read("man/chatc.1");
    let commands = section(&manual, ".Ss Commands for each line", ".Ss ");
    let items = commands.lines().filter_map(|line| line.strip_prefix(".It Ev "));
    let listed: Vec<_> = items.flat_map(|item| item.split(" , Ev ")).collect();
    assert_eq!(listed.len(), 8);
    for name in listed {
        let field = name.strip_prefix("CHATC_").unwrap().to_lowercase();
        assert!(schema.to_string().contains(&format!("\"{field}\":")), "{field}");
    }
}

#[test]
fn the_limits_of_chatc_are_those_of_its_manual() {
    let manual = read("man/chatc.1").replace('\n', " ");
    let has = |words: String| assert!(manual.contains(&words), "{words}");
    has(format!("waits at most {} seconds", LEAVE_TIMEOUT.as_secs()));
    assert_eq!(CONNECT_TIMEOUT, ANSWER_TIMEOUT);
    has(format!("within {} seconds", CONNECT_TIMEOUT.as_secs()));
    has(format!("takes up to {} seconds", END_PATIENCE.as_secs()));
    has(format!("from {ASK_LINES} lines on"));
    assert_eq!([HISTORY_LINES, MAX_WAITING, MAX_QUEUED], [1000; 3]);
    has("what you typed before, up to 1,000 lines".to_owned());
    has("typed meanwhile, up to 1,000 lines".to_owned());
    has("Up to 1,000 lines wait for a command".to_owned());
    has(format!("up to {} KiB", MAX_OUTPUT >> 10));
}
