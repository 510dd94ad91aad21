//! A case: what is run against what, in which rounds, and how.
//!
//! A case is measured in rounds: in each round its base, then chatd, then the others if any, so that what
//! disturbs a machine for a while disturbs both of a pair. Every measurement starts its server anew.

use std::io::{self, Error};
use std::time::Duration;

use crate::amid::Amid;
use crate::args::Args;
use crate::foreign::{self, Foreign};
use crate::measure::{float, peak_rss, percentile};
use crate::restart;
use crate::runs;
use crate::server::{Server, Servers, Setup, Who};
use crate::table::{Row, Target, Unit};

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    FullLoad {
        listeners: usize,
        lines: u64,
    },
    OneLine {
        listeners: usize,
        lines: u64,
    },
    Paced {
        listeners: usize,
        lines: u64,
        tick: Duration,
    },
    AllTalk {
        sessions: usize,
        lines: u64,
    },
    Idle {
        sessions: usize,
    },
    Storm {
        sessions: usize,
    },
    /// The CPU time of the server for each who comes, TLS and all.
    Handshakes {
        sessions: usize,
    },
    Restart {
        sessions: usize,
    },
}

/// Which others are measured beside the floor and chatd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    Never,
    /// Redis, always; the rest, if others are asked for.
    Redis,
    /// All, if others are asked for.
    Asked,
}

/// What chatd is held against, in the same round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Floor,
    /// Chatd, with everybody in `plain`.
    Plain,
    /// Chatd, when nothing else happens and nobody else is connected.
    Calm,
    /// Chatd, with so many receivers and as many deliveries.
    Crowd(usize),
    /// As many chatd as there are nodes, side by side without an engine: each has the receivers of a node, and the same
    /// lines.
    Apart(usize),
    /// The floor, and of both how many times as much a delivery costs as with so many receivers.
    Growth(usize),
    Nothing,
}

/// How many rounds a case takes of those asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounds {
    All,
    /// More, of short runs: the median of many pairs is steadier than that of a few long ones.
    Thrice,
    /// Twice as many, less one: with an odd number the median is one of them.
    Twice,
    /// No more than this, because a run takes long or hardly varies.
    Most(usize),
}

/// Somebody else to measure, and whether it has not failed yet.
type Other = (&'static Foreign, bool);

/// One case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
    pub(crate) setup: Setup,
    pub(crate) base: Base,
    /// What else happens meanwhile.
    pub(crate) amid: Amid,
    /// The length of a line, with its end.
    pub(crate) line: usize,
    pub(crate) rounds: Rounds,
    pub(crate) others: Others,
    /// What is measured, and the target for it.
    pub(crate) rows: &'static [(&'static str, Unit, Target)],
}

impl Case {
    /// Measures it: one row for each thing measured.
    pub(crate) fn measure(&self, args: &Args) -> io::Result<Vec<Row>> {
        let mut others = self.others(args);
        let mut rows: Vec<Row> = self.rows.iter().map(|row| self.row(*row, &others)).collect();
        let rounds = match self.rounds {
            Rounds::All => args.rounds(),
            Rounds::Thrice => args.rounds() * 3,
            Rounds::Twice => args.rounds() * 2 - 1,
            Rounds::Most(most) => args.rounds().min(most),
        };
        for round in 0..rounds {
            if let Some((who, run, amid)) = self.base(&args.server) {
                add(&mut rows, self.once(&who, run, amid)?, |row| &mut row.base);
            }
            let chatd = set_up(&args.server, self.setup);
            add(&mut rows, self.once(&chatd, self.run, self.amid)?, |row| &mut row.chatd);
            for (place, other) in others.iter_mut().enumerate() {
                // Some take a hundred times as long.
                let is_enough = self.rounds == Rounds::Thrice && round >= args.rounds();
                if !other.1 || is_enough {
                    continue;
                }
                match self.once(&Who::Foreign(other.0), self.run, self.amid) {
                    Ok(values) => add(&mut rows, values, |row| &mut row.others[place].1),
                    Err(error) => {
                        // The benchmark is not about it.
                        eprintln!("bench: {error}");
                        other.1 = false;
                    }
                }
            }
        }
        Ok(rows)
    }

    fn row(&self, (what, unit, target): (&'static str, Unit, Target), others: &[Other]) -> Row {
        let others = others.iter().map(|(foreign, _)| (foreign.name, Vec::new())).collect();
        Row { case: self.name.to_owned(), what, unit, target, base: Vec::new(), chatd: Vec::new(), others }
    }

    /// What is measured first in each round.
    fn base(&self, server: &Who) -> Option<(Who, Run, Amid)> {
        let same = set_up(server, self.setup);
        Some(match self.base {
            Base::Nothing => return None,
            Base::Floor | Base::Growth(_) => (Who::Floor { tls: self.setup.tls }, self.run, self.amid),
            Base::Plain => (set_up(server, Setup::PLAIN), self.run, self.amid),
            Base::Crowd(listeners) => (same, self.run.to(listeners), self.amid),
            Base::Apart(nodes) => {
                let setup = Setup { servers: Servers::Apart(nodes), ..self.setup };
                (set_up(server, setup), self.run, self.amid)
            }
            Base::Calm => (same, self.run, Amid::Calm),
        })
    }

    /// Those that are asked for, are there, and can take so many.
    fn others(&self, args: &Args) -> Vec<Other> {
        let is_asked = |foreign: &Foreign| match self.others {
            Others::Never => false,
            Others::Redis => args.others || foreign.name == foreign::REDIS.name,
            Others::Asked => args.others,
        };
        let mut others = foreign::ALL.to_vec();
        others
            .retain(|foreign| is_asked(foreign) && self.run.sessions() <= foreign.most && foreign.is_there());
        others.into_iter().map(|foreign| (foreign, true)).collect()
    }

    /// Measures one server once, or twice for its growth: one value for each row.
    fn once(&self, who: &Who, run: Run, amid: Amid) -> io::Result<Vec<f64>> {
        let fail = |error| Error::other(format!("{}, {}: {error}", self.name, who.name()));
        if let Run::Restart { sessions } = run {
            return Ok(vec![restart::pause(sessions).map_err(fail)?]);
        }
        let values = |run: Run| run.values(&who.start(self.line).map_err(fail)?, amid).map_err(fail);
        let Base::Growth(few) = self.base else { return values(run) };
        let (few, many) = (values(run.to(few))?, values(run)?);
        Ok(vec![many[0] / few[0]])
    }
}

/// The same server, with that asked of it.
fn set_up(server: &Who, setup: Setup) -> Who {
    match server {
        Who::Chatd(path, _) => Who::Chatd(path.clone(), setup),
        Who::Floor { .. } => Who::Floor { tls: setup.tls },
        other => other.clone(),
    }
}

impl Run {
    /// The same number of deliveries, to so many.
    fn to(self, few: usize) -> Self {
        match self {
            Self::FullLoad { listeners, lines } => {
                Self::FullLoad { listeners: few, lines: lines * listeners as u64 / few as u64 }
            }
            other => other,
        }
    }

    /// How many are connected.
    fn sessions(self) -> usize {
        match self {
            Self::FullLoad { listeners, .. }
            | Self::OneLine { listeners, .. }
            | Self::Paced { listeners, .. } => listeners + 1,
            Self::AllTalk { sessions, .. }
            | Self::Idle { sessions }
            | Self::Storm { sessions }
            | Self::Handshakes { sessions }
            | Self::Restart { sessions } => sessions,
        }
    }

    fn values(self, server: &Server, amid: Amid) -> io::Result<Vec<f64>> {
        let cost = match self {
            Run::FullLoad { listeners, lines } => runs::full_load(server, listeners, lines, amid)?,
            Run::OneLine { listeners, lines } => runs::one_line(server, listeners, lines, amid)?,
            Run::AllTalk { sessions, lines } => runs::all_talk(server, sessions, lines)?,
            Run::Paced { listeners, lines, tick } => {
                let mut took = runs::paced(server, listeners, lines, tick, amid)?;
                return Ok([50, 99].map(|percent| float(percentile(&mut took, percent))).to_vec());
            }
            Run::Idle { sessions } => {
                let (empty, each) = runs::idle(server, sessions)?;
                return Ok(vec![each, empty]);
            }
            // Several servers take part in it.
            Run::Restart { .. } => return Err(Error::other("a restart is not measured on one server")),
            Run::Handshakes { sessions } => return Ok(vec![runs::handshakes(server, sessions)?]),
            Run::Storm { sessions } => {
                let (wall, refused) = runs::storm(server, sessions)?;
                return Ok(vec![wall, refused]);
            }
        };
        Ok(vec![cost.cpu, cost.wall, float(peak_rss(server.pid())?), cost.cpu_byte])
    }
}

fn add(rows: &mut [Row], values: Vec<f64>, column: impl Fn(&mut Row) -> &mut Vec<f64>) {
    for (row, value) in rows.iter_mut().zip(values) {
        column(row).push(value);
    }
}
