//! What an administrator does with the package.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::caller::{Caller, GREETING};
use crate::machine::Machine;

/// Where the package has chatd listen.
pub const PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5001);

/// The package, and one with a higher version.
pub struct Packages {
    pub current: PathBuf,
    pub newer: PathBuf,
}

impl Packages {
    pub fn build() -> Self {
        println!("\n== packaging/build-deb");
        let (packages, version) = (Self::built(), env!("CARGO_PKG_VERSION"));
        // Out of the way of those who install what packaging/build-deb has built.
        std::fs::rename(build(&format!("{version}-2")), &packages.newer).unwrap();
        std::fs::copy(build(&format!("{version}-1")), &packages.current).unwrap();
        packages
    }

    /// Those that were built.
    pub fn built() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self { current: folder.join("current.deb"), newer: folder.join("newer.deb") }
    }
}

/// All files of the package, and the one that is a configuration file. The same list as in Cargo.toml, but for what
/// cargo-deb adds and compresses.
const FILES: [&str; 44] = [
    CONFFILE,
    "/usr/bin/chatc",
    "/usr/bin/chatctl",
    "/usr/lib/modules-load.d/chatd.conf",
    "/usr/lib/systemd/system/chatd-metrics.socket",
    "/usr/lib/systemd/system/chatd.service",
    "/usr/lib/systemd/system/chatd.socket",
    "/usr/lib/sysusers.d/chatd.conf",
    "/usr/sbin/chatd",
    "/usr/share/bash-completion/completions/chatc",
    "/usr/share/bash-completion/completions/chatctl",
    "/usr/share/bash-completion/completions/chatd",
    "/usr/share/doc/chatd/README.md",
    "/usr/share/doc/chatd/SECURITY.md",
    "/usr/share/doc/chatd/changelog.Debian.gz",
    "/usr/share/doc/chatd/changelog.gz",
    "/usr/share/doc/chatd/copyright",
    "/usr/share/doc/chatd/docs/cpu.svg",
    "/usr/share/doc/chatd/docs/from-ncat-chat.md",
    "/usr/share/doc/chatd/docs/from-ngircd.md",
    "/usr/share/doc/chatd/docs/from-ssh-chat.md",
    "/usr/share/doc/chatd/docs/restart.svg",
    "/usr/share/doc/chatd/examples/bot",
    "/usr/share/doc/chatd/examples/cluster/chatd-engine@.service",
    "/usr/share/doc/chatd/examples/cluster/chatd-engine@.socket",
    "/usr/share/doc/chatd/examples/cluster/cluster.conf",
    "/usr/share/doc/chatd/examples/reader.py",
    "/usr/share/doc/chatd/grafana/chatd.json",
    "/usr/share/doc/chatd/json-view.schema.json",
    "/usr/share/doc/chatd/prometheus/chatd.rules.yml",
    "/usr/share/fish/vendor_completions.d/chatc.fish",
    "/usr/share/fish/vendor_completions.d/chatctl.fish",
    "/usr/share/fish/vendor_completions.d/chatd.fish",
    "/usr/share/lintian/overrides/chatd",
    "/usr/share/man/man1/chatc.1.gz",
    "/usr/share/man/man1/chatctl.1.gz",
    "/usr/share/man/man5/chatd.toml.5.gz",
    "/usr/share/man/man7/chatd-cluster.7.gz",
    "/usr/share/man/man7/chatd-metrics.7.gz",
    "/usr/share/man/man7/chatd-protocol.7.gz",
    "/usr/share/man/man8/chatd.8.gz",
    "/usr/share/zsh/vendor-completions/_chatc",
    "/usr/share/zsh/vendor-completions/_chatctl",
    "/usr/share/zsh/vendor-completions/_chatd",
];
const CONFFILE: &str = "/etc/chatd/chatd.toml";

/// Fails unless the files of a package, which is not installed, are those, each with something in it; and the programs
/// can be run.
fn check_files(package: &Path) {
    let output = Command::new("dpkg-deb").arg("-c").arg(package).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let mut files = Vec::new();
    for line in list.lines().filter(|line| !line.starts_with('d')) {
        let [mode, owner, size, .., name] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let name = name.trim_start_matches('.');
        let is_program = ["/usr/bin/chatc", "/usr/bin/chatctl", "/usr/sbin/chatd"].contains(&name)
            || (name.contains("/examples/") && !name.contains("/cluster/"));
        assert_eq!(mode, if is_program { "-rwxr-xr-x" } else { "-rw-r--r--" }, "{name}");
        assert!(owner == "0/0" || owner == "root/root", "{line}");
        assert_ne!(size, "0", "{name}");
        files.push(name);
    }
    files.sort_unstable();
    assert_eq!(files, FILES);
    let conffiles = Command::new("dpkg-deb").arg("-I").arg(package).arg("conffiles").output().unwrap();
    assert_eq!(String::from_utf8(conffiles.stdout).unwrap().trim(), CONFFILE);
}

fn build(version: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build-deb");
    let mut command = Command::new(script);
    // What cargo says to a test. The build of ring looks at it, and everything would be built again.
    let is_of_cargo =
        |name: &str| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| name.starts_with(start));
    std::env::vars().filter(|(name, _)| is_of_cargo(name)).for_each(|(name, _)| _ = command.env_remove(name));
    let output = command.arg(version).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().lines().last().unwrap());
    println!("{}: {} bytes", path.display(), path.metadata().unwrap().len());
    check_files(&path);
    path
}

/// Installs a package, whatever version is there.
pub fn install(machine: &Machine, package: &Path) {
    machine.copy(package, "/root/chatd.deb");
    machine.run("apt-get install -qqy --allow-downgrades /root/chatd.deb 2>&1");
}

fn version(machine: &Machine) -> String {
    machine.try_run("dpkg-query -W -f '${Version} ${db:Status-Status}' chatd")
}

pub fn installing_enables_and_starts_it(machine: &Machine, packages: &Packages) {
    install(machine, &packages.current);
    machine.run("systemctl is-enabled chatd.service chatd.socket");
    machine.run("systemctl is-active chatd.service chatd.socket");
    machine.run("dpkg -L chatd | grep -v '/$' | xargs ls -ld | grep -v ^d");
    for file in FILES {
        assert!(machine.exists(file), "{file} is not installed");
    }
    assert_eq!(machine.run("systemctl --failed --no-legend"), "");
    machine.run("chatd --version && chatd --check");
    Caller::connect(PORT).expect(GREETING);
}

/// Connects again and again while `change` happens; each is greeted, and at least `least` were there.
pub fn connecting_during(least: usize, change: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut served = 0;
            while !is_over.load(Ordering::Relaxed) {
                Caller::connect(PORT).expect(GREETING);
                served += 1;
            }
            served
        });
        change();
        is_over.store(true, Ordering::Relaxed);
        caller.join().unwrap()
    });
    println!("{served} connections meanwhile, all of them greeted");
    assert!(served >= least);
}

pub fn upgrade_and_downgrade(machine: &Machine, packages: &Packages) {
    let since = |machine: &Machine| machine.property("chatd.socket", "ActiveEnterTimestampMonotonic");
    let (socket, pid) = (since(machine), machine.main_pid());
    connecting_during(10, || install(machine, &packages.newer));
    assert!(version(machine).ends_with("-2 installed") && machine.is_active("chatd"));
    let upgraded = machine.main_pid();
    assert_ne!(upgraded, pid, "the upgrade has restarted it");
    connecting_during(10, || install(machine, &packages.current));
    assert!(version(machine).ends_with("-1 installed") && machine.is_active("chatd"));
    assert_ne!(machine.main_pid(), upgraded, "the downgrade has restarted it");
    assert_eq!(since(machine), socket, "its socket has stayed open");
}

pub fn what_was_disabled_stays_disabled(machine: &Machine, packages: &Packages) {
    machine.run("systemctl disable --now chatd.service chatd.socket 2>&1");
    install(machine, &packages.newer);
    machine.fail("systemctl is-enabled chatd.service chatd.socket");
    machine.run("systemctl enable chatd.service 2>&1");
    machine.run("systemctl is-enabled chatd.socket");
    machine.run("systemctl start chatd");
    Caller::connect(PORT).expect(GREETING);
}

pub fn removing_keeps_the_configuration(machine: &Machine, packages: &Packages) {
    machine.write("/etc/chatd/chatd.toml", "greeting = \"mine\"\n");
    machine.run("apt-get remove -qqy chatd 2>&1");
    std::net::TcpStream::connect(PORT).unwrap_err();
    assert!(!machine.exists("/run/chatd") && !machine.exists("/usr/sbin/chatd"));
    machine.fail("systemctl start chatd");
    install(machine, &packages.current);
    machine.run("systemctl is-enabled chatd.service chatd.socket");
    Caller::connect(PORT).expect("mine\n");
}

pub fn purging_leaves_nothing(machine: &Machine, _: &Packages) {
    machine.run("apt-get purge -qqy chatd 2>&1");
    std::net::TcpStream::connect(PORT).unwrap_err();
    // man(1) keeps the pages that it has shown, whatever becomes of the package.
    let left = machine
        .run("find / -xdev -name '*chatd*' -not -path '/root/*' -not -path '/var/cache/man/*' -print | sort");
    let left = left + &machine.run("find /run /tmp -xdev -name '*chatd*' -print");
    assert_eq!(left, "", "nothing is left");
    assert_eq!(machine.show("systemctl list-unit-files --no-legend 'chatd*'"), "");
    assert_eq!(machine.run("getent passwd chatd || true"), "");
    // Another group could get its number.
    machine.run("getent group chatd-operators");
}
