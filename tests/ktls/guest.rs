//! Inside: the kernel's modules, and how many sessions it has the keys of.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};

/// What TLS takes, each after what it needs: paths in the folder of the kernel's modules, without their end.
const MODULES: [&str; 10] = [
    "crypto/gf128mul",
    "crypto/ghash-generic",
    "crypto/ctr",
    "crypto/gcm",
    "lib/crypto/libchacha",
    "crypto/chacha_generic",
    "lib/crypto/libpoly1305",
    "crypto/poly1305_generic",
    "crypto/chacha20poly1305",
    "net/tls/tls",
];

/// Descriptors that a process may have: both ends of each connection, the service manager's and the client's.
const DESCRIPTORS: u64 = 8192;

/// Loads what TLS takes, of the modules in `folder`.
pub fn prepare(folder: &Path) {
    for name in MODULES {
        let path = folder.join("kernel").join(format!("{name}.ko"));
        // Another kernel may have it built in.
        let Ok(file) = File::open(&path) else { continue };
        if let Err(error) = rustix::system::finit_module(file, c"", 0) {
            println!("{}: {error}", path.display());
        }
    }
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// How many sockets the kernel encrypts for, and for how many it decrypts.
pub fn sessions_in_kernel() -> (u64, u64) {
    let table = fs::read_to_string("/proc/net/tls_stat").unwrap();
    let count = |name: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    (count("TlsCurrTxSw"), count("TlsCurrRxSw"))
}
