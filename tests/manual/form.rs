//! The form of the manual: what mandoc says of it, and which pages it sends its readers to.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::process::Command;

use super::{MANUAL, read, root};

/// Pages of other packages that these refer to. Whether they are installed here says nothing about these.
const OTHERS: [&str; 17] = [
    "accept 2",
    "chat 8",
    "flock 2",
    "nc 1",
    "nohup 1",
    "sd_listen_fds 3",
    "sd_notify 3",
    "ssh 1",
    "sshd_config 5",
    "syslog 3",
    "systemd 1",
    "systemd-socket-proxyd 8",
    "systemd.service 5",
    "systemd.socket 5",
    "telnet 1",
    "timeout 1",
    "unix 7",
];

/// The pages that one refers to: name and section.
fn references(page: &str) -> BTreeSet<String> {
    let after = page.lines().filter_map(|line| line.split_once("Xr "));
    after.map(|(_, words)| words.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn every_page_that_the_manual_refers_to_is_known() {
    let referred: BTreeSet<_> = MANUAL.iter().flat_map(|page| references(&read(page))).collect();
    let own = MANUAL.map(|page| page.trim_start_matches("man/").rsplit_once('.').unwrap());
    let own = own.map(|(name, section)| format!("{name} {section}"));
    let known: BTreeSet<_> = OTHERS.map(str::to_owned).into_iter().chain(own).collect();
    assert_eq!(referred, known);
}

/// What mandoc says when a page that is referred to is not installed here, or is and is not in its list yet: the test
/// above is stricter, and the same on every machine.
fn is_about_other_pages(said: &str) -> bool {
    said.contains("STYLE: referenced manual not found: Xr ") || said.contains("outdated mandoc.db lacks ")
}

#[test]
fn mandoc_finds_nothing_to_say_about_the_manual() {
    match Command::new("mandoc").arg("-Tlint").args(MANUAL.map(root)).output() {
        Ok(output) => {
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            let said: Vec<_> = said.lines().filter(|line| !is_about_other_pages(line)).collect();
            assert!(said.is_empty(), "{}", said.join("\n"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "mandoc is needed for this test");
        }
        Err(error) => panic!("mandoc: {error}"),
    }
}
