//! A machine: a root file system of Debian with systemd as its first process, in a container.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::RELEASES;

/// How long anything may take before the check fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a Debian has beyond its essential packages, here: the manual is for systemd-analyze verify, nc for the test of the
/// package, the last two for several nodes.
const INCLUDED: &str =
    "--include=systemd,systemd-sysv,dbus,rsyslog,man-db,netcat-openbsd,redis-server,redis-sentinel";

/// Most lines of what a command says that are shown.
const SHOWN_LINES: usize = 40;

/// Moves this process, and those that it starts, into control groups of their own: two machines in the same ones would
/// take the processes of the other for those of their units.
pub fn enter_groups(release: &str) {
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].map(Path::new) {
        if root.join("cgroup.procs").exists() {
            let group = root.join(format!("chatd-{release}"));
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("cgroup.procs"), "0").unwrap();
        }
    }
}

/// A machine that runs; it ends, and its file system is removed, when this is dropped.
pub struct Machine {
    nspawn: Child,
    /// The process that is number 1 inside.
    leader: u32,
    root: PathBuf,
}

impl Machine {
    /// Boots a machine, and moves this thread, and those that it starts, into its network.
    pub fn boot(release: &str) -> Self {
        let start = Instant::now();
        println!("\n== {release}: boot");
        let root = unpack(release);
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn.args([
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--console=pipe",
        ]);
        nspawn.arg("-D").arg(&root).args(["-M", &format!("chatd-{release}")]);
        nspawn.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let nspawn = nspawn.spawn().unwrap();
        let mut machine = Self { nspawn, leader: 0, root };
        machine.wait_for_boot();
        if RELEASES.first() != Some(&release) {
            machine.take_the_number_of("chatd");
        }
        let leader = machine.leader;
        let network = fs::File::open(format!("/proc/{leader}/ns/net")).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let version = machine.try_run("systemctl --version");
        println!("{}", version.lines().next().unwrap_or_default());
        println!("ok, {:.1} s", start.elapsed().as_secs_f32());
        machine
    }

    /// Gives the number that systemd would give this dynamic user first to somebody else: the kernel counts descriptors
    /// in messages by the user (unix(7), ETOOMANYREFS), for all machines at once.
    fn take_the_number_of(&self, user: &str) {
        let id = format!("systemd-run --quiet --wait --pipe -p DynamicUser=yes -p User={user} id -u");
        self.run(&format!("n=$({id}) && echo another:x:$n:$n::/:/bin/false >>/etc/passwd"));
    }

    fn wait_for_boot(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The first child that systemd-nspawn has is gone before there is a machine.
            self.leader = child_of(self.nspawn.id());
            if matches!(self.try_run("systemctl is-system-running").trim(), "running" | "degraded") {
                return;
            }
            assert!(Instant::now() < deadline, "it does not boot");
            pause();
        }
    }

    /// Its first process, as its number is outside.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// A path of the machine as a path of this one: for sockets too, and for what is mounted there.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    pub fn write(&self, path: &str, text: &str) {
        println!("# cat >{path} <<.\n{text}.");
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn copy(&self, from: &Path, to: &str) {
        fs::copy(from, self.path(to)).unwrap();
    }

    /// Runs a line of shell; returns what it says, however it ends.
    pub fn try_run(&self, line: &str) -> String {
        said(&self.output(line))
    }

    /// Runs a line of shell and shows what it says.
    pub fn show(&self, line: &str) -> String {
        println!("# {line}");
        let said = self.try_run(line);
        let skipped = said.lines().count().saturating_sub(SHOWN_LINES);
        said.lines().skip(skipped).for_each(|line| println!("{line}"));
        said
    }

    /// Runs a line of shell, which must succeed; returns what it says.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        println!("# {line}");
        let output = self.output(line);
        let said = said(&output);
        said.lines().take(SHOWN_LINES).for_each(|line| println!("{line}"));
        assert!(output.status.success(), "{line}: {}", output.status);
        said
    }

    /// Runs a line of shell, which must fail; returns what it says.
    #[track_caller]
    pub fn fail(&self, line: &str) -> String {
        println!("# {line}");
        let output = self.output(line);
        let said = said(&output);
        said.lines().take(SHOWN_LINES).for_each(|line| println!("{line}"));
        assert!(!output.status.success(), "{line} has succeeded");
        said
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "waited too long until {what}");
            pause();
        }
    }

    /// A property of a unit, as systemctl show has it.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.try_run(&format!("systemctl show --value -p {name} {unit}")).trim().to_owned()
    }

    pub fn is_active(&self, unit: &str) -> bool {
        self.property(unit, "ActiveState") == "active"
    }

    /// The process of chatd, as its number is inside.
    pub fn main_pid(&self) -> u32 {
        self.property("chatd", "MainPID").parse().unwrap()
    }

    /// The process of chatd, as its number is outside.
    pub fn outer_pid(&self) -> u32 {
        let inner = self.main_pid().to_string();
        let is_it = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let numbers: Vec<_> = numbers.unwrap_or_default().split_whitespace().collect();
            numbers.len() == 2 && numbers[1] == inner
        };
        let all =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(is_it).find(|pid| is_inside(*pid, self.leader)).unwrap()
    }

    /// Ends the process of chatd by a signal, and returns when it is dead.
    pub fn kill(&self, signal: Signal) {
        let pid = Pid::from_raw(self.outer_pid().try_into().unwrap()).unwrap();
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        kill_process(pid, signal).unwrap();
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let ready = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap();
        assert_eq!(ready, 1, "it is alive after {signal:?}");
    }

    /// Waits until another process than `pid` is chatd, and ready.
    #[track_caller]
    pub fn wait_for_another(&self, pid: u32) {
        let states = || self.try_run("systemctl show --value -p MainPID,ActiveState chatd");
        let is_another = |states: &str| {
            let mut lines = states.lines();
            let main = lines.next().is_some_and(|main| !["0", &pid.to_string()].contains(&main));
            main && lines.next() == Some("active")
        };
        self.wait_until("another process is ready", || is_another(&states()));
    }

    /// What the journal has since `mark`, with further options of journalctl.
    pub fn journal(&self, mark: &str, options: &str) -> String {
        self.try_run(&format!("journalctl --no-pager -q --since={mark} {options}"))
    }

    /// The first warning of chatd since `mark` that contains `text`.
    #[track_caller]
    pub fn wait_for_warning(&self, mark: &str, text: &str) -> String {
        let warnings = || self.journal(mark, "-u chatd -o cat -p warning");
        let find = || warnings().lines().find(|line| line.contains(text)).map(str::to_owned);
        self.wait_until("it is in the journal", || find().is_some());
        let line = find().unwrap();
        println!("{line}");
        line
    }

    /// Where the journal ends now. Not a cursor: after one, journalctl 252 leaves out the first line that a filter lets
    /// through.
    pub fn mark(&self) -> String {
        self.try_run("journalctl --sync");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        format!("@{}.{:06}", now.as_secs(), now.subsec_micros())
    }

    fn output(&self, line: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.leader.to_string(), "-a", "--", "sh", "-c", line]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // All inside ends with its first process, which would outlive systemd-nspawn.
        if let Some(leader) = self.leader.try_into().ok().and_then(Pid::from_raw) {
            let _ = kill_process(leader, Signal::KILL);
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Between two looks: each starts a process inside, and asks systemd, which has better things to do.
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    // dpkg draws its progress on one line.
    said.split_inclusive('\n').filter(|line| !line.starts_with("(Reading database")).collect()
}

/// Whether a process is in the same container as its first one.
fn is_inside(pid: u32, leader: u32) -> bool {
    let space = |pid| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    space(pid) == space(leader)
}

/// The root file system of a release, fresh; made once, and kept as an archive in the folder for build output.
fn unpack(release: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machines");
    // Another one for other packages.
    let archive = folder.join(format!("{release}-{:08x}.tar", crc32fast::hash(INCLUDED.as_bytes())));
    let root = folder.join(release);
    fs::create_dir_all(&folder).unwrap();
    let _ = fs::remove_dir_all(&root);
    if !archive.exists() {
        let unfinished = archive.with_extension("part.tar");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=minbase", INCLUDED, release]).arg(&unfinished);
        assert!(mmdebstrap.status().unwrap().success(), "mmdebstrap cannot make {release}");
        fs::rename(unfinished, &archive).unwrap();
    }
    fs::create_dir(&root).unwrap();
    let mut tar = Command::new("tar");
    assert!(tar.arg("-xpf").arg(&archive).arg("-C").arg(&root).status().unwrap().success());
    root
}

/// The child of a process; 0 if it has none.
fn child_of(parent: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().next().map_or(0, |child| child.parse().unwrap())
}
