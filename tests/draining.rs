//! `/drain`: goes on through a restart and a crash, and ends with the stop.

use crate::manager::Manager;
use crate::support::{Caller, Folder, GREETING, text};

#[test]
fn a_drain_goes_on_through_a_restart_and_a_crash_until_it_is_called_off() {
    let (manager, folder) = (Manager::with_store_alone(), Folder::new());
    let socket = folder.path("socket");
    let group = std::process::Command::new("id").arg("-gn").output().unwrap();
    let operators = format!("--operators={}", String::from_utf8(group.stdout).unwrap().trim());
    let options = ["--listen", text(&socket), operators.as_str()];
    let mut daemon = manager.start("", &options);
    let mut operator = Caller::connect_unix(&socket);
    operator.expect(GREETING);
    operator.say("/view json\n/drain 50m\n");
    operator.until("\"code\":\"draining\"");
    for is_crash in [false, true, false] {
        if is_crash {
            manager.crash(&mut daemon, 1, &options);
        } else {
            manager.restart(&mut daemon, &options);
        }
        assert!(
            daemon.log.iter().any(|line| line.contains("as an operator has said before")),
            "{:#?}",
            daemon.log
        );
        operator.say("/stats\n");
        operator.until("\"stopping\":");
        let seconds: u64 = operator.until(",").trim_end_matches(',').parse().unwrap();
        assert!((1..=3000).contains(&seconds), "{seconds}");
        let mut newcomer = Caller::connect(daemon.address);
        newcomer.until("stopping\n");
        newcomer.expect_end();
    }
    operator.say("/drain off\n");
    operator.until("\"code\":\"not_draining\"");
    manager.restart(&mut daemon, &options);
    daemon.join();
    // A drain that ends while no process runs ends at the next start; and then there is none.
    operator.say("/drain 0\n");
    operator.until("\"code\":\"draining\"");
    assert_eq!(daemon.wait().code(), Some(0));
    let mut daemon = manager.start("", &options);
    daemon.join();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
}
