//! The command line of the benchmark, after `cargo bench --`.
//!
//! Few options, so they are read by hand; `--bench`, which cargo adds, means nothing.

use std::path::PathBuf;

use crate::server::{Setup, Who};

pub(crate) const HELP: &str = "\
usage: cargo bench [-- [SUBSTRING...] [OPTION...]]

Compares chatd with the floor: the least relay that one thread can do. Measures
the cases whose name contains one of the SUBSTRINGs, or all of them.

  --rounds N      so many pairs of floor and chatd [default: 5]; short cases
                  take three times as many, long ones fewer
  --server PATH   measure this chatd instead of the one just built
  --server floor  measure the floor against itself: the ratios show the noise
  --others        measure redis, nats, ngircd and ncat too: those that are installed,
                  in the cases that they can take
  --assert        exit with 1 if a target is missed, or could not be measured
  --list          print the names of the cases
";

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Args {
    pub(crate) only: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) server: Who,
    pub(crate) others: bool,
    pub(crate) assert: bool,
    pub(crate) list: bool,
    pub(crate) help: bool,
    /// Be the floor.
    pub(crate) floor: bool,
}

impl Args {
    /// Reads the words after the program's name; in the error, what is wrong with them.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            only: Vec::new(),
            rounds: 5,
            server: Who::Chatd(env!("CARGO_BIN_EXE_chatd").into(), Setup::PLAIN),
            others: false,
            assert: false,
            list: false,
            help: false,
            floor: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--bench" => {}
                "--others" => args.others = true,
                "--assert" => args.assert = true,
                "--list" => args.list = true,
                "--help" | "-h" => args.help = true,
                crate::server::FLOOR_ARGUMENT => args.floor = true,
                "--rounds" => {
                    let number = words.next().and_then(|word| word.parse().ok()).filter(|rounds| *rounds > 0);
                    args.rounds = number.ok_or("--rounds takes a number above 0")?;
                }
                "--server" => {
                    args.server = match words.next().ok_or("--server takes a path, or floor")? {
                        word if word == "floor" => Who::Floor,
                        path => Who::Chatd(PathBuf::from(path), Setup::PLAIN),
                    };
                }
                option if option.starts_with('-') => {
                    return Err(format!("{option} is not known; try --help"));
                }
                _ => args.only.push(word),
            }
        }
        Ok(args)
    }

    /// Says whether a case is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}
