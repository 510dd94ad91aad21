//! What puts descriptors into systemd's store for chatd, from inside of the machine: this program under another name.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use sd_notify::NotifyState;

use crate::machine::Machine;

/// The word for [`store_a_descriptor`].
pub const STORE: &str = "store";

/// Inside the machine: gives systemd a descriptor to keep for chatd under that name. It is what `kind` says: `device`,
/// `memory` with something in it, or `socket`. What already has that name is forgotten; [`EVERYTHING`] is all that says
/// who people are.
pub fn store_a_descriptor(name: &str, kind: &str) -> ExitCode {
    let descriptor: OwnedFd = match kind {
        "device" => File::open("/dev/null").unwrap().into(),
        "socket" => UnixStream::pair().unwrap().0.into(),
        _ => {
            let memory = rustix::fs::memfd_create("made-up", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            rustix::io::write(&memory, b"\xa5this is nothing that chatd has written").unwrap();
            memory
        }
    };
    let forget = |name: &str| {
        sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]).unwrap();
    };
    if name == EVERYTHING {
        forget("table");
        forget("state");
    }
    forget(name);
    let name = NotifyState::FdName(name);
    // Not poll(2)ed by systemd, which drops a socket as soon as nobody has the other end.
    let states = [NotifyState::FdStore, name, NotifyState::Custom("FDPOLL=0")];
    sd_notify::notify_with_fds(&states, &[descriptor.as_fd()]).unwrap();
    // Until systemd has done it: it closes what it is sent with this.
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()]).unwrap();
    drop(theirs);
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    ExitCode::SUCCESS
}

/// How many descriptors systemd keeps for chatd.
pub fn stored(machine: &Machine) -> u32 {
    machine.property("chatd", "NFileDescriptorStore").parse().unwrap()
}

/// The name for all that says who people are.
pub const EVERYTHING: &str = "everything";

/// What [`store_a_descriptor`] is called inside of the machine.
pub const STORER: &str = "/usr/local/bin/chatd-checks";

/// [`STORER`], there until this is dropped.
pub struct Storer<'a>(&'a Machine);

impl<'a> Storer<'a> {
    pub fn install(machine: &'a Machine) -> Self {
        machine.copy(&std::env::current_exe().unwrap(), STORER);
        Self(machine)
    }
}

impl Drop for Storer<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.path(STORER));
    }
}
