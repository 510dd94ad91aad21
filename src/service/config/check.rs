//! What several keys must agree on. A row of the table of keys never looks at another key.

use super::settings::Config;

/// The fewest lines of `max_line` that the log of a room holds.
///
/// In a log of about one line, every reader of a long line would be a slow one.
const LINES_IN_LOG: u64 = 8;

/// Checks that the log of a room holds a few lines of the longest kind.
///
/// # Errors
/// The mistake, with a remedy.
pub(super) fn log(config: &Config) -> Result<(), String> {
    let (log_size, max_line) = (config.log_size, config.max_line);
    if log_size >= max_line.times(LINES_IN_LOG) {
        return Ok(());
    }
    Err(format!(
        "log_size \"{log_size}\" holds less than {LINES_IN_LOG} lines of max_line \"{max_line}\"; \
         raise log_size to {} or lower max_line to {}",
        max_line.times(LINES_IN_LOG),
        log_size.divided_by(LINES_IN_LOG)
    ))
}

/// Checks the keys of a cluster.
///
/// # Errors
/// The key to blame, and the mistake with a remedy.
pub(super) fn cluster(config: &Config) -> Result<(), (&'static str, String)> {
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
    use crate::service::config::{KEYS, Material};

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
            assert_eq!(cluster(&with(good)), Ok(()), "{good:?}");
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
            assert_eq!(cluster(&with(bad)), Err((key, problem.to_owned())), "{bad:?}");
        }
        assert_eq!(Config::default().cluster_password_file, Material::None);
    }

    #[test]
    fn a_reload_does_not_make_lines_raw_in_a_cluster_that_stays() {
        let old = with(&[("cluster", "redis://192.0.2.1:6379"), ("node", "alpha")]);
        // Each is right by itself, and the cluster stays until a restart.
        let new = with(&[("raw", "true"), ("node", "alpha")]);
        assert_eq!((cluster(&old), cluster(&new)), (Ok(()), Ok(())));
        assert_eq!(old.reloaded(&new), old);
        assert_eq!(old.fixed_changes(&new), ["raw", "cluster"]);
    }
}
