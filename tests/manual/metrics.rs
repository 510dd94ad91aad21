//! chatd-metrics(7), the alerts and the dashboard, held against the metrics that chatd has.
//!
//! With `promtool` in the path, it checks the alerts and the text of the metrics as well.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use chatd::net::http;
use chatd::service::listeners;
use chatd::service::metrics::{Kind, METRICS, Metric};

use super::support::{Caller, TestServer};
use super::{read, root, section};

const PAGE: &str = "man/chatd-metrics.7";
const RULES: &str = "packaging/prometheus/chatd.rules.yml";
const DASHBOARD: &str = "packaging/grafana/chatd.json";

/// The type and the labels of a metric, as the manual has them.
fn about(metric: &Metric) -> String {
    let kind = format!("{:?}", metric.kind);
    if metric.labels.is_empty() {
        format!("{kind}.")
    } else {
        format!("{kind} by {}.", metric.labels.join(" and "))
    }
}

#[test]
fn every_metric_is_in_the_manual_in_this_order_and_no_other() {
    let page = read(PAGE);
    let entries = section(&page, ".Sh METRICS", ".Sh ").split("\n.It Li ").skip(1);
    let entries: Vec<_> = entries.map(|entry| entry.split_once('\n').unwrap()).collect();
    let names: Vec<_> = entries.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, METRICS.iter().map(Metric::sample_name).collect::<Vec<_>>());
    for (metric, (name, text)) in METRICS.iter().zip(entries) {
        let bare = text.lines().map(|line| line.strip_prefix(".Cm ").unwrap_or(line));
        let said = bare.collect::<Vec<_>>().join(" ").replace(" .", ".");
        assert!(said.starts_with(&format!("{} {}", about(metric), metric.help)), "{name}: {said}");
    }
}

#[test]
fn every_value_of_a_label_is_in_the_manual() {
    let page = read(PAGE);
    for line in scrape().lines().filter(|line| line.starts_with("chatd_") && !line.contains("_bucket{")) {
        let (name, labels) = line.split_once('{').unwrap_or((line, ""));
        for value in labels.split('"').skip(1).step_by(2).filter(|_| name != "chatd_build_info") {
            let entry = section(&page, &format!(".It Li {name}"), ".It Li ");
            let is_it = |line: &str| {
                let word = line.strip_prefix(".It Cm ").or_else(|| line.strip_prefix(".Cm "));
                word.is_some_and(|word| word.split(' ').next() == Some(value))
            };
            assert!(entry.lines().any(is_it), "{name}: {value}");
        }
    }
}

#[test]
fn the_limits_of_the_manual_are_those_of_the_code() {
    let page = read(PAGE);
    let most = http::MOST_CLIENTS;
    for said in [
        format!("A request has at most {} KiB", http::MOST_HEAD >> 10),
        format!("has {} seconds for its request", http::TIMEOUT.as_secs()),
        format!("At most {most} clients are connected at a time."),
        format!("{} header fields", http::MOST_FIELDS),
        format!(".Ql GET {}\n", http::PATH),
        format!(".Ql FileDescriptorName={}\n", listeners::METRICS),
    ] {
        assert!(page.contains(&said), "{said}");
    }
}

#[test]
fn the_unit_of_the_metrics_has_the_name_that_chatd_knows_and_is_not_started_by_a_scrape() {
    let unit = read("packaging/systemd/chatd-metrics.socket");
    let name = format!("FileDescriptorName={}", listeners::METRICS);
    for line in [name.as_str(), "Service=chatd.service", "Requires=chatd.socket", "SocketMode=0660"] {
        assert!(unit.lines().any(|other| other == line), "{line}");
    }
}

/// The names of metrics in the queries of a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("chatd_") || word.starts_with("process_")).collect()
}

#[test]
fn every_query_of_the_alerts_the_dashboard_and_the_manual_is_about_metrics_that_there_are() {
    let mut known = BTreeSet::new();
    for metric in &METRICS {
        let suffixes: &[&str] =
            if metric.kind == Kind::Histogram { &["_bucket", "_count", "_sum"] } else { &[""] };
        known.extend(suffixes.iter().map(|suffix| metric.sample_name() + suffix));
        known.extend((metric.kind == Kind::Histogram).then(|| metric.sample_name()));
    }
    for (file, least) in [(RULES, 4), (DASHBOARD, METRICS.len()), (PAGE, METRICS.len())] {
        let text = read(file);
        let named = names(&text);
        assert!(named.len() >= least, "{file}: {named:?}");
        let unknown: Vec<_> = named.into_iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_in_panels_that_do_not_overlap() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "two panels at {cell:?}");
        }
    }
    let text = dashboard.to_string();
    let shown = names(&text);
    let is_shown = |name: &str| shown.iter().any(|word| word.starts_with(name));
    let missing: Vec<_> = METRICS.iter().filter(|metric| !is_shown(&metric.sample_name())).collect();
    assert!(missing.is_empty(), "{:?}", missing.iter().map(|metric| metric.name).collect::<Vec<_>>());
}

/// The queries of the dashboard, each with the legend of what it finds.
fn queries() -> Vec<(String, String)> {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let targets = dashboard["panels"].as_array().unwrap().iter();
    let targets = targets.flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries: Vec<_> =
        targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect();
    queries.push((text(&dashboard["annotations"]["list"][0]["expr"]), String::new()));
    queries
}

#[test]
fn the_queries_of_the_dashboard_have_labels_that_there_are() {
    for (query, legend) in queries() {
        let named = names(&query);
        let about =
            METRICS.iter().filter(|metric| named.iter().any(|name| name.starts_with(&metric.sample_name())));
        let known: BTreeSet<&str> =
            about.flat_map(|metric| metric.labels).chain(&["instance", "le"]).copied().collect();
        let groups = ["by (", "group_left ("].into_iter().flat_map(|before| query.split(before).skip(1));
        let groups = groups.flat_map(|rest| rest.split(')').next().unwrap().split(", "));
        let braces = query.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
        let matched =
            braces.flat_map(|labels| labels.split(',')).map(|label| label.split(['=', '!']).next().unwrap());
        let shown = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap());
        let shown: BTreeSet<&str> = shown.collect();
        let groups: BTreeSet<&str> = groups.collect();
        assert!(shown.is_subset(&groups), "{query}: {legend}");
        let unknown: Vec<_> =
            groups.into_iter().chain(matched).filter(|label| !known.contains(label)).collect();
        assert!(unknown.is_empty(), "{query}: {unknown:?}");
    }
}

/// As rules: promtool reads queries nowhere else.
#[test]
fn promtool_finds_no_mistake_in_the_queries_of_the_dashboard() {
    let rule = |(at, (query, _)): (usize, (String, String))| {
        let query = query.replace("$__rate_interval", "5m").replace("$instance", "x");
        serde_json::json!({ "record": format!("query:{at}"), "expr": query })
    };
    let rules: Vec<_> = queries().into_iter().enumerate().map(rule).collect();
    assert!(!rules.is_empty());
    // JSON is YAML.
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    promtool(&["check", "rules", "/dev/stdin"], &groups.to_string());
}

/// The text of the metrics.
fn scrape() -> String {
    use chatd::net::Address;
    use chatd::service::config::{Listen, Material, Serve};
    let server = TestServer::with(|config| {
        let address: Address = "127.0.0.1:0".parse().unwrap();
        config.listen.push(Listen { serve: Serve::Metrics, ..address.into() });
        let certificate = Material::File(root("tests/data/tls/ed25519.pem"));
        (config.tls_cert, config.tls_key) = (certificate.clone(), certificate);
    });
    let (Address::Tcp(address), _) = server.server().addresses()[1] else { panic!("no TCP") };
    drop(TcpStream::connect(server.address));
    let mut scraper = Caller::connect(address);
    scraper.say("GET /metrics HTTP/1.1\r\n\r\n");
    scraper.until("\r\n\r\n");
    String::from_utf8(scraper.rest()).unwrap()
}

/// Runs promtool with this input. Fails if it finds a mistake, or, in CI, if it is not there.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(mut child) => {
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "promtool is needed for this test");
        }
        Err(error) => panic!("promtool: {error}"),
    }
}

/// promtool reads the older text format only: there the head of a counter has the name of its samples, and there is no
/// unit and no end.
fn older(text: &str) -> String {
    let mut older = String::new();
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let name = line.split(' ').nth(2).filter(|_| line.starts_with("# ")).unwrap_or_default();
        let counter = METRICS.iter().find(|metric| metric.kind == Kind::Counter && metric.name == name);
        let line = counter.map_or(line.to_owned(), |metric| line.replacen(name, &metric.sample_name(), 1));
        older += &format!("{line}\n");
    }
    older
}

#[test]
fn promtool_finds_no_mistake_in_the_metrics() {
    promtool(&["check", "metrics"], &older(&scrape()));
}

#[test]
fn promtool_finds_no_mistake_in_the_alerts() {
    promtool(&["check", "rules", root(RULES).to_str().unwrap()], "");
}

/// What each alert fires for, and what it does not.
#[test]
fn the_alerts_fire_when_they_should() {
    promtool(&["test", "rules", root("tests/data/chatd.rules.test.yml").to_str().unwrap()], "");
}
