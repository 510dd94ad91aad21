//! The command line of the benchmark, after `cargo bench --`.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;

use crate::server::{Setup, Who};

/// Compares chatd with the floor: the least relay that one thread can do.
#[derive(Debug, Clone, Parser)]
#[command(bin_name = "cargo bench --", max_term_width = 100)]
pub(crate) struct Args {
    /// Measure the cases whose name contains one of these; all of them without any
    #[arg(value_name = "SUBSTRING")]
    only: Vec<String>,
    /// How many pairs of floor and chatd; short cases take three times as many, long ones fewer
    #[arg(long, value_name = "N", default_value = "5")]
    rounds: NonZeroUsize,
    /// Measure this chatd instead of the one just built; `floor` measures the floor against itself: the ratios
    /// show the noise
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_chatd"), hide_default_value = true)]
    #[arg(value_parser = server)]
    pub(crate) server: Who,
    /// Measure redis, nats, ngircd and ncat too: those that are installed, in the cases that they can take
    #[arg(long)]
    pub(crate) others: bool,
    /// Write plots of what was measured to this folder: cpu.svg (with --others) and restart.svg
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
    /// Exit with 1 if a target is missed, or could not be measured
    #[arg(long)]
    pub(crate) assert: bool,
    /// Print the names of the cases
    #[arg(long)]
    pub(crate) list: bool,
    /// Be the floor.
    #[arg(long = crate::server::FLOOR_OPTION, hide = true)]
    pub(crate) floor: bool,
    /// Be the floor with TLS: the folder with its certificate.
    #[arg(long = crate::server::IDENTITY_OPTION, hide = true)]
    pub(crate) identity: Option<PathBuf>,
    /// What cargo adds.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Args {
    /// How many rounds are asked for: at least one.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.get()
    }

    /// Returns whether a case is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

fn server(word: &str) -> Result<Who, Infallible> {
    Ok(if word == "floor" { Who::Floor { tls: false } } else { Who::Chatd(word.into(), Setup::PLAIN) })
}
