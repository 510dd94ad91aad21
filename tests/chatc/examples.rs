//! The examples for programs, as they are shipped.

use std::process::Command;

use crate::process::Process;
use crate::server::Fake;
use crate::support::TestServer;

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_bot_has_five_lines_and_answers() {
    let text = std::fs::read_to_string(example("bot")).unwrap();
    assert_eq!(text.lines().filter(|line| !line.starts_with("# ")).count(), 5);
    let server = TestServer::start();
    let address = server.address.to_string();
    let mut ann = server.join();
    ann.say("/nick ann\n");
    ann.until("-!- you are ann now; /help says what else there is\n");
    let _bot = Process::start(&["--listen", "--nick", "bot", "--exec", &example("bot"), &address]);
    crate::listen::until_there(&mut ann, "bot");
    ann.say("bot: hello\n$(bot: hello)\n");
    ann.expect("<bot> ann: hello\n");
    ann.say("bot: time\n");
    assert!(ann.until("\n").starts_with("<bot> "));
}

#[test]
fn the_reader_has_ten_lines_and_believes_nothing_before_its_token() {
    let text = std::fs::read_to_string(example("reader.py")).unwrap();
    assert_eq!(text.lines().count(), 10);
    let fake = Fake::start();
    let address = fake.address();
    let (host, port) = address.split_once(':').unwrap();
    let mut command = Command::new("python3");
    command.args([&example("reader.py"), host, port]);
    let mut reader = Process::run(command);
    let mut guest = fake.accept();
    let message =
        |from: &str| format!("{{\"type\":\"message\",\"seq\":1,\"from\":\"{from}\",\"text\":\"hi\"}}\n");
    guest.say("Hello.\n{\"type\":\"notice\",\"code\":\"viewed\",\"view\":\"json\",\"text\":\"x\"}\n");
    guest.say(message("root"));
    assert_eq!(guest.sync(), ["/view json\n"]);
    guest.say(message("bob"));
    assert_eq!(reader.hear(), "bob hi");
}
