//! Whom chatc trusts over TLS: authorities, pins and names; and how it says why not.

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

use crate::process::{Left, Process, command, pipe};
use crate::secured::{Authority, Certificate, HERE, NOTHING, Secured};
use crate::server::Fake;
use crate::support::{Folder, TestServer, text};

/// The message, without the address; the code has to be 69.
#[track_caller]
pub fn reason(left: &Left) -> &str {
    assert_eq!((left.code, left.output.as_str()), (Some(69), ""), "{left:?}");
    let line = left.errors.strip_suffix('\n').and_then(|line| line.strip_prefix("chatc: tls://"));
    let line = line.filter(|line| !line.contains('\n')).unwrap_or_else(|| panic!("one line: {left:?}"));
    line.split_once(": ").unwrap().1
}

/// As it is behind `sha256:` in messages.
fn plain_digits(pin: &str) -> String {
    pin.strip_prefix("sha256:").unwrap().replace(':', "").to_lowercase()
}

#[test]
fn a_pipe_is_said_to_a_server_that_an_authority_vouches_for() {
    let (server, authority) = (TestServer::start(), Authority::new());
    let secured = Secured::to(server.address, authority.issue(&HERE, NOTHING).config());
    let (file, port) = (authority.file(), secured.address.rsplit(':').next().unwrap().to_owned());
    let mut witness = server.join();
    for (number, options) in [
        vec!["--tls", "--ca", text(&file), &secured.address],
        vec!["--ca", text(&file), &format!("tls://{}", secured.address)],
        vec!["--tls", "--ca", text(&file), &format!("localhost:{port}")],
        vec!["--tls", "--ca", text(&file), "--nick", "ann", &secured.address],
    ]
    .iter()
    .enumerate()
    {
        let left = pipe(&format!("hello {number}\n"), options);
        assert_eq!((left.code, left.errors.as_str()), (Some(0), ""), "{options:?}");
        witness.until(&format!("hello {number}\n"));
        assert!(secured.ended_well(), "it says that nothing more comes");
    }
}

#[test]
fn by_default_the_certificates_of_the_machine_count() {
    let (server, authority) = (TestServer::start(), Authority::new());
    let certificate = authority.issue(&HERE, NOTHING);
    let secured = Secured::to(server.address, certificate.config());
    let with_roots = |path: &str| {
        let mut command = command(&["--tls", &secured.address]);
        command.env("SSL_CERT_FILE", path).env_remove("SSL_CERT_DIR");
        let mut process = Process::run(command);
        let _ = process.try_say("hello\n");
        process.finish()
    };
    assert_eq!(with_roots(text(&authority.file())).code, Some(0));
    let left = with_roots(text(&Authority::new().file()));
    let pin = plain_digits(&certificate.pin());
    let says = format!(
        "nobody whom you trust vouches for its certificate; \
         use --ca FILE, or --pin sha256:{pin} if this fingerprint is the server's"
    );
    assert_eq!(reason(&left), says);
    let left = with_roots("/dev/null");
    assert_eq!(left.code, Some(2), "{left:?}");
    assert!(left.errors.contains("no certificates to trust; install ca-certificates, or use --ca FILE"));
}

#[test]
fn a_pin_trusts_one_certificate_and_no_other() {
    let (server, _authority) = (TestServer::start(), Authority::new());
    // Self-signed, expired, and for another name: the pin counts.
    let old = Certificate::self_signed(&["elsewhere.example"], |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let other = Certificate::self_signed(&HERE, NOTHING);
    let secured = Secured::to(server.address, old.config());
    let (pin, bare) = (old.pin(), format!("sha256:{}", plain_digits(&old.pin())));
    let other_pin = other.pin();
    for options in [vec![&pin], vec![&bare], vec![&other_pin, &bare]] {
        let pins = options.iter().flat_map(|pin| ["--pin", pin.as_str()]);
        let options: Vec<&str> = pins.chain(["--tls", &secured.address]).collect();
        assert_eq!(pipe("hello\n", &options).code, Some(0), "{options:?}");
    }
    let left = pipe("hello\n", &["--tls", "--pin", &other_pin, &secured.address]);
    let digits = plain_digits(&pin);
    let says =
        format!("its certificate has the fingerprint sha256:{digits}, not that of --pin; ask who runs it");
    assert_eq!(reason(&left), says);
}

#[test]
fn each_reason_not_to_trust_is_told_with_a_remedy() {
    let (fake, authority) = (Fake::start(), Authority::new());
    let file = authority.file();
    for (certificate, says) in [
        (
            authority.issue(&HERE, |params| params.not_after = date_time_ymd(2020, 1, 31)),
            "its certificate expired on 2020-01-31; ask who runs it to renew it, or use --pin PIN",
        ),
        (
            authority.issue(&HERE, |params| {
                (params.not_before, params.not_after) =
                    (date_time_ymd(2120, 2, 1), date_time_ymd(2121, 2, 1));
            }),
            "its certificate is valid from 2120-02-01 on; is the clock of this machine right?",
        ),
        (
            authority.issue(&["chat.example.org", "192.0.2.1", "2001:db8::1"], NOTHING),
            "its certificate is for chat.example.org, 192.0.2.1, 2001:db8::1; connect by such a name, or use --pin PIN",
        ),
        (
            authority.issue(&[], NOTHING),
            "its certificate is for no name at all; connect by such a name, or use --pin PIN",
        ),
        (
            authority.issue(
                &["a.example", "b.example", "c.example", "d.example", "e.example", "f.example"],
                NOTHING,
            ),
            "its certificate is for a.example, b.example, c.example, d.example, e.example and others; \
             connect by such a name, or use --pin PIN",
        ),
        (
            Authority::new().issue(&HERE, NOTHING),
            "nobody whom you trust vouches for its certificate; use --ca FILE, or --pin PIN",
        ),
        (
            Certificate::self_signed(&HERE, NOTHING),
            "nobody whom you trust vouches for its certificate; use --ca FILE, or --pin PIN",
        ),
        (
            authority.issue(&HERE, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "its certificate does not count (",
        ),
    ] {
        let pin = format!("sha256:{} if this fingerprint is the server's", plain_digits(&certificate.pin()));
        let secured = Secured::to(fake.socket_address(), certificate.config());
        for options in
            [&["--tls", "--ca", text(&file)][..], &["--tls", "--listen", "--reconnect", "--ca", text(&file)]]
        {
            let left = pipe("secret\n", &[options, &[secured.address.as_str()]].concat());
            let says = says.replace("PIN", &pin);
            assert!(reason(&left).starts_with(&says), "{left:?} {says}");
        }
    }
}

#[test]
fn a_certificate_in_the_file_is_trusted_itself_if_name_and_dates_fit() {
    let (server, _authority, folder) = (TestServer::start(), Authority::new(), Folder::new());
    for (certificate, says) in [
        (Certificate::self_signed(&HERE, NOTHING), None),
        (Certificate::self_signed(&["a.example"], NOTHING), Some("its certificate is for a.example; ")),
        (
            Certificate::self_signed(&HERE, |params| params.not_after = date_time_ymd(2020, 1, 1)),
            Some("its certificate expired on 2020-01-01; "),
        ),
        (
            Certificate::self_signed(&HERE, |params| params.not_before = date_time_ymd(2120, 1, 1)),
            Some("its certificate is valid from 2120-01-01 on; "),
        ),
    ] {
        let file = folder.write("self.pem", &certificate.pem);
        let secured = Secured::to(server.address, certificate.config());
        let left = pipe("hello\n", &["--tls", "--ca", text(&file), &secured.address]);
        match says {
            None => assert_eq!(left.code, Some(0), "{left:?}"),
            Some(says) => assert!(reason(&left).starts_with(says), "{left:?}"),
        }
    }
}

#[test]
fn a_server_can_ask_for_a_certificate() {
    let (server, authority, clients) = (TestServer::start(), Authority::new(), Authority::new());
    let (folder, file) = (Folder::new(), authority.file());
    let secured = Secured::to(server.address, authority.issue(&HERE, NOTHING).config_for(&clients));
    let (ann, stranger) = (clients.issue(&["ann"], NOTHING), authority.issue(&["eve"], NOTHING));
    let pem = |name: &str, text: &str| folder.write(name, text).to_str().unwrap().to_owned();
    let (cert, key) = (pem("ann.pem", &ann.pem), pem("ann.key", &ann.key_pem()));
    let (other, other_key) = (pem("eve.pem", &stranger.pem), pem("eve.key", &stranger.key_pem()));
    let run = |options: &[&str]| {
        pipe("hello\n", &[&["--tls", "--ca", text(&file)], options, &[secured.address.as_str()]].concat())
    };
    assert_eq!(run(&["--cert", &cert, "--key", &key]).code, Some(0));
    let left = run(&[]);
    assert_eq!(reason(&left), "it asks for a certificate of yours; use --cert FILE and --key FILE");
    let left = run(&["--cert", &other, "--key", &other_key]);
    assert_eq!(reason(&left), "it refuses you with your certificate (UnknownCA); ask who runs it");
    let locked = pem(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let old = pem("old.pem", include_str!("../data/tls/version-1.pem"));
    for (options, says) in [
        (["--cert", &old, "--key", &old], format!("--cert {old} has the old form X.509 version 1; ")),
        (["--cert", &cert, "--key", &other_key], format!("--key {other_key} is not the key of {cert}; ")),
        (
            ["--cert", &cert, "--key", &locked],
            format!("--key {locked} has an encrypted key, and nobody is asked for its password; "),
        ),
        (
            ["--cert", &cert, "--key", &cert],
            format!("--key {cert} has a certificate in the place of a key; "),
        ),
        (["--cert", &key, "--key", &key], format!("--cert {key} has a key in the place of a certificate; ")),
        (["--cert", "/nonexistent", "--key", &key], "--cert /nonexistent does not exist; ".to_owned()),
    ] {
        let left = run(&options);
        assert_eq!(left.code, Some(2), "{left:?}");
        assert!(left.errors.starts_with(&format!("chatc: {says}")), "{left:?} {says}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = Folder::new();
    let empty = folder.write("empty.pem", "");
    let pin = format!("sha256:{}", "0a".repeat(32));
    for (options, says) in [
        (&["--pin", pin.as_str()][..], "--ca, --pin, --cert and --key are for TLS; add --tls"),
        (&["--ca", text(&empty)], "--ca, --pin, --cert and --key are for TLS; add --tls"),
        (&["--tls", "/run/chat.sock"], "--tls is for TCP; "),
        (&["tls://a,b"], "some addresses have tls:// and others do not; "),
        (&["--tls", "--ca", text(&empty)], "empty.pem is empty"),
        (&["--tls", "--ca", "/"], "--ca / is a directory; "),
        (&["--tls", "--ca", text(&empty), "--pin", &pin], "cannot be used with"),
        (&["--tls", "--pin", "sha256:0a"], "write sha256: and 64 hexadecimal digits"),
        (&["--tls", "--pin", &pin[7..]], "write sha256: and 64 hexadecimal digits"),
        (&["--tls", "--cert", text(&empty)], "--key <FILE>"),
        (&["tls://a/b"], "no host is called that"),
    ] {
        let left = pipe("", options);
        assert_eq!(left.code, Some(2), "{options:?} {left:?}");
        assert!(left.errors.contains(says), "{options:?} {left:?}");
    }
}

#[test]
fn of_several_addresses_one_that_is_trusted_is_taken() {
    let (server, fake, authority) = (TestServer::start(), Fake::start(), Authority::new());
    let wrong = Secured::to(fake.socket_address(), Authority::new().issue(&HERE, NOTHING).config());
    let right = Secured::to(server.address, authority.issue(&HERE, NOTHING).config());
    let (file, both) = (authority.file(), format!("{},{}", wrong.address, right.address));
    let left = pipe("hello\n", &["--tls", "--ca", text(&file), &both]);
    assert_eq!((left.code, left.errors.as_str()), (Some(0), ""), "{left:?}");
    // Without TLS, nobody is taken.
    let plain = format!("{},{}", wrong.address, server.address);
    let left = pipe("hello\n", &["--tls", "--ca", text(&file), &plain]);
    assert_eq!((left.code, left.errors.lines().count()), (Some(69), 2), "{left:?}");
}
