//! The table: what was measured, one row for each thing, and whether it is what was asked for.
//!
//! A row is printed as soon as it is known, so the widths are fixed. Nothing here measures.

use crate::measure::Spread;

/// What kind of number a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Time,
    Bytes,
    Count,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    None,
    /// Not more than so many times the base.
    Ratio(f64),
    /// Not more than this.
    Most(f64),
    /// Not more than so much more than the base.
    More(f64),
    /// Not more than redis in the same rounds.
    Redis,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
    /// What chatd is held against, one value for each round: the floor, unless the case says otherwise.
    pub(crate) base: Vec<f64>,
    pub(crate) chatd: Vec<f64>,
    /// Others in the same rounds, by name.
    pub(crate) others: Vec<(&'static str, Vec<f64>)>,
}

/// Prints what is above all rows.
pub(crate) fn head(intro: &str) {
    println!("{intro}\n");
    let line = format!(
        "{:<29} {:<16} {:>9} {:>9}  {:<19} {:<20} {}",
        "case", "", "base", "chatd", "chatd/base", "target", "others"
    );
    println!("{line}\n{}", "-".repeat(line.len() + 8));
}

impl Row {
    /// The ratio of each pair.
    fn ratios(&self) -> Vec<f64> {
        let pairs = self.base.iter().zip(&self.chatd).filter(|(base, _)| **base > 0.0);
        pairs.map(|(base, chatd)| chatd / base).collect()
    }

    fn redis(&self) -> Option<f64> {
        let (_, values) = self.others.iter().find(|(name, _)| *name == "redis")?;
        Some(Spread::of(values)?.median)
    }

    /// The target in words and whether it is met; `None` if there is none, or nothing to hold it against.
    fn verdict(&self) -> Option<(String, bool)> {
        let chatd = Spread::of(&self.chatd)?.median;
        match self.target {
            Target::None => None,
            Target::Ratio(most) => {
                let ratio = Spread::of(&self.ratios())?.median;
                Some((format!("<= {most:.2}"), ratio <= most))
            }
            Target::More(most) => {
                let more = chatd - Spread::of(&self.base)?.median;
                Some((format!("<= base + {}", show(self.unit, most)), more <= most))
            }
            Target::Most(most) => Some((format!("<= {}", show(self.unit, most)), chatd <= most)),
            Target::Redis => {
                let redis = self.redis()?;
                Some((format!("<= redis {}", show(self.unit, redis)), chatd <= redis))
            }
        }
    }

    /// Prints it, and says whether its target is met.
    pub(crate) fn print(&self) -> bool {
        let median = |values: &[f64]| {
            Spread::of(values).map_or_else(String::new, |spread| show(self.unit, spread.median))
        };
        let ratio = Spread::of(&self.ratios()).map_or_else(String::new, |ratio| {
            format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.min, ratio.max)
        });
        let verdict = self.verdict();
        let target = verdict.as_ref().map_or_else(String::new, |(target, met)| {
            format!("{target} {}", if *met { "ok" } else { "OVER" })
        });
        let others: Vec<String> =
            self.others.iter().map(|(name, values)| format!("{name} {}", median(values))).collect();
        let line = format!(
            "{:<29} {:<16} {:>9} {:>9}  {ratio:<19} {target:<20} {}",
            self.case,
            self.what,
            median(&self.base),
            median(&self.chatd),
            others.join(", ")
        );
        println!("{}", line.trim_end());
        verdict.is_none_or(|(_, met)| met)
    }
}

/// A number as people read it.
fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => format!("{value:.0}"),
        Unit::Time if value < 1.0 => format!("{:.0} ps", value * 1e3),
        Unit::Time if value < 100.0 => format!("{value:.1} ns"),
        Unit::Time if value < 1e3 => format!("{value:.0} ns"),
        Unit::Time if value < 1e6 => format!("{:.2} us", value / 1e3),
        Unit::Time if value < 1e9 => format!("{:.1} ms", value / 1e6),
        Unit::Time => format!("{:.2} s", value / 1e9),
        Unit::Bytes if value < 10_240.0 => format!("{value:.0} B"),
        Unit::Bytes => format!("{:.1} MiB", value / 1_048_576.0),
    }
}
