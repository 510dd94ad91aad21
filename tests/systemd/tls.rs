//! TLS with the package: credentials, files of a group, and new certificates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::caller::GREETING;
use crate::machine::Machine;
use crate::package::Packages;
use crate::service::{Change, FILE, SERVICE_DROP_IN, Tool, join};

/// Where the administrator has the certificate and the key.
const CERTIFICATE: &str = "/etc/chatd/tls/cert.pem";
const KEY: &str = "/etc/chatd/tls/key.pem";

/// Makes a certificate and its key for the machine, readable for root and `group`. Returns a copy of the certificate.
fn renew(machine: &Machine, group: &str) -> PathBuf {
    let folder = machine.path("/root");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-days", "365", "-subj", "/CN=chat.example.org"]);
    openssl.args(["-addext", "subjectAltName=DNS:chat.example.org"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).stderr(Stdio::null());
    assert!(openssl.status().unwrap().success());
    machine.run("mkdir -p /etc/chatd/tls");
    machine.copy(&certificate, CERTIFICATE);
    machine.copy(&key, KEY);
    machine.run(&format!(
        "chgrp -R {group} /etc/chatd/tls; chmod 0750 /etc/chatd/tls; chmod 0640 {KEY} {CERTIFICATE}"
    ));
    certificate
}

/// openssl, which trusts this certificate alone.
fn client(trusted: &Path) -> Vec<&str> {
    let words = "openssl s_client -quiet -verify_quiet -verify_return_error -no-CApath -no-CAstore \
                 -verify_hostname chat.example.org -connect 127.0.0.1:5001 -CAfile";
    words.split_whitespace().chain([trusted.to_str().unwrap()]).collect()
}

#[track_caller]
fn expect_served(trusted: &Path) -> Tool {
    let mut client = Tool::start(&client(trusted));
    client.until(GREETING);
    client
}

fn is_refused(trusted: &Path) -> bool {
    let words = client(trusted);
    let mut command = Command::new(words[0]);
    // Otherwise one that is served would wait for more.
    !command.args(&words[1..]).arg("-no_ign_eof").stdin(Stdio::null()).output().unwrap().status.success()
}

pub fn credentials(machine: &Machine, _: &Packages) {
    let first = renew(machine, "root");
    let kept = first.with_extension("first.pem");
    std::fs::copy(&first, &kept).unwrap();
    let load = format!("[Service]\nLoadCredential=tls_cert:{CERTIFICATE}\nLoadCredential=tls_key:{KEY}\n");
    let _unit = Change::new(machine, SERVICE_DROP_IN, &load);
    let keys = "tls_cert = \"credential:tls_cert\"\ntls_key = \"credential:tls_key\"\n";
    let _file = Change::new(machine, FILE, keys);
    machine.run("systemctl restart chatd");
    let mut ann = expect_served(&kept);
    let mut ben = join();
    ann.say("hello from openssl\n");
    ben.expect("hello from openssl\n");
    ben.say("hello from nc\n");
    ann.until("hello from nc\n");
    // Its check sees the credentials of the main process.
    machine.run("systemctl reload chatd");
    let second = renew(machine, "root");
    machine.run("systemctl reload chatd");
    // systemd 252 reads credentials again before the second command of a reload, 257 only at a start.
    let reads_again = machine.run("systemctl --version").starts_with("systemd 252");
    let (served, refused) = if reads_again { (&second, &kept) } else { (&kept, &second) };
    machine.wait_until("the one is served and not the other", || is_refused(refused) && !is_refused(served));
    machine.run("systemctl restart chatd");
    let is_kept = Path::new("/sys/module/tls").exists();
    ann.until(if is_kept { "" } else { "closing: chatd restarts; connect again\n" });
    expect_served(&second);
    assert!(is_refused(&kept));
    ben.say("still here\n");
    machine.run("rm -r /etc/chatd/tls");
}

pub fn files_of_a_group(machine: &Machine, _: &Packages) {
    machine.run("groupadd --system chatd-tls");
    let first = renew(machine, "chatd-tls");
    let _unit = Change::new(machine, SERVICE_DROP_IN, "[Service]\nSupplementaryGroups=chatd-tls\n");
    let _file = Change::new(machine, FILE, &format!("tls_cert = \"{CERTIFICATE}\"\ntls_key = \"{KEY}\"\n"));
    machine.run("systemctl restart chatd");
    expect_served(&first);
    let mark = machine.mark();
    let second = renew(machine, "chatd-tls");
    machine.run("systemctl reload chatd");
    machine.wait_until("it is in force", || {
        machine.journal(&mark, "-u chatd -o cat").contains("the configuration was read again")
    });
    let mut ann = expect_served(&second);
    let kept = second.with_extension("second.pem");
    std::fs::copy(&second, &kept).unwrap();
    // One that the service may not read.
    renew(machine, "root");
    let mark = machine.mark();
    machine.fail("systemctl reload chatd");
    let reason =
        "permission denied; chatd.service has a user of its own (DynamicUser=); pass it with LoadCredential=";
    machine.wait_until("the journal says why", || machine.journal(&mark, "-u chatd -o cat").contains(reason));
    expect_served(&kept);
    ann.say("still here\n");
    machine.run("rm -r /etc/chatd/tls; groupdel chatd-tls");
}
