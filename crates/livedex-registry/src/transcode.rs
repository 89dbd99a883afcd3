//! Bytes to JSON, by the schema that they name.

use livedex_wire::mapping::Encoding;
use prost_reflect::SerializeOptions;
use schema_registry_converter::async_impl::{
    proto_decoder::ProtoDecoder,
    schema_registry::{SrSettings, get_all_subjects},
};
use serde_json::Value;

use crate::{
    Authorization, RegistryConfig, RegistryError,
    avro::Avro,
    schema_name::{Part, SchemaName, split},
};

/// A schema registry, with the schemas that were asked for.
#[derive(Debug)]
pub struct Registry {
    settings: SrSettings,
    avro: Avro,
    protobuf: ProtoDecoder,
}

impl Registry {
    /// Connects to nothing yet. Fails if the settings cannot be used.
    pub fn new(config: &RegistryConfig) -> Result<Self, RegistryError> {
        let (first, more) = config
            .urls
            .split_first()
            .ok_or_else(|| RegistryError::Away("no URL is configured".to_owned()))?;
        let mut settings = SrSettings::new_builder(first.clone());
        for url in more {
            settings.add_url(url.clone());
        }
        match &config.authorization {
            Authorization::None => {}
            Authorization::Basic { user, password } => {
                settings.set_basic_authorization(user, Some(password));
            }
            Authorization::Token(token) => {
                settings.set_token_authorization(token);
            }
        }
        let settings = settings
            .set_timeout(config.timeout)
            .build()
            .map_err(|error| RegistryError::away(&error))?;
        Ok(Self {
            avro: Avro::new(settings.clone()),
            protobuf: ProtoDecoder::new(settings.clone()),
            settings,
        })
    }

    /// How many subjects it has; shows that it answers.
    pub async fn subjects(&self) -> Result<usize, RegistryError> {
        let subjects = get_all_subjects(&self.settings).await;
        subjects.map(|all| all.len()).map_err(|error| RegistryError::away(&error))
    }

    /// The JSON of `bytes`, which are the `part` of a record and written in `encoding`; `header`
    /// is what the part's header (`__value_schema_id`) says, if the record has it. A string comes
    /// as its text, without quotes: it is an id, or a whole document.
    pub async fn to_json(
        &self,
        part: Part,
        encoding: Encoding,
        header: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<Vec<u8>, RegistryError> {
        if encoding == Encoding::Plain {
            return Ok(bytes.to_vec());
        }
        let (name, payload) = split(part, header, bytes)?;
        let json = match encoding {
            Encoding::Plain | Encoding::JsonSchema => {
                // What is no JSON is the mapping's to refuse, as without a registry.
                let text = serde_json::from_slice::<String>(payload);
                return Ok(text.map_or_else(|_| payload.to_vec(), String::into_bytes));
            }
            Encoding::Avro => self.avro.read(part.name(), &name, payload).await?,
            Encoding::Protobuf => self.read_protobuf(part, &name, header, bytes).await?,
        };
        Ok(match json {
            Value::String(text) => text.into_bytes(),
            json => json.to_string().into_bytes(),
        })
    }

    async fn read_protobuf(
        &self,
        part: Part,
        name: &SchemaName,
        header: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<Value, RegistryError> {
        match self.protobuf.decode_with_header_id(header, Some(bytes)).await {
            Ok(prost_reflect::Value::Message(message)) => {
                // Names as in the schema, and absent fields with their defaults: what a pointer is
                // written after.
                let options = SerializeOptions::new()
                    .use_proto_field_name(true)
                    .stringify_64_bit_integers(false)
                    .skip_default_fields(false);
                message
                    .serialize_with_options(serde_json::value::Serializer, &options)
                    .map_err(|error| RegistryError::unreadable(part.name(), name, &error))
            }
            Ok(_) => Err(RegistryError::unreadable(part.name(), name, &"it is no message")),
            Err(error) => {
                // It keeps what has failed, and a schema may be there the next time.
                self.protobuf.remove_errors_from_cache();
                Err(RegistryError::from_client(&error, part.name(), name))
            }
        }
    }
}
