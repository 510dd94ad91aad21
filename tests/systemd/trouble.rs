//! Restarts in bad moments: a mistake in the file, those who have closed already, and crowds that leave.

use std::time::Instant;

use crate::caller::{Caller, GREETING};
use crate::handover::{answer, named, restart, while_none_runs};
use crate::machine::{Machine, PATIENCE};
use crate::package::{PORT, Packages};
use crate::service::{Change, FILE, SERVICE_DROP_IN, join};

pub fn a_mistake_in_the_file_closes_nobody(machine: &Machine, _: &Packages) {
    let (mut ann, mut ben) = (named("ann"), join());
    let change = Change::new(machine, FILE, "greeting = \"good morning\"\n");
    restart(machine);
    let mark = machine.mark();
    machine.write(FILE, "greting = \"good evening\"\n");
    restart(machine);
    machine.wait_for_warning(&mark, "unknown key \"greting\"");
    assert!(machine.property("chatd", "StatusText").contains("configuration refused: "));
    ben.say("still here\n");
    ann.until("> still here\n");
    // What was in force before is in force.
    Caller::connect(PORT).expect("good morning\n");
    drop(change);
    ann.say("/who\n");
    ann.expect("-!- 2 here: ann, ");
}

pub fn bans_outlive_restarts_crashes_and_stops(machine: &Machine, _: &Packages) {
    const BANS: &str = "/var/lib/chatd/bans";
    let is_heard = |notice: &str| Caller::connect_from("127.0.0.2", PORT).until("\n") == notice.trim_end();
    let mut ann = join();
    machine.write(BANS, "ban 127.0.0.2 reason they flood\n");
    machine.run("systemctl reload chatd");
    machine.wait_until("the ban is in force", || is_heard("-!- you are banned: they flood"));
    for end in ["restart chatd", "kill -s KILL chatd", "stop chatd chatd.socket", "start chatd chatd.socket"]
    {
        machine.run(&format!("systemctl {end}"));
        if !end.starts_with("stop") {
            assert!(is_heard("-!- you are banned: they flood"), "{end}");
        }
    }
    // The stop has closed it.
    ann.rest();
    machine.run(&format!("rm {BANS}"));
    machine.run("systemctl reload chatd");
    machine.wait_until("the ban is lifted", || is_heard(GREETING));
}

/// The path of the unix socket, outside.
fn connect_unix(machine: &Machine) -> Caller {
    let mut caller = Caller::connect_unix(&machine.path("/run/chatd/chat.sock"));
    caller.expect(GREETING);
    caller
}

pub fn what_somebody_has_said_who_is_gone_is_heard(machine: &Machine, _: &Packages) {
    let mut ann = join();
    for end in ["systemctl restart --no-block chatd", "systemctl kill -s KILL chatd"] {
        let (mut tom, mut eve) = (connect_unix(machine), join());
        let meanwhile = || {
            tom.say("from a socket file\n");
            drop(tom);
            eve.say("from elsewhere\n");
            drop(eve);
        };
        while_none_runs(machine, || drop(machine.run(end)), meanwhile);
        let mut heard = [ann.until("\n"), ann.until("\n")];
        heard.sort_unstable();
        assert_eq!(heard, ["from a socket file", "from elsewhere"], "{end}");
    }
}

/// As many as may be open in this check, and how many are connected: as many as with the limits of the package.
const OPEN_FILES: usize = 295;
const CONNECTED: usize = 180;

/// Most of them leave again and again, and others come: those who are over count as open files until they are thrown
/// away.
pub fn crowds_that_leave_keep_nobody_from_being_kept(machine: &Machine, _: &Packages) {
    let drop_in = format!("[Service]\nLimitNOFILE={OPEN_FILES}\n");
    let change = Change::new(machine, SERVICE_DROP_IN, &drop_in);
    let file = Change::new(machine, FILE, &format!("max_clients = {CONNECTED}\n"));
    restart(machine);
    let mut crowd: Vec<Caller> = (0..CONNECTED - 10).map(|_| join()).collect();
    for _ in 0..20 {
        let count = crowd.len();
        crowd.drain(count / 2..);
        let here = format!("-!- {} here: ", crowd.len());
        let deadline = Instant::now() + PATIENCE;
        while !answer(&mut crowd[0], "/who").starts_with(&here) {
            assert!(Instant::now() < deadline, "they are still there");
        }
        crowd.extend((count / 2..count).map(|_| join()));
    }
    restart(machine);
    let (speaker, others) = crowd.split_first_mut().unwrap();
    speaker.say("everybody is still here\n");
    others.iter_mut().for_each(|caller| caller.expect("everybody is still here\n"));
    drop((file, change));
}
