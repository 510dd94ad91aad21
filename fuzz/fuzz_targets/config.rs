//! Fuzzes the configuration file: any text is read or refused with a message on one line, never a panic.
//!
//! Run by `cargo fuzz run config`. What is read must also be readable again key by key.

#![no_main]

use std::path::Path;

use chatd::service::config::{Config, KEYS, parse_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse_file(text, Path::new("chatd.toml")) {
        Err(error) => assert!(!error.to_string().contains('\n')),
        Ok(part) => {
            let mut config = Config::default();
            for key in &KEYS {
                if let Some((raw, _)) = part.get(key.name) {
                    key.set(&mut config, raw).expect("parse_file has checked every value");
                }
            }
        }
    }
});
