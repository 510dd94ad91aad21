//! What is measured, and how: the CPU time and the memory of another process, and statistics.
//!
//! CPU time is the scheduler's, in nanoseconds, and includes what the kernel does for the process in its
//! system calls: for a relay that is nearly everything. `user + system` of proc_pid_stat(5) would be in
//! ticks of 10 ms, which is too coarse for runs of a second.

use std::fs;
use std::io;
use std::time::Instant;

/// CPU time of a process and all its threads, in nanoseconds.
pub(crate) fn cpu(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while this looks; then its share is lost.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        sum += number(text.split_whitespace().next())?;
    }
    Ok(sum)
}

/// Resident memory of a process, in bytes.
pub(crate) fn rss(pid: u32) -> io::Result<u64> {
    status(pid, "VmRSS:")
}

/// Memory of a process without its code, in bytes: that comes from a file, and grows with what runs, not with sessions.
pub(crate) fn own(pid: u32) -> io::Result<u64> {
    Ok(status(pid, "RssAnon:")? + status(pid, "RssShmem:")?)
}

/// The most resident memory that a process ever had, in bytes.
pub(crate) fn peak_rss(pid: u32) -> io::Result<u64> {
    status(pid, "VmHWM:")
}

/// How busy the machine is with something else.
pub(crate) struct Neighbours {
    /// CPU time of everything, and of this process and the children it has waited for, in ticks.
    before: (u64, u64),
    start: Instant,
}

/// Ticks in a second, in everything that /proc shows (`USER_HZ`).
const TICKS: f64 = 100.0;

impl Neighbours {
    pub(crate) fn watch() -> io::Result<Self> {
        Ok(Self { before: ticks()?, start: Instant::now() })
    }

    /// How many CPUs, on average, others have kept busy since.
    pub(crate) fn busy(&self) -> io::Result<f64> {
        let (all, own) = ticks()?;
        let others = (all - self.before.0).saturating_sub(own - self.before.1);
        Ok(float(others) / TICKS / self.start.elapsed().as_secs_f64())
    }
}

fn ticks() -> io::Result<(u64, u64)> {
    let sum = |words: &str, from: usize, count: usize| -> io::Result<u64> {
        words.split_whitespace().skip(from).take(count).map(|word| number(Some(word))).sum()
    };
    // The first line: "cpu", user, nice, system. What interrupts cost is nobody's.
    let all = sum(fs::read_to_string("/proc/stat")?.lines().next().unwrap_or_default(), 1, 3)?;
    // Behind the name: state and 10 more, then user and system, own and of the children.
    let stat = fs::read_to_string("/proc/self/stat")?;
    let own = sum(stat.rsplit_once(')').unwrap_or_default().1, 11, 4)?;
    Ok((all, own))
}

fn status(pid: u32, field: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    Ok(number(line.and_then(|line| line.split_whitespace().next()))? * 1024)
}

fn number(word: Option<&str>) -> io::Result<u64> {
    word.and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other("no number in /proc"))
}

/// A whole number as a measurement. Exact up to 2^53, which nothing here comes near.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Several measurements of the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without measurements.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Some(Self { median, min, max })
    }
}

/// The value that `percent` of the values do not exceed. Sorts them. 0 without values.
pub(crate) fn percentile(values: &mut [u64], percent: usize) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}
