//! The value of `state`: a folder, or none.

use std::path::{Path, PathBuf};

use toml::Value;

use super::value::{Setting, is_not, quoted};

/// A folder by its absolute path; `None` for the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Folder(pub Option<PathBuf>);

/// An absolute path; the empty text is none.
impl Setting for Folder {
    const KIND: &'static str = "a folder; write its path in quotes";

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| is_not::<Self>(value))?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        if !text.starts_with('/') || text.contains('\0') {
            return Err(format!("{} is not an absolute path; begin it with /", quoted(text)));
        }
        Ok(Self(Some(Path::new(text).to_owned())))
    }

    fn to_toml(&self) -> Value {
        self.0.as_ref().map_or_else(String::new, |path| path.to_string_lossy().into_owned()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_an_absolute_path_or_none() {
        let read = |value: Value| Folder::read(&value);
        assert_eq!(read("".into()), Ok(Folder(None)));
        let folder = read("/var/lib/chatd".into()).unwrap();
        assert_eq!(folder.to_toml(), "/var/lib/chatd".into());
        assert_eq!(
            read("lib/chatd".into()),
            Err("\"lib/chatd\" is not an absolute path; begin it with /".to_owned())
        );
        assert_eq!(read(7.into()), Err("\"7\" is not a folder; write its path in quotes".to_owned()));
    }
}
