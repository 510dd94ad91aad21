//! The command line of `chatc`, and what it says at the end.
//!
//! `client::main` parses it. [`Cli`] is what you typed, [`Plan`] what it means with the standard input that there is.
//! Reads no environment, connects to nothing.

use std::io::{self, ErrorKind, Write};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Parser, ValueHint};

use super::target::Target;
use super::trust::Fingerprint;
use crate::duration::parse_duration;
use crate::exit::Exit;
use crate::protocol::{Name, View};

/// At most 78 columns, so that no terminal breaks a line of it.
const AFTER: &str = "\
ADDRESS is HOST, HOST:PORT, [IPV6]:PORT, or the path of a unix socket. With
several, separated by commas, chatc takes the first that answers. TIME is in
seconds or has a unit: 500ms, 60s, 5m, 1h, 7d. With tls:// before the host,
chatc speaks TLS, as with --tls.

On a terminal, Tab completes, Ctrl-D leaves when all you have said is in the
room, and Ctrl-C leaves now. /help asks the daemon what else there is.

Examples:
  chatc                                   join, and type
  chatc --nick alice chat.example.org     with a name, elsewhere
  chatc /run/chatd/chat.sock              over a unix socket
  echo deploy done | chatc                say it; 0 if it is in the room
  chatc --listen --count 1                wait until somebody says something,
                                          and print that
  chatc --listen --exec ./bot             run ./bot for each line, and say
                                          what it prints

Exit status: 0 done, 1 something was refused or may be lost, 2 wrong usage,
69 no chatd is there.
Manual: chatc(1); chatd-protocol(7) for what goes over the wire.";

/// Talks to chatd: at the keyboard; in a pipe, with an exit status that scripts can rely on; and for programs that listen
/// and answer.
#[derive(Debug, Clone, Parser)]
#[command(name = "chatc", version, after_help = AFTER, max_term_width = 110)]
pub struct Cli {
    /// Where chatd listens
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:5001", num_args = 1, action = ArgAction::Set, value_delimiter = ',')]
    pub targets: Vec<Target>,
    /// Take this name
    #[arg(short, long, value_name = "NAME", value_parser = Name::parse, value_hint = ValueHint::Other)]
    pub nick: Option<Name>,
    /// Go to this room
    #[arg(short, long, value_name = "ROOM", value_parser = Name::parse, value_hint = ValueHint::Other)]
    pub room: Option<Name>,
    /// How lines look: plain, names or json [default: names on a terminal or with --nick, else plain]
    #[arg(short, long, value_name = "VIEW", value_parser = views(), hide_possible_values = true)]
    pub view: Option<View>,
    /// Show the time before each line, except in json, which has it
    #[arg(short, long)]
    pub time: bool,
    /// Print what arrives until told to stop
    #[arg(short, long)]
    pub listen: bool,
    /// Stop after so many lines that somebody said, and print nothing else
    #[arg(short, long, value_name = "COUNT", requires = "listen", value_hint = ValueHint::Other)]
    pub count: Option<NonZeroU64>,
    /// Run COMMAND for each line that somebody said, and say what it prints
    #[arg(long, value_name = "COMMAND", requires = "listen", conflicts_with = "plain", value_hint = ValueHint::CommandString)]
    pub exec: Option<String>,
    /// Run at most so many commands at a time
    #[arg(long, value_name = "N", requires = "exec", default_value = "1", value_hint = ValueHint::Other)]
    pub jobs: NonZeroUsize,
    /// Stop after this time; in a pipe, give up then
    #[arg(long, value_name = "TIME", value_parser = duration, value_hint = ValueHint::Other)]
    pub timeout: Option<Duration>,
    /// Connect again when the connection is lost [default: true on a terminal, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub reconnect: Option<bool>,
    /// Do what nc does: send what you type, show what arrives, and nothing else
    #[arg(long, conflicts_with_all = ["nick", "room", "view"])]
    pub plain: bool,
    /// Speak TLS, and never plain text
    #[arg(long)]
    pub tls: bool,
    /// Trust the certificates in this PEM file, and those that they vouch for [default: those of this machine]
    #[arg(long, value_name = "FILE", conflicts_with = "pin", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Trust the server with this certificate, sha256:HEX, and no other
    #[arg(long, value_name = "FINGERPRINT", value_hint = ValueHint::Other)]
    pub pin: Vec<Fingerprint>,
    /// Show the server the certificate in this PEM file
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Ring the bell for lines with your name, and for private ones
    #[arg(long)]
    pub bell: bool,
    /// Count what is said as new when you have pressed no key for this time
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m", value_hint = ValueHint::Other)]
    pub away: Duration,
}

/// What chatc is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Somebody types.
    Talk,
    /// What is piped in is said.
    Pipe,
    /// What arrives is printed.
    Listen,
}

impl Cli {
    /// What is asked for, if standard input is a terminal, or is not.
    ///
    /// # Errors
    /// An option that does not go with it.
    pub fn plan(&self, input_is_terminal: bool) -> Result<Plan, &'static str> {
        match (self.listen, input_is_terminal) {
            _ if self.exec.as_ref().is_some_and(|command| command.trim().is_empty()) => {
                Err("--exec needs a program; write its path")
            }
            (true, _) => Ok(Plan::Listen),
            (false, true) if self.timeout.is_some() => {
                Err("--timeout is for --listen and for pipes; leave it out on a terminal")
            }
            (false, true) => Ok(Plan::Talk),
            (false, false) if self.reconnect == Some(true) => Err(
                "--reconnect is for --listen and for terminals; what is piped in is said once, so leave it out",
            ),
            (false, false) => Ok(Plan::Pipe),
        }
    }

    /// Whether TLS is spoken: then with all of the targets but unix sockets, which are marked with it.
    ///
    /// # Errors
    /// An option, or an address, that does not go with it.
    pub fn uses_tls(&mut self) -> Result<bool, &'static str> {
        let is_unix = |target: &Target| matches!(target, Target::Unix(_));
        if self.tls && self.targets.iter().any(is_unix) {
            return Err("--tls is for TCP; nobody can listen in on a unix socket, so leave it out");
        }
        let mut is_tls = self.targets.iter_mut().filter_map(|target| match target {
            Target::Tcp { tls, .. } => {
                *tls |= self.tls;
                Some(*tls)
            }
            Target::Unix(_) => None,
        });
        let uses_tls = is_tls.next().unwrap_or_default();
        match is_tls.all(|one| one == uses_tls) {
            false => Err("some addresses have tls:// and others do not; use --tls for all of them"),
            true if !uses_tls && (self.ca.is_some() || !self.pin.is_empty() || self.cert.is_some()) => {
                Err("--ca, --pin, --cert and --key are for TLS; add --tls")
            }
            true => Ok(uses_tls),
        }
    }

    /// How lines look.
    pub fn look(&self, plan: Plan) -> View {
        let has_names = plan == Plan::Talk || self.nick.is_some();
        self.view.unwrap_or(if has_names { View::Names } else { View::Plain })
    }

    /// Whether only a chatd will do: another server does not do what is asked for.
    pub fn needs_chatd(&self, plan: Plan) -> bool {
        match plan {
            Plan::Talk => false,
            Plan::Pipe => self.nick.is_some() || self.room.is_some() || self.view.is_some(),
            Plan::Listen => self.nick.is_some() || self.exec.is_some(),
        }
    }

    /// Whether chatc connects again.
    pub fn reconnects(&self, plan: Plan) -> bool {
        self.reconnect.unwrap_or(plan == Plan::Talk)
    }
}

/// The views by their names, which shells complete and a message about another one lists.
fn views() -> impl TypedValueParser<Value = View> {
    let names = [View::Plain, View::Names, View::Json].map(View::name);
    PossibleValuesParser::new(names).try_map(|name| View::parse(&name).ok_or("no such view"))
}

/// Reads a time with limits that fit a timeout.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    match parse_duration(text) {
        None => Err("not a time; write a number of seconds, or one with ms, s, m, h, d or w"),
        Some(time) if time.is_zero() => Err("no time at all; write at least 1ms"),
        Some(time) if time > LONGEST => Err("too long a time; write at most 8760h, or leave it out"),
        Some(time) => Ok(time),
    }
}

/// A year: it can be added to any moment.
const LONGEST: Duration = Duration::from_secs(8760 * 3600);

/// Ends the process at that time if it still runs: it may wait for a terminal or a reader that takes nothing. `how`
/// returns the code, and puts in order what can be.
pub fn exit_at(when: Instant, how: impl FnOnce() -> Exit + Send + 'static) {
    // Where no thread can be had it ends all the same, unless it has to wait.
    let _ = thread::Builder::new().spawn(move || {
        thread::sleep(when.saturating_duration_since(Instant::now()));
        process::exit(how().code().into())
    });
}

/// How it ends when standard output cannot be written, and why. A reader that is gone has had enough.
pub fn unwritable(error: &io::Error) -> (Exit, Vec<String>) {
    match error.kind() {
        ErrorKind::BrokenPipe => (Exit::Ok, Vec::new()),
        _ => (Exit::Failed, vec![format!("cannot write to standard output: {error}")]),
    }
}

/// Says something on standard error. Where that cannot be written, nobody wants to know.
pub fn say(words: &str) {
    let _ = io::stderr().write_all(format!("chatc: {words}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap_complete::Shell;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["chatc"], words].concat())
    }

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_ends_with_2_and_help_with_0() {
        for words in [
            ["--prot"].as_slice(),
            &["a", "b"],
            &["localhost:x"],
            &["--nick", "a b"],
            &["--nick", "guest7"],
            &["--view", "all"],
            &["--count", "1"],
            &["--listen", "--count", "0"],
            &["--timeout", "0"],
            &["--timeout", "soon"],
            &["--timeout", "9000h"],
            &["--reconnect=maybe"],
            &["--plain", "--nick", "ann"],
            &["--exec", "x"],
            &["--listen", "--jobs", "2"],
            &["--listen", "--exec", "x", "--jobs", "0"],
            &["a,,b"],
            &["--tls", "--pin", "sha256:00"],
            &["--tls", "--cert", "x"],
            &["--tls", "--key", "x"],
        ] {
            assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
        for words in [["--help"], ["-h"], ["--version"], ["-V"]] {
            assert_eq!(parse(&words).unwrap_err().exit_code(), 0, "{words:?}");
        }
    }

    #[test]
    fn what_is_asked_for_depends_on_the_terminal() {
        let plan = |words: &[&str], is_terminal| parse(words).unwrap().plan(is_terminal);
        assert_eq!((plan(&[], true), plan(&[], false)), (Ok(Plan::Talk), Ok(Plan::Pipe)));
        assert_eq!(plan(&["--listen"], true), Ok(Plan::Listen));
        assert!(plan(&["--timeout", "5"], true).is_err());
        assert!(plan(&["--listen", "--exec", " "], true).is_err());
        assert_eq!(plan(&["--timeout", "5"], false), Ok(Plan::Pipe));
        assert!(plan(&["--reconnect"], false).is_err());
        assert_eq!(plan(&["--reconnect=false"], false), Ok(Plan::Pipe));
        assert_eq!(plan(&["--reconnect", "--listen"], false), Ok(Plan::Listen));
    }

    #[test]
    fn tls_is_spoken_with_all_or_with_none() {
        let uses_tls = |words: &[&str]| parse(words).unwrap().uses_tls();
        assert_eq!(uses_tls(&["a,b"]), Ok(false));
        assert_eq!(uses_tls(&["/run/chat.sock"]), Ok(false));
        for words in [&["--tls"][..], &["--tls", "a,b"], &["tls://a,tls://b"], &["/run/chat.sock,tls://a"]] {
            assert_eq!(uses_tls(words), Ok(true), "{words:?}");
        }
        let pin = format!("--pin=sha256:{}", "00".repeat(32));
        let files = &["--cert", "x", "--key", "x"];
        for words in [&["tls://a,b"][..], &["a,tls://b"], &["--tls", "./a"], &["--ca", "x"], &[&pin], files] {
            assert!(uses_tls(words).is_err(), "{words:?}");
        }
        let mut cli = parse(&["--tls", "a"]).unwrap();
        cli.uses_tls().unwrap();
        assert_eq!(cli.targets[0].to_string(), "tls://a:5001");
    }

    #[test]
    fn lines_have_names_at_the_keyboard_and_for_those_who_have_one() {
        let look = |words: &[&str], plan| parse(words).unwrap().look(plan);
        assert_eq!(look(&[], Plan::Talk), View::Names);
        assert_eq!(look(&["--listen"], Plan::Listen), View::Plain);
        assert_eq!(look(&["--listen", "--nick", "ann"], Plan::Listen), View::Names);
        assert_eq!(look(&["--nick", "ann", "--view", "plain"], Plan::Talk), View::Plain);
    }

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        assert_eq!([Exit::Ok, Exit::Failed, Exit::Usage, Exit::NoDaemon].map(Exit::code), [0, 1, 2, 69]);
    }

    #[test]
    fn times_have_units() {
        for (text, milliseconds) in [("5", 5_000), ("500ms", 500), ("2m", 120_000), ("7d", 604_800_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert!(
            ["", "ms", "1.5", "-1", "1 y", "99999999999999999999"]
                .into_iter()
                .all(|text| duration(text).is_err())
        );
    }

    /// The completions for a shell, without what breaks its lines.
    fn completions(shell: Shell) -> String {
        let mut out = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "chatc", &mut out);
        let text = String::from_utf8(out).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn shells_complete_what_an_option_can_have_and_no_file_names_for_it() {
        let bash = completions(Shell::Bash);
        for (options, values) in
            [(["--view)", "-v)"], "plain names json"), (["--reconnect)", "--reconnect)"], "true false")]
        {
            for option in options {
                let case = format!("{option} COMPREPLY=($(compgen -W \"{values}\" -- \"${{cur}}\"))");
                assert!(bash.contains(&case), "{case}: {bash}");
            }
        }
        for option in
            ["--nick", "-n", "--room", "-r", "--count", "-c", "--timeout", "--jobs", "--away", "--pin"]
        {
            assert!(bash.contains(&format!("{option}) COMPREPLY=(\"${{cur}}\")")), "{option}: {bash}");
        }
        assert_eq!(
            bash.matches("compgen -f").count(),
            4,
            "files are a command, certificates and a key: {bash}"
        );

        let (zsh, fish) = (completions(Shell::Zsh), completions(Shell::Fish));
        for option in ["nick", "room", "count", "timeout", "view", "reconnect", "jobs", "away", "pin"] {
            let values = match option {
                "view" => "(plain names json)",
                "reconnect" => "(true false)",
                _ => "",
            };
            // What is offered stands behind the name of the value; `_default` offers files.
            let of_zsh = zsh.split("' \\ '").find(|line| line.contains(&format!("--{option}=["))).unwrap();
            assert!(of_zsh.ends_with(&format!(":{}:{values}", option_value(option))), "{of_zsh}");
            let of_fish =
                fish.split("complete -c chatc ").find(|line| line.contains(&format!("-l {option} ")));
            let of_fish = of_fish.unwrap();
            // With -f, or -x, no files are offered.
            assert!(of_fish.contains(" -f") || of_fish.contains(" -x"), "{of_fish}");
            let words = values.split(['(', ')', ' ']).filter(|word| !word.is_empty());
            words.for_each(|word| assert!(of_fish.contains(word), "{word}: {of_fish}"));
        }
    }

    fn option_value(option: &str) -> String {
        let command = Cli::command();
        let argument = command.get_opts().find(|argument| argument.get_long() == Some(option)).unwrap();
        argument.get_value_names().unwrap()[0].to_string()
    }

    #[test]
    fn a_view_that_does_not_exist_is_refused_with_those_that_do() {
        let error = parse(&["--view", "nmaes"]).unwrap_err().to_string();
        for part in ["'nmaes'", "'--view <VIEW>'", "plain, names, json", "'names'"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn no_terminal_breaks_the_end_of_the_help() {
        assert!(AFTER.lines().all(|line| line.chars().count() <= 78));
    }
}
