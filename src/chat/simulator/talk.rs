//! What people type.

use super::random::Random;

/// Names that several want.
pub const NAMES: [&str; 6] = ["ann", "ben", "eve", "root", "zoe", "ANN"];

/// One thing that somebody types: a line, or a few.
#[derive(Clone, Debug)]
pub enum Typed {
    /// Lines for everybody: each is a text of its own.
    Lines {
        count: usize,
        filler: usize,
    },
    /// A line that begins with two slashes.
    Slashes,
    Me,
    /// Answered, and moves the one who asks.
    Move(String),
    Msg(String),
    Ignore(u64),
    /// Answered, and changes nothing.
    Ask(String),
    Quit,
}

/// Text with what JSON has to escape, and characters of several bytes.
const FILLER: &str = "a \"quoted\" back\\slash, zażółć, 日本語, <b> & ";

pub fn filler(bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(FILLER);
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text.trim_end().to_owned()
}

/// What the session `id` types next; `others` are there, and `rooms` may be asked for.
pub fn next(
    random: &mut Random,
    id: u64,
    others: &[u64],
    rooms: &[&str],
    log_size: usize,
    step: usize,
) -> Typed {
    let other = random.pick(others);
    match random.below(100) {
        0..46 => Typed::Lines { count: random.between(1, 4), filler: random.below(60) },
        46..54 => Typed::Lines { count: random.between(1, 120), filler: random.below(100) },
        54..56 => Typed::Lines { count: random.between(1, 3), filler: random.below(log_size / 2) },
        56..58 => Typed::Slashes,
        58..62 => Typed::Me,
        62..67 => Typed::Move(format!("/nick {}", random.pick(&NAMES))),
        67..70 => Typed::Move(format!("/nick u{id}x{step}")),
        70..77 => Typed::Move(format!("/view {}", random.pick(&["plain", "names", "json"]))),
        77..80 => Typed::Move(format!("/time {}", random.pick(&["on", "off"]))),
        80..86 => Typed::Move(format!("/join {}", random.pick(rooms))),
        86..89 => Typed::Msg(format!("guest{other}")),
        89..91 => Typed::Msg(random.pick(&NAMES).to_owned()),
        91..94 => Typed::Ignore(other),
        94 => Typed::Ask(format!("/last {}", random.between(1, 60))),
        95 => Typed::Ask(match random.below(3) {
            0 => format!("/sync {step}"),
            _ => format!("/last since {}", random.below(60)),
        }),
        96..99 => Typed::Ask(random.pick(&["/who", "/rooms", "/help"]).to_owned()),
        _ if random.has_luck(300) => Typed::Quit,
        _ => Typed::Me,
    }
}
