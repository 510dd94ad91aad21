//! The values of the archive: its folder, and for how many days it stores lines.

use std::path::{Path, PathBuf};

use toml::Value;

use super::value::{Setting, is_not, quoted};

/// The longest path, in bytes: PATH_MAX.
const MAX_PATH: usize = 4096;
/// The word for no archive, and for no end.
const OFF: &str = "off";

/// The folder of the archive, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveFolder(Option<PathBuf>);

impl ArchiveFolder {
    /// Returns the path; `None` if the archive is off.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl From<PathBuf> for ArchiveFolder {
    fn from(path: PathBuf) -> Self {
        Self(Some(path))
    }
}

impl Setting for ArchiveFolder {
    const KIND: &'static str = "the path of a folder, from /; or off";

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        if text == OFF {
            return Ok(Self(None));
        }
        if !text.starts_with('/') {
            return Err(format!("{} is no path from /; write it in full, or off", quoted(text)));
        }
        if text.contains(char::is_control) || text.len() > MAX_PATH {
            return Err(format!("{} is not {}", quoted(text), Self::KIND));
        }
        Ok(Self(Some(text.into())))
    }

    fn to_toml(&self) -> Value {
        self.0.as_ref().map_or_else(|| OFF.into(), |path| path.display().to_string().into())
    }
}

/// A number of days, or no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(Option<u32>);

impl Days {
    /// Makes one of `days` days.
    pub const fn new(days: u32) -> Self {
        Self(Some(days))
    }

    /// Returns the number of days; `None` for no end.
    pub fn days(self) -> Option<u32> {
        self.0
    }
}

impl Setting for Days {
    const KIND: &'static str = "a number of days; write 30d; or off";

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        if text == OFF {
            return Ok(Self(None));
        }
        let number = text.strip_suffix('d').filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        number
            .and_then(|days| days.parse().ok())
            .map(|days| Self(Some(days)))
            .ok_or_else(|| is_not::<Self>(value))
    }

    fn to_toml(&self) -> Value {
        self.0.map_or_else(|| OFF.into(), |days| format!("{days}d").into())
    }

    fn measure(&self) -> Option<u64> {
        self.0.map(u64::from)
    }

    fn show_limit(limit: u64) -> String {
        format!("{limit}d")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_full_path_or_off() {
        assert_eq!(ArchiveFolder::read(&"off".into()), Ok(ArchiveFolder(None)));
        let folder = ArchiveFolder::read(&"/var/lib/chatd/archive".into()).unwrap();
        assert_eq!(folder.path(), Some(Path::new("/var/lib/chatd/archive")));
        assert_eq!(folder.to_toml(), "/var/lib/chatd/archive".into());
        for text in ["", "archive", "./archive", "/a\nb"] {
            assert!(ArchiveFolder::read(&text.into()).is_err(), "{text}");
        }
        assert!(ArchiveFolder::read(&Value::from(true)).is_err());
    }

    #[test]
    fn days_have_their_unit() {
        for (text, days) in [("30d", Some(30)), ("1d", Some(1)), ("off", None)] {
            assert_eq!(Days::read(&text.into()), Ok(Days(days)));
            assert_eq!(Days(days).to_toml(), text.into());
        }
        for text in ["", "d", "30", "30h", "-1d", "+1d", "1.5d", "99999999999d", "30 d"] {
            assert!(Days::read(&text.into()).is_err(), "{text}");
        }
    }
}
