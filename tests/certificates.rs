//! Certificates of the daemon: what `--check` says of them, a reload, their end, and what operators see of TLS.

use std::fs::Permissions;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chatd::net::Address;
use chatd::service::config::{Config, Listen, Material, Serve};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;

use crate::configuration::chatd;
use crate::metrics::{server, wait_for};
use crate::support::wire::Wire;
use crate::support::{Caller, Daemon, Folder, GREETING, PATIENCE, text};
use crate::tls::{expect, trusting};

const NAME: &str = "chat.example.org";

/// Writes a certificate that ends in that year, and its key. Returns the certificate.
fn write(folder: &Folder, year: i32) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
    let certificate = params.self_signed(&key).unwrap();
    folder.write("cert.pem", certificate.pem());
    let path = folder.write("key.pem", key.serialize_pem());
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    certificate.der().clone()
}

/// The options that name the files.
fn options(folder: &Folder) -> [String; 2] {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    [format!("--tls-cert={}", certificate.display()), format!("--tls-key={}", key.display())]
}

/// Connects with TLS, and trusts this certificate alone.
fn connect(address: std::net::SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<Wire> {
    let config = Arc::new(trusting(trusted).with_no_client_auth());
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut wire = Wire::secure_as(socket, &config, NAME.try_into().unwrap());
    wire.shake_hands().map(|()| wire)
}

#[test]
fn check_names_the_file_the_line_and_the_mistake() {
    let folder = Folder::new();
    write(&folder, 2100);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    let check = |cert: &Path, key: &Path| {
        let config = format!("raw = true\ntls_cert = {:?}\ntls_key = {:?}\n", text(cert), text(key));
        let file = folder.write("chatd.toml", config);
        let output = chatd(&["--check", "--config", text(&file)]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said)
            .unwrap()
            .replace(&format!("{}/", folder.path("").display()).replace("//", "/"), "");
        (output.status.code(), said)
    };
    let (code, said) = check(&cert, &key);
    assert_eq!(code, Some(0), "{said}");
    let warning =
        "warning: chatd.toml:2: tls_cert: \"cert.pem\" is for chat.example.org, and this machine is ";
    assert!(said.starts_with(warning) && said.ends_with("chatd.toml: ok\n"), "{said}");
    let swapped = "chatd: chatd.toml:2: tls_cert: \"key.pem\" has a key in the place of a certificate; \
                   write the file of the certificate here\n";
    assert_eq!(check(&key, &cert), (Some(78), swapped.to_owned()));
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = (std::time::SystemTime::now() + Duration::from_secs(5 * 24 * 3600)).into();
    let pair = KeyPair::generate().unwrap();
    folder.write("cert.pem", params.self_signed(&pair).unwrap().pem());
    folder.write("key.pem", pair.serialize_pem());
    let (code, said) = check(&cert, &key);
    assert!(code == Some(0) && said.contains("\nwarning: the certificate in cert.pem ends on "), "{said}");
    write(&folder, 2021);
    let ended = "chatd: chatd.toml:2: tls_cert: \"cert.pem\" ended on 2021-01-01; renew it\n";
    assert_eq!(check(&cert, &key), (Some(78), ended.to_owned()));
}

#[test]
fn a_key_alone_is_a_mistake_of_the_command_line() {
    let output = chatd(&["--tls-key=/x"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message, "chatd: --tls-key: there is no certificate for it; set tls_cert as well\n");
}

#[test]
fn printing_the_configuration_needs_no_certificate() {
    let output = chatd(&["--print-config", "--tls-cert=/nonexistent", "--tls-key=credential:k"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("\ntls_cert = \"/nonexistent\" # from --tls-cert\n"), "{printed}");
    assert!(printed.contains("\ntls_key = \"credential:k\" # from --tls-key\n"), "{printed}");
}

#[test]
fn a_reload_takes_a_new_certificate_for_new_connections_and_keeps_the_old_one_over_a_mistake() {
    let folder = Folder::new();
    let first = write(&folder, 2100);
    let options = options(&folder);
    let mut daemon = Daemon::start(&options.each_ref().map(String::as_str));
    daemon.wait_for_log("TLS with the certificate in ");
    let mut ann = connect(daemon.address, &first).unwrap();
    expect(&mut ann, GREETING);
    let second = write(&folder, 2101);
    daemon.signal("HUP");
    assert!(
        daemon
            .wait_for_log("TLS with the certificate in ")
            .ends_with(", for chat.example.org, until 2101-01-01")
    );
    assert!(connect(daemon.address, &first).is_err(), "it has another one");
    let mut ben = connect(daemon.address, &second).unwrap();
    expect(&mut ben, GREETING);
    folder.write("key.pem", "");
    daemon.signal("HUP");
    let refused = daemon.wait_for_log("the old configuration stays in force");
    assert!(refused.contains("--tls-key: ") && refused.contains("is empty"), "{refused}");
    write(&folder, 2021);
    daemon.signal("HUP");
    let refused = daemon.wait_for_log("the old configuration stays in force");
    assert!(refused.contains("ended on 2021-01-01; renew it"), "{refused}");
    let mut cem = connect(daemon.address, &second).unwrap();
    expect(&mut cem, GREETING);
    ann.write_all(b"hello\n").unwrap();
    expect(&mut ben, "hello\n");
    expect(&mut cem, "hello\n");
}

#[test]
fn connections_with_tls_are_shown_after_a_reload_without_a_certificate() {
    let folder = Folder::new();
    let (certificate, socket) = (write(&folder, 2100), folder.path("socket"));
    let group = std::process::Command::new("id").arg("-gn").output().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    let file = folder.write("chatd.toml", format!("tls_cert = {cert:?}\ntls_key = {key:?}\n"));
    let operators = format!("--operators={}", String::from_utf8(group.stdout).unwrap().trim());
    let mut daemon = Daemon::start(&["--config", text(&file), "--listen", text(&socket), operators.as_str()]);
    let mut ann = connect(daemon.address, &certificate).unwrap();
    expect(&mut ann, GREETING);
    folder.write("chatd.toml", "");
    daemon.signal("HUP");
    daemon.wait_for_log("the configuration was read again");
    let mut operator = Caller::connect_unix(&socket);
    operator.expect(GREETING);
    operator.say("/view json\n/stats\n");
    operator.until("\"code\":\"stats\"");
    let stats = operator.until("\n");
    assert!(stats.contains("\"tls\":{\"connections\":[{") && !stats.contains("\"days\""), "{stats}");
    // It still speaks TLS.
    operator.say("/view plain\nhello\n");
    expect(&mut ann, "hello\n");
    drop(ann);
}

#[test]
fn with_a_certificate_that_has_ended_it_starts_and_warns() {
    let folder = Folder::new();
    let certificate = write(&folder, 2021);
    let options = options(&folder);
    let mut daemon = Daemon::start(&options.each_ref().map(String::as_str));
    let warning = daemon.wait_for_log("ended on 2021-01-01: renew it, and reload chatd");
    assert!(
        warning.contains(&format!("the certificate in {} ", folder.path("cert.pem").display())),
        "{warning}"
    );
    let error = connect(daemon.address, &certificate).err().unwrap().to_string();
    assert!(error.contains("xpired"), "{error}");
    // A reload for something else is not refused.
    daemon.signal("HUP");
    daemon.wait_for_log("the configuration was read again");
    daemon.join();
}

/// The certificate in the configuration of a server in this process.
fn with_certificate(folder: &Folder, config: &mut Config) {
    [config.tls_cert, config.tls_key] = ["cert.pem", "key.pem"].map(|name| Material::File(folder.path(name)));
}

#[test]
fn tls_is_counted() {
    let folder = Folder::new();
    let certificate = write(&folder, 2100);
    let (server, metrics) = server(|config| with_certificate(&folder, config));
    let sample = |records: &str| {
        format!(
            "chatd_tls_sessions{{version=\"1.3\",cipher=\"TLS_CHACHA20_POLY1305_SHA256\",records=\"{records}\"}}"
        )
    };
    let found = wait_for(metrics, "chatd_tls_handshakes_total", 0.0);
    assert_eq!(found["chatd_tls_certificate_expiry_timestamp_seconds"], 4102444800.0);
    assert_eq!((found[&sample("user")], found[&sample("kernel")]), (0.0, 0.0));
    let ann = connect(server.address, &certificate).unwrap();
    let found = wait_for(metrics, "chatd_tls_handshakes_total", 1.0);
    assert_eq!(found[&sample("user")] + found[&sample("kernel")], 1.0);
    // It hangs up on a certificate that it does not trust.
    let other = write(&Folder::new(), 2100);
    assert!(connect(server.address, &other).is_err());
    wait_for(metrics, "chatd_tls_handshakes_failed_total", 1.0);
    drop(ann);
    let user = sample("user");
    let kernel = sample("kernel");
    let is_kernel = found[&kernel] == 1.0;
    wait_for(metrics, if is_kernel { &kernel } else { &user }, 0.0);
}

#[test]
fn a_listener_without_tls_stays_as_it_was() {
    let folder = Folder::new();
    let certificate = write(&folder, 2100);
    let (server, metrics) = server(|config| {
        with_certificate(&folder, config);
        config.listen[0].tls = Some(chatd::net::tls::Mode::Off);
        let address: Address = "127.0.0.2:0".parse().unwrap();
        config.listen.push(Listen { tls: Some(chatd::net::tls::Mode::Required), ..address.into() });
    });
    assert!(connect(server.address, &certificate).is_err());
    server.join();
    assert!(connect(metrics, &certificate).is_err(), "metrics have no TLS");
    let Some((Address::Tcp(required), Serve::Chat)) = server.server().addresses().get(2).cloned() else {
        panic!("the third address is for the chat");
    };
    let requires = |address| server.server().requires_tls(&Address::Tcp(address));
    assert!(requires(required) && !requires(server.address));
    let mut ann = connect(required, &certificate).unwrap();
    expect(&mut ann, GREETING);
    let mut ben = Caller::connect(required);
    ben.say("hello\n");
    assert!(!String::from_utf8(ben.rest()).unwrap().contains(GREETING));
}

/// That a certificate cannot be read must not make plain text of what was to be TLS.
#[test]
fn a_listener_that_requires_tls_never_speaks_plain_text_for_want_of_a_certificate() {
    let folder = Folder::new();
    let (server, metrics) = server(|config| {
        with_certificate(&folder, config);
        config.listen[0].tls = Some(chatd::net::tls::Mode::Required);
    });
    let mut ann = Caller::connect(server.address);
    ann.say("hello\n");
    let heard = String::from_utf8(ann.rest()).unwrap();
    assert_eq!(heard, "-!- closing: only TLS is spoken here: use chatc --tls or openssl s_client\n");
    wait_for(metrics, "chatd_tls_handshakes_failed_total", 1.0);
}
