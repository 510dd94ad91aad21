//! The operators' program: what `chatctl` does.
//!
//! [`cli`] reads the command line, [`connection`] asks chatd over its unix socket, in the protocol that everybody speaks.
//! [`show`] and [`table`] make tables of the answers, [`hint`] has sentences for a shell, [`top`] and [`watch`] go on
//! until told to stop, [`exit`] is how it ends. It is built on the connection of chatc and on the protocol, and knows
//! nothing of the daemon's insides.

pub mod cli;
pub mod connection;
pub mod exit;
pub mod hint;
pub mod show;
pub mod table;
pub mod top;
pub mod watch;

use clap::Parser;

use crate::client::event;
use crate::client::listen::READER_PATIENCE;
use cli::{Cli, Task};
use connection::{Connection, Told, cannot_start};
pub use exit::Exit;
use exit::{Failure, print_lines, say};
use table::Look;

/// Does what the command line asks for. Usage errors, `--help` and `--version` end the process here.
pub fn main() -> Exit {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            failure.words.iter().for_each(|words| say(words));
            failure.exit
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let line = cli.task.line().map_err(|words| Failure::new(Exit::Usage, words))?;
    let (events_tx, events) = event::channel();
    if matches!(cli.task, Task::Top | Task::Watch { .. }) {
        let restore = top::restore(cli.task == Task::Top && !cli.json);
        event::watch_signals(events_tx.clone(), READER_PATIENCE, restore).map_err(cannot_start)?;
        event::watch_reader(events_tx.clone());
    }
    let mut connection = Connection::open(&cli.socket, cli.timeout, (events_tx, events))?;
    if cli.task == Task::Top {
        return top::run(&mut connection, cli.json);
    }
    let told = connection.ask(&line)?;
    let lines = if cli.json { show::objects(&told) } else { shown(&cli.task, &told, Look::of_output()) };
    print_lines(&lines)?;
    match cli.task {
        Task::Watch { .. } => watch::run(&mut connection, &told, cli.json),
        _ => Ok(()),
    }
}

/// The lines that people read.
fn shown(task: &Task, told: &[Told], look: Look) -> Vec<String> {
    match task {
        Task::Status => show::status(told, true, look),
        Task::Sessions => show::sessions(told, false, look),
        Task::Rooms => show::rooms(told, look),
        Task::Nodes => show::nodes(told, look),
        Task::Bans => show::bans(told, look),
        _ => show::sentences(told),
    }
}
