//! The interface for programs over restarts and crashes, with a service manager that keeps descriptors, which this test
//! plays.

use crate::manager::Manager;
use crate::support::Caller;

/// A field of the next object of that type.
fn field(caller: &mut Caller, kind: &str, field: &str) -> serde_json::Value {
    caller.until(&format!("{{\"type\":\"{kind}\","));
    let rest = caller.until("\n");
    let object: serde_json::Value = serde_json::from_str(&format!("{{{rest}")).unwrap();
    object[field].clone()
}

/// A program that has been given a name, and the key of it.
fn named(manager: &Manager, name: &str) -> (Caller, String) {
    let mut bot = manager.join();
    bot.say("/view json\n");
    bot.until("json now\"}\n");
    bot.say(format!("/nick {name}\n"));
    let key = field(&mut bot, "notice", "key");
    (bot, key.as_str().unwrap().to_owned())
}

#[test]
fn keys_are_good_after_crashes_and_restarts_and_rooms_have_their_epochs() {
    let manager = Manager::with_store();
    let mut daemon = manager.start("", &[]);
    let (mut ann, key_of_ann) = named(&manager, "ann");
    let (ben, key_of_ben) = named(&manager, "ben");
    ann.say("hello\n/sync 1\n");
    let epoch = field(&mut ann, "synced", "epoch");
    drop(ben);
    loop {
        ann.say("/msg ben are you there?\n");
        if field(&mut ann, "notice", "code") == "nobody" {
            break;
        }
    }
    manager.crash(&mut daemon, 1, &[]);
    ann.say("/sync 2\n");
    assert_eq!(field(&mut ann, "synced", "epoch"), epoch, "seq goes on, so it is the same");
    manager.restart(&mut daemon, &[]);
    manager.crash(&mut daemon, 1, &[]);
    let mut other = manager.join();
    other.say(format!("/view json\n/nick ben {key_of_ben}\n"));
    other.until("\"code\":\"named\",\"name\":\"ben\"");
    let mut third = manager.join();
    third.say(format!("/view json\n/nick ann {key_of_ann}\n"));
    third.until("\"code\":\"named\",\"name\":\"ann\"");
    ann.until("\"code\":\"name_taken_over\"");
    third.say(format!("/nick ben {key_of_ben}\n"));
    third.until("\"code\":\"bad_key\"");
    // No key gets into a log.
    assert!(!daemon.log.iter().any(|line| line.contains(&key_of_ann) || line.contains(&key_of_ben)));
}
