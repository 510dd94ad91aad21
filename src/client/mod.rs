//! The companion: what `chatc` does, at the keyboard and in a pipe.
//!
//! [`cli`] reads the command line; [`conversation`], [`pipe`] and [`listen`] are the three things it can ask for. Each
//! has one [`dialogue`], which knows what to send and what is [`shown`], and hears of its [`connection`] through events.
//! [`keyboard`], [`suspend`] and [`screen`] are the terminal, [`output`] is what else is written, [`paint`] is how lines
//! look. [`identity`] is who one is, [`claim`] a name that somebody else has, [`missed`] what to show after the
//! connection came back, [`gap`] what is missing of it, [`own`] what nobody got, and [`silence`] whether anybody is
//! there. It is built on the protocol and the sockets, and knows nothing of the daemon's insides.

pub mod arriving;
pub mod claim;
pub mod cli;
pub mod connection;
pub mod conversation;
pub mod dialogue;
pub mod exit;
pub mod failure;
pub mod gap;
pub mod heard;
pub mod identity;
pub mod impostor;
pub mod keyboard;
pub mod listen;
pub mod losses;
pub mod missed;
pub mod output;
pub mod own;
pub mod paint;
pub mod pauses;
pub mod pipe;
pub mod screen;
pub mod shown;
pub mod signals;
pub mod silence;
pub mod step;
pub mod suspend;
pub mod target;

use std::io::{self, IsTerminal};

use clap::Parser;
use jiff::tz::TimeZone;

use cli::{Cli, Plan};
use dialogue::Dialogue;
use identity::Wishes;
use paint::Paint;

pub use exit::Exit;

/// Does what the command line asks for. Usage errors, `--help` and `--version` end the process here.
pub fn main() -> Exit {
    let cli = Cli::parse();
    let plan = match cli.plan(io::stdin().is_terminal()) {
        Ok(plan) => plan,
        Err(error) => {
            output::say(&error.to_string());
            return Exit::Usage;
        }
    };
    let reconnects = cli.reconnect.unwrap_or(plan == Plan::Talk);
    let dialogue = Dialogue::new(wishes(&cli, reconnects), paint(&cli));
    match plan {
        Plan::Talk => conversation::run(cli.address, reconnects, dialogue),
        Plan::Pipe => pipe::run(cli.address, cli.timeout, dialogue),
        Plan::Listen => {
            let limits = listen::Limits { count: cli.count, timeout: cli.timeout, reconnects };
            listen::run(cli.address, limits, dialogue)
        }
    }
}

fn wishes(cli: &Cli, catches_up: bool) -> Wishes {
    Wishes { nick: cli.nick.clone(), room: cli.room.clone(), view: cli.view, catches_up }
}

fn paint(cli: &Cli) -> Paint {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    Paint {
        view: cli.look(),
        times: cli.time,
        has_colours: !is_plain && io::stdout().is_terminal(),
        zone: TimeZone::system(),
    }
}
