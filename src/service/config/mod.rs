//! The configuration: every key, from default, file, environment and option to one [`Config`].
//!
//! Called at the start and on each reload by the server and by `service::cli`. Never reads the process environment
//! itself: that is an argument of [`load`]. The first error refuses the whole configuration.
//!
//! To add a key, write one row in `settings`. Its field in [`Config`], its default, its option, its variable, its
//! limits and its place in `--print-config` come from that row. A new type of value needs an implementation of
//! `value::Setting` as well. The tests then name the texts that lack the key: `packaging/chatd.toml`, both manual
//! pages, the changelog. To take one away, move its name to `GONE` there: files and command lines that have it still
//! work.

mod archive;
mod certificate;
mod check;
mod cluster;
mod error;
mod file;
mod folder;
mod listen;
mod load;
mod networks;
mod options;
mod password;
mod print;
mod settings;
mod tls;
mod value;

pub use crate::duration::show_duration;
pub use archive::{ArchiveFolder, Days};
pub use certificate::Certificate;
#[cfg(test)]
pub(crate) use certificate::certificate_for_tests;
pub use cluster::{Engines, NodeName, Prefix, User};
pub use error::{ConfigError, Origin};
pub use file::{FilePart, MAX_FILE, parse_file};
pub use folder::Folder;
pub use listen::{Listen, Serve};
pub use load::{Environment, FILE_VARIABLE, Loaded, load, load_again, load_text};
pub use networks::Networks;
pub use options::{DEFAULT_FILE, Options};
pub use password::Password;
pub use print::{print, text};
pub use settings::{Config, KEYS, Key};
pub use tls::{ClientCertificates, Material};
pub use value::Size;
