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
    /// So many times as much.
    Times,
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
    /// Not more than so many times redis in the same rounds.
    Redis(f64),
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

    /// The target in words; `None` if there is none.
    fn target(&self) -> Option<String> {
        match self.target {
            Target::None => None,
            Target::Ratio(most) => Some(format!("<= {most:.2}")),
            Target::More(most) => Some(format!("<= base + {}", show(self.unit, most))),
            Target::Most(most) => Some(format!("<= {}", show(self.unit, most))),
            Target::Redis(times) => {
                let redis = self.redis().map_or_else(String::new, |redis| show(self.unit, redis));
                let times = if times == 1.0 { String::new() } else { format!("{times} x ") };
                Some(format!("<= {times}redis {redis}").trim_end().to_owned())
            }
        }
    }

    /// Whether the target is met; `None` if there is none, or nothing to hold it against.
    fn is_met(&self) -> Option<bool> {
        let chatd = Spread::of(&self.chatd)?.median;
        match self.target {
            Target::None => None,
            Target::Ratio(most) => Some(Spread::of(&self.ratios())?.median <= most),
            Target::More(most) => Some(chatd - Spread::of(&self.base)?.median <= most),
            Target::Most(most) => Some(chatd <= most),
            Target::Redis(times) => Some(chatd <= times * self.redis()?),
        }
    }

    /// Prints it, and counts its target.
    pub(crate) fn print(&self, tally: &mut Tally) {
        let median = |values: &[f64]| {
            Spread::of(values).map_or_else(String::new, |spread| show(self.unit, spread.median))
        };
        let ratio = Spread::of(&self.ratios()).map_or_else(String::new, |ratio| {
            format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.min, ratio.max)
        });
        let target = match self.target() {
            Some(target) => format!("{target} {}", tally.count(self.is_met())),
            None => String::new(),
        };
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
    }
}

/// What has become of the targets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    met: usize,
    over: usize,
    unmeasured: usize,
}

impl Tally {
    /// Counts one, and says it in a word.
    fn count(&mut self, is_met: Option<bool>) -> &'static str {
        let (count, word) = match is_met {
            Some(true) => (&mut self.met, "ok"),
            Some(false) => (&mut self.over, "OVER"),
            None => (&mut self.unmeasured, "UNMEASURED"),
        };
        *count += 1;
        word
    }

    /// Every target was measured, and met.
    pub(crate) fn all_met(&self) -> bool {
        self.over == 0 && self.unmeasured == 0
    }

    /// The last line; `of_all` says whether every case was measured.
    pub(crate) fn summary(&self, of_all: bool) -> String {
        match self {
            Self { met: 0, over: 0, unmeasured: 0 } => "no targets".to_owned(),
            Self { over: 0, unmeasured: 0, .. } if of_all => "all targets met".to_owned(),
            Self { met, over: 0, unmeasured: 0 } => format!("met: {met}; other cases were not asked for"),
            Self { met, over, unmeasured: 0 } => format!("OVER the target: {over}; met: {met}"),
            Self { met, over, unmeasured } => {
                format!("OVER the target: {over}; UNMEASURED, for that takes redis: {unmeasured}; met: {met}")
            }
        }
    }
}

/// A number as people read it.
pub(crate) fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => format!("{value:.0}"),
        Unit::Times => format!("{value:.2} x"),
        Unit::Time if value < 1.0 => format!("{:.0} ps", value * 1e3),
        Unit::Time if value < 100.0 => format!("{value:.1} ns"),
        Unit::Time if value < 1e3 => format!("{value:.0} ns"),
        Unit::Time if value < 1e6 => format!("{:.2} us", value / 1e3),
        Unit::Time if value < 1e9 => format!("{:.1} ms", value / 1e6),
        Unit::Time => format!("{:.2} s", value / 1e9),
        Unit::Bytes if value < 10_240.0 => format!("{value:.0} B"),
        Unit::Bytes if value < 1_048_576.0 => format!("{:.1} KiB", value / 1_024.0),
        Unit::Bytes => format!("{:.1} MiB", value / 1_048_576.0),
    }
}
