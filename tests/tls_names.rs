//! The names that certificates of clients give: the real daemon, an authority, and clients that speak TLS.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Caller, Daemon, Folder, GREETING, text};
use crate::tls::trusting;

/// An authority that signs certificates, and a folder with the files that chatd reads.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    server: CertificateDer<'static>,
    folder: Folder,
}

/// The certificate of a client, and its key.
type Badge = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let folder = Folder::new();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let server_key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let server = server.self_signed(&server_key).unwrap();
        folder.write("root.pem", root.pem());
        folder.write("server.pem", server.pem());
        folder.write("server.key", server_key.serialize_pem());
        let (root, server) = (root.der().clone(), server.der().clone());
        Self { issuer: Issuer::new(params, key), root, server, folder }
    }

    /// Signs a certificate with this common name.
    fn sign(&self, name: &str) -> Badge {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.into())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path("chat.sock")
    }

    /// Starts a daemon that knows this authority. The group of this process are operators on its unix socket.
    fn start(&self, options: &[&str]) -> Daemon {
        let group = Command::new("id").arg("-gn").output().unwrap();
        let operators = format!("--operators={}", String::from_utf8(group.stdout).unwrap().trim());
        let file = |name: &str| text(&self.folder.path(name)).to_owned();
        let own = [
            ("--listen", text(&self.socket()).to_owned()),
            ("--tls-cert", file("server.pem")),
            ("--tls-key", file("server.key")),
            ("--tls-client-ca", file("root.pem")),
        ];
        let own = own.iter().flat_map(|(option, value)| [*option, value.as_str()]);
        Daemon::start(&own.chain([operators.as_str()]).chain(options.iter().copied()).collect::<Vec<_>>())
    }

    /// Somebody who connects with TLS, and shows this certificate.
    fn connect(&self, daemon: &Daemon, badge: Option<Badge>) -> Caller {
        let builder = trusting(&self.server);
        let config = match badge {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![certificate, self.root.clone()];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Caller::connect_tls(daemon.address, &Arc::new(config))
    }

    /// Somebody who shows a certificate with this name, and has been greeted.
    fn join(&self, daemon: &Daemon, name: &str) -> Caller {
        let mut client = self.connect(daemon, Some(self.sign(name)));
        client.expect(GREETING);
        client
    }
}

/// Somebody without TLS, who sees who says what.
fn watcher(daemon: &Daemon) -> Caller {
    let mut watcher = daemon.join();
    watcher.say("/nick watcher\n");
    watcher.until("what else there is\n");
    watcher
}

/// The login name of the user who runs this.
fn login() -> String {
    let login = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(login.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_certificate_gives_the_name_in_it() {
    let authority = Authority::new();
    let daemon = authority.start(&[]);
    let mut watcher = watcher(&daemon);
    let mut typed = daemon.join();
    typed.say("/nick ANN\n");
    typed.until("what else there is\n");
    let mut ann = authority.join(&daemon, "ann");
    typed.until("-!- +ann, whose name is verified, has connected: you are guest2 now\n");
    ann.say("hello\n");
    watcher.until("<+ann> hello\n");
    let mut second = authority.join(&daemon, "ann");
    second.say("me too\n");
    watcher.until("<+ann> me too\n");
    ann.expect("me too\n");
    ann.say("/nick eve\n");
    ann.expect("-!- you are +ann: the name is verified, and nobody can change it\n");
}

#[test]
fn without_a_name_in_a_certificate_a_client_is_a_guest() {
    let authority = Authority::new();
    let daemon = authority.start(&[]);
    let mut watcher = watcher(&daemon);
    let mut stranger = authority.connect(&daemon, None);
    stranger.expect(GREETING);
    stranger.say("anonymous\n");
    watcher.until("<guest2> anonymous\n");
    let mut smith = authority.join(&daemon, "Ann Smith");
    smith.expect(
        "-!- your certificate gives you no name: a name can have only letters, digits, - and _; you are guest3\n",
    );
    smith.say("signed\n");
    watcher.until("<guest3> signed\n");
    let mut clone = authority.join(&daemon, "uid0");
    clone.expect("-!- your certificate gives you no name: that name is reserved for chatd; you are guest4\n");
}

#[test]
fn a_certificate_of_nobody_known_gives_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let daemon = authority.start(&[]);
    let mut watcher = watcher(&daemon);
    let mut eve = authority.connect(&daemon, Some(other.sign("ann")));
    eve.expect_refused();
    // Somebody who signs for themselves.
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ann");
    let own = params.self_signed(&key).unwrap().der().clone();
    authority.connect(&daemon, Some((own, key.into()))).expect_refused();
    let mut ann = authority.join(&daemon, "ann");
    ann.say("/who\n");
    ann.expect("-!- 2 here: watcher, +ann\n");
    ann.say("it is me\n");
    watcher.until("<+ann> it is me\n");
}

#[test]
fn the_kernel_and_a_certificate_do_not_share_a_name() {
    let authority = Authority::new();
    let login = login();
    let daemon = authority.start(&[]);
    let mut certificate = authority.join(&daemon, &login);
    let mut local = Caller::connect_unix(&authority.socket());
    local.expect(GREETING);
    local.expect(format!(
        "-!- +{login}, somebody with a certificate, was here before you: you cannot be +{login}, you are guest2\n"
    ));
    local.say("/who\n");
    local.expect(format!("-!- 2 here: +{login}, guest2\n"));
    certificate.say("first\n");
    local.expect("first\n");
    drop(daemon);

    let daemon = authority.start(&[]);
    let mut local = Caller::connect_unix(&authority.socket());
    local.expect(GREETING);
    let mut certificate = authority.join(&daemon, &login);
    certificate.expect(format!(
        "-!- +{login}, a user of this machine, was here before you: you cannot be +{login}, you are guest2\n"
    ));
    let mut again = Caller::connect_unix(&authority.socket());
    again.expect(GREETING);
    again.say("/who\n");
    again.until("-!- 3 here: ");
    let here = again.until("\n");
    let mut here: Vec<&str> = here.split(", ").collect();
    here.sort_unstable();
    assert_eq!(here, [&format!("+{login}"), &format!("+{login}"), "guest2"]);
}

#[test]
fn a_ban_of_a_verified_name_covers_certificates() {
    let authority = Authority::new();
    let daemon = authority.start(&[]);
    let mut ann = authority.join(&daemon, "ann");
    let mut operator = Caller::connect_unix(&authority.socket());
    operator.expect(GREETING);
    operator.say("/ban +ann spam\n");
    operator.until("-!- +ann is banned");
    ann.expect("-!- you are banned: spam\n");
    ann.expect_end();
    let mut again = authority.connect(&daemon, Some(authority.sign("ann")));
    again.expect("-!- you are banned: spam\n");
    again.expect_end();
    authority.join(&daemon, "ben");
    operator.say("/unban +ann\n");
    operator.until("+ann");
    authority.join(&daemon, "ann");
}
