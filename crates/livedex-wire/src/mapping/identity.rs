//! Which document a record speaks of.
//!
//! A tombstone has only its key and its headers, so what names a document must stand there, too:
//! else the document could not be deleted, and nobody would notice. Hence the rule: whatever of a
//! record says the id must say the same one, and a key that is asked must answer. A mapping
//! that takes the id from the value alone is allowed (records may have no keys, and deletions may be
//! marked in the value); a tombstone is then an error that says so.

use livedex_core::{
    ids::{DocumentId, DocumentKey, Tenant},
    record::TENANT_HEADER,
};

use super::{
    error::MappingError,
    key::KeyRule,
    location::{Location, Pointer},
    scope::Scope,
    spec::Format,
};
use crate::{
    document::{DecodeError, tenant_header},
    fields::quote,
};

/// Where the id and the tenant stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The id, outside of the key.
    id: Option<Location>,
    /// The id in the key.
    key_id: Option<KeyRule>,
    /// The tenant.
    tenant: Option<Location>,
    /// The tenant in the key.
    key_tenant: Option<KeyRule>,
}

impl Identity {
    /// What `format` makes of what was configured.
    ///
    /// The key has the id unless `id` says another place. A CloudEvent has it in its subject as
    /// well. A row of Debezium has its key's columns in it, so a pointer into the row is one
    /// into the key, too.
    pub(super) fn new(
        format: Format,
        id: Option<Location>,
        key_id: Option<Pointer>,
        tenant: Option<Location>,
    ) -> Self {
        let in_key = |location: &Option<Location>| match (format, location) {
            (Format::Debezium, Some(Location::Value(pointer))) => {
                Some(KeyRule::At(pointer.clone()))
            }
            _ => None,
        };
        let default_key = match (format, &id) {
            (Format::Debezium, None) => Some(KeyRule::Columns),
            (_, None) => Some(KeyRule::At(Pointer::whole())),
            (_, Some(_)) => in_key(&id),
        };
        let default_id =
            (format == Format::Cloudevents).then(|| Location::Attribute("subject".to_owned()));
        Self {
            key_id: key_id.map(KeyRule::At).or(default_key),
            id: id.or(default_id),
            key_tenant: in_key(&tenant),
            tenant,
        }
    }

    /// The document that the record speaks of.
    pub(super) fn of(&self, scope: &Scope<'_>) -> Result<DocumentKey, MappingError> {
        let id = self.id(scope)?;
        let tenant = self.tenant(scope)?;
        Ok(DocumentKey { tenant: Tenant::new(tenant)?, id: DocumentId::new(id)? })
    }

    fn id(&self, scope: &Scope<'_>) -> Result<String, MappingError> {
        const FIELD: &str = "id";
        let own = match &self.id {
            Some(location) => scope.name(FIELD, location)?.map(|id| (location, id)),
            None => None,
        };
        let key = match &self.key_id {
            Some(rule) => scope.key.name(FIELD, rule)?,
            None => None,
        };
        match (own, key) {
            (Some((location, own)), Some(key)) if own != key => {
                Err(differ(FIELD, location, "the record's key", key))
            }
            (Some((_, id)), _) | (None, Some(id)) => Ok(id),
            (None, None) => Err(match &self.id {
                _ if scope.record.key.is_none() && scope.record.value.is_none() => {
                    DecodeError::Nothing.into()
                }
                None => MappingError::NoKey,
                Some(location @ Location::Value(_)) if scope.body.is_none() => {
                    MappingError::Tombstone {
                        field: FIELD,
                        location: location.to_string(),
                        remedy: "let mapping.key_id name where the key has it, or let the producer \
                                 mark deletions in the value (mapping.deleted)",
                    }
                }
                Some(location) => scope.missing(FIELD, [location]),
            }),
        }
    }

    /// A tenant that is mapped must be there: without one the document would be everybody's.
    fn tenant(&self, scope: &Scope<'_>) -> Result<String, MappingError> {
        const FIELD: &str = "tenant";
        let header = tenant_header(&scope.record.headers)?;
        let Some(location) = &self.tenant else {
            return Ok(header.unwrap_or_default().to_owned());
        };
        let own = scope.name(FIELD, location)?;
        let key = match &self.key_tenant {
            Some(rule) => scope.key.name(FIELD, rule)?,
            None => None,
        };
        let others = [
            ("the record's key".to_owned(), key.clone()),
            (format!("the header {TENANT_HEADER}"), header.map(str::to_owned)),
        ];
        let first = own.or(key).or(header.map(str::to_owned));
        for (place, other) in others {
            if let (Some(first), Some(other)) = (&first, other)
                && *first != other
            {
                return Err(differ(FIELD, location, &place, other));
            }
        }
        first.ok_or_else(|| match location {
            Location::Value(_) if scope.body.is_none() => MappingError::Tombstone {
                field: FIELD,
                location: location.to_string(),
                remedy: "let mapping.tenant name a place in the key (key:/name) or a header \
                         (header:name), or let the producer mark deletions in the value \
                         (mapping.deleted)",
            },
            _ => scope.missing(FIELD, [location]),
        })
    }
}

fn differ(field: &'static str, first: &Location, second: &str, text: String) -> MappingError {
    let (first, second) = (first.to_string(), second.to_owned());
    MappingError::Differ { field, first, second, second_text: quote(text) }
}
