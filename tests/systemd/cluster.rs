//! Several nodes, set up as chatd-cluster(7) says: what is typed and written here is taken from that page.
//!
//! All three machines of the page are this one, which has their addresses: with an engine at the first, its replica at the
//! second, and nothing at the third. The second node is the service of the package once more, under another name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::caller::Caller;
use crate::machine::Machine;
use crate::package::{PORT, Packages};

/// The page.
const PAGE: &str = include_str!("../../man/chatd-cluster.7");

/// Where the second node listens.
const SECOND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5002);

/// Makes the service of the second node of that of the first.
const COPY_SERVICE: &str = "cd /etc/systemd/system && cp -r chatd.service.d beta.service.d \
    && printf '[Service]\nEnvironment=CHATD_NODE=beta\n' >beta.service.d/node.conf \
    && for unit in socket service; do sed 's/chatd\\.s/beta.s/; s/5001/5002/; s,run/chatd/,run/beta/,; \
    s/StateDirectory=chatd/StateDirectory=beta/' /usr/lib/systemd/system/chatd.$unit >beta.$unit; done";

/// Makes the replica of the engine, as the second machine has it. It says its address itself: on one machine, it seems to
/// come from that of the primary.
const COPY_ENGINE: &str = "cd /etc/redis && sed 's/bind 192.0.2.1/bind 192.0.2.2/' redis.conf >redis-two.conf \
    && printf 'replicaof 192.0.2.1 6379\nreplica-announce-ip 192.0.2.2\ndir /var/lib/redis/two\nlogfile \"\"\n' >>redis-two.conf \
    && install -d -o redis -g redis /var/lib/redis/two && chown redis: redis-two.conf";

/// Takes back what is chatd's, and stops the engines: nothing else needs them.
const UNDO: &str = "systemctl stop beta.socket; systemctl disable --now 'chatd-engine@192.0.2.1.socket' 'chatd-engine@192.0.2.2.socket' \
    'chatd-engine@192.0.2.3.socket' beta redis-server redis-server@two redis-sentinel; \
    systemctl stop 'chatd-engine@*'; cd /etc/systemd/system; \
    groupdel chatd-engine; rm -rf chatd-engine@* chatd.service.d/cluster.conf beta.* /etc/chatd/redis.password /run/chatd-engine; \
    mv /root/chatd.toml /etc/chatd; systemctl daemon-reload; systemctl restart chatd";

/// The example of the page that is number `number`, from 0, under a heading.
fn example(heading: &str, number: usize) -> &'static str {
    let section = PAGE.split(&format!(".Ss {heading}\n")).nth(1).unwrap();
    let rest = section.split(".Bd -literal -offset indent\n").nth(1 + number).unwrap();
    rest.split(".Ed\n").next().unwrap()
}

/// The same as a script: what is typed as root.
fn script(heading: &str, number: usize) -> String {
    let lines = example(heading, number).lines().map(|line| line.strip_prefix("# ").unwrap());
    lines.collect::<Vec<_>>().join(" && ").replace("editor", "echo SECRET >")
}

/// Adds what the page says to a file, which keeps its owner.
fn add(machine: &Machine, path: &str, text: &str) {
    machine.run(&format!("cat >>{path} <<.\n{text}."));
}

/// The nodes of a machine, which is as it was when this is dropped.
struct Nodes<'a>(&'a Machine);

impl Nodes<'_> {
    fn address(change: &str, number: u32) {
        let address = format!("192.0.2.{number}/32");
        // Of this machine, but in the network of that one, which may have no such program.
        assert!(
            Command::new("ip").args(["address", change, &address, "dev", "lo"]).status().unwrap().success()
        );
    }

    fn start_engines(&self) {
        (1..=3).for_each(|number| Self::address("add", number));
        add(self.0, "/etc/redis/redis.conf", example("The engines", 0));
        self.0.run(COPY_ENGINE);
        self.0.run(&format!("cat >/etc/redis/sentinel.conf <<.\n{}.", example("The engines", 1)));
        self.0.run("systemctl restart redis-server redis-server@two redis-sentinel");
    }

    /// Waits until somebody at each node hears the other one.
    fn talk(callers: &mut [Caller; 2], what: &str) {
        for (from, to) in [(0, 1), (1, 0)] {
            callers[from].say(format!("{what} at {from}\n"));
            callers[to].until(&format!("{what} at {from}\n"));
        }
    }
}

impl Drop for Nodes<'_> {
    fn drop(&mut self) {
        self.0.show(UNDO);
        (1..=3).for_each(|number| Self::address("delete", number));
    }
}

pub fn two_nodes_behind_the_proxies(machine: &Machine, _: &Packages) {
    machine.run("cp -p /etc/chatd/chatd.toml /root");
    let nodes = Nodes(machine);
    nodes.start_engines();
    machine.run(&script("The way to the engines", 0));
    add(machine, "/etc/chatd/chatd.toml", example("The nodes", 0));
    machine.run(COPY_SERVICE);
    machine.run("systemctl daemon-reload && systemctl start beta");
    machine.run(&script("The nodes", 1));
    let both = || machine.try_run("chatctl nodes").contains("beta");
    machine.wait_until("both are there", both);
    machine.run("chatctl nodes");
    let mut callers = [Caller::join(PORT), Caller::join(SECOND)];
    Nodes::talk(&mut callers, "hello");
    let ask = "redis-cli -h 192.0.2.1 -p 26379 SENTINEL";
    let knows = || machine.try_run(&format!("{ask} REPLICAS chatd")).contains("192.0.2.2");
    machine.wait_until("Sentinel knows the replica", knows);
    let failover =
        PAGE.lines().filter_map(|line| line.strip_prefix(".Ql ")).find(|line| line.starts_with(ask));
    let failover = failover.unwrap().trim_end_matches(" ,");
    // Sentinel may not have asked the replica yet how it is.
    machine.wait_until("Sentinel begins", || machine.try_run(failover).trim() == "OK");
    let address = "redis+unix:///run/chatd-engine/192.0.2.2.sock";
    machine.wait_until("it has found the other", || machine.try_run("chatctl nodes").contains(address));
    Nodes::talk(&mut callers, "after the failover");
}
