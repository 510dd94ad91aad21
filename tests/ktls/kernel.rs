//! The kernel: Debian's user-mode-linux, a program that has this machine's files and nothing else of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the package is unpacked: it stays there for the next time.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/ktls");
const PACKAGE: &str = "user-mode-linux";
/// The variable with the folder of another such package, unpacked: the same checks with another kernel.
const OTHER: &str = "CHATD_KTLS";
/// Memory of the machine, in MiB.
const MEMORY: u32 = 1024;
/// No run takes that long unless it hangs, in seconds.
const LONGEST: u32 = 1500;
/// What the guest says first: from then on what goes wrong is no reason to leave anything out.
pub const BOOTED: &str = "the kernel has booted";
/// The word for what runs inside; the folder with the kernel's modules comes next.
pub const INSIDE: &str = "inside";

/// A kernel to boot.
pub struct Kernel {
    program: PathBuf,
    modules: PathBuf,
}

/// How a run has ended.
pub enum End {
    /// It has said how many checks failed.
    Finished(String),
    /// It has ended before that.
    Broken,
    /// It has not booted: this machine cannot run it.
    NotBooted(String),
}

impl Kernel {
    /// Fetches it, if it is not here.
    ///
    /// # Errors
    /// Why there is none.
    pub fn fetch() -> Result<Self, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err(format!("there is no {PACKAGE} for this kind of processor"));
        }
        let other = std::env::var_os(OTHER).map(PathBuf::from);
        let files = other.unwrap_or_else(|| Path::new(FOLDER).join("files"));
        let program = files.join("usr/bin/linux.uml");
        if !program.exists() {
            fs::create_dir_all(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
            let script = format!(
                "cd {FOLDER} && rm -rf *.deb files && \
                 {{ apt-get download -q {PACKAGE} || {{ apt-get update -q && apt-get download -q {PACKAGE}; }}; }} && \
                 dpkg-deb -x {PACKAGE}_*.deb files && rm {PACKAGE}_*.deb"
            );
            let output = Command::new("sh").args(["-c", &script]).output();
            let output = output.map_err(|error| format!("sh: {error}"))?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("{PACKAGE} cannot be downloaded: {}", why.trim()));
            }
        }
        let modules = files.join("usr/lib/uml/modules");
        let release = fs::read_dir(&modules).ok().and_then(|mut releases| releases.next()?.ok());
        let release = release.ok_or_else(|| format!("{} has no modules", modules.display()))?;
        Ok(Self { program, modules: release.path() })
    }

    /// Boots it, and has it run this program inside, with these words. Its output is shown as it comes.
    pub fn run(&self, words: &[String]) -> End {
        let init = self.init(words);
        let mut command = Command::new("timeout");
        command.args(["-k", "5", &LONGEST.to_string()]).arg(&self.program);
        command.args([&format!("mem={MEMORY}M"), "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"]);
        command.arg(format!("init={}", init.display()));
        command.args(["quiet", "loglevel=3", "con=null", "con0=null,fd:1", "ssl=null"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return End::NotBooted(format!("timeout: {error}")),
        };
        let (mut has_booted, mut said, mut result) = (false, Vec::new(), None);
        for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
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
            None => End::NotBooted(format!("{status}: {}", said.join("\n"))),
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
            self.modules.display(),
            quoted.join(" ")
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}
