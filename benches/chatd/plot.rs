//! The plots: figures of the table as SVG files, for the README.
//!
//! A plot has panels, and a panel has bars that begin at 0, each with its figure beside it. The date and the kind of
//! machine are in the file. Nothing here measures.

use std::io;
use std::path::Path;

use crate::cases::{CPU, PAUSE};
use crate::measure::Spread;
use crate::table::{Row, Unit, show};

/// In pixels: the width of a plot, where its bars begin, and how long the longest is.
const WIDTH: f64 = 720.0;
const LEFT: f64 = 150.0;
const LONGEST: f64 = 330.0;
/// The height of a line of text, and of a bar.
const LINE: f64 = 22.0;
const BAR: f64 = 12.0;

const CHATD: &str = "#1f6feb";
const OTHER: &str = "#8c959f";

/// Bars with one scale.
struct Panel {
    title: String,
    unit: Unit,
    bars: Vec<Bar>,
}

struct Bar {
    label: String,
    colour: &'static str,
    spread: Spread,
}

impl Bar {
    /// `None` without measurements.
    fn of(label: &str, colour: &'static str, values: &[f64]) -> Option<Self> {
        Some(Self { label: label.to_owned(), colour, spread: Spread::of(values)? })
    }
}

/// Writes `cpu.svg` and `restart.svg` into an existing folder. Leaves out one of which nothing was measured. `about` says
/// when it was measured and on what kind of machine.
pub(crate) fn write(folder: &Path, rows: &[Row], about: &str) -> io::Result<()> {
    let compared = rows.iter().filter(|row| row.what == CPU && row.others.len() > 1);
    let cpu: Vec<Panel> = compared.map(servers).collect();
    save(
        &folder.join("cpu.svg"),
        "CPU time of the server for one line of 64 bytes to one receiver",
        about,
        &cpu,
    )?;
    let pauses = rows.iter().filter(|row| row.what == PAUSE);
    let bars = pauses.filter_map(|row| Bar::of(row.case.trim_start_matches("restart, "), CHATD, &row.chatd));
    let title = "longest time that a line took to reach every connection, during a restart".to_owned();
    let restart = Panel { title, unit: Unit::Time, bars: bars.collect() };
    save(&folder.join("restart.svg"), "Pause at a restart of chatd", about, &[restart])
}

/// One case: the floor, chatd and the others.
fn servers(row: &Row) -> Panel {
    let own = [("floor (a bare relay)", OTHER, &row.base), ("chatd", CHATD, &row.chatd)];
    let others = row.others.iter().map(|(name, values)| (*name, OTHER, values));
    let bars =
        own.into_iter().chain(others).filter_map(|(label, colour, values)| Bar::of(label, colour, values));
    Panel { title: row.case.clone(), unit: row.unit, bars: bars.collect() }
}

fn save(path: &Path, title: &str, about: &str, panels: &[Panel]) -> io::Result<()> {
    if panels.iter().all(|panel| panel.bars.is_empty()) {
        return Ok(());
    }
    std::fs::write(path, svg(title, about, panels))
}

fn svg(title: &str, about: &str, panels: &[Panel]) -> String {
    let mut y = 2.0 * LINE;
    let mut body = text(12.0, LINE, "font-size=\"16\" font-weight=\"bold\"", title);
    body += &text(12.0, y, "fill=\"#57606a\"", about);
    for panel in panels {
        y += 1.5 * LINE;
        body += &text(12.0, y, "font-weight=\"bold\"", &panel.title);
        let most = panel.bars.iter().map(|bar| bar.spread.max).fold(0.0, f64::max);
        for bar in &panel.bars {
            y += LINE;
            body += &bar_svg(bar, y, panel.unit, LONGEST / most);
        }
    }
    let height = y + LINE;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// A bar up to the median, a thin line from the least to the most, and both in words.
fn bar_svg(bar: &Bar, y: f64, unit: Unit, scale: f64) -> String {
    let Spread { median, min, max } = bar.spread;
    let at = |value: f64| LEFT + value * scale;
    let (top, middle) = (y - BAR + 1.0, y - BAR / 2.0 + 1.0);
    let (width, colour) = (median * scale, bar.colour);
    let words = format!("{} ({} to {})", show(unit, median), show(unit, min), show(unit, max));
    let label = text(LEFT - 8.0, y, "text-anchor=\"end\"", &bar.label);
    let line = format!(
        "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
         <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#24292f\"/>\n",
        at(min),
        at(max)
    );
    label + &line + &text(at(max) + 8.0, y, "", &words)
}

/// A text that is in this program, or a number: nothing in it has to be escaped.
fn text(x: f64, y: f64, how: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {how}>{text}</text>\n")
}

/// When and where something is measured: the date, the kind of processor, the kernel.
pub(crate) fn about(rounds: usize) -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<&str> = release.trim().split('.').take(2).collect();
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    format!(
        "{day}, {cpus} CPUs ({model}), Linux {}; --rounds {rounds}: the median (least to most)",
        kernel.join(".")
    )
}
