//! `runtime.token_budget` and `runtime.ingest_token_budget`: a number, or nobody's choice.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What stands for a budget that is found at start.
const AUTO: &str = "auto";

/// Tokens of a micro-batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TokenBudget {
    /// What the device is best at.
    #[default]
    Auto,
    /// So many.
    Tokens(usize),
}

impl TokenBudget {
    /// The number, if there is one.
    pub(crate) fn chosen(self) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::Tokens(tokens) => Some(tokens),
        }
    }
}

impl Serialize for TokenBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(AUTO),
            Self::Tokens(tokens) => tokens.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TokenBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOrTokens;
        impl de::Visitor<'_> for AutoOrTokens {
            type Value = TokenBudget;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{AUTO}\" or a number of tokens")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                match value {
                    AUTO => Ok(TokenBudget::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
                }
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                let tokens = usize::try_from(value);
                let wrong = |_| E::invalid_value(de::Unexpected::Unsigned(value), &self);
                tokens.map(TokenBudget::Tokens).map_err(wrong)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                let tokens = usize::try_from(value);
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(value), &self);
                tokens.map(TokenBudget::Tokens).map_err(wrong)
            }
        }
        deserializer.deserialize_any(AutoOrTokens)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::config::raw::RawRuntime;

    #[test]
    fn a_budget_is_a_number_or_auto() {
        let parsed = |text: &str| toml::from_str::<RawRuntime>(text).map(|raw| raw.token_budget);
        assert_eq!(parsed("").unwrap(), TokenBudget::Auto);
        assert_eq!(parsed("token_budget = \"auto\"").unwrap().chosen(), None);
        assert_eq!(parsed("token_budget = 4096").unwrap().chosen(), Some(4096));
        for wrong in ["token_budget = \"much\"", "token_budget = -1", "token_budget = 1.5"] {
            let error = parsed(wrong).unwrap_err().to_string();
            assert!(error.contains("\"auto\" or a number of tokens"), "{error}");
        }
        let printed = toml::to_string(&RawRuntime::default()).unwrap();
        assert!(printed.contains("token_budget = \"auto\""), "{printed}");
        let raw = RawRuntime { token_budget: TokenBudget::Tokens(64), ..RawRuntime::default() };
        assert_eq!(parsed(&toml::to_string(&raw).unwrap()).unwrap(), raw.token_budget);
    }
}
