//! Avro and Protobuf records by a Confluent-compatible schema registry.
//!
//! Such a record names its schema by a number in front of the payload (or in a header), and the
//! registry knows the schema. Here both are read, and what comes out is JSON, so that a
//! mapping sees one kind of value whatever the producer writes. `schema_registry_converter` asks the
//! registry and reads Protobuf, apache-avro reads Avro.
//!
//! # Layout
//! - [`config`]: where the registry is
//! - [`schema_name`]: which schema a record names
//! - [`transcode`]: bytes to JSON
//! - `avro`: Avro by its schemas
//! - [`decoder`]: a decoder in front of another one
//! - [`error`]: what can go wrong, and whether it passes

mod avro;
pub mod config;
pub mod decoder;
pub mod error;
pub mod schema_name;
pub mod transcode;

pub use config::{Authorization, RegistryConfig};
pub use decoder::RegistryDecoder;
pub use error::RegistryError;
pub use schema_name::Part;
pub use transcode::Registry;
