//! Avro by the registry's schemas.
//!
//! The registry's client has a decoder of its own, which does not find a reference by its full
//! name and takes a registry that fails meanwhile for a schema that is wrong. So the client is
//! asked for the texts of the schemas, and apache-avro puts them together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apache_avro::{Schema, reader::datum::GenericDatumReader};
use schema_registry_converter::{
    async_impl::schema_registry::{
        SrSettings, get_referenced_schema, get_schema_by_guid, get_schema_by_id,
    },
    error::SRCError,
    schema_registry_common::{RegisteredReference, RegisteredSchema, SchemaType},
};
use serde_json::Value;

use crate::{RegistryError, schema_name::SchemaName};

/// Schemas that are kept. A topic has a few dozen versions in its life; when there are more, all
/// are asked for anew.
const KEPT: usize = 1000;

/// References of one schema, those of references included.
const MAX_REFERENCES: usize = 1000;

/// Reads Avro, and keeps the schemas it has seen.
#[derive(Debug)]
pub(crate) struct Avro {
    settings: SrSettings,
    seen: Mutex<HashMap<SchemaName, Arc<Parsed>>>,
}

/// A schema with those that it refers to.
#[derive(Debug)]
struct Parsed {
    schema: Schema,
    references: Vec<Schema>,
}

/// A subject and a version of it.
type Reference = (String, u32);

fn key(reference: &RegisteredReference) -> Reference {
    (reference.subject.clone(), reference.version)
}

/// Takes schemas out of `found`, what they refer to first.
fn take(
    references: &[RegisteredReference],
    found: &mut HashMap<Reference, RegisteredSchema>,
    texts: &mut Vec<String>,
) {
    for reference in references {
        if let Some(schema) = found.remove(&key(reference)) {
            take(&schema.references, found, texts);
            texts.push(schema.schema);
        }
    }
}

impl Avro {
    pub(crate) fn new(settings: SrSettings) -> Self {
        Self { settings, seen: Mutex::default() }
    }

    /// The JSON of a payload.
    pub(crate) async fn read(
        &self,
        part: &'static str,
        name: &SchemaName,
        payload: &[u8],
    ) -> Result<Value, RegistryError> {
        let parsed = self.parsed(part, name).await?;
        let wrong = |error: apache_avro::Error| RegistryError::unreadable(part, name, &error);
        let mut schemata: Vec<&Schema> = parsed.references.iter().collect();
        schemata.push(&parsed.schema);
        let reader = GenericDatumReader::builder(&parsed.schema)
            .writer_schemata(schemata)
            .and_then(|builder| builder.build())
            .map_err(wrong)?;
        let value = reader.read_value(&mut &*payload).map_err(wrong)?;
        Value::try_from(value).map_err(wrong)
    }

    async fn parsed(
        &self,
        part: &'static str,
        name: &SchemaName,
    ) -> Result<Arc<Parsed>, RegistryError> {
        if let Some(known) = self.seen().get(name) {
            return Ok(known.clone());
        }
        let of_client = |error| RegistryError::from_client(&error, part, name);
        let registered = match name {
            SchemaName::Id(id) => get_schema_by_id(*id, &self.settings).await,
            SchemaName::Guid(guid) => get_schema_by_guid(guid, &self.settings).await,
        };
        let registered = registered.map_err(of_client)?;
        if registered.schema_type != SchemaType::Avro {
            let found = format!("it is of type {:?}, not Avro", registered.schema_type);
            return Err(RegistryError::unreadable(part, name, &found));
        }
        let references = self.references(&registered).await.map_err(of_client)?;
        let (schema, references) = Schema::parse_str_with_list(&registered.schema, references)
            .map_err(|error| RegistryError::unreadable(part, name, &error))?;
        let parsed = Arc::new(Parsed { schema, references });
        let mut seen = self.seen();
        if seen.len() >= KEPT {
            seen.clear();
        }
        seen.insert(name.clone(), parsed.clone());
        Ok(parsed)
    }

    /// The texts of all schemas that one refers to, directly or not, each behind those that it
    /// refers to itself, as apache-avro wants them.
    async fn references(&self, registered: &RegisteredSchema) -> Result<Vec<String>, SRCError> {
        let mut found: HashMap<Reference, RegisteredSchema> = HashMap::new();
        let mut open: Vec<RegisteredReference> = registered.references.clone();
        while let Some(reference) = open.pop() {
            let key = key(&reference);
            if found.contains_key(&key) || found.len() >= MAX_REFERENCES {
                continue;
            }
            let schema = get_referenced_schema(&self.settings, &reference).await?;
            open.extend(schema.references.iter().cloned());
            found.insert(key, schema);
        }
        let mut texts = Vec::with_capacity(found.len());
        take(&registered.references, &mut found, &mut texts);
        Ok(texts)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<SchemaName, Arc<Parsed>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
