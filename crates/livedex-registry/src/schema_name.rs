//! Which schema a record names, and where its payload begins.

use std::fmt;

use schema_registry_converter::schema_registry_common::{
    KEY_SCHEMA_ID_HEADER, VALUE_SCHEMA_ID_HEADER,
};

use crate::RegistryError;

/// One half of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }

    /// The header that may name the schema, in place of the bytes in front of the payload.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Key => KEY_SCHEMA_ID_HEADER,
            Self::Value => VALUE_SCHEMA_ID_HEADER,
        }
    }
}

/// The name of a schema in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum SchemaName {
    /// Its number.
    Id(u32),
    /// Its GUID, with hyphens: only in headers, since Confluent's Schema Registry 8.0.
    Guid(String),
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Guid(guid) => f.write_str(guid),
        }
    }
}

/// What `bytes` are written by, and the payload in them. `header` is what the part's header says.
pub(crate) fn split<'a>(
    part: Part,
    header: Option<&[u8]>,
    bytes: &'a [u8],
) -> Result<(SchemaName, &'a [u8]), RegistryError> {
    let (named, payload) = match (header, bytes) {
        (Some(header), payload) => (header, payload),
        (None, [_, _, _, _, _, payload @ ..]) => (bytes, payload),
        (None, _) => (bytes, bytes),
    };
    match (named, header.is_some()) {
        ([0, a, b, c, d, ..], _) => {
            Ok((SchemaName::Id(u32::from_be_bytes([*a, *b, *c, *d])), payload))
        }
        ([1, guid @ ..], true) if guid.len() >= 16 => {
            let hex: Vec<String> = guid[..16].iter().map(|byte| format!("{byte:02x}")).collect();
            let groups = [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..16]];
            Ok((SchemaName::Guid(groups.map(<[String]>::concat).join("-")), payload))
        }
        _ => Err(RegistryError::NotFramed {
            part: part.name(),
            bytes: bytes.len(),
            first: named.first().map_or("nothing".to_owned(), |byte| format!("0x{byte:02x}")),
        }),
    }
}
