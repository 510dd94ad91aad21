//! `cargo bench`: what chatd costs, beside the least that any relay would cost on the same machine.
//!
//! Absolute numbers differ from machine to machine and from hour to hour; the ratio to the floor, measured in
//! the same minute, hardly does. So that is what the targets are about. `cargo bench -- --help` has
//! the options; `cases` has the list of cases and targets, `floor` says what the floor is.
//!
//! `cargo bench -- --others` measures redis, nats, ngircd and ncat as well, where they are installed (`apt install
//! redis-server nats-server ngircd ncat`): at full load, with one line at a time, with 500 lines a second, and idle.
//! `foreign` says how. With `--plot DIR` the figures that README.md shows are drawn from what was measured:
//! `cargo bench -- --others --plot docs "load, 100" "one line, 100" restart` makes those that are there. Redis alone is always measured where a target is about it; without it the last line says
//! that this target is unmeasured.

#[path = "chatd/amid.rs"]
mod amid;
#[path = "chatd/args.rs"]
mod args;
#[path = "chatd/case.rs"]
mod case;
#[path = "chatd/cases.rs"]
mod cases;
#[path = "chatd/cluster.rs"]
mod cluster;
#[path = "chatd/floor.rs"]
mod floor;
#[path = "chatd/foreign.rs"]
mod foreign;
#[path = "chatd/load.rs"]
mod load;
#[path = "chatd/measure.rs"]
mod measure;
#[path = "chatd/plot.rs"]
mod plot;
#[path = "chatd/restart.rs"]
mod restart;
#[path = "chatd/runs.rs"]
mod runs;
#[path = "chatd/secure.rs"]
mod secure;
#[path = "chatd/server.rs"]
mod server;
#[path = "chatd/table.rs"]
mod table;

// The service manager of the tests, and what it needs.
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../tests/manager.rs"]
mod manager;
#[allow(dead_code, unused_imports, clippy::unwrap_used)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::Args;
use cases::CASES;
use table::Tally;

/// How many CPUs other processes may use before the table says so.
const QUIET: f64 = 0.1;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(met) if met || !args.assert => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked for. Returns whether all targets were measured and are met.
fn run(args: &Args) -> io::Result<bool> {
    if args.list {
        CASES.iter().for_each(|case| println!("{}", case.name));
        return Ok(true);
    }
    if args.floor {
        return floor::serve(args.identity.as_deref()).map(|()| true);
    }
    if !CASES.iter().any(|case| args.wants(case.name)) {
        return Err(io::Error::other("no case has such a name; --list has them"));
    }
    load::raise_descriptors()?;
    table::head(&intro(args));
    let neighbours = measure::Neighbours::watch()?;
    let (mut tally, mut rows) = (Tally::default(), Vec::new());
    for case in CASES.iter().filter(|case| args.wants(case.name)) {
        for row in case.measure(args)? {
            row.print(&mut tally);
            rows.push(row);
        }
    }
    if let Some(folder) = &args.plot {
        plot::write(folder, &rows, &plot::about(args.rounds()))?;
    }
    let busy = neighbours.busy()?;
    if busy > QUIET {
        println!("\nother processes kept {busy:.2} CPUs busy meanwhile: do not trust the times");
    }
    println!("\n{}", tally.summary(CASES.iter().all(|case| args.wants(case.name))));
    Ok(tally.all_met())
}

fn intro(args: &Args) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {cpus} CPUs, --rounds {}; each number is the median, each ratio the median (min..max) of the \
         pairs.\nLines are 64 bytes unless the case says otherwise; CPU is the server's, for one line to one receiver.\n\
         The base is the floor. For a view it is chatd with everybody in plain; amid something, and with 10,000 rooms,\n\
         it is chatd without that; for 10 beside 100 receivers it is chatd with 100. For nodes it is as many chatd side by side,\n\
         without an engine. With TLS the floor speaks it, too, with rustls in user space.\n\
         A growth is how many times as much a delivery costs as with fewer receivers. More sockets cost the kernel more,\n\
         so its base is the floor's growth. A line in json is three times as long, and at full load most of its cost is\n\
         what the kernel does with the bytes. The rows for a byte show what chatd adds.",
        kernel.trim(),
        args.rounds()
    )
}
