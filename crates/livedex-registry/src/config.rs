//! Where the registry is.

use std::{fmt, time::Duration};

/// How to reach the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// `http://host:port` or `https://host:port`, at least one; tried in order.
    pub urls: Vec<String>,
    /// Who asks.
    pub authorization: Authorization,
    /// How long one call may take.
    pub timeout: Duration,
}

/// Who asks the registry. `Debug` does not show secrets (INV-7).
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Nobody in particular.
    #[default]
    None,
    /// A user, or an API key and its secret.
    Basic {
        /// The user, or the key.
        user: String,
        /// The password, or the secret.
        password: String,
    },
    /// A bearer token.
    Token(String),
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { user, .. } => write!(f, "Basic({user:?}, [redacted])"),
            Self::Token(_) => f.write_str("Token([redacted])"),
        }
    }
}
