//! The password of the engine: reads the file that `cluster_password_file` names.
//!
//! Called by `load`, for `--check` and at the start; it blocks. No message has a part of the password in it.

use std::ffi::OsString;
use std::fmt;

use super::certificate::{Problem, Source, credentials};
use super::settings::Config;

/// The key to blame.
const KEY: &str = "cluster_password_file";
/// The longest password, in bytes.
const MAX_PASSWORD: usize = 512;

/// A password, which no log and no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Returns its text, for the engine alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the one that `config` names; `Ok(None)` if it names none. Adds a warning for a file that should be mended.
    ///
    /// # Errors
    /// The first mistake.
    pub(super) fn read(
        config: &Config,
        env: &dyn Fn(&str) -> Option<OsString>,
        warnings: &mut Vec<Problem>,
    ) -> Result<Option<Self>, Problem> {
        let material = &config.cluster_password_file;
        if !material.is_some() {
            return Ok(None);
        }
        let file = Source::read(KEY, material, credentials(env).as_deref())?;
        warnings.extend(file.exposed());
        let wrong = |what: &str| file.is(what);
        let text = std::str::from_utf8(file.content.bytes())
            .map_err(|_| wrong("has bytes that are not UTF-8; write the password alone into it"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        match text {
            "" => Err(wrong("is empty; write the password into it")),
            text if text.contains('\n') => Err(wrong("has several lines; write the password alone into it")),
            text if text.contains(char::is_control) => {
                Err(wrong("has control characters in it; write the password alone into it"))
            }
            text if text.len() > MAX_PASSWORD => {
                Err(wrong(&format!("has more than {MAX_PASSWORD} bytes; write the password alone into it")))
            }
            text => Ok(Some(Self(text.to_owned()))),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::service::config::Material;
    use crate::service::scratch::Scratch;

    /// What is read from a file with these bytes and this mode, and the warnings.
    fn read(bytes: &[u8], mode: u32) -> (Result<Option<Password>, String>, Vec<String>) {
        let folder = Scratch::new();
        let path = folder.file("password");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = Config { cluster_password_file: Material::File(path.clone()), ..Config::default() };
        let bare = |problem: Problem| {
            assert_eq!(problem.key, KEY);
            problem.text.replace(&path.display().to_string(), "password")
        };
        let mut warnings = Vec::new();
        let password = Password::read(&config, &|_| None, &mut warnings).map_err(bare);
        (password, warnings.into_iter().map(bare).collect())
    }

    #[test]
    fn a_password_is_one_line() {
        for text in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            assert_eq!(read(text.as_bytes(), 0o600), (Ok(Some(Password("hunter2".to_owned()))), Vec::new()));
        }
        assert_eq!(Password::read(&Config::default(), &|_| None, &mut Vec::new()), Ok(None));
    }

    #[test]
    fn a_file_that_is_no_password_is_refused_without_showing_it() {
        let alone = "write the password alone into it";
        for (bytes, what) in [
            (b"".as_slice(), "is empty; write the password into it".to_owned()),
            (b"\n", "is empty; write the password into it".to_owned()),
            (b"hunter2\nchatd\n", format!("has several lines; {alone}")),
            (b"hunter\x002", format!("has control characters in it; {alone}")),
            (b"hunter\xff2", format!("has bytes that are not UTF-8; {alone}")),
            (&[b'x'; 513], format!("has more than 512 bytes; {alone}")),
        ] {
            assert_eq!(read(bytes, 0o600).0, Err(format!("\"password\" {what}")));
        }
        assert_eq!(format!("{:?}", Password("hunter2".to_owned())), "Password");
    }

    #[test]
    fn a_file_that_anybody_can_read_is_warned_about() {
        let warning = "anybody on this machine can read \"password\"; take that away with chmod o-r";
        assert_eq!(read(b"hunter2", 0o644).1, [warning]);
        assert!(read(b"hunter2", 0o640).1.is_empty());
    }

    #[test]
    fn a_credential_is_in_the_folder_of_systemd() {
        let folder = Scratch::new();
        std::fs::write(folder.file("chatd.redis"), "hunter2\n").unwrap();
        let material = Material::Credential("chatd.redis".to_owned());
        let config = Config { cluster_password_file: material, ..Config::default() };
        let path = folder.file("x").parent().unwrap().to_owned();
        let env = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| path.clone().into());
        let password = Password::read(&config, &env, &mut Vec::new()).unwrap().unwrap();
        assert_eq!(password.expose(), "hunter2");
        let none = Password::read(&config, &|_| None, &mut Vec::new()).unwrap_err();
        assert!(none.text.starts_with("there are no credentials here"), "{none:?}");
    }
}
