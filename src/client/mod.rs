//! The client: what `chatc` does at the keyboard, in a pipe and for programs.
//!
//! [`cli`] reads the command line, [`target`] is where to connect to. [`session`] is the one loop: it waits for what
//! [`event`], [`dialer`] and [`link`] tell, shakes hands, and leaves what to do to one of three modes, [`talk`], [`pipe`] and
//! [`listen`]. [`request`] is what was sent and is not confirmed, [`resume`] who you are and what you have seen, and
//! [`render`] how it looks. [`tls`] is the handshake and the records of TLS, [`trust`] whom it is spoken with. [`terminal`] is what is written to, [`editor`] the line being typed. It is built on the
//! protocol and the sockets, and knows nothing of the daemon's insides.

pub mod cli;
pub mod dialer;
pub mod editor;
pub mod event;
pub mod link;
pub mod listen;
pub mod pipe;
pub mod render;
pub mod request;
pub mod resume;
pub mod session;
pub mod talk;
pub mod target;
pub mod terminal;
pub mod tls;
pub mod trust;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use clap::Parser;

pub use crate::exit::Exit;
use cli::{Cli, Plan, exit_at, say};
use event::{Event, Outcome};
use listen::{Jobs, Listen, READER_PATIENCE};
use pipe::Pipe;
use render::Look;
use session::Core;
use talk::Talk;
use trust::Trust;

/// How long it may take in all to end: longer than the daemon may. Then the terminal takes nothing.
pub const END_PATIENCE: Duration = Duration::from_secs(7);

/// Does what the command line asks for. Usage errors, `--help` and `--version` end the process here.
pub fn main() -> Exit {
    let mut cli = Cli::parse();
    let begun = cli.plan(io::stdin().is_terminal()).and_then(|plan| Ok((plan, cli.uses_tls()?)));
    let trusting = |(plan, is_tls)| Ok((plan, if is_tls { trust(&cli)? } else { Trust::default() }));
    let (plan, trust) = match begun.map_err(str::to_owned).and_then(trusting) {
        Ok(begun) => begun,
        Err(error) => {
            say(&error);
            return Exit::Usage;
        }
    };
    let (events_tx, events) = event::channel();
    match run(&cli, plan, trust, events_tx, &events) {
        Ok((exit, words)) => {
            exit_at(Instant::now() + READER_PATIENCE, move || exit);
            words.iter().for_each(|words| say(words));
            exit
        }
        Err(error) => {
            say(&format!("cannot start: {error}"));
            Exit::Failed
        }
    }
}

/// Whom the command line trusts.
fn trust(cli: &Cli) -> Result<Trust, String> {
    let own = cli.cert.as_deref().zip(cli.key.as_deref());
    Trust::new(cli.ca.as_deref(), &cli.pin, own)
}

fn run(
    cli: &Cli,
    plan: Plan,
    trust: Trust,
    events_tx: SyncSender<Event>,
    events: &Receiver<Event>,
) -> io::Result<Outcome> {
    let mut core = Core::new(cli, plan, trust, events_tx.clone())?;
    let look = Look { view: cli.look(plan), times: cli.time, has_colours: has_colours() };
    Ok(match plan {
        Plan::Talk => {
            let restore = terminal::restore();
            event::watch_signals(events_tx.clone(), END_PATIENCE, restore.clone())?;
            let mut talk = Talk::new(look, cli.bell, cli.away, events_tx)?;
            let outcome = session::run(&mut talk, &mut core, events);
            let exit = outcome.0;
            exit_at(Instant::now() + END_PATIENCE, move || {
                restore();
                exit
            });
            talk.terminal.close();
            outcome
        }
        Plan::Pipe => session::run(&mut Pipe::new(events_tx)?, &mut core, events),
        Plan::Listen => {
            event::watch_signals(events_tx.clone(), READER_PATIENCE, || {})?;
            let jobs = cli.exec.as_ref().map(|command| Jobs::new(command, cli.jobs.get()));
            let mut listen = Listen::new(look, cli.count.map(Into::into), jobs, events_tx);
            session::run(&mut listen, &mut core, events)
        }
    })
}

/// Whether standard output is a terminal with colours, and `NO_COLOR` is not set.
pub fn has_colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR")
        && std::env::var("TERM").is_ok_and(|term| term != "dumb")
        && io::stdout().is_terminal()
}
