//! From default, file, environment and options to the configuration in force.
//!
//! Called by the server at the start and on each reload, with the same [`Options`] and environment. The order is option,
//! environment, file, default. It checks every source, even values that another source overrides. Reads only one
//! file: the environment is an argument.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use toml::Value;

use super::certificate::{Certificate, Problem};
use super::check;
use super::cluster::host;
use super::error::{ConfigError, Origin, variable};
use super::file::{load_file, parse_file};
use super::options::{DEFAULT_FILE, Options};
use super::password::Password;
use super::settings::{Config, GONE, KEYS, Key};

/// The name of the text of [`load_text`] in messages.
const BEFORE: &str = "(previous configuration)";
/// The variable that names the file.
pub const FILE_VARIABLE: &str = "CHATD_CONFIG";

/// Looks up an environment variable: `&|name| std::env::var_os(name)` in the daemon.
///
/// Other variables that begin with `CHATD_` are ignored: container runtimes set such variables
/// (`CHATD_PORT`, `CHATD_SERVICE_HOST`) for any service of that name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A configuration and where it comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read; `None` if the default file is missing.
    pub file: Option<PathBuf>,
    /// Warnings for the operator, one line each with its place. They make nothing fail.
    pub warnings: Vec<String>,
    /// The certificate, after [`Loaded::read_certificate`]; `None` without TLS.
    pub certificate: Option<Certificate>,
    /// The password of the engine, after [`Loaded::read_password`]; `None` without one.
    pub password: Option<Password>,
    origins: BTreeMap<&'static str, Origin>,
}

/// Reads the configuration.
///
/// # Errors
/// The first mistake found, in the file first. A file named by `--config` or `CHATD_CONFIG` must exist; the default
/// file need not.
pub fn load(options: &Options, env: Environment<'_>) -> Result<Loaded, ConfigError> {
    load_with(options, env, Path::new(DEFAULT_FILE))
}

/// Reads the configuration again, with its certificate and password. `in_force` is the certificate in force.
///
/// # Errors
/// As [`load`] has, a mistake with the certificate, or one that does not hold now. If it is the one in force, it stays.
pub fn load_again(
    options: &Options,
    env: Environment<'_>,
    in_force: Option<&Certificate>,
    now: Timestamp,
) -> Result<Loaded, ConfigError> {
    let mut loaded = load(options, env)?;
    loaded.read_certificate(env)?;
    loaded.read_password(env)?;
    if loaded.certificate.as_ref() != in_force {
        loaded.ensure_certificate_holds(now)?;
    }
    Ok(loaded)
}

/// Reads the configuration that another process had in force, see [`text`](super::text), and nothing else.
///
/// # Errors
/// The first mistake found; for example, a later version has written it.
pub fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let part = parse_file(text, Path::new(BEFORE))?;
    let mut loaded = Loaded::default();
    for key in &KEYS {
        loaded.take(key, part.get(key.name).cloned())?;
    }
    loaded.check()?;
    Ok(loaded)
}

fn load_with(options: &Options, env: Environment<'_>, default_file: &Path) -> Result<Loaded, ConfigError> {
    let (path, named_by) = file_name(options, env, default_file);
    let part = load_file(&path, named_by)?;
    let mut loaded = Loaded { file: part.is_some().then_some(path), ..Loaded::default() };
    let part = part.unwrap_or_default();
    for key in &KEYS {
        loaded.take(key, part.get(key.name).cloned())?;
        loaded.take(key, from_environment(key, env)?)?;
        loaded.take(key, from_options(key, options))?;
    }
    loaded.check()?;
    for (key, why) in GONE {
        let file = part.gone(key).cloned();
        let environment = env(&variable(key)).map(|_| Origin::Environment);
        let option = options.get(key).map(|_| Origin::Option);
        let problem = format!("chatd ignores this key of an earlier version: {why}; remove it");
        let warning = |origin: Origin| ConfigError::value(&origin, key, &problem).to_string();
        loaded.warnings.extend([file, environment, option].into_iter().flatten().map(warning));
    }
    Ok(loaded)
}

fn file_name(options: &Options, env: Environment<'_>, default: &Path) -> (PathBuf, Option<&'static str>) {
    if let Some(path) = &options.file {
        return (path.clone(), Some("--config"));
    }
    match env(FILE_VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => (path.into(), Some(FILE_VARIABLE)),
        None => (default.to_owned(), None),
    }
}

fn from_environment(key: &Key, env: Environment<'_>) -> Result<Option<(Value, Origin)>, ConfigError> {
    let Some(value) = env(&key.variable()) else { return Ok(None) };
    let origin = Origin::Environment;
    let not_utf8 = |_| ConfigError::value(&origin, key.name, "bytes that are not UTF-8; write UTF-8");
    let text = value.into_string().map_err(not_utf8)?;
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let value = if key.is_list() { words.collect::<Vec<_>>().into() } else { text.into() };
    Ok(Some((value, origin)))
}

fn from_options(key: &Key, options: &Options) -> Option<(Value, Origin)> {
    let values = options.get(key.name)?;
    let value = if key.is_list() { values.to_vec().into() } else { values.concat().into() };
    Some((value, Origin::Option))
}

/// One that comes from nowhere.
impl From<Config> for Loaded {
    fn from(config: Config) -> Self {
        Self { config, ..Self::default() }
    }
}

impl Loaded {
    /// Returns the source of the value of a key.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Reads certificate and key, and all that belongs to them. Adds a warning for what should be mended.
    ///
    /// # Errors
    /// The first mistake with them. One that has ended is none: see [`Loaded::ensure_certificate_holds`].
    pub fn read_certificate(&mut self, env: Environment<'_>) -> Result<(), ConfigError> {
        self.certificate = Certificate::read(&self.config, env).map_err(|problem| self.blame(problem))?;
        let warnings = self.certificate.as_ref().map_or(Vec::new(), |one| one.warnings(&host()));
        let warnings: Vec<String> = warnings.into_iter().map(|one| self.blame(one).to_string()).collect();
        self.warnings.extend(warnings);
        Ok(())
    }

    /// Reads the password of the engine. Adds a warning for a file that anybody can read.
    ///
    /// # Errors
    /// The first mistake with it.
    pub fn read_password(&mut self, env: Environment<'_>) -> Result<(), ConfigError> {
        let mut warnings = Vec::new();
        let password = Password::read(&self.config, env, &mut warnings);
        self.password = password.map_err(|problem| self.blame(problem))?;
        let warnings: Vec<String> = warnings.into_iter().map(|one| self.blame(one).to_string()).collect();
        self.warnings.extend(warnings);
        Ok(())
    }

    /// Reads certificate and password. Adds a warning for what has a mistake, and goes on without it.
    pub fn read_what_can_be_read(&mut self, env: Environment<'_>) {
        if let Err(error) = self.read_certificate(env) {
            self.warnings.push(format!("{error}; chatd speaks no TLS"));
        }
        if let Err(error) = self.read_password(env) {
            self.warnings.push(format!("{error}; chatd has no password for the engine"));
        }
    }

    /// Checks that the certificate holds at this moment.
    ///
    /// # Errors
    /// It has ended, or not begun.
    pub fn ensure_certificate_holds(&self, now: Timestamp) -> Result<(), ConfigError> {
        let valid = self.certificate.as_ref().map_or(Ok(()), |certificate| certificate.ensure_valid(now));
        valid.map_err(|problem| self.blame(problem))
    }

    fn blame(&self, Problem { key, text }: Problem) -> ConfigError {
        ConfigError::value(self.origin(key), key, text)
    }

    /// Writes the warnings to the log.
    pub fn warn(&self) {
        self.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    }

    fn take(&mut self, key: &Key, given: Option<(Value, Origin)>) -> Result<(), ConfigError> {
        let Some((value, origin)) = given else { return Ok(()) };
        key.set(&mut self.config, &value)
            .map_err(|problem| ConfigError::value(&origin, key.name, problem))?;
        self.origins.insert(key.name, origin);
        Ok(())
    }

    /// Checks that the values fit together. Blames the key that is set, if only one of two is.
    fn check(&self) -> Result<(), ConfigError> {
        let blamed = if self.origins.contains_key("log_size") { "log_size" } else { "max_line" };
        let Config { log_size, max_line, .. } = self.config;
        check::log(log_size, max_line)
            .map_err(|problem| ConfigError::value(self.origin(blamed), blamed, problem))?;
        check_cluster(&self.config)
            .map_err(|(key, problem)| ConfigError::value(self.origin(key), key, problem))
    }
}

/// Checks the keys of a cluster.
///
/// # Errors
/// The key to blame, and the mistake with a remedy.
fn check_cluster(config: &Config) -> Result<(), (&'static str, String)> {
    let has_user = config.cluster_user.name().is_some();
    let has_password = config.cluster_password_file.is_some();
    if !config.is_clustered() {
        let nothing = "does nothing without an engine; set cluster as well";
        return match (has_user, has_password) {
            (true, _) => Err(("cluster_user", nothing.to_owned())),
            (_, true) => Err(("cluster_password_file", nothing.to_owned())),
            _ => Ok(()),
        };
    }
    if has_user && !has_password {
        return Err(("cluster_user", "has no password; set cluster_password_file as well".to_owned()));
    }
    if config.raw {
        return Err((
            "raw",
            "nodes of a cluster take clean lines alone; leave raw or cluster out".to_owned(),
        ));
    }
    config.node.name().map(drop).map_err(|problem| ("cluster", problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Address;
    use crate::service::config::{Material, text};

    #[test]
    fn what_is_in_force_is_read_again_as_it_is() {
        let mut config = Config::default();
        assert_eq!(load_text(&text(&config)).unwrap().config, config);
        config.greeting = "two\nlines \"quoted\"".to_owned();
        config.max_per_ip = 7;
        config.flush_after = Some(std::time::Duration::from_millis(50));
        assert_eq!(load_text(&text(&config)).unwrap().config, config);
        assert!(load_text("zebra = 1").is_err());
    }

    use crate::service::config::Listen;
    use crate::service::scratch::Scratch;
    use crate::service::{Exit, config};
    use clap::{Args, Command, FromArgMatches};
    use std::os::unix::ffi::OsStringExt;
    use std::time::Duration;

    fn typed(options: &[&str]) -> Options {
        let command = Options::augment_args(Command::new("chatd").no_binary_name(true));
        Options::from_arg_matches(&command.try_get_matches_from(options).unwrap()).unwrap()
    }

    /// Loads with options, variables and a default file of this text; `None` for no file.
    fn load_from(options: &[&str], env: &[(&str, &str)], text: Option<&str>) -> Result<Loaded, ConfigError> {
        let folder = Scratch::new();
        let file = folder.file("chatd.toml");
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let look_up = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        load_with(&typed(options), &look_up, &file)
    }

    fn refusal(options: &[&str], env: &[(&str, &str)], text: &str) -> (String, Exit) {
        let error = load_from(options, env, Some(text)).unwrap_err();
        let message = error.to_string();
        let start = message.find("chatd.toml:").unwrap_or(0);
        (message[start..].to_owned(), error.exit())
    }

    #[test]
    fn without_anything_the_defaults_hold() {
        let loaded = load_from(&[], &[], None).unwrap();
        assert_eq!((loaded.config, loaded.file), (Config::default(), None));
    }

    #[test]
    fn an_option_wins_over_the_environment_over_the_file_over_the_default() {
        let env = [("CHATD_DRAIN", "3s"), ("CHATD_BURST", "3")];
        let text = "drain = \"2s\"\nburst = 2\nmax_per_ip = 2";
        let loaded = load_from(&["--drain=4s"], &env, Some(text)).unwrap();
        let config = &loaded.config;
        assert_eq!((config.drain, config.burst), (Duration::from_secs(4), 3));
        assert_eq!((config.max_per_ip, config.max_clients), (2, 10_000));
        let places = ["drain", "burst", "max_clients"].map(|key| loaded.origin(key).place(key));
        assert_eq!(places, ["--drain", "CHATD_BURST", "default"]);
        assert!(loaded.origin("max_per_ip").place("max_per_ip").ends_with("/chatd.toml:3"));
        assert!(loaded.file.unwrap().ends_with("chatd.toml"));
    }

    #[test]
    fn every_key_has_its_variable() {
        for key in &KEYS {
            let bare = key.value(&Config::default());
            let bare = bare.trim_matches(['[', ']', '"']);
            let loaded = load_from(&[], &[(&key.variable(), bare)], None).unwrap();
            assert_eq!(loaded.origin(key.name), &Origin::Environment, "{}", key.name);
            assert_eq!(loaded.config, Config::default(), "{}", key.name);
        }
    }

    #[test]
    fn a_list_of_addresses_is_written_in_several_ways() {
        let expected = ["127.0.0.1:1", "/run/x"].map(|text| Listen::from(text.parse::<Address>().unwrap()));
        let env = [("CHATD_LISTEN", " 127.0.0.1:1,  /run/x ")];
        let options = ["--listen=127.0.0.1:1", "--listen", "unix:/run/x"];
        for loaded in [
            load_from(&[], &env, None),
            load_from(&options, &[], None),
            load_from(&[], &[], Some("listen = ['127.0.0.1:1', '/run/x']")),
        ] {
            assert_eq!(loaded.unwrap().config.listen, expected);
        }
        assert_eq!(load_from(&[], &[], Some("listen = '/run/x'")).unwrap().config.listen, expected[1..]);
    }

    #[test]
    fn a_time_out_is_turned_off_with_off_or_0() {
        for off in ["\"off\"", "0", "\"0s\""] {
            let text = format!("idle_timeout = {off}\nflush_after = {off}");
            let config = load_from(&[], &[], Some(&text)).unwrap().config;
            assert_eq!((config.idle_timeout, config.flush_after), (None, None));
        }
        let config = load_from(&["--idle-timeout=90"], &[], None).unwrap().config;
        assert_eq!(config.idle_timeout, Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_greeting_may_be_empty_or_of_several_lines() {
        assert_eq!(load_from(&[], &[("CHATD_GREETING", "")], None).unwrap().config.greeting, "");
        let text = "greeting = \"\"\"\nWelcome.\n\tBe kind.\n\"\"\"";
        for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
            let loaded = load_from(&[], &[], Some(&text)).unwrap();
            assert_eq!(loaded.config.greeting, "Welcome.\n\tBe kind.", "{text:?}");
        }
    }

    #[test]
    fn a_mistake_names_the_place_where_it_was_made() {
        assert_eq!(
            refusal(&["--burst=0"], &[], ""),
            ("--burst: \"0\" is too small; the least is 1".into(), Exit::Usage)
        );
        assert_eq!(
            refusal(&[], &[("CHATD_MAX_LINE", "1")], ""),
            ("CHATD_MAX_LINE: \"1\" is too small; the least is 64".into(), Exit::Config)
        );
        assert_eq!(
            refusal(&["--burst=2"], &[], "burst = 0"),
            ("chatd.toml:1: burst: \"0\" is too small; the least is 1".into(), Exit::Config)
        );
    }

    #[test]
    fn a_key_that_is_gone_is_warned_of_wherever_it_stands_and_whatever_its_value() {
        let env = [("CHATD_THREADS", "")];
        for value in ["2", "0", "'many'", "99999999999999999999", "[1, 2]"] {
            let text = format!("raw = true\nthreads = {value}");
            let loaded = load_from(&["--threads=x", "--burst=5"], &env, Some(&text)).unwrap();
            assert_eq!(loaded.config, Config { raw: true, burst: 5, ..Config::default() });
            let problem =
                "chatd ignores this key of an earlier version: one thread serves everybody; remove it";
            let [file, rest @ ..] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
            assert!(file.ends_with(&format!("/chatd.toml:2: threads: {problem}")), "{file}");
            assert_eq!(rest, [format!("CHATD_THREADS: {problem}"), format!("--threads: {problem}")]);
        }
        assert!(load_from(&[], &[], Some("raw = true")).unwrap().warnings.is_empty());
    }

    #[test]
    fn what_an_earlier_version_has_had_in_force_is_read_without_a_warning() {
        let loaded = load_text("threads = 2\nburst = 5\n").unwrap();
        assert_eq!(loaded, Loaded { origins: loaded.origins.clone(), ..load_text("burst = 5").unwrap() });
        assert_eq!((loaded.config.burst, loaded.warnings), (5, vec![]));
    }

    #[test]
    fn a_log_too_small_for_its_lines_is_blamed_on_who_set_it() {
        let rest = "log_size \"4MiB\" holds less than 8 lines of max_line \"1MiB\"; \
                    raise log_size to 8MiB or lower max_line to 512KiB";
        assert_eq!(refusal(&["--max-line=1MiB"], &[], ""), (format!("--max-line: {rest}"), Exit::Usage));
        assert_eq!(
            refusal(&["--max-line=1MiB"], &[], "log_size = '4MiB'"),
            (format!("chatd.toml:1: log_size: {rest}"), Exit::Config)
        );
        assert!(load_from(&["--max-line=1MiB", "--log-size=8MiB"], &[], None).is_ok());
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let error = load_from(&["--config=/nonexistent/a.toml"], &[], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nonexistent/a.toml: cannot be read: no such file or directory; correct --config"
        );
        assert_eq!(error.exit(), Exit::Config);
        let error = load_from(&[], &[("CHATD_CONFIG", "/nonexistent/b.toml")], None).unwrap_err();
        assert!(error.to_string().ends_with("correct CHATD_CONFIG"), "{error}");
        assert!(load_from(&[], &[("CHATD_CONFIG", "")], None).is_ok());
    }

    #[test]
    fn what_is_no_configuration_file_is_told_apart() {
        let folder = Scratch::new();
        let load_file = |path: &Path| load_file(path, None).unwrap_err().to_string();
        let name = folder.path().display();
        assert_eq!(load_file(folder.path()), format!("{name}: is a directory; name the file in it"));
        let file = folder.file("x");
        std::fs::write(&file, b"raw = true\n# \xff").unwrap();
        assert_eq!(load_file(&file), format!("{name}/x:2: bytes that are not UTF-8; save the file as UTF-8"));
        assert_eq!(
            load_file(Path::new("/dev/zero")),
            "/dev/zero: is larger than 1MiB; is this the configuration of chatd?"
        );
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_refused() {
        let look_up = |name: &str| (name == "CHATD_GREETING").then(|| OsString::from_vec(vec![0xff]));
        let error = load_with(&Options::default(), &look_up, Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.to_string(), "CHATD_GREETING: bytes that are not UTF-8; write UTF-8");
    }

    #[test]
    fn what_is_printed_reads_back_equal() {
        let options = [
            "--listen=[::1]:1",
            "--listen=/run/a\"b\\c",
            "--greeting=a \"b\" \\ #\n\tü",
            "--raw",
            "--max-line=100",
            "--flush-after=1500ms",
            "--min-rate=1MB",
            "--slow-timeout=90",
            "--send-buffer=1MiB",
            "--max-clients=7",
            "--max-per-ip=3",
            "--ipv6-prefix=48",
            "--memory=2GiB",
            "--log-size=1GiB",
            "--idle-timeout=1h",
            "--drain=0",
            "--log=syslog",
            "--log-level=debug",
            "--burst=64",
        ];
        for loaded in [load_from(&options, &[], None).unwrap(), load_from(&[], &[], None).unwrap()] {
            let printed = config::print(&loaded);
            assert_eq!(load_from(&[], &[], Some(&printed)).unwrap().config, loaded.config, "{printed}");
        }
    }

    #[test]
    fn what_is_printed_says_where_each_value_comes_from() {
        let loaded = load_from(&["--raw"], &[("CHATD_DRAIN", "1")], Some("burst = 2")).unwrap();
        let printed = config::print(&loaded);
        for line in
            ["raw = true # from --raw", "drain = \"1s\" # from CHATD_DRAIN", "max_clients = 10000 # default"]
        {
            assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
        }
        assert!(printed.contains("/chatd.toml:1\n"), "{printed}");
    }

    #[test]
    fn a_reload_takes_a_certificate_that_holds_and_keeps_one_that_has_ended() {
        use crate::service::config::certificate_for_tests;
        let (first, folder) = certificate_for_tests();
        let (second, other) = certificate_for_tests();
        let again = |folder: &Scratch, in_force: Option<&Certificate>, now: &str| {
            let file = |name: &str| folder.file(name).display().to_string();
            let options =
                [format!("--tls-cert={}", file("cert.pem")), format!("--tls-key={}", file("key.pem"))];
            let options = typed(&options.each_ref().map(String::as_str));
            load_again(&options, &|_| None, in_force, now.parse().unwrap()).map_err(|error| error.to_string())
        };
        let (before, after) = ("2029-12-31T00:00:00Z", "2030-01-01T00:00:00Z");
        assert_eq!(again(&folder, None, before).unwrap().certificate, Some(first.clone()));
        assert_eq!(again(&other, Some(&first), before).unwrap().certificate, Some(second));
        assert!(again(&folder, Some(&first), after).is_ok(), "a reload for something else");
        let refused = again(&other, Some(&first), after).unwrap_err();
        let path = other.file("cert.pem");
        assert_eq!(refused, format!("--tls-cert: \"{}\" ended on 2030-01-01; renew it", path.display()));
        std::fs::write(other.file("key.pem"), "").unwrap();
        let refused = again(&other, Some(&first), before).unwrap_err();
        assert_eq!(refused, format!("--tls-key: \"{}\" is empty", other.file("key.pem").display()));
    }

    const SHIPPED: &str = include_str!("../../../packaging/chatd.toml");

    #[test]
    fn the_shipped_file_changes_nothing() {
        let loaded = load_from(&[], &[], Some(SHIPPED)).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(KEYS.iter().all(|key| loaded.origin(key.name) == &Origin::Default));
    }

    #[test]
    fn the_shipped_file_shows_every_key_at_its_default() {
        let uncommented =
            |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
        let lines: Vec<String> =
            SHIPPED.lines().map(|line| uncommented(line).unwrap_or(line.to_owned())).collect();
        let loaded = load_from(&[], &[], Some(&lines.join("\n"))).unwrap();
        assert_eq!(loaded.config, Config::default());
        for key in &KEYS {
            assert!(matches!(loaded.origin(key.name), Origin::File { .. }), "{}", key.name);
        }
    }

    /// A configuration with these values.
    fn with(values: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (name, value) in values {
            let key = KEYS.iter().find(|key| key.name == *name).unwrap();
            key.set(&mut config, &(*value).into()).unwrap();
        }
        config
    }

    #[test]
    fn the_keys_of_a_cluster_fit_together() {
        let engine = ("cluster", "redis+unix:///run/redis/redis.sock");
        let (node, user) = (("node", "alpha"), ("cluster_user", "chat"));
        let password = ("cluster_password_file", "credential:chatd.redis");
        for good in [
            [].as_slice(),
            &[node],
            &[engine, node],
            // It waits for a replica that is not there yet: that is for the engine to say.
            &[engine, node, ("replicas", "1")],
            &[engine, node, password],
            &[engine, node, user, password],
        ] {
            assert_eq!(check_cluster(&with(good)), Ok(()), "{good:?}");
        }
        for (bad, key, problem) in [
            ([user].as_slice(), "cluster_user", "does nothing without an engine; set cluster as well"),
            (&[password], "cluster_password_file", "does nothing without an engine; set cluster as well"),
            (&[engine, node, user], "cluster_user", "has no password; set cluster_password_file as well"),
            (
                &[engine, node, ("raw", "true")],
                "raw",
                "nodes of a cluster take clean lines alone; leave raw or cluster out",
            ),
        ] {
            assert_eq!(check_cluster(&with(bad)), Err((key, problem.to_owned())), "{bad:?}");
        }
        assert_eq!(Config::default().cluster_password_file, Material::None);
    }

    #[test]
    fn a_reload_does_not_make_lines_raw_in_a_cluster_that_stays() {
        let old = with(&[("cluster", "redis://192.0.2.1:6379"), ("node", "alpha")]);
        // Each is right by itself, and the cluster stays until a restart.
        let new = with(&[("raw", "true"), ("node", "alpha")]);
        assert_eq!((check_cluster(&old), check_cluster(&new)), (Ok(()), Ok(())));
        assert_eq!(old.reloaded(&new), old);
        assert_eq!(old.fixed_changes(&new), ["raw", "cluster"]);
    }
}
