//! The cases: which run, with how many, and the targets for chatd in it. `case` measures them.

use std::time::Duration;

use crate::amid::Amid;
use crate::case::{Base, Case, Others, Rounds, Run};
use crate::server::{LINE, Servers, Setup, Shown};
use crate::table::{Target, Unit};

/// As many sessions as a process with 20,000 descriptors can have with room to spare, and as many as
/// chatd admits by default.
const MANY: usize = 9_990;
/// Rooms beside the one that is measured, and the options that admit so many.
const ROOMS: usize = 9_999;
const ROOMY: &[&str] = &["--max-rooms", "10000", "--max-clients", "11000"];
/// The pause between two lines: 500 lines a second.
const TICK: Duration = Duration::from_millis(2);

/// What is measured, and the target for it.
type Rows = &'static [(&'static str, Unit, Target)];

pub(crate) const CPU: &str = "CPU/delivery";
pub(crate) const PAUSE: &str = "pause";
const WALL: (&str, Unit, Target) = ("wall", Unit::Time, Target::None);
const PEAK: (&str, Unit, Target) = ("peak RSS", Unit::Bytes, Target::None);
const FREE: Rows = &[(CPU, Unit::Time, Target::None), WALL, PEAK];
const FULL: Rows = &[(CPU, Unit::Time, Target::Ratio(1.10)), WALL, PEAK];
const FULL_THOUSAND: Rows = &[(CPU, Unit::Time, Target::Ratio(0.95)), WALL, PEAK];
const FULL_CROWD: Rows = &[(CPU, Unit::Time, Target::Ratio(0.90)), WALL, PEAK];
/// Most of the cost is what the kernel does with the bytes.
const LONG: Rows = &[(CPU, Unit::Time, Target::Ratio(1.15)), WALL, PEAK];
const ONE: Rows = &[(CPU, Unit::Time, Target::Ratio(1.05)), WALL, PEAK];
/// A line costs what its own room costs, however many others there are.
const ONE_ROOM: Rows = &[(CPU, Unit::Time, Target::Ratio(1.10)), WALL, PEAK];
/// A wait for those who do not read shows on the wall alone.
const STUCK: Rows =
    &[(CPU, Unit::Time, Target::Ratio(1.10)), ("wall", Unit::Time, Target::Ratio(1.20)), PEAK];
/// A scrape costs those who talk nothing: what it takes itself is in the CPU time.
const SCRAPED: Rows = &[(CPU, Unit::Time, Target::Ratio(1.03)), WALL, PEAK];
const ALL_TALK: Rows = &[(CPU, Unit::Time, Target::Ratio(1.00)), WALL, PEAK];
const FLAT: Rows = &[(CPU, Unit::Time, Target::Ratio(1.25))];
/// More sockets cost the kernel more for each of them, which is the floor's growth: chatd's is to be that.
const GROWTH: Rows = &[("growth", Unit::Times, Target::Ratio(1.10))];
const PACED: Rows =
    &[("latency p50", Unit::Time, Target::None), ("latency p99", Unit::Time, Target::Redis(1.0))];
/// A name makes a line a sixth longer, `json` makes it three times as long. At full load most of the cost is what the
/// kernel does with the bytes, so the target is about a byte. One line at a time costs the same whatever its length.
const NAMES: Rows = &[(CPU, Unit::Time, Target::Redis(1.0)), WALL, PEAK, NAMES_BYTE];
const NAMES_THOUSAND: Rows = &[(CPU, Unit::Time, Target::None), WALL, PEAK, NAMES_BYTE];
const NAMES_BYTE: (&str, Unit, Target) = ("CPU/byte", Unit::Time, Target::Ratio(1.15));
const JSON: Rows = &[(CPU, Unit::Time, Target::Redis(1.0)), WALL, PEAK, JSON_BYTE];
const JSON_THOUSAND: Rows = &[(CPU, Unit::Time, Target::None), WALL, PEAK, JSON_BYTE];
const JSON_BYTE: (&str, Unit, Target) = ("CPU/byte", Unit::Time, Target::Ratio(1.10));
const VIEWED_ONE: Rows = &[(CPU, Unit::Time, Target::Ratio(1.20)), WALL];
const DISTURBED: Rows =
    &[("latency p50", Unit::Time, Target::None), ("latency p99", Unit::Time, Target::Ratio(2.0))];
const KEPT: Rows = &[(CPU, Unit::Time, Target::Ratio(1.05)), WALL, PEAK];
/// A line of 64 bytes is an object of 190, which the kernel stores: to a hundred, that is a fifth of all work, on another
/// thread. So the target there is the time that it takes, with a processor to spare.
const ARCHIVED: Rows = &[(CPU, Unit::Time, Target::None), ("wall", Unit::Time, Target::Ratio(1.03)), PEAK];
const ARCHIVED_THOUSAND: Rows = &[(CPU, Unit::Time, Target::Ratio(1.03)), WALL, PEAK];
const KEPT_IDLE: Rows = &[("RSS/session", Unit::Bytes, Target::More(300.0)), NOBODY];
const KEPT_STORM: Rows =
    &[("wall", Unit::Time, Target::Ratio(1.2)), ("refused", Unit::Count, Target::Most(0.0))];
const NOBODY: (&str, Unit, Target) = ("RSS, nobody", Unit::Bytes, Target::Most(4.5 * 1_048_576.0));
const NAMED: Rows =
    &[("RSS/session", Unit::Bytes, Target::Most(1_300.0)), ("RSS, nobody", Unit::Bytes, Target::None)];
const IDLE: Rows = &[("RSS/session", Unit::Bytes, Target::Most(1_000.0)), NOBODY];
const STORM: Rows = &[WALL, ("refused", Unit::Count, Target::Most(0.0))];

/// The floor is a relay with rustls: so many handshakes a second on one core are a second through this.
const HANDSHAKES: Rows = &[("CPU/handshake", Unit::Time, Target::None)];
const SECURE: Rows = &[(CPU, Unit::Time, Target::Ratio(1.20)), WALL, PEAK];
const SECURE_ONE: Rows = &[(CPU, Unit::Time, Target::None), WALL];
const SECURE_IDLE: Rows =
    &[("RSS/session", Unit::Bytes, Target::Most(12.0 * 1_024.0)), ("RSS, nobody", Unit::Bytes, Target::None)];
const AMID_CROWDS: Rows =
    &[("latency p50", Unit::Time, Target::None), ("latency p99", Unit::Time, Target::None)];
const AMID_HANDSHAKES: Rows =
    &[("latency p50", Unit::Time, Target::None), ("latency p99", Unit::Time, Target::Ratio(3.0))];

/// What one line takes longer through the engine than without, and the most that a delivery costs.
const SHARED_PACED: Rows =
    &[("latency p50", Unit::Time, Target::More(600_000.0)), ("latency p99", Unit::Time, Target::Redis(2.0))];
const SHARED_FULL: Rows = &[(CPU, Unit::Time, Target::Ratio(1.20)), WALL, PEAK];
/// Half a million lines a second.
const SHARED_FAST: Rows = &[(CPU, Unit::Time, Target::None), ("wall", Unit::Time, Target::Most(2e9)), PEAK];

/// As shipped, beside the floor, when nothing else happens.
const fn plain(name: &'static str, run: Run, rows: Rows) -> Case {
    Case {
        name,
        run,
        setup: Setup::PLAIN,
        base: Base::Floor,
        amid: Amid::Calm,
        line: LINE,
        rounds: Rounds::All,
        others: Others::Never,
        rows,
    }
}

const fn full(name: &'static str, listeners: usize, lines: u64, rows: Rows) -> Case {
    let rounds = if listeners > 1_000 { Rounds::All } else { Rounds::Thrice };
    let others = if listeners == 100 { Others::Asked } else { Others::Never };
    Case { rounds, others, ..plain(name, Run::FullLoad { listeners, lines }, rows) }
}

/// Lines of other lengths.
const fn long(name: &'static str, line: usize, lines: u64) -> Case {
    Case { line, others: Others::Never, ..full(name, 100, lines, LONG) }
}

/// What a delivery costs does not depend on how many there are, but for what it costs the kernel.
const fn flat(name: &'static str, base: Base, listeners: usize, lines: u64) -> Case {
    let rows = if matches!(base, Base::Growth(_)) { GROWTH } else { FLAT };
    Case { base, others: Others::Never, ..full(name, listeners, lines, rows) }
}

const fn one_line(name: &'static str, rows: Rows) -> Case {
    let run = Run::OneLine { listeners: 100, lines: 1_000 };
    Case { rounds: Rounds::Thrice, ..plain(name, run, rows) }
}

const fn viewed(name: &'static str, shown: Shown, listeners: usize, lines: u64) -> Case {
    let rounds = if matches!(shown, Shown::Names) { Rounds::Thrice } else { Rounds::All };
    // With more receivers, redis takes minutes.
    let (rows, others) = match (shown, listeners) {
        (Shown::Json, 100) => (JSON, Others::Redis),
        (Shown::Json, _) => (JSON_THOUSAND, Others::Never),
        (_, 100) => (NAMES, Others::Redis),
        (..) => (NAMES_THOUSAND, Others::Never),
    };
    let setup = Setup::showing(shown);
    Case { setup, base: Base::Plain, rounds, others, ..full(name, listeners, lines, rows) }
}

const fn viewed_one(name: &'static str, shown: Shown) -> Case {
    let rounds = if matches!(shown, Shown::Names) { Rounds::Thrice } else { Rounds::All };
    Case { setup: Setup::showing(shown), base: Base::Plain, rounds, ..one_line(name, VIEWED_ONE) }
}

/// The same with connections that are kept for the next process, beside the same without.
const fn kept(name: &'static str, run: Run, rows: Rows) -> Case {
    let setup = Setup { keeps: true, ..Setup::PLAIN };
    Case { setup, base: Base::Plain, rounds: Rounds::Thrice, ..plain(name, run, rows) }
}

/// The same with an archive, beside the same without.
const fn archived(name: &'static str, listeners: usize, lines: u64, rows: Rows) -> Case {
    let setup = Setup { archives: true, ..Setup::PLAIN };
    let run = Run::FullLoad { listeners, lines };
    Case { setup, base: Base::Plain, rounds: Rounds::Thrice, ..plain(name, run, rows) }
}

/// A line at each tick to a hundred who see it in all three views.
const fn disturbed(name: &'static str, amid: Amid, options: &'static [&'static str]) -> Case {
    let run = Run::Paced { listeners: 100, lines: 2_000, tick: TICK };
    let setup = Setup { options, ..Setup::showing(Shown::Thirds) };
    Case { setup, base: Base::Calm, amid, ..plain(name, run, DISTURBED) }
}

/// Several nodes at one engine.
const fn shared(name: &'static str, nodes: usize, run: Run, rows: Rows) -> Case {
    let setup = Setup { servers: Servers::Nodes(nodes), ..Setup::PLAIN };
    Case { setup, base: Base::Apart(nodes), ..plain(name, run, rows) }
}

/// With TLS, in user space where the kernel has none.
const fn secure(name: &'static str, run: Run, rows: Rows) -> Case {
    let setup = Setup { tls: true, ..Setup::PLAIN };
    Case { setup, ..plain(name, run, rows) }
}

/// With a service manager that keeps connections: nobody hears anything until the next process goes on.
const fn restart(name: &'static str, sessions: usize) -> Case {
    let rows = &[(PAUSE, Unit::Time, Target::None)];
    Case { base: Base::Nothing, rounds: Rounds::Thrice, ..plain(name, Run::Restart { sessions }, rows) }
}

/// All of them, in the order in which they are measured.
pub(crate) const CASES: &[Case] = &[
    full("full load, 10 receivers", 10, 500_000, FREE),
    full("full load, 100 receivers", 100, 100_000, FULL),
    full("full load, 1,000 receivers", 1_000, 10_000, FULL_THOUSAND),
    full("full load, 9,900 receivers", 9_900, 2_000, FULL_CROWD),
    long("1 KiB lines, 100 receivers", 1_024, 20_000),
    long("8 KiB lines, 100 receivers", 8_192, 3_000),
    flat("10 beside 100 receivers", Base::Crowd(100), 10, 2_000_000),
    flat("100 beside 10 receivers", Base::Growth(10), 100, 200_000),
    flat("1,000 beside 100 receivers", Base::Growth(100), 1_000, 10_000),
    flat("9,900 beside 100 receivers", Base::Growth(100), 9_900, 2_000),
    Case { others: Others::Asked, ..one_line("one line, 100 receivers", ONE) },
    Case {
        setup: Setup { options: ROOMY, ..Setup::PLAIN },
        base: Base::Calm,
        amid: Amid::Rooms(ROOMS),
        rounds: Rounds::Twice,
        ..one_line("one line, 10,000 rooms", ONE_ROOM)
    },
    Case {
        rounds: Rounds::Twice,
        others: Others::Redis,
        ..plain("500 lines/s, 100 receivers", Run::Paced { listeners: 100, lines: 1_000, tick: TICK }, PACED)
    },
    plain("all talk, 50 sessions", Run::AllTalk { sessions: 50, lines: 1_000 }, ALL_TALK),
    Case {
        base: Base::Nothing,
        rounds: Rounds::Most(3),
        others: Others::Asked,
        ..plain("idle, 9,990 sessions", Run::Idle { sessions: MANY }, IDLE)
    },
    plain("storm, 9,990 at once", Run::Storm { sessions: MANY }, STORM),
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
        base: Base::Calm,
        amid: Amid::Stuck(200),
        others: Others::Never,
        ..full("amid 200 that read nothing", 100, 100_000, STUCK)
    },
    Case {
        setup: Setup { metrics: true, ..Setup::PLAIN },
        base: Base::Calm,
        amid: Amid::Scrapes,
        others: Others::Never,
        ..full("amid 10 scrapes/s", 100, 1_000_000, SCRAPED)
    },
    Case {
        setup: Setup::showing(Shown::Named),
        base: Base::Nothing,
        rounds: Rounds::Most(3),
        ..plain("idle, 9,990 with names", Run::Idle { sessions: MANY }, NAMED)
    },
    archived("archived, 100 receivers", 100, 100_000, ARCHIVED),
    archived("archived, 1,000 receivers", 1_000, 10_000, ARCHIVED_THOUSAND),
    kept("kept, 100 receivers", Run::FullLoad { listeners: 100, lines: 100_000 }, KEPT),
    kept("kept, 1,000 receivers", Run::FullLoad { listeners: 1_000, lines: 10_000 }, KEPT),
    Case { rounds: Rounds::Most(3), ..kept("kept, 9,990 idle", Run::Idle { sessions: MANY }, KEPT_IDLE) },
    Case { rounds: Rounds::All, ..kept("kept, 9,990 at once", Run::Storm { sessions: MANY }, KEPT_STORM) },
    Case {
        setup: Setup::showing(Shown::Apart),
        base: Base::Calm,
        amid: Amid::Crowds(1_000),
        ..plain("amid 1,000 at once", Run::Paced { listeners: 100, lines: 2_000, tick: TICK }, AMID_CROWDS)
    },
    secure("TLS, 1,000 handshakes", Run::Handshakes { sessions: 1_000 }, HANDSHAKES),
    secure("TLS, 100 receivers", Run::FullLoad { listeners: 100, lines: 20_000 }, SECURE),
    secure("TLS, one line", Run::OneLine { listeners: 100, lines: 1_000 }, SECURE_ONE),
    Case {
        // Otherwise those who come would hear the lines, which is not what is measured.
        setup: Setup { tls: true, ..Setup::showing(Shown::Apart) },
        base: Base::Calm,
        amid: Amid::Crowds(1_000),
        ..secure(
            "TLS, amid 1,000 at once",
            Run::Paced { listeners: 100, lines: 2_000, tick: TICK },
            AMID_HANDSHAKES,
        )
    },
    Case {
        base: Base::Nothing,
        rounds: Rounds::Most(3),
        ..secure("TLS, idle, 1,000 sessions", Run::Idle { sessions: 1_000 }, SECURE_IDLE)
    },
    Case {
        rounds: Rounds::Twice,
        others: Others::Redis,
        base: Base::Plain,
        ..shared(
            "2 nodes, 500 lines/s, 100",
            2,
            Run::Paced { listeners: 100, lines: 1_000, tick: TICK },
            SHARED_PACED,
        )
    },
    shared("2 nodes, full load, 200", 2, Run::FullLoad { listeners: 200, lines: 200_000 }, SHARED_FULL),
    shared("2 nodes, full load, 2", 2, Run::FullLoad { listeners: 2, lines: 1_000_000 }, SHARED_FAST),
    shared("2 nodes, full load, 2,000", 2, Run::FullLoad { listeners: 2_000, lines: 40_000 }, SHARED_FULL),
    shared("3 nodes, full load, 9,000", 3, Run::FullLoad { listeners: 9_000, lines: 16_000 }, SHARED_FULL),
    restart("restart, 10 connections", 10),
    restart("restart, 100 connections", 100),
    restart("restart, 1,000 connections", 1_000),
    restart("restart, 3,000 connections", 3_000),
    restart("restart, 9,000 connections", 9_000),
];
