//! The metrics: what a scrape says of a conversation, and what a scraper may do.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use chatd::net::Address;
use chatd::service::config::{Config, KEYS, Listen, Material, Serve};
use chatd::service::metrics::{Kind, METRICS};

use crate::manager::{Manager, shell};
use crate::support::{Caller, Daemon, Folder, GREETING, TestServer, clean, text, wait_until};

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The samples of a scrape, by name and labels.
type Samples = BTreeMap<String, f64>;

/// The body of the response to a scrape.
fn body(mut scraper: Caller) -> String {
    scraper.say(GET);
    let head = scraper.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let media_type = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(media_type), "{head}");
    String::from_utf8(scraper.rest()).unwrap()
}

/// Reads OpenMetrics text. Fails if a sample does not follow the head of its metric, or is there twice.
fn samples(text: &str) -> Samples {
    let mut samples = Samples::new();
    let (mut name, mut kind) = ("", "");
    let lines = text.strip_suffix("# EOF\n").expect("the end is marked");
    for line in lines.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "HELP", new, ..] => name = new,
            ["#", "TYPE", same, new] if same == name => kind = new,
            ["#", "UNIT", same, unit] if same == name => assert!(name.ends_with(unit), "{line}"),
            [sample, value] => {
                let (own, _) = sample.split_once('{').unwrap_or((sample, ""));
                let suffixes: &[&str] = match kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    _ => panic!("{kind}: {line}"),
                };
                let suffix = own.strip_prefix(name).unwrap_or_else(|| panic!("not of {name}: {line}"));
                assert!(suffixes.contains(&suffix), "{line}");
                assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
            }
            _ => panic!("{line}"),
        }
    }
    samples
}

fn scrape(address: SocketAddr) -> Samples {
    samples(&body(Caller::connect(address)))
}

/// Scrapes until a sample has that value.
#[track_caller]
pub fn wait_for(address: SocketAddr, name: &str, value: f64) -> Samples {
    let mut samples = scrape(address);
    wait_until(&format!("{name} is {value}"), || {
        samples = scrape(address);
        samples[name] == value
    });
    samples
}

/// A server for the chat and for metrics, on TCP, and the address of the metrics.
pub fn server(change: impl FnOnce(&mut Config)) -> (TestServer, SocketAddr) {
    let server = TestServer::with(|config| {
        let address: Address = "127.0.0.1:0".parse().unwrap();
        // The same port 0 twice: any two ports.
        config.listen.push(Listen { serve: Serve::Metrics, ..address.into() });
        change(config);
    });
    let Some((Address::Tcp(metrics), Serve::Metrics)) = server.server().addresses().get(1).cloned() else {
        panic!("the second address serves no metrics");
    };
    (server, metrics)
}

#[test]
fn a_scrape_tells_of_a_conversation() {
    let folder = Folder::new();
    let path = folder.path("chat.sock");
    let (server, metrics) = server(|config| config.listen.push(Address::Unix(path.clone()).into()));
    let (mut ann, mut ben) = (server.join(), server.join());
    let mut eve = Caller::connect_unix(&path);
    eve.expect(GREETING);
    ann.say("/view json\n/join attic\n");
    ann.until("attic");
    ben.say("hello\nhow are you?\n");
    eve.expect("hello\nhow are you?\n");
    // What was sent is counted a moment later: three greetings, two answers, and two lines to one.
    let found = wait_for(metrics, "chatd_lines_sent_total", 7.0);
    assert_eq!(found["chatd_sessions{view=\"json\",transport=\"tcp\"}"], 1.0);
    assert_eq!(found["chatd_sessions{view=\"plain\",transport=\"tcp\"}"], 1.0);
    assert_eq!(found["chatd_sessions{view=\"plain\",transport=\"unix\"}"], 1.0);
    assert_eq!(found["chatd_rooms"], 2.0);
    assert_eq!(found["chatd_lines_received_total"], 2.0);
    let received = "/view json\n/join attic\nhello\nhow are you?\n".len();
    assert_eq!(found["chatd_received_bytes_total"], received as f64);
    assert_eq!(found["chatd_connections_accepted_total"], 3.0, "a scraper is no session");
    assert!(found["chatd_sent_bytes_total"] > 3.0 * GREETING.len() as f64);
    assert!((5.0..=7.0).contains(&found["chatd_deliveries_total"]));
    assert!(found["chatd_broker_round_seconds_count"] >= 1.0);
    assert!(found["chatd_memory_bytes"] > 0.0);
    assert_eq!(found["chatd_memory_limit_bytes"], (256 << 20) as f64);
    assert!(found["process_resident_memory_bytes"] > 1e6);
    drop(eve);
    wait_for(metrics, "chatd_sessions{view=\"plain\",transport=\"unix\"}", 0.0);
    wait_for(metrics, "chatd_sessions_closed_total{reason=\"ended\"}", 1.0);
}

#[test]
fn every_metric_is_in_a_scrape_with_its_labels_and_no_other() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/ed25519.pem");
    let (_server, metrics) = server(|config| {
        [config.tls_cert, config.tls_key] = [(); 2].map(|()| Material::File(file.into()));
        // Its engine is away, and there are metrics all the same.
        let mut node = Config::default();
        for (name, value) in [("cluster", "redis+unix:///nonexistent/redis.sock"), ("node", "alpha")] {
            let key = KEYS.iter().find(|key| key.name == name).unwrap();
            key.set(&mut node, &value.into()).unwrap();
        }
        (config.cluster, config.node) = (node.cluster, node.node);
    });
    let found = scrape(metrics);
    assert_eq!(found["chatd_cluster_node_info{node=\"alpha\"}"], 1.0);
    for metric in &METRICS {
        let is_own = |sample: &&String| {
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let suffix = name.strip_prefix(&metric.sample_name());
            let is_own = match metric.kind {
                Kind::Histogram => matches!(suffix, Some("_bucket" | "_count" | "_sum")),
                _ => suffix == Some(""),
            };
            is_own && metric.labels.iter().all(|label| labels.contains(&format!("{label}=\"")))
        };
        assert!(found.keys().any(|sample| is_own(&sample)), "{}", metric.name);
        let is_plain = |c: char| c.is_ascii() && !matches!(c, '\\' | '"' | '\n');
        assert!(metric.help.chars().all(is_plain), "it would have to be escaped: {}", metric.help);
    }
    let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
    let shown = body(Caller::connect(metrics));
    let heads: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert!(heads.iter().map(|line| line.split(' ').next().unwrap()).eq(names));
}

#[test]
fn each_reason_to_refuse_and_to_close_is_counted() {
    let (server, metrics) = server(|config| (config.max_clients, config.max_per_ip) = (3, 2));
    let mut ann = server.join();
    let mut web = Caller::connect(server.address);
    web.say("GET / HTTP/1.1\r\n\r\n");
    wait_for(metrics, "chatd_sessions_closed_total{reason=\"foreign\"}", 1.0);
    drop(web);
    wait_for(metrics, "chatd_sessions{view=\"plain\",transport=\"tcp\"}", 1.0);
    let _ben = server.join();
    Caller::connect(server.address).until("too many connections from your address");
    let found = scrape(metrics);
    assert_eq!(found["chatd_connections_refused_total{reason=\"address_full\"}"], 1.0);
    assert_eq!(found["chatd_connections_refused_total{reason=\"full\"}"], 0.0);
    assert_eq!(found["chatd_sessions_closed_total{reason=\"ended\"}"], 0.0, "it is counted once");
    assert_eq!(found["chatd_sessions_limit"], 3.0);
    ann.say("/quit\n");
    ann.rest();
    wait_for(metrics, "chatd_sessions_closed_total{reason=\"ended\"}", 1.0);
}

#[test]
fn sessions_that_are_idle_slow_or_broken_are_counted_as_such_and_once() {
    let (server, metrics) = server(|config| {
        config.idle_timeout = Some(Duration::from_millis(10));
        config.slow_timeout = Duration::from_millis(10);
    });
    let _idle = Caller::connect(server.address);
    wait_for(metrics, "chatd_sessions_closed_total{reason=\"idle\"}", 1.0);
    let (server, metrics) = self::server(|config| config.slow_timeout = Duration::from_millis(10));
    let broken = server.join();
    rustix::net::sockopt::set_socket_linger(broken.stream(), Some(Duration::ZERO)).unwrap();
    drop(broken);
    let found = wait_for(metrics, "chatd_sessions_closed_total{reason=\"failed\"}", 1.0);
    assert_eq!(found["chatd_sessions_closed_total{reason=\"ended\"}"], 0.0);
    let _slow = Caller::connect_with_little_space(server.address);
    let mut ann = server.join();
    wait_for(metrics, "chatd_sessions{view=\"plain\",transport=\"tcp\"}", 2.0);
    ann.say("a line that is not read\n".repeat(100_000));
    wait_for(metrics, "chatd_sessions_closed_total{reason=\"slow\"}", 1.0);
    drop(ann);
    let found = wait_for(metrics, "chatd_sessions_closed_total{reason=\"ended\"}", 1.0);
    let all = found.iter().filter(|(name, _)| name.starts_with("chatd_sessions_closed_total"));
    assert_eq!(all.map(|(_, count)| count).sum::<f64>(), 3.0);
}

#[test]
fn a_scraper_takes_no_place_of_a_client_and_hears_and_says_nothing() {
    let (server, metrics) = server(|config| config.max_clients = 2);
    let (mut ann, mut ben) = (server.join(), server.join());
    Caller::connect(server.address).expect("-!- server full\n");
    let mut scraper = Caller::connect(metrics);
    scraper.say("GET /metrics HTTP/1.1\r\n");
    ann.say("hello\n");
    ben.expect("hello\n");
    scraper.say("\r\n");
    scraper.expect("HTTP/1.1 200 OK\r\n");
    let found = wait_for(metrics, "chatd_connections_refused_total{reason=\"full\"}", 1.0);
    assert_eq!(found["chatd_connections_accepted_total"], 2.0);
    ben.say("still here\n");
    ann.expect("still here\n");
}

#[test]
fn what_is_no_request_for_metrics_is_refused_and_closed() {
    let (server, metrics) = server(|_| {});
    let (mut ann, mut ben) = (server.join(), server.join());
    let mut long = b"GET /metrics HTTP/1.1\r\nCookie: ".to_vec();
    long.resize(1_000_000, b'x');
    for (request, status) in [
        (&b"hello\n"[..], "400"),
        (&[0xff; 100], "400"),
        (&long, "400"),
        (b"GET /secret HTTP/1.1\r\n\r\n", "404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405"),
    ] {
        let mut scraper = Caller::connect(metrics);
        scraper.try_say(request);
        scraper.expect(format!("HTTP/1.1 {status} "));
        scraper.rest();
    }
    ann.say("still here\n");
    ben.expect("still here\n");
    assert_eq!(scrape(metrics)["chatd_sessions_closed_total{reason=\"foreign\"}"], 0.0);
}

/// The address of a listener that is to be passed, and the listener.
fn listener() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[test]
fn a_passed_socket_with_the_name_metrics_serves_them_and_the_others_the_chat() {
    let manager = Manager::with_store();
    let folder = Folder::new();
    let path = folder.path("metrics.sock");
    manager.replace("metrics", UnixListener::bind(&path).unwrap());
    let mut daemon = manager.start("", &[]);
    daemon.wait_for_log(&format!(
        "metrics on {0}; try: curl --unix-socket {0} http://localhost/metrics",
        text(&path)
    ));
    let _ann = manager.join();
    let found = samples(&body(Caller::connect_unix(&path)));
    assert_eq!(found["chatd_sessions{view=\"plain\",transport=\"tcp\"}"], 1.0);
    assert!(!daemon.log.iter().any(|line| line.contains("cannot use")), "{:#?}", daemon.log);
}

#[test]
fn with_a_passed_socket_for_metrics_alone_chatd_opens_those_for_the_chat() {
    let (metrics, socket) = listener();
    let names = "export LISTEN_FDS=1 LISTEN_FDNAMES=metrics LISTEN_PID=$$;";
    let mut command = shell(&format!("exec 3<&0 </dev/null; {names}"), &[]);
    command.stdin(std::process::Stdio::from(OwnedFd::from(socket)));
    let daemon = Daemon::run(command);
    let _ann = daemon.join();
    assert_eq!(scrape(metrics)["chatd_connections_accepted_total"], 1.0);
}

#[test]
fn the_restarts_and_crashes_that_connections_have_survived_are_counted() {
    let manager = Manager::with_store();
    let (metrics, socket) = listener();
    manager.replace("metrics", socket);
    let mut daemon = manager.start("", &[]);
    let (mut ann, mut ben) = (manager.join(), manager.join());
    ann.say("before\n");
    ben.expect("before\n");
    let survived = || {
        let found = scrape(metrics);
        ["restart", "crash"]
            .map(|cause| found[&format!("chatd_restarts_survived_total{{cause=\"{cause}\"}}")])
    };
    assert_eq!(survived(), [0.0, 0.0]);
    manager.restart(&mut daemon, &[]);
    assert_eq!(survived(), [1.0, 0.0]);
    assert_eq!(scrape(metrics)["chatd_lines_received_total"], 1.0, "the number of lines goes on");
    manager.crash(&mut daemon, 2, &[]);
    assert_eq!(survived(), [1.0, 1.0]);
    manager.restart(&mut daemon, &[]);
    assert_eq!(survived(), [2.0, 1.0]);
    assert_eq!(scrape(metrics)["chatd_sessions{view=\"plain\",transport=\"tcp\"}"], 2.0);
}

/// Checks a configuration file.
fn check(file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    clean(&mut command).args(["--check", "--config", text(file)]).output().unwrap()
}

#[test]
fn a_listener_serves_the_chat_or_metrics_and_nothing_else() {
    let folder = Folder::new();
    for (fields, mistake) in [
        ("serve = \"metrics\"", None),
        ("serve = \"chat\", view = \"names\"", None),
        (
            "serve = \"telnet\"",
            Some("\"telnet\" is not something that an address can serve; write chat or metrics"),
        ),
        ("serve = \"metrics\", room = \"ops\"", Some("metrics have no view and no room; leave these out")),
        ("serve = \"metrics\", view = \"json\"", Some("metrics have no view and no room; leave these out")),
    ] {
        let file = format!("listen = [{{ address = \"127.0.0.1:0\", {fields} }}]\n");
        let output = check(&folder.write("chatd.toml", file));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), mistake.is_none(), "{fields}: {said}");
        assert!(said.contains(mistake.unwrap_or("")), "{fields}: {said}");
    }
}
