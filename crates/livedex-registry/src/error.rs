//! What can go wrong, and whether it passes.

use std::{error::Error, fmt};

use schema_registry_converter::{error::SRCError, schema_registry_common::RawError};

use crate::schema_name::SchemaName;

/// The registry's own code for a schema that it does not have.
/// <https://docs.confluent.io/platform/current/schema-registry/develop/api.html#schemas>
const SCHEMA_NOT_FOUND: u32 = 40403;

/// Why a key or a value is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry does not answer, or not well: it may later.
    #[error("the schema registry does not answer: {0}")]
    Away(String),
    /// The bytes do not begin as the registry's format does.
    #[error(
        "the {part} is not in the schema registry's format: it has {bytes} bytes and begins with \
         {first}; expected 0x00 and the schema's number in 4 bytes (was it written by a registry's \
         serializer? the mapping's encoding of the {part} says so)"
    )]
    NotFramed {
        /// `key` or `value`.
        part: &'static str,
        /// Its size.
        bytes: usize,
        /// The first byte.
        first: String,
    },
    /// The registry does not have the schema.
    #[error("the schema registry has no schema {schema}, by which the {part} is written")]
    NoSchema {
        /// `key` or `value`.
        part: &'static str,
        /// The schema's number or GUID.
        schema: String,
    },
    /// The bytes do not fit their schema, or the schema is not one of this kind.
    #[error("the {part} cannot be read by schema {schema}: {detail}")]
    Unreadable {
        /// `key` or `value`.
        part: &'static str,
        /// The schema's number or GUID.
        schema: String,
        /// What was wrong.
        detail: String,
    },
}

impl RegistryError {
    /// Tells what passes from what does not. What the registry answered, and whether the client
    /// would try again, may stand anywhere in the chain of causes.
    pub(crate) fn from_client(error: &SRCError, part: &'static str, name: &SchemaName) -> Self {
        let mut link: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(cause) = link {
            if let Some(answer) = cause.downcast_ref::<RawError>() {
                return match answer.error_code {
                    SCHEMA_NOT_FOUND => Self::NoSchema { part, schema: name.to_string() },
                    // Whatever else it answers (a wrong password, too many requests) is not the
                    // record's fault, and a dead letter would have to be replayed.
                    _ => Self::away(error),
                };
            }
            if cause.downcast_ref::<SRCError>().is_some_and(|error| error.retriable) {
                return Self::away(error);
            }
            link = cause.source();
        }
        Self::unreadable(part, name, &one_line(error))
    }

    pub(crate) fn unreadable(
        part: &'static str,
        name: &SchemaName,
        detail: &dyn fmt::Display,
    ) -> Self {
        let detail = detail.to_string().replace(['\n', '\r'], " ");
        Self::Unreadable { part, schema: name.to_string(), detail }
    }

    pub(crate) fn away(error: &SRCError) -> Self {
        Self::Away(one_line(error))
    }

    /// A stable name of the error's kind.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Away(_) => "RegistryError.Away",
            Self::NotFramed { .. } => "RegistryError.NotFramed",
            Self::NoSchema { .. } => "RegistryError.NoSchema",
            Self::Unreadable { .. } => "RegistryError.Unreadable",
        }
    }
}

fn one_line(error: &SRCError) -> String {
    let text = match &error.cause {
        Some(cause) => format!("{}: {cause}", error.error),
        None => error.error.clone(),
    };
    text.replace(['\n', '\r'], " ")
}
