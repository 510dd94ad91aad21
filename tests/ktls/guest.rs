//! Inside: the kernel's modules, and how many sessions it has the keys of.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

/// What TLS takes in Linux 6.1 to 7.2, each after what it needs: paths in the folder of the kernel's modules, without
/// their end. A kernel has some of these built in, or under another name.
const MODULES: [&str; 16] = [
    "crypto/aead",
    "crypto/crypto_skcipher",
    "crypto/crypto_null",
    "crypto/gf128mul",
    "lib/crypto/gf128mul",
    "lib/crypto/libgf128hash",
    "crypto/ghash-generic",
    "crypto/ctr",
    "crypto/gcm",
    "lib/crypto/libchacha",
    "crypto/chacha_generic",
    "crypto/chacha",
    "lib/crypto/libpoly1305",
    "crypto/poly1305_generic",
    "crypto/chacha20poly1305",
    "net/tls/tls",
];

/// Descriptors that a process may have: both ends of each connection, the service manager's and the client's.
const DESCRIPTORS: u64 = 8192;

/// How often the kernel is woken.
const BEAT: Duration = Duration::from_millis(200);

/// Loads what TLS takes, of the modules in `folder`.
pub fn prepare(folder: &Path) {
    for name in MODULES {
        let path = folder.join("kernel").join(format!("{name}.ko"));
        let Ok(file) = File::open(&path) else { continue };
        if let Err(error) = rustix::system::finit_module(file, c"", 0) {
            println!("{}: {error}", path.display());
        }
    }
    // user-mode-linux 7.2 was seen to sleep for a minute though something was to be done: with a timer it never was. It
    // is in this process alone, so it wakes the kernel, and does not wake chatd.
    thread::spawn(|| {
        loop {
            thread::sleep(BEAT);
        }
    });
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// The counters of TLS in the kernel.
fn counters() -> String {
    fs::read_to_string("/proc/net/tls_stat").unwrap()
}

fn count(name: &str) -> u64 {
    let table = counters();
    let number = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    number.trim().parse().unwrap()
}

/// The kernel takes new keys in the place of others.
pub fn takes_new_keys() -> bool {
    counters().contains("RekeyOk")
}

/// How often the kernel has taken new keys: for what it decrypts, and for what it encrypts.
pub fn new_keys() -> (u64, u64) {
    (count("TlsRxRekeyOk"), count("TlsTxRekeyOk"))
}

/// How many sockets the kernel encrypts for, and for how many it decrypts.
pub fn sessions_in_kernel() -> (u64, u64) {
    (count("TlsCurrTxSw"), count("TlsCurrRxSw"))
}
