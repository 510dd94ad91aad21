//! The cases: which run, with how many, and what is asked of chatd in it.
//!
//! A case is measured in rounds: in each round its base, then chatd, then the others if any, so that what
//! disturbs a machine for a while disturbs both of a pair. Every measurement starts its server anew.

use std::io::{self, Error};
use std::time::Duration;

use crate::args::Args;
use crate::foreign::{self, Foreign};
use crate::measure::{float, peak_rss, percentile};
use crate::runs::{self, Amid};
use crate::server::{Server, Setup, Shown, Who};
use crate::table::{Row, Target, Unit};

/// As many sessions as a process with 20,000 descriptors can have with room to spare, and as many as
/// chatd admits by default.
const MANY: usize = 9_990;

/// What is run.
#[derive(Debug, Clone, Copy)]
enum Run {
    FullLoad { listeners: usize, lines: u64 },
    OneLine { listeners: usize, lines: u64 },
    Paced { listeners: usize, lines: u64, tick: Duration, amid: Amid },
    AllTalk { sessions: usize, lines: u64 },
    Idle { sessions: usize },
    Storm { sessions: usize },
}

/// Which others are measured beside the floor and chatd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Never,
    /// Redis, always; the rest, if others are asked for.
    Redis,
    /// All, if others are asked for.
    Asked,
}

/// What chatd is held against, in the same round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Floor,
    /// Chatd, with everybody in `plain`.
    Plain,
    /// Chatd, when nothing else happens.
    Calm,
    /// Chatd, with so many receivers and as many deliveries.
    Crowd(usize),
    /// The floor, and of both how many times as much a delivery costs as with so many receivers.
    Growth(usize),
    Nothing,
}

/// How many rounds a case takes of those asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounds {
    All,
    /// More, of short runs: the median of many pairs is steadier than that of a few long ones.
    Thrice,
    /// No more than this, because a run takes long or hardly varies.
    Most(usize),
}

/// Somebody else to measure, and whether it has not failed yet.
type Other = (&'static Foreign, bool);

/// One case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    run: Run,
    setup: Setup,
    base: Base,
    rounds: Rounds,
    others: Others,
    /// What is measured, and the target for it.
    rows: &'static [(&'static str, Unit, Target)],
}

const CPU: &str = "CPU/delivery";
const WALL: (&str, Unit, Target) = ("wall", Unit::Time, Target::None);
const PEAK: (&str, Unit, Target) = ("peak RSS", Unit::Bytes, Target::None);
const FREE: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::None), WALL, PEAK];
const FULL: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::Ratio(1.10)), WALL, PEAK];
const ONE: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::Ratio(1.15)), WALL, PEAK];
/// So many sockets are more than the caches hold, and the floor itself costs up to twice as much there.
const CROWD: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::Ratio(1.20)), WALL, PEAK];
const FLAT: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::Ratio(1.25))];
/// More sockets cost the kernel more for each of them, which is the floor's growth: chatd's is to be that.
const GROWTH: &[(&str, Unit, Target)] = &[("growth", Unit::Times, Target::Ratio(1.10))];
const PACED: &[(&str, Unit, Target)] =
    &[("latency p50", Unit::Time, Target::None), ("latency p99", Unit::Time, Target::Redis)];
const CPU_BYTE: (&str, Unit, Target) = ("CPU/byte", Unit::Time, Target::Ratio(1.20));
/// A name makes a line a sixth longer, `json` three times as long. At full load nearly all of the cost is the kernel's
/// and grows with the bytes, and what chatd adds shows in the row for those; of one line it hardly depends on them.
const VIEWED: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::Ratio(1.20)), WALL, PEAK, CPU_BYTE];
const VIEWED_ONE: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::Ratio(1.20)), WALL];
const DISTURBED: &[(&str, Unit, Target)] =
    &[("latency p50", Unit::Time, Target::None), ("latency p99", Unit::Time, Target::Ratio(2.0))];
const KEPT: &[(&str, Unit, Target)] = &[(CPU, Unit::Time, Target::Ratio(1.05)), WALL, PEAK];
const KEPT_IDLE: &[(&str, Unit, Target)] = &[
    ("RSS/session", Unit::Bytes, Target::More(300.0)),
    ("RSS, nobody", Unit::Bytes, Target::Most(5.0 * 1_048_576.0)),
];
const KEPT_STORM: &[(&str, Unit, Target)] =
    &[("wall", Unit::Time, Target::Ratio(1.2)), ("refused", Unit::Count, Target::Most(0.0))];
const NAMED: &[(&str, Unit, Target)] =
    &[("RSS/session", Unit::Bytes, Target::Most(2_048.0)), ("RSS, nobody", Unit::Bytes, Target::None)];
const IDLE: &[(&str, Unit, Target)] = &[
    ("RSS/session", Unit::Bytes, Target::Most(1_536.0)),
    ("RSS, nobody", Unit::Bytes, Target::Most(5.0 * 1_048_576.0)),
];
const STORM: &[(&str, Unit, Target)] = &[WALL, ("refused", Unit::Count, Target::Most(0.0))];

const fn full(
    name: &'static str,
    listeners: usize,
    lines: u64,
    rows: &'static [(&str, Unit, Target)],
) -> Case {
    let rounds = if listeners > 1_000 { Rounds::All } else { Rounds::Thrice };
    let others = if listeners == 100 { Others::Asked } else { Others::Never };
    Case {
        name,
        run: Run::FullLoad { listeners, lines },
        setup: Setup::PLAIN,
        base: Base::Floor,
        rounds,
        others,
        rows,
    }
}

/// What a delivery costs does not depend on how many there are, but for what it costs the kernel.
const fn flat(name: &'static str, base: Base, listeners: usize, lines: u64) -> Case {
    let rows = if matches!(base, Base::Growth(_)) { GROWTH } else { FLAT };
    Case { base, others: Others::Never, ..full(name, listeners, lines, rows) }
}

const fn viewed(name: &'static str, shown: Shown, listeners: usize, lines: u64) -> Case {
    let rounds = if matches!(shown, Shown::Names) { Rounds::Thrice } else { Rounds::All };
    let setup = Setup::showing(shown);
    Case { setup, base: Base::Plain, rounds, others: Others::Never, ..full(name, listeners, lines, VIEWED) }
}

const fn viewed_one(name: &'static str, shown: Shown) -> Case {
    Case {
        run: Run::OneLine { listeners: 100, lines: 1_000 },
        rows: VIEWED_ONE,
        ..viewed(name, shown, 100, 0)
    }
}

/// The same with connections that are kept for the next process, beside the same without.
const fn kept(name: &'static str, run: Run, rows: &'static [(&str, Unit, Target)]) -> Case {
    Case {
        name,
        run,
        setup: Setup { keeps: true, ..Setup::PLAIN },
        base: Base::Plain,
        rounds: Rounds::Thrice,
        others: Others::Never,
        rows,
    }
}

/// A line each two milliseconds to a hundred who see it in all three views.
const fn disturbed(name: &'static str, amid: Amid, options: &'static [&'static str]) -> Case {
    Case {
        name,
        run: Run::Paced { listeners: 100, lines: 2_000, tick: Duration::from_millis(2), amid },
        setup: Setup { shown: Shown::Thirds, options, keeps: false },
        base: Base::Calm,
        rounds: Rounds::All,
        others: Others::Never,
        rows: DISTURBED,
    }
}

/// All of them, in the order in which they are measured.
pub(crate) const CASES: &[Case] = &[
    full("full load, 10 receivers", 10, 500_000, FREE),
    full("full load, 100 receivers", 100, 100_000, FULL),
    full("full load, 1,000 receivers", 1_000, 10_000, FULL),
    full("full load, 9,900 receivers", 9_900, 2_000, CROWD),
    flat("10 beside 100 receivers", Base::Crowd(100), 10, 2_000_000),
    flat("100 beside 10 receivers", Base::Growth(10), 100, 200_000),
    flat("1,000 beside 100 receivers", Base::Growth(100), 1_000, 10_000),
    flat("9,900 beside 100 receivers", Base::Growth(100), 9_900, 2_000),
    Case {
        name: "one line, 100 receivers",
        run: Run::OneLine { listeners: 100, lines: 1_000 },
        setup: Setup::PLAIN,
        base: Base::Floor,
        rounds: Rounds::Thrice,
        others: Others::Asked,
        rows: ONE,
    },
    Case {
        name: "500 lines/s, 100 receivers",
        run: Run::Paced { listeners: 100, lines: 2_000, tick: Duration::from_millis(2), amid: Amid::Calm },
        setup: Setup::PLAIN,
        base: Base::Floor,
        rounds: Rounds::Most(3),
        others: Others::Redis,
        rows: PACED,
    },
    Case {
        name: "all talk, 50 sessions",
        run: Run::AllTalk { sessions: 50, lines: 1_000 },
        setup: Setup::PLAIN,
        base: Base::Floor,
        rounds: Rounds::All,
        others: Others::Never,
        rows: FREE,
    },
    Case {
        name: "idle, 9,990 sessions",
        run: Run::Idle { sessions: MANY },
        setup: Setup::PLAIN,
        base: Base::Nothing,
        rounds: Rounds::Most(3),
        others: Others::Asked,
        rows: IDLE,
    },
    Case {
        name: "storm, 9,990 at once",
        run: Run::Storm { sessions: MANY },
        setup: Setup::PLAIN,
        base: Base::Floor,
        rounds: Rounds::All,
        others: Others::Never,
        rows: STORM,
    },
    viewed("names, 100 receivers", Shown::Names, 100, 400_000),
    viewed("names, 1,000 receivers", Shown::Names, 1_000, 40_000),
    viewed("json, 100 receivers", Shown::Json, 100, 100_000),
    viewed("json, 1,000 receivers", Shown::Json, 1_000, 10_000),
    viewed("a third each, 100 receivers", Shown::Thirds, 100, 100_000),
    viewed("a third each, 1,000", Shown::Thirds, 1_000, 10_000),
    viewed_one("one line, names", Shown::Names),
    viewed_one("one line, json", Shown::Json),
    viewed_one("one line, a third each", Shown::Thirds),
    disturbed("amid 1,000 comings, goings/s", Amid::Comings, &[]),
    disturbed("amid a flood, --rate 600", Amid::Flood, &["--rate", "600"]),
    Case {
        name: "idle, 9,990 with names",
        run: Run::Idle { sessions: MANY },
        setup: Setup::showing(Shown::Named),
        base: Base::Nothing,
        rounds: Rounds::Most(3),
        others: Others::Never,
        rows: NAMED,
    },
    kept("kept, 100 receivers", Run::FullLoad { listeners: 100, lines: 100_000 }, KEPT),
    kept("kept, 1,000 receivers", Run::FullLoad { listeners: 1_000, lines: 10_000 }, KEPT),
    Case { rounds: Rounds::Most(3), ..kept("kept, 9,990 idle", Run::Idle { sessions: MANY }, KEPT_IDLE) },
    Case { rounds: Rounds::All, ..kept("kept, 9,990 at once", Run::Storm { sessions: MANY }, KEPT_STORM) },
];

impl Case {
    /// Measures it: one row for each thing measured.
    pub(crate) fn measure(&self, args: &Args) -> io::Result<Vec<Row>> {
        let mut others = self.others(args);
        let mut rows: Vec<Row> = self.rows.iter().map(|row| self.row(*row, &others)).collect();
        let rounds = match self.rounds {
            Rounds::All => args.rounds(),
            Rounds::Thrice => args.rounds() * 3,
            Rounds::Most(most) => args.rounds().min(most),
        };
        for round in 0..rounds {
            if let Some((who, run)) = self.base(&args.server) {
                add(&mut rows, self.once(&who, run)?, |row| &mut row.base);
            }
            add(&mut rows, self.once(&set_up(&args.server, self.setup), self.run)?, |row| &mut row.chatd);
            for (place, other) in others.iter_mut().enumerate() {
                // Some take a hundred times as long.
                if !other.1 || round >= args.rounds() {
                    continue;
                }
                match self.once(&Who::Foreign(other.0), self.run) {
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
    fn base(&self, server: &Who) -> Option<(Who, Run)> {
        match self.base {
            Base::Nothing => None,
            Base::Floor | Base::Growth(_) => Some((Who::Floor, self.run)),
            Base::Plain => Some((set_up(server, Setup::PLAIN), self.run)),
            Base::Crowd(listeners) => Some((set_up(server, self.setup), self.run.to(listeners))),
            Base::Calm => Some((set_up(server, self.setup), self.run.calm())),
        }
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
    fn once(&self, who: &Who, run: Run) -> io::Result<Vec<f64>> {
        let fail = |error| Error::other(format!("{}, {}: {error}", self.name, who.name()));
        let values = |run: Run| run.values(&who.start().map_err(fail)?).map_err(fail);
        let Base::Growth(few) = self.base else { return values(run) };
        let (few, many) = (values(run.to(few))?, values(run)?);
        Ok(vec![many[0] / few[0]])
    }
}

/// The same server, with that asked of it.
fn set_up(server: &Who, setup: Setup) -> Who {
    match server {
        Who::Chatd(path, _) => Who::Chatd(path.clone(), setup),
        other => other.clone(),
    }
}

impl Run {
    /// The same, when nothing else happens.
    fn calm(self) -> Self {
        match self {
            Self::Paced { listeners, lines, tick, .. } => {
                Self::Paced { listeners, lines, tick, amid: Amid::Calm }
            }
            other => other,
        }
    }

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
            Self::AllTalk { sessions, .. } | Self::Idle { sessions } | Self::Storm { sessions } => sessions,
        }
    }

    fn values(self, server: &Server) -> io::Result<Vec<f64>> {
        let cost = match self {
            Run::FullLoad { listeners, lines } => runs::full_load(server, listeners, lines)?,
            Run::OneLine { listeners, lines } => runs::one_line(server, listeners, lines)?,
            Run::AllTalk { sessions, lines } => runs::all_talk(server, sessions, lines)?,
            Run::Paced { listeners, lines, tick, amid } => {
                let mut took = runs::paced(server, listeners, lines, tick, amid)?;
                return Ok([50, 99].map(|percent| float(percentile(&mut took, percent))).to_vec());
            }
            Run::Idle { sessions } => {
                let (empty, each) = runs::idle(server, sessions)?;
                return Ok(vec![each, empty]);
            }
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
