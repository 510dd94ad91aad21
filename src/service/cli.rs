//! The command line of `chatd`: the options as typed, and the task that they mean.
//!
//! `src/bin/chatd.rs` calls `Cli::parse()` and then [`Cli::task`]. Command line options and the configuration are
//! different types: [`Options`] is what was typed, unread, `config::Config` is what it means. Never reads the environment
//! itself, and never prints: it returns text.

use clap::Parser;
use jiff::Timestamp;

use super::archive::export::{self, Export, Format};
use super::config::{self, ConfigError, DEFAULT_FILE, Environment, Loaded, Options};
use super::{expiry, host};
use crate::net::login;
use crate::rt;

const ABOUT: &str = "A chat server for nc, telnet, chatc and scripts. Every line that somebody types goes to everybody \
                     else in the room.";

/// At most 78 columns, so that no terminal breaks a line of it.
const AFTER: &str = "\
Each setting is also a key of the configuration file (max_line for --max-line)
and an environment variable (CHATD_MAX_LINE). An option overrides the
environment, which overrides the file, which overrides the default.
SIZE is in bytes or has a unit: 16KiB, 4MiB. TIME is in seconds or has a unit:
500ms, 60s, 5m, 1h, 7d.

Examples:
  chatd                                   start it, on 127.0.0.1 port 5001
  nc 127.0.0.1 5001                       connect, in two windows, and type
  chatd --listen 0.0.0.0:5001 --listen '[::]:5001'
                                          listen on every network
  chatd --check                           find mistakes in the configuration

Exit status: 0 stopped as asked, 1 failed, 2 wrong usage, 78 wrong
configuration.

Manual: chatd(8) to run it, chatd.toml(5) for the settings,
chatd-protocol(7) for what goes over the wire.";

/// The options as typed.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "chatd", version, about = ABOUT, after_help = AFTER, max_term_width = 110)]
pub struct Cli {
    /// The options of the configuration.
    #[command(flatten)]
    pub options: Options,

    /// Check the configuration, print the first mistake with a remedy, and exit
    #[arg(long)]
    pub check: bool,

    /// Print the configuration in force, with the source of each value, and exit
    #[arg(long, conflicts_with = "check")]
    pub print_config: bool,

    /// Print what the archive has of this room, and exit
    #[arg(long, value_name = "ROOM", conflicts_with_all = ["check", "print_config"])]
    pub export: Option<String>,

    /// Print from this time on: a date, a time (2026-11-23T15:00:00Z), or 2h for two hours ago
    #[arg(long, value_name = "TIME", requires = "export", value_parser = time)]
    pub since: Option<Timestamp>,

    /// Print what was before this time, which is written as for --since
    #[arg(long, value_name = "TIME", requires = "export", value_parser = time)]
    pub until: Option<Timestamp>,

    /// Print as text or as JSON [default: text]
    #[arg(long, value_name = "FORMAT", requires = "export", hide_possible_values = true)]
    pub format: Option<Format>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Serve, with this configuration.
    Serve(Box<Loaded>),
    /// Write this text to standard output and end with [`Exit::Ok`](super::Exit::Ok).
    Print(String),
    /// Print what the archive has of a room.
    Export(Export),
}

impl Cli {
    /// Returns the task. Reads the configuration, since every task needs it.
    ///
    /// # Errors
    /// A mistake in the configuration; `src/bin/chatd.rs` writes `chatd: ERROR` to standard error and exits with
    /// [`ConfigError::exit`].
    pub fn task(&self, env: Environment<'_>) -> Result<Task, ConfigError> {
        let mut loaded = config::load(&self.options, env)?;
        if self.check || !self.only_prints() {
            loaded.read_certificate(env)?;
            loaded.read_password(env)?;
        }
        Ok(if self.check {
            let now = rt::wall_clock();
            loaded.ensure_certificate_holds(now)?;
            loaded.warnings.extend(loaded.certificate.as_ref().and_then(|one| expiry::warning(one, now)));
            let name = &loaded.config.operators;
            if host::misses_group(&loaded.config, login::find_group(name)) {
                let warning = format!("cannot find the group \"{name}\" of operators: only root is one");
                loaded.warnings.push(warning);
            }
            Task::Print(checked(&loaded))
        } else if self.print_config {
            Task::Print(config::print(&loaded))
        } else if let Some(room) = &self.export {
            Task::Export(self.export(room.clone(), &loaded)?)
        } else {
            Task::Serve(Box::new(loaded))
        })
    }

    /// Returns whether it serves nobody.
    pub fn only_prints(&self) -> bool {
        self.check || self.print_config || self.export.is_some()
    }

    fn export(&self, room: String, loaded: &Loaded) -> Result<Export, ConfigError> {
        let path = loaded.config.archive.path().ok_or_else(|| {
            ConfigError::at("--export", "the archive is off; set archive to its folder, or give --archive")
        })?;
        let (path, format) = (path.to_owned(), self.format.unwrap_or_default());
        Ok(Export { path, room, since: self.since, until: self.until, format })
    }
}

/// Reads the value of `--since` and `--until`.
fn time(text: &str) -> Result<Timestamp, String> {
    let help = "write a date (2026-11-23), a time (2026-11-23T15:00:00Z), or how long ago (2h, 7d)";
    export::parse_time(text, rt::wall_clock()).ok_or_else(|| help.to_owned())
}

fn checked(loaded: &Loaded) -> String {
    let warnings: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    match &loaded.file {
        Some(path) => format!("{warnings}{}: ok\n", path.display()),
        None => format!("{warnings}{DEFAULT_FILE}: ok (it is not there; the defaults hold)\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::KEYS;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["chatd"], words].concat())
    }

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_key_is_a_long_option() {
        for key in &KEYS {
            let words = [format!("--{}=x", key.option)];
            let cli = parse(&words.each_ref().map(String::as_str)).unwrap();
            assert_eq!(cli.options.get(key.name), Some(["x".to_owned()].as_slice()), "{}", key.name);
        }
    }

    #[test]
    fn listen_is_repeatable_and_the_rest_is_not() {
        let cli = parse(&["--listen", "[::1]:1", "--listen=/run/x"]).unwrap();
        assert_eq!(cli.options.get("listen"), Some(["[::1]:1".to_owned(), "/run/x".to_owned()].as_slice()));
        assert_eq!(parse(&["--drain", "1", "--drain", "2"]).unwrap_err().kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_switch_needs_no_value() {
        assert_eq!(parse(&["--raw"]).unwrap().options.get("raw"), Some(["true".to_owned()].as_slice()));
        assert_eq!(
            parse(&["--raw=false"]).unwrap().options.get("raw"),
            Some(["false".to_owned()].as_slice())
        );
        assert_eq!(parse(&["--raw", "false"]).unwrap_err().kind(), ErrorKind::UnknownArgument);
    }

    #[test]
    fn wrong_usage_ends_with_2_and_help_with_0() {
        for words in [["--prot"].as_slice(), &["5001"], &["--check", "--print-config"], &["--config"]] {
            assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
        for words in [["--help"], ["-h"], ["--version"], ["-V"]] {
            assert_eq!(parse(&words).unwrap_err().exit_code(), 0, "{words:?}");
        }
    }

    #[test]
    fn the_help_says_what_each_setting_takes_and_its_default() {
        let help = Cli::command().render_help().to_string();
        for key in &KEYS {
            let takes =
                if key.is_switch() { format!("[=<{}>]", key.takes) } else { format!(" <{}>", key.takes) };
            assert!(help.contains(&format!("--{}{takes}", key.option)), "{}: {help}", key.name);
        }
        for words in ["[default: 127.0.0.1:5001]", "[default: 16KiB]", "nc 127.0.0.1 5001", "chatd.toml(5)"] {
            assert!(help.contains(words), "{words}: {help}");
        }
    }

    #[test]
    fn a_task_is_to_print_or_to_serve() {
        let none = |_: &str| Some("/dev/null".into());
        let env = |name: &str| (name == config::FILE_VARIABLE).then(|| none(name)).flatten();
        let task = |words: &[&str]| parse(words).unwrap().task(&env).unwrap();
        assert_eq!(task(&["--check"]), Task::Print("/dev/null: ok\n".to_owned()));
        assert!(
            matches!(task(&["--print-config"]), Task::Print(text) if text.contains("max_line = \"16KiB\""))
        );
        assert!(matches!(task(&["--drain=1"]), Task::Serve(loaded) if loaded.config.drain.as_secs() == 1));
    }

    #[test]
    fn no_terminal_breaks_the_end_of_the_help() {
        assert!(AFTER.lines().all(|line| line.chars().count() <= 78));
    }

    #[test]
    fn the_example_for_every_network_is_for_ipv4_and_for_ipv6() {
        let (before, _) = AFTER.split_once("listen on every network").unwrap();
        let example = before.trim_end().lines().last().unwrap().replace('\'', "");
        let cli = Cli::try_parse_from(example.split_whitespace()).unwrap();
        let addresses = ["0.0.0.0:5001", "[::]:5001"].map(str::to_owned);
        assert_eq!(cli.options.get("listen"), Some(addresses.as_slice()), "no IPv4 comes in at [::]");
    }

    #[test]
    fn the_default_file_in_the_help_is_the_one_that_is_read() {
        assert!(Cli::command().render_help().to_string().contains(DEFAULT_FILE));
    }
}
