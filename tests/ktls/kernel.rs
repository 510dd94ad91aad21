//! The kernels: Debian's user-mode-linux, a program that has this machine's files and nothing else of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// Where the packages are unpacked, a folder for each suite: they stay there for the next time.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/ktls");
/// The suites of Debian whose kernels are booted: the oldest that chatd is for, and one that takes new keys.
const SUITES: &str = "bookworm testing";
/// The variable with other suites.
const OTHER: &str = "CHATD_KTLS";
/// Fetches the kernel of `suite` into the folder that it runs in, and leaves the machine's own lists alone. Its signature
/// counts, and not how old the list is. The kernel may need a newer C library than the machine has, so it gets its own.
const FETCH: &str = r#"
    case $suite in *[!a-z0-9-]*|'') echo "no suite of Debian: $suite" >&2; exit 1 ;; esac
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' | head -n 1)
    rm -rf "$suite"; mkdir -p "$suite/apt/lists/partial" "$suite/apt/archives/partial"; cd "$suite"
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$key] $mirror $suite main" >apt/list
    get() {
        apt-get -q -o "Dir::Etc::SourceList=$PWD/apt/list" -o Dir::Etc::SourceParts=- -o "Dir::State=$PWD/apt" \
            -o "Dir::Cache=$PWD/apt" -o Dir::State::Status=/dev/null -o APT::Sandbox::User=root \
            -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false "$@"
    }
    get update
    get download user-mode-linux libc6
    dpkg-deb --fsys-tarfile user-mode-linux_*.deb | tar -x --wildcards ./usr/bin/linux.uml \
        '*/kernel/crypto' '*/kernel/lib/crypto' '*/kernel/net/tls'
    dpkg-deb -x libc6_*.deb libc
    find libc -type f '(' -name libc.so.6 -o -name ld-linux-x86-64.so.2 ')' -exec mv '{}' . ';'
    LC_ALL=C sed -i 's|/lib64/ld-linux-x86-64.so.2\x00|./ld-linux-x86-64.so.2\x00\x00\x00\x00\x00\x00|' usr/bin/linux.uml
    mv usr/lib/uml/modules/* modules
    rm -rf apt libc *.deb
    mv usr/bin/linux.uml linux
"#;
/// Memory of the machine, in MiB.
const MEMORY: u32 = 1024;
/// No run takes that long unless it hangs.
const LONGEST: Duration = Duration::from_secs(1500);
/// A kernel that does not boot may say nothing, and not end either: it has so long for each line. It takes 2 seconds.
const BOOT: Duration = Duration::from_secs(20);
/// What the guest says first: from then on what goes wrong is no reason to leave anything out.
pub const BOOTED: &str = "the kernel has booted";
/// The word for what runs inside; the folder with the kernel's modules comes next.
pub const INSIDE: &str = "inside";

/// A kernel to boot: the folder with all that it takes.
pub struct Kernel(PathBuf);

/// How a run has ended.
pub enum End {
    /// It has said how many checks failed.
    Finished(String),
    /// It has ended before that.
    Broken,
    /// It has not booted: this machine cannot run it.
    NotBooted(String),
}

/// The suites whose kernels are booted.
pub fn suites() -> Vec<String> {
    let suites = std::env::var(OTHER).unwrap_or_else(|_| SUITES.to_owned());
    suites.split_whitespace().map(str::to_owned).collect()
}

impl Kernel {
    /// Fetches it, if it is not here.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fetch(suite: &str) -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err("Debian has none for this kind of processor".to_owned());
        }
        fs::create_dir_all(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
        let folder = Path::new(FOLDER).join(suite);
        if !folder.join("linux").exists() {
            let mut command = Command::new("sh");
            command.args(["-ec", FETCH]).env("suite", suite).current_dir(FOLDER);
            let output = command.output().map_err(|error| format!("sh: {error}"))?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("it cannot be downloaded: {}", why.trim()));
            }
        }
        Ok(Self(folder))
    }

    /// Boots it, and has it run this program inside, with these words. Its output is shown as it comes.
    pub fn run(&self, words: &[String]) -> End {
        let init = self.init(words);
        let mut command = Command::new("timeout");
        command
            .args(["-k", "1", &LONGEST.as_secs().to_string(), "env", "LD_LIBRARY_PATH=.", "./linux"])
            .current_dir(&self.0);
        command.args([&format!("mem={MEMORY}M"), "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"]);
        command.arg(format!("init={}", init.display()));
        command.args(["quiet", "loglevel=3", "con=null", "con0=null,fd:1", "ssl=null"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return End::NotBooted(format!("timeout: {error}")),
        };
        let lines = lines_of(child.stdout.take().unwrap());
        let (mut has_booted, mut said, mut result) = (false, Vec::new(), None);
        loop {
            let line = match lines.recv_timeout(if has_booted { LONGEST } else { BOOT }) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    // timeout(1) passes it on, and ends the kernel if that does not do it.
                    rustix::process::kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
                    said.push(format!("it said nothing for {BOOT:?}"));
                    continue;
                }
            };
            has_booted |= line == BOOTED;
            match line.strip_prefix("test result: ") {
                Some(counts) => result = Some(counts.to_owned()),
                None if has_booted => println!("{line}"),
                None => said.push(line),
            }
        }
        let status = child.wait().unwrap();
        match result {
            Some(counts) => End::Finished(counts),
            None if has_booted => End::Broken,
            None => End::NotBooted(why_not(status, &said)),
        }
    }

    /// What runs first: a script. It has this machine's files to read, and memory of its own to write to.
    fn init(&self, words: &[String]) -> PathBuf {
        let path = Path::new(FOLDER).join("init");
        let program = std::env::current_exe().unwrap();
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "#!/bin/sh\n\
             PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run HOME=/run RUST_BACKTRACE=0; export PATH TMPDIR HOME RUST_BACKTRACE\n\
             mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /run\n\
             ip link set lo up\n\
             cd /run\n\
             '{}' {INSIDE} '{}' {}\n\
             echo o >/proc/sysrq-trigger\n\
             sleep 60\n",
            program.display(),
            self.0.join("modules").display(),
            quoted.join(" ")
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

/// The lines that it says.
fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (lines_tx, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        let texts = lines.map(|line| String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
        texts.for_each(|text| lines_tx.send(text).unwrap_or_default());
    });
    lines
}

/// Why a kernel has not booted, in one line, from what it has said.
fn why_not(status: ExitStatus, said: &[String]) -> String {
    let panic = said.iter().find(|line| line.contains("panic"));
    let last = panic.or_else(|| said.iter().rfind(|line| !line.is_empty()));
    let last = last.map_or("it said nothing", String::as_str);
    let has_amx = fs::read_to_string("/proc/cpuinfo").is_ok_and(|flags| flags.contains("amx_tile"));
    let perhaps =
        if has_amx { "; it may be that a kernel before Linux 6.13 cannot save AMX here" } else { "" };
    format!("{last} ({status}){perhaps}")
}
