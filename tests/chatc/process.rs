//! chatc in a pipe: what goes in, what comes out, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// The command, without what this process was started with.
pub fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatc"));
    command.env("TERM", "xterm").env_remove("NO_COLOR").env("TZ", "UTC").args(options);
    command
}

/// A chatc whose input and output are pipes.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

/// What it has left behind.
#[derive(Debug)]
pub struct Left {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Process {
    pub fn start(options: &[&str]) -> Self {
        Self::run(command(options))
    }

    pub fn run(mut command: Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let (lines, errors) = (follow(child.stdout.take().unwrap()), follow(child.stderr.take().unwrap()));
        Self { input: child.stdin.take(), child, lines, errors }
    }

    pub fn say(&mut self, text: impl AsRef<[u8]>) {
        self.input.as_mut().unwrap().write_all(text.as_ref()).unwrap();
    }

    /// Says something of which not all may be taken; whether all was.
    pub fn try_say(&mut self, text: &str) -> bool {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).is_ok()
    }

    /// Whether it prints something within a moment; whoever asks asks again.
    pub fn hears_soon(&self) -> bool {
        self.line_soon().is_some()
    }

    /// What it prints within a moment, if it does.
    pub fn line_soon(&self) -> Option<String> {
        self.lines.recv_timeout(Duration::from_millis(50)).ok()
    }

    /// The next line that it prints, after those that asked whether it is there.
    #[track_caller]
    pub fn next(&mut self) -> String {
        self.until(|line| !line.contains("are you there?"))
    }

    /// The next line that it prints which is so.
    #[track_caller]
    pub fn until(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.hear();
            if is_so(&line) {
                return line;
            }
        }
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => {
                self.child.kill().unwrap();
                panic!("no line ({error}); on standard error: {:?}", drain(&self.errors))
            }
        }
    }

    /// The next line on standard error.
    #[track_caller]
    pub fn hear_error(&mut self) -> String {
        self.errors
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("nothing on standard error: {error}"))
    }

    /// The next line on standard error which is so.
    #[track_caller]
    pub fn until_error(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        std::iter::repeat_with(|| self.hear_error()).find(|line| is_so(line)).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Closes its input, and waits until it has ended.
    #[track_caller]
    pub fn finish(mut self) -> Left {
        self.input = None;
        self.wait()
    }

    /// Waits until it has ended, with its input open.
    #[track_caller]
    pub fn wait(&mut self) -> Left {
        let deadline = Instant::now() + PATIENCE;
        let mut texts = [String::new(), String::new()];
        for (receiver, text) in [&self.lines, &self.errors].into_iter().zip(&mut texts) {
            loop {
                match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(line) => text.push_str(&format!("{line}\n")),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.child.kill().unwrap();
                        panic!("it goes on, after {text:?}");
                    }
                }
            }
        }
        let [output, errors] = texts;
        Left { code: self.child.wait().unwrap().code(), output, errors }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (lines_tx, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| lines_tx.send(line))
    });
    lines
}

fn drain(lines: &Receiver<String>) -> Vec<String> {
    std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok()).collect()
}

/// Says `input` and ends; it may have ended before that.
#[track_caller]
pub fn pipe(input: &str, options: &[&str]) -> Left {
    let mut process = Process::start(options);
    let _ = process.try_say(input);
    process.finish()
}
