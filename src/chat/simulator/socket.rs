//! A sink that takes as many bytes as it is told to, and keeps what outlives a crash.

use std::io::{self, IoSlice};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chat::{Mark, Signal, Sink, Transport};

#[derive(Debug, Default)]
pub struct State {
    pub space: usize,
    pub taken: Vec<u8>,
    /// Its session waits for its input to be taken in.
    pub is_outstanding: bool,
    pub is_full: bool,
    pub is_done: bool,
    pub is_slow: bool,
    pub is_broken: bool,
    pub is_unix: bool,
    /// What is kept for the case of a crash.
    pub standing: Vec<u8>,
    pub ignored: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Socket {
    state: Mutex<State>,
    torn: AtomicU64,
}

impl Socket {
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub fn is_torn(&self) -> bool {
        self.torn.load(Ordering::Relaxed) != 0
    }
}

impl Sink for Socket {
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(|state| {
            if state.is_broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let mut sent = 0;
            for slice in slices {
                let len = slice.len().min(state.space);
                state.taken.extend_from_slice(&slice[..len]);
                state.space -= len;
                sent += len;
            }
            if sent == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent) }
        })
    }

    fn signal(&self, signal: Signal) {
        self.with(|state| match signal {
            Signal::Taken => state.is_outstanding = false,
            Signal::Full => state.is_full = true,
            Signal::Done => state.is_done = true,
            Signal::Slow => state.is_slow = true,
            Signal::Broken => {}
        });
    }

    fn transport(&self) -> Transport {
        if self.with(|state| state.is_unix) { Transport::Unix } else { Transport::Tcp }
    }

    fn torn(&self) -> Option<Mark<'_>> {
        Some(Mark::new(&self.torn, 1))
    }

    fn record(&self, standing: &[u8], whom: &[u8]) {
        self.with(|state| {
            state.standing = standing.to_vec();
            state.ignored = whom.to_vec();
        });
    }
}
