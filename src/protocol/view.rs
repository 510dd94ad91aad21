//! Views: how a member wants lines shown. [`super::form`] encodes lines for each of them.

use serde::{Deserialize, Serialize};

/// A view. The aliases are the names in snapshots of earlier versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The lines as they were sent.
    #[serde(alias = "Plain")]
    Plain,
    /// Each line with its sender, and also who joins and leaves.
    #[serde(alias = "Names")]
    Names,
    /// Each line is a JSON object.
    #[serde(alias = "Json")]
    Json,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Names, Self::Json];

    /// Returns the view with this name, in upper or lower case; `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.name().eq_ignore_ascii_case(word))
    }

    /// Returns the name of the view.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Names => "names",
            Self::Json => "json",
        }
    }
}
