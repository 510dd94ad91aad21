//! An engine with TLS: a chatd that trusts it talks to it, and one that does not says why.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::redis::{Server, free_port};
use crate::support::{Daemon, Folder, text};

/// Writes the certificate of an authority, and one that it has given to `localhost` with its key.
fn certificates(folder: &Folder) -> [PathBuf; 3] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    [
        folder.write("ca.pem", issuer.pem()),
        folder.write("cert.pem", certificate.pem()),
        folder.write("key.pem", key.serialize_pem()),
    ]
}

/// Starts an engine with a port for TLS and one without.
fn start(folder: &Folder, clients: &str) -> (Server, [u16; 2], PathBuf) {
    let [ca, cert, key] = certificates(folder);
    let tls = free_port();
    let files =
        ["--tls-cert-file", text(&cert), "--tls-key-file", text(&key), "--tls-ca-cert-file", text(&ca)];
    let port = ["--tls-port", &tls.to_string(), "--tls-auth-clients", clients];
    let server = Server::start_with(&[&files[..], &port].concat());
    let ports = [tls, server.port];
    (server, ports, ca)
}

/// A node that trusts what this authority has given, and goes to that address.
fn node(trusted: &Path, address: &str) -> Daemon {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    command.args(["--listen", "127.0.0.1:0", "--log", "stderr", "--node", "alpha", "--cluster", address]);
    command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR").stdin(Stdio::null());
    Daemon::run(command)
}

#[test]
fn an_engine_with_tls_is_used_if_its_certificate_is_trusted_and_else_it_says_why() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let (_server, [tls, plain], ca) = start(&folder, "no");
    let address = format!("rediss://localhost:{tls}");
    let mut alpha = node(&ca, &address);
    let line = alpha.wait_for_log("the engine is ");
    assert!(line.ends_with(&format!(" at {address}")), "{line}");
    // It has numbers for sessions from there, and what it sends and reads takes more than one record.
    let [mut ann, mut ben] = [alpha.join(), alpha.join()];
    let long = format!("{}\n", "x".repeat(16_000)).repeat(20);
    ann.say(&long);
    ben.expect(&long);
    let [other, ..] = certificates(&elsewhere);
    for (trusted, address, why) in [
        (&other, address, "this machine does not trust its certificate; add the authority"),
        (&ca, format!("rediss://127.0.0.1:{tls}"), "certificate is only valid for DnsName(\"localhost\")"),
        (&ca, format!("rediss://localhost:{plain}"), "if its port is one without TLS, write redis:"),
        // It closes the connection, or resets it.
        (&ca, format!("redis://localhost:{tls}"), ": "),
    ] {
        let line = node(trusted, &address).wait_for_log(why);
        assert!(
            line.contains(&format!("the engine is away, and what members say waits: {address}: ")),
            "{line}"
        );
    }
}

#[test]
fn an_engine_that_wants_a_certificate_is_said() {
    let folder = Folder::new();
    let (_server, [tls, _], ca) = start(&folder, "yes");
    let line = node(&ca, &format!("rediss://localhost:{tls}")).wait_for_log("the engine is away");
    assert!(
        line.contains("it asks for a certificate of chatd; set tls-auth-clients of the engine to no"),
        "{line}"
    );
}
