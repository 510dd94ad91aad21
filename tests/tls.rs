//! TLS on the port of the chat: real clients, restarts and crashes where the keys are in the process.
//!
//! `tests/ktls` has a kernel that holds the keys. What a client may do wrong is in the tests of `net::session`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::manager::Manager;
use crate::support::wire::Wire;
use crate::support::{Caller, Daemon, Folder, GREETING, PATIENCE, text};

/// A certificate for this machine, its key, and a configuration with both.
pub struct Files {
    folder: Folder,
    certificate: CertificateDer<'static>,
}

impl Files {
    fn new() -> Self {
        Self::with("")
    }

    /// The same, with more keys in the configuration.
    pub fn with(keys: &str) -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        let folder = Folder::new();
        let cert = folder.write("cert.pem", own.cert.pem());
        let key = folder.write("key.pem", own.signing_key.serialize_pem());
        let content = format!("tls_cert = \"{}\"\ntls_key = \"{}\"\n{keys}\n", text(&cert), text(&key));
        folder.write("chatd.toml", content);
        Self { folder, certificate: own.cert.der().clone() }
    }

    /// The options that have chatd read the configuration.
    fn options(&self) -> [String; 2] {
        ["--config".to_owned(), text(&self.folder.path("chatd.toml")).to_owned()]
    }

    pub fn start(&self) -> Daemon {
        let options = self.options();
        Daemon::start(&options.each_ref().map(String::as_str))
    }

    /// Starts it where the configuration has it listen, which has to be on 127.0.0.1.
    pub fn start_alone(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
        command.args(["--log", "stderr"]).args(self.options()).stdin(Stdio::null());
        Daemon::run(command)
    }

    /// A client with TLS.
    pub fn connect(&self, address: std::net::SocketAddr) -> Wire {
        let config = trusting(&self.certificate).with_no_client_auth();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Wire::secure(socket, &Arc::new(config))
    }
}

/// A client that trusts this certificate alone.
pub fn trusting(certificate: &CertificateDer<'static>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}

/// Fails unless this is heard next.
#[track_caller]
pub fn expect(stream: &mut impl Read, expected: &str) {
    let mut heard = vec![0; expected.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), expected);
}

/// A client that is a program.
struct Program(Child);

impl Program {
    /// Starts it, unless it is not installed.
    fn start(command: &[&str]) -> Option<Self> {
        let (name, arguments) = command.split_first()?;
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => Some(Self(child)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("{name} is not installed");
                None
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }

    /// Waits until it has printed this.
    #[track_caller]
    fn until(&mut self, mark: &str) {
        let (stdout, mut heard) = (self.0.stdout.as_mut().unwrap(), Vec::new());
        while !heard.ends_with(mark.as_bytes()) {
            let mut byte = [0];
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "\"{}\"", heard.escape_ascii());
            heard.push(byte[0]);
        }
    }

    /// Waits until it has ended, with its input open.
    fn end(&mut self) {
        self.0.stdout.as_mut().unwrap().read_to_end(&mut Vec::new()).unwrap();
    }

    fn say(&mut self, text: &str) {
        self.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn real_clients_talk_with_plain_text() {
    let files = Files::new();
    let daemon = files.start();
    let (host, port) = ("localhost", daemon.address.port().to_string());
    let (at, cert) = (format!("{host}:{port}"), files.folder.path("cert.pem"));
    let cert = text(&cert);
    let socat = format!("OPENSSL:127.0.0.1:{port},commonname=localhost,cafile={cert}");
    let python = format!(
        "import socket,ssl,sys,threading\n\
         t=ssl.create_default_context(cafile='{cert}').wrap_socket(\
         socket.create_connection(('127.0.0.1',{port})),server_hostname='{host}')\n\
         def say():\n    for line in sys.stdin: t.sendall(line.encode())\n\
         threading.Thread(target=say,daemon=True).start()\n\
         while True:\n    d=t.recv(99)\n    if not d: break\n    sys.stdout.write(d.decode()); sys.stdout.flush()\n"
    );
    let openssl = ["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", cert, "-connect", &at];
    let clients: [&[&str]; 7] = [
        &[&openssl[..], &["-tls1_3"]].concat(),
        &[&openssl[..], &["-tls1_2"]].concat(),
        &[&openssl[..], &["-ciphersuites", "TLS_AES_128_GCM_SHA256"]].concat(),
        &["gnutls-cli", "--no-ca-verification", "-p", &port, host],
        &["ncat", "--ssl-verify", "--ssl-trustfile", cert, host, &port],
        &["socat", "-", &socat],
        &["python3", "-c", &python],
    ];
    for client in clients {
        let Some(mut program) = Program::start(client) else { continue };
        program.until(GREETING);
        let mut plain = daemon.join();
        program.say("from TLS\n");
        plain.expect("from TLS\n");
        plain.say("from plain text\n");
        program.until("from plain text\n");
        // What is said last is heard, too.
        program.say("bye\n");
        drop(program.0.stdin.take());
        plain.expect("bye\n");
    }
}

#[test]
fn a_client_that_wants_another_handshake_does_not_get_it() {
    let files = Files::new();
    let daemon = files.start();
    let at = daemon.address.to_string();
    let command = ["openssl", "s_client", "-tls1_2", "-connect", &at];
    let Some(mut program) = Program::start(&command) else { return };
    program.until(GREETING);
    program.say("R\n");
    // openssl gives up then; others stay.
    program.end();
    let mut plain = daemon.join();
    let mut tls = files.connect(daemon.address);
    expect(&mut tls, GREETING);
    plain.say("still here\n");
    expect(&mut tls, "still here\n");
}

/// A connection in the middle of a handshake.
fn halfway_with(files: &Files, manager: &Manager) -> TcpStream {
    let mut halfway = TcpStream::connect(manager.address()).unwrap();
    halfway.set_read_timeout(Some(PATIENCE)).unwrap();
    halfway.write_all(b"\x16\x03\x01\0\x40\x01").unwrap();
    // When this one is in, the one before is accepted.
    expect(&mut files.connect(manager.address()), GREETING);
    halfway
}

/// Fails unless the connection ends, with an alert or nothing.
#[track_caller]
fn expect_no_text(mut stream: TcpStream) {
    let mut heard = Vec::new();
    // It may have been closed before all had been read of it.
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(heard.is_empty() || heard[0] == 21, "{heard:?}");
}

#[test]
fn tls_whose_keys_are_in_the_process_ends_with_it_and_says_so() {
    let (files, manager) = (Files::new(), Manager::with_store());
    let options = files.options();
    let options = options.each_ref().map(String::as_str);
    let mut daemon = manager.start("", &options);
    let mut plain = manager.join();
    let mut tls = files.connect(manager.address());
    expect(&mut tls, GREETING);
    plain.say("to all\n");
    expect(&mut tls, "to all\n");
    if std::path::Path::new("/sys/module/tls").exists() {
        // The kernel has the keys: this test is about one that has not.
        return;
    }
    // One in the middle of a handshake is closed.
    let halfway = halfway_with(&files, &manager);
    manager.restart(&mut daemon, &options);
    let mut heard = String::new();
    tls.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "-!- closing: chatd restarts; connect again\n");
    expect_no_text(halfway);
    let mut again = files.connect(manager.address());
    expect(&mut again, GREETING);
    plain.say("after a restart\n");
    expect(&mut again, "after a restart\n");
    // A crash closes it without a word: there is nobody who could say one.
    let halfway = halfway_with(&files, &manager);
    manager.crash(&mut daemon, 1, &options);
    let mut heard = Vec::new();
    let end = again.read_to_end(&mut heard).map_err(|error| error.kind());
    assert!(matches!(end, Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)), "{end:?}");
    assert!(heard.is_empty(), "{heard:?}");
    expect_no_text(halfway);
    let mut again = files.connect(manager.address());
    expect(&mut again, GREETING);
    plain.say("after a crash\n");
    expect(&mut again, "after a crash\n");
}

#[test]
fn whoever_has_said_nothing_yet_goes_on_waiting_in_the_next_process() {
    let (files, manager) = (Files::new(), Manager::with_store());
    let toml = files.folder.path("chatd.toml");
    let required = std::fs::read_to_string(&toml).unwrap()
        + &format!("listen = {{ address = \"{}\", tls = \"required\" }}\n", manager.address());
    std::fs::write(&toml, required).unwrap();
    // In place of the address that the daemon is given otherwise.
    let script = format!("set -- \"$1\" --log stderr --config '{}';", text(&toml));
    let mut daemon = manager.start(&script, &[]);
    for crashes in [false, true] {
        let mut first = files.connect(manager.address());
        expect(&mut first, GREETING);
        let mut silent = files.connect(manager.address());
        // The connection stands, and is accepted in order.
        let mut last = files.connect(manager.address());
        expect(&mut last, GREETING);
        match crashes {
            true => manager.crash_with(&mut daemon, 1, &script),
            false => {
                manager.stop_for_restart(&mut daemon);
                daemon = manager.start(&script, &[]);
            }
        }
        expect(&mut silent, GREETING);
        let mut plain = Caller::connect(manager.address());
        plain.say("hi\n");
        plain.expect("-!- closing: only TLS is spoken here: use chatc --tls or openssl s_client\n");
    }
}
