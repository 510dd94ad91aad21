//! The configuration: every key, from default, file, environment and option to one [`Config`].
//!
//! Called at the start and on each reload by the server and by `service::cli`. `key` is the one table of keys;
//! the options, the printed form and the tests walk it, so a new key is one row there and one field in
//! `settings`. Never reads the process environment itself: [`load`] is handed it. Never keeps a bad value:
//! the first error refuses the whole configuration.

mod error;
mod file;
mod key;
mod listen;
mod load;
mod print;
mod raw;
mod settings;
mod unit;

pub use error::{ConfigError, Origin, Problem, Unsuitable};
pub use file::{FilePart, MAX_FILE, parse_file};
pub use key::{KEYS, Key};
pub use listen::Listen;
pub use load::{DEFAULT_FILE, Environment, FILE_VARIABLE, Loaded, load, load_text};
pub use print::{print, text};
pub use raw::Raw;
pub use settings::Config;
pub use unit::{Size, show_duration};
