//! The table of notices: a macro that makes an enum, its codes and its sentences of one row for each notice.

/// Declares an enum of notices, their codes and their sentences: a row for each, with its code, its fields and its
/// sentence. `refused` marks those that say that nobody got what was sent, or that a command was not done.
macro_rules! notices {
    (
        $(#[$about_enum:meta])*
        $enum:ident $(and $other:ident)? {$(
            $(#[$doc:meta])*
            $variant:ident $code:literal $($refused:ident)? $({ $($(#[$about:meta])* $field:ident: $type:ty),* $(,)? })?
                => $sentence:expr;
        )*}
    ) => {
        $(#[$about_enum])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "code")]
        pub enum $enum {
            $($(#[$doc])* #[serde(rename = $code)] $variant $({ $($(#[$about])* $field: $type),* })?,)*
            $(
                /// A notice of another table.
                #[serde(untagged)]
                $other(Box<$other>),
            )?
        }

        impl $enum {
            /// Every code, with the names of its fields, those that may be left out among them.
            pub const CODES: &[(&str, &[&str])] = &[$(($code, &[$($(stringify!($field)),*)?])),*];

            /// Returns whether nobody got what was sent, or not as it was sent, or a command was not done.
            pub fn is_refusal(&self) -> bool {
                match self {
                    $(Self::$variant { .. } => !<[&str]>::is_empty(&[$(stringify!($refused))?]),)*
                    $(Self::$other(other) => other.is_refusal(),)?
                }
            }
        }

        /// Writes the sentence, without `-!- `.
        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant $({ $($field),* })? => write!(f, "{}", $sentence),)*
                    $(Self::$other(other) => other.fmt(f),)?
                }
            }
        }
    };
}
pub(super) use notices;
