//! What the shells offer after chatd: the words of an option that has some, files where a file is meant, else nothing.

// What `packaging/build-deb` runs.
#[allow(dead_code)]
#[path = "../../packaging/completions.rs"]
pub mod source;

use std::process::Command;

use chatd::service::config::KEYS;
use clap_complete::Shell;

fn script(shell: Shell) -> String {
    source::script(shell, &source::chatd(), "chatd")
}

/// What follows each option in a script, by the text that is before the option and what ends it.
#[track_caller]
fn after<'a>(script: &'a str, start: &str, end: &str) -> &'a str {
    let (_, after) = script.split_once(start).unwrap_or_else(|| panic!("no {start:?} in {script}"));
    after.split(end).next().unwrap()
}

#[test]
fn bash_knows_the_words_of_each_option() {
    let script = script(Shell::Bash);
    assert!(after(&script, " --config|--config=)\n", ";;").contains("$(compgen -f \"${cur}\")"));
    for key in &KEYS {
        let label = format!("--{}=)\n", key.option);
        let also = format!(" --{}|{label}", key.option);
        assert_eq!(script.contains(&also), !key.is_switch(), "after a space, or not: {}", key.name);
        let offered = match key.words() {
            none if none.is_empty() => "COMPREPLY=(\"${cur}\")".to_owned(),
            words => format!("COMPREPLY=($(compgen -W \"{}\" -- \"${{cur}}\"))", words.join(" ")),
        };
        assert_eq!(after(&script, &label, "\n").trim(), offered, "{}", key.name);
    }
}

#[test]
fn zsh_knows_the_words_of_each_option() {
    let script = script(Shell::Zsh);
    assert!(after(&script, "'--config=[", "\n").contains("]:FILE:_files'"));
    for key in &KEYS {
        let (equals, colons) = if key.is_switch() { ("=-", "::") } else { ("=", ":") };
        let line = after(&script, &format!("--{}{equals}[", key.option), "\n");
        let offered = match key.words() {
            none if none.is_empty() => String::new(),
            words => format!("({})", words.join(" ")),
        };
        let end = format!("]{colons}{}:{offered}' \\", key.takes);
        assert!(line.ends_with(&end), "{}: {end:?} in {line:?}", key.name);
    }
}

#[test]
fn fish_knows_the_words_of_each_option() {
    let script = script(Shell::Fish);
    assert!(after(&script, " -l config ", "\n").ends_with(" -r -F"));
    for key in &KEYS {
        let lines = after(&script, &format!(" -l {} ", key.option), "\ncomplete ");
        let offered = match key.words() {
            none if none.is_empty() => " -r -f".to_owned(),
            words => {
                let words: Vec<String> = words.iter().map(|word| format!("{word}\\t''")).collect();
                let needs = if key.is_switch() { "" } else { " -r" };
                format!("'{needs} -f -a \"{}\"", words.join("\n"))
            }
        };
        assert!(lines.ends_with(&offered), "{}: {offered:?} in {lines:?}", key.name);
    }
}

#[test]
fn no_shell_offers_a_key_that_is_gone() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = script(shell);
        assert!(script.contains("max-line") && !script.contains("threads"), "{shell}");
    }
}

/// What bash offers, a word a line, when TAB follows these words; it takes `=` for a word.
fn offered(words: &[&str]) -> Vec<String> {
    let (last, before) = words.split_last().unwrap();
    let current = if *last == "=" { "" } else { last };
    let call = format!(
        "{}\nCOMP_WORDS=({})\nCOMP_CWORD={}\ncompopt() {{ :; }}\n_chatd chatd '{current}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script(Shell::Bash),
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        before.len(),
        before.last().unwrap(),
    );
    let folder = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("bash").args(["--norc", "-c", &call]).current_dir(folder).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_them() {
    assert_eq!(offered(&["chatd", "--log", ""]), ["auto", "stderr", "syslog", "none"]);
    assert_eq!(offered(&["chatd", "--log", "s"]), ["stderr", "syslog"]);
    assert_eq!(offered(&["chatd", "--log", "="]), ["auto", "stderr", "syslog", "none"]);
    assert_eq!(offered(&["chatd", "--log-level", "=", "de"]), ["debug"]);
    assert_eq!(offered(&["chatd", "--raw", "="]), ["true", "false"]);
    assert_eq!(offered(&["chatd", "--raw", "=", "t"]), ["true"]);
    assert!(offered(&["chatd", "--raw", ""]).contains(&"--drain".to_owned()), "not a value: it needs its =");
    assert!(offered(&["chatd", "--config", "Cargo."]).contains(&"Cargo.toml".to_owned()), "files");
    assert_eq!(offered(&["chatd", "--config", "=", "Cargo.t"]), ["Cargo.toml"]);
    for option in ["--max-line", "--listen", "--greeting"] {
        assert_eq!(offered(&["chatd", option, "Cargo."]), ["Cargo."], "{option} takes no file");
    }
}
