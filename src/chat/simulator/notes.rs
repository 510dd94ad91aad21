//! Notes that outlive a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::chat::Notes;

/// The end that the test holds: what is kept for the case of a crash.
#[derive(Clone, Debug, Default)]
pub struct Noted(Arc<Mutex<BTreeMap<String, u64>>>);

impl Noted {
    /// All notes, with their numbers.
    pub fn all(&self) -> Vec<(String, u64)> {
        self.0.lock().unwrap().clone().into_iter().collect()
    }
}

impl Notes for Noted {
    fn set(&mut self, text: &str, number: u64) {
        self.0.lock().unwrap().insert(text.to_owned(), number);
    }

    fn forget(&mut self, text: &str) {
        self.0.lock().unwrap().remove(text);
    }

    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}
