//! `chatc --listen`: what arrives is printed, or a command is run for each line that somebody says.
//!
//! The command gets the object on its standard input and the parts of it in its environment, never through a shell. What
//! it prints is said: in the room, or to the one who has said something to chatc alone. Reads nothing of standard input.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::cli::{exit_at, say, unwritable};
use super::event::{End, Event, Missed, Mode, Outcome, Ran, Stage};
use super::link::clean;
use super::render::Look;
use super::request::{Purpose, as_text};
use super::session::Core;
use super::terminal::{Row, Terminal};
use crate::exit::Exit;
use crate::protocol::notice::Notice;
use crate::protocol::object::{Noticed, Object};

/// How long a signal or the deadline waits for a reader that takes nothing.
pub const READER_PATIENCE: Duration = Duration::from_secs(1);

/// Lines that wait for a command at most; more are left out, and said to be.
pub const MAX_QUEUED: usize = 1000;

/// Bytes that a command may print; more is thrown away.
pub const MAX_OUTPUT: u64 = 64 << 10;

/// Somebody, or something, that listens.
#[derive(Debug)]
pub struct Listen {
    output: Terminal,
    look: Look,
    count: Option<u64>,
    /// Lines that somebody said.
    said: Arc<AtomicU64>,
    jobs: Option<Jobs>,
    events: SyncSender<Event>,
    /// What was said about the name last.
    told: Option<String>,
}

/// Commands that are run, and lines that wait for one.
#[derive(Debug)]
pub struct Jobs {
    words: Vec<String>,
    most: usize,
    running: usize,
    queue: VecDeque<Job>,
}

/// A line for which a command is run: its object, and who is to get the answer alone.
#[derive(Debug)]
struct Job {
    object: String,
    answers: Option<String>,
}

impl Jobs {
    /// Runs at most so many at a time. The words of the command are separated by blanks: the first is the program.
    pub fn new(command: &str, most: usize) -> Self {
        let words = command.split_whitespace().map(str::to_owned).collect();
        Self { words, most, running: 0, queue: VecDeque::new() }
    }

    fn add(&mut self, job: Job) {
        if self.queue.len() < MAX_QUEUED {
            self.queue.push_back(job);
        } else {
            say(&format!("{}: it is too slow; not run for: {}", self.words[0], job.object));
        }
    }

    /// Starts what may be started.
    fn start(&mut self, events: &SyncSender<Event>) {
        while self.running < self.most
            && let Some(job) = self.queue.pop_front()
        {
            let (words, events, failing) = (self.words.clone(), events.clone(), self.words[0].clone());
            let started =
                thread::Builder::new().spawn(move || drop(events.send(Event::Ran(job.run(&words)))));
            match started {
                Ok(_) => self.running += 1,
                Err(error) => say(&format!("{failing}: cannot be run: {error}")),
            }
        }
    }
}

impl Job {
    /// What is said to chatc alone is answered alone.
    fn of(object: &Object<'_>, line: &str) -> Self {
        let answers =
            if let Object::Private { from, .. } = object { Some(clean(from.as_bytes())) } else { None };
        Self { object: line.to_owned(), answers }
    }

    /// What is to be said of a line that the command prints.
    fn answer(&self, line: &[u8]) -> Vec<u8> {
        match &self.answers {
            Some(name) => [b"/msg ", name.as_bytes(), b" ", line].concat(),
            None => as_text(line),
        }
    }

    fn run(self, words: &[String]) -> Ran {
        let (output, failure) = match self.output(words) {
            Ok((output, status)) if status.success() => (output, None),
            Ok((output, status)) => (output, Some(format!("{}: {status}", words[0]))),
            Err(error) => (Vec::new(), Some(format!("{}: cannot be run: {error}", words[0]))),
        };
        let failure = failure.map(|words| format!("{words}; the line was: {}", self.object));
        let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ran { lines: lines.map(|line| self.answer(line)).collect(), failure }
    }

    fn output(&self, words: &[String]) -> io::Result<(Vec<u8>, std::process::ExitStatus)> {
        let mut command = Command::new(&words[0]);
        let inherited = std::env::vars_os();
        command.env_clear();
        command.envs(inherited.filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"CHATC_")));
        let fields: serde_json::Map<String, Value> = serde_json::from_str(&self.object)?;
        let is_known = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase());
        for (name, value) in fields.iter().filter(|(name, _)| is_known(name)) {
            let text = value.as_str().map_or_else(|| value.to_string(), |text| clean(text.as_bytes()));
            command.env(format!("CHATC_{}", name.to_uppercase()), text);
        }
        let mut child = command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut output = Vec::new();
        thread::scope(|scope| -> io::Result<()> {
            // It may print before it reads, or not read at all.
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(format!("{}\n", self.object).as_bytes())));
            if let Some(mut stdout) = stdout {
                stdout.by_ref().take(MAX_OUTPUT).read_to_end(&mut output)?;
                io::copy(&mut stdout, &mut io::sink())?;
            }
            Ok(())
        })?;
        Ok((output, child.wait()?))
    }
}

impl Listen {
    /// Prints what arrives as `look` has it, or runs commands; stops after so many lines that somebody said.
    pub fn new(look: Look, count: Option<u64>, jobs: Option<Jobs>, events: SyncSender<Event>) -> Self {
        Self { output: Terminal::output(), look, count, said: Arc::default(), jobs, events, told: None }
    }

    fn is_full(&self) -> bool {
        self.count.is_some_and(|count| self.said.load(Ordering::Relaxed) >= count)
    }

    /// A command has ended: what it printed is said.
    fn ran(&mut self, core: &mut Core, ran: Ran) {
        if let Some(jobs) = &mut self.jobs {
            jobs.running -= 1;
        }
        ran.failure.iter().for_each(|words| say(words));
        ran.lines.into_iter().for_each(|line| core.requests.add(Purpose::Say, line));
    }
}

/// The time is up, and so many lines were said.
fn out_of_time(address: &str, count: Option<u64>, said: u64) -> Outcome {
    match count {
        Some(count) if said < count => {
            (Exit::Failed, vec![format!("{address}: {said} of {count} lines came in time")])
        }
        _ => (Exit::Ok, Vec::new()),
    }
}

impl Mode<Core> for Listen {
    fn event(&mut self, core: &mut Core, event: Event) -> Option<Outcome> {
        match event {
            Event::Stop => return Some((Exit::Ok, Vec::new())),
            Event::Ran(ran) => self.ran(core, ran),
            _ => {}
        }
        None
    }

    fn object(&mut self, core: &mut Core, object: &Object<'_>, line: &str) -> Option<Outcome> {
        let shown = self.look.object(object, line, &core.you.name)?;
        let is_own = matches!(object, Object::Notice(_) if core.requests.purpose() == Some(Purpose::Ask) || self.jobs.is_some());
        if core.stage != Stage::Ready || self.is_full() || is_own {
            return None;
        }
        if shown.is_said {
            self.said.fetch_add(1, Ordering::Relaxed);
        } else if self.count.is_some() || self.jobs.is_some() {
            return None;
        }
        match &mut self.jobs {
            Some(jobs) => jobs.add(Job::of(object, line)),
            None => self.output.add(&shown.text),
        }
        None
    }

    fn text(&mut self, line: &str) {
        if !self.is_full() {
            self.said.fetch_add(1, Ordering::Relaxed);
            self.output.add(&self.look.text(line));
        }
    }

    fn missed(&mut self, missed: &Missed) {
        if missed.missing > 0 {
            say(&format!("{} lines that were said meanwhile are no longer kept", missed.missing));
        }
    }

    fn refused(&mut self, core: &mut Core, noticed: &Noticed<'_>) -> Option<Outcome> {
        let again = match noticed.notice {
            Some(Notice::Taken { .. }) if core.was_ready => "; the name is asked for again until it is free",
            _ => "",
        };
        let words = core.says(&noticed.text) + again;
        if !core.was_ready {
            return Some((Exit::Failed, vec![words]));
        }
        if self.told.as_ref() != Some(&words) {
            say(&words);
            self.told = Some(words);
        }
        None
    }

    fn ready(&mut self, core: &mut Core) {
        if let (None, Some(deadline)) = (&self.told, core.deadline) {
            // The time counts also when nobody reads what is printed.
            let (address, count, said) =
                (core.dialer.target().to_string(), self.count, Arc::clone(&self.said));
            exit_at(deadline + READER_PATIENCE, move || {
                let (exit, words) = out_of_time(&address, count, said.load(Ordering::Relaxed));
                words.iter().for_each(|words| say(words));
                exit
            });
        }
        self.told.get_or_insert_default();
    }

    fn lost(&mut self, core: &mut Core, words: &str, _: &End) -> Option<Outcome> {
        if !core.reconnects {
            return Some((Exit::Failed, vec![words.to_owned()]));
        }
        say(&format!("{words}; connecting again"));
        None
    }

    fn late(&mut self, core: &mut Core) -> Outcome {
        out_of_time(&core.dialer.target().to_string(), self.count, self.said.load(Ordering::Relaxed))
    }

    fn rest(&mut self, core: &mut Core) -> Option<Outcome> {
        if let Err(error) = self.output.paint(Row::default()) {
            return Some(unwritable(&error));
        }
        core.requests.refused.drain(..).for_each(|refused| say(&format!("refused: {refused}")));
        if core.stage == Stage::Ready {
            let doubtful = core.requests.doubtful.drain(..);
            doubtful.for_each(|line| say(&format!("in doubt: {}", clean(&line))));
        }
        let mut is_idle = true;
        if let Some(jobs) = &mut self.jobs {
            // What they print has to be taken first.
            if core.requests.has_room() {
                jobs.start(&self.events);
            }
            is_idle = jobs.running == 0 && jobs.queue.is_empty() && core.requests.is_settled();
        }
        (self.is_full() && is_idle).then(|| (Exit::Ok, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(line: &str) -> Job {
        Job::of(&serde_json::from_str(line).unwrap(), line)
    }

    const LINE: &str = r#"{"type":"message","seq":7,"time":"2026-11-28T12:00:00.000Z","room":"ops","id":3,"from":"bob","verified":false,"text":"$(reboot); `x`"}"#;

    fn run(line: &str, words: &[&str]) -> Ran {
        job(line).run(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_has_the_line_and_its_parts_and_no_shell_sees_them() {
        let ran = run(
            LINE,
            &[
                "sh",
                "-c",
                "echo \"$CHATC_FROM $CHATC_ROOM $CHATC_SEQ $CHATC_TYPE\"; echo \"$CHATC_TEXT\"; cat",
            ],
        );
        let lines: Vec<_> = ran.lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(lines, ["bob ops 7 message", "$(reboot); `x`", LINE]);
        assert_eq!(ran.failure, None);
    }

    #[test]
    fn what_is_for_one_alone_is_answered_alone() {
        let private = r#"{"type":"private","time":"2026-11-28T12:00:00.000Z","id":3,"from":"bob","verified":true,"to":"bot","text":"psst"}"#;
        let ran = run(private, &["sh", "-c", "echo \"${CHATC_ROOM-none} $CHATC_VERIFIED\""]);
        assert_eq!(ran.lines, [b"/msg bob none true"]);
    }

    #[test]
    fn failures_are_told_and_a_flood_is_bounded() {
        assert!(run(LINE, &["false"]).failure.unwrap().starts_with("false: exit status: 1; the line was: {"));
        assert!(run(LINE, &["/nonexistent"]).failure.unwrap().starts_with("/nonexistent: cannot be run: "));
        let flood = run(LINE, &["sh", "-c", "yes x | head -c 1000000"]);
        assert_eq!(flood.lines.len() as u64, MAX_OUTPUT / 2);
    }
}
