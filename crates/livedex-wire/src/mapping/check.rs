//! From what was typed to a mapping, with every mistake at once.

use livedex_core::{
    document::ContentType,
    limits::{MAX_METADATA_KEY_BYTES, MAX_METADATA_KEYS},
};

use super::{
    Mapping,
    deleted::{Deleted, Marker, Means, TypePattern},
    identity::Identity,
    location::{Location, Pointer},
    spec::{Format, MappingSpec, SpecProblem},
    template::Template,
    text::{ContentTypeRule, TextRule, scalar},
    timestamp::TimeFormat,
};
use crate::document::content_type;

/// Checks everything and reports every problem.
pub(super) fn check(spec: &MappingSpec) -> Result<Mapping, Vec<SpecProblem>> {
    let mut check = Check { spec, problems: Vec::new() };
    let mapping = match spec.format {
        Format::DocumentV1 => check.native(),
        _ => check.mapping(),
    };
    let mapping =
        Mapping { key_encoding: spec.key_encoding, value_encoding: spec.value_encoding, ..mapping };
    if check.problems.is_empty() { Ok(mapping) } else { Err(check.problems) }
}

struct Check<'a> {
    spec: &'a MappingSpec,
    problems: Vec<SpecProblem>,
}

impl Check<'_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(SpecProblem { key: key.to_owned(), message: message.into() });
    }

    /// Only the keys that the format has a use for.
    fn refuse(&mut self, keys: &[(&str, bool)], why: &str) {
        for (key, is_set) in keys {
            if *is_set {
                let format = self.spec.format.as_str();
                self.wrong(key, format!("is set, but with format = \"{format}\" {why}"));
            }
        }
    }

    fn native(&mut self) -> Mapping {
        let spec = self.spec;
        let keys = [
            ("id", spec.id.is_some()),
            ("key_id", spec.key_id.is_some()),
            ("text", spec.text.is_some()),
            ("template", spec.template.is_some()),
            ("content_type", spec.content_type.is_some()),
            ("title", spec.title.is_some()),
            ("url", spec.url.is_some()),
            ("tenant", spec.tenant.is_some()),
            ("version", spec.version.is_some()),
            ("updated_at", spec.updated_at.is_some()),
            ("updated_at_format", spec.updated_at_format != TimeFormat::default()),
            ("metadata_object", spec.metadata_object.is_some()),
            ("deleted_types", !spec.deleted_types.is_empty()),
            ("metadata", !spec.metadata.is_empty()),
            ("deleted", spec.deleted != Default::default()),
        ];
        self.refuse(&keys, "every field has its name; say in format what the records are");
        Mapping::default()
    }

    fn mapping(&mut self) -> Mapping {
        let spec = self.spec;
        if spec.format != Format::Cloudevents {
            let is_set = !spec.deleted_types.is_empty();
            self.refuse(&[("deleted_types", is_set)], "events have no type; use deleted");
        }
        let id = self.id();
        let tenant = self.optional("tenant", spec.tenant.as_deref());
        let key_id = spec.key_id.as_deref().and_then(|text| match Pointer::parse(text) {
            Ok(pointer) => Some(pointer),
            Err(error) => {
                self.wrong("key_id", error.to_string());
                None
            }
        });
        Mapping {
            format: spec.format,
            identity: Identity::new(spec.format, id, key_id, tenant),
            text: self.text(),
            content_type: self.content_type(),
            title: self.optional("title", spec.title.as_deref()),
            url: self.optional("url", spec.url.as_deref()),
            version: self.optional("version", spec.version.as_deref()),
            updated_at: self.updated_at(),
            metadata_object: self.optional("metadata_object", spec.metadata_object.as_deref()),
            metadata: self.metadata(),
            deleted: self.deleted(),
            ..Mapping::default()
        }
    }

    /// A place that records of this format have.
    fn location(&mut self, key: &str, text: &str) -> Option<Location> {
        let format = self.spec.format;
        let location = match Location::parse(text) {
            Ok(location) => location,
            Err(error) => {
                self.wrong(key, error.to_string());
                return None;
            }
        };
        self.allow(key, format!("is \"{text}\""), &location, format).then_some(location)
    }

    fn allow(&mut self, key: &str, is: String, location: &Location, format: Format) -> bool {
        let name = format.as_str();
        let why = match location {
            Location::Value(_) if format.is_plain() => format!(
                "but with format = \"{name}\" the value is the text, and has no fields; name a header \
                 (header:name) or a place in the key (key:/name)"
            ),
            Location::Attribute(_) if format != Format::Cloudevents => {
                format!("but only format = \"cloudevents\" has attributes, and this is \"{name}\"")
            }
            _ => return true,
        };
        self.wrong(key, format!("{is}, {why}"));
        false
    }

    fn optional(&mut self, key: &str, text: Option<&str>) -> Option<Location> {
        text.and_then(|text| self.location(key, text))
    }

    fn id(&mut self) -> Option<Location> {
        match self.optional("id", self.spec.id.as_deref())? {
            Location::Key(pointer) => {
                let pointer = pointer.as_str();
                self.wrong(
                    "id",
                    format!("stands in the key; write key_id = \"{pointer}\" instead"),
                );
                None
            }
            location => Some(location),
        }
    }

    fn text(&mut self) -> TextRule {
        let spec = self.spec;
        if spec.format.is_plain() {
            let keys = [("text", spec.text.is_some()), ("template", spec.template.is_some())];
            self.refuse(&keys, "the value is the text; remove it, or use format = \"json\"");
            return TextRule::Whole;
        }
        match (&spec.text, &spec.template) {
            (Some(_), Some(_)) => self.wrong("text", "and template are both set; keep one of them"),
            (None, None) => self.wrong(
                "text",
                "is not set, nor is template; name where the text stands, such as text = \"/body\"",
            ),
            (Some(text), None) => {
                let texts = text.as_slice();
                if texts.is_empty() {
                    self.wrong("text", "is an empty list; name where the text stands");
                }
                return TextRule::Parts(
                    texts.iter().filter_map(|text| self.location("text", text)).collect(),
                );
            }
            (None, Some(template)) => match Template::parse(template) {
                Ok(template) => {
                    for location in template.locations() {
                        let is = format!("names {location}");
                        self.allow("template", is, location, spec.format);
                    }
                    return TextRule::Template(template);
                }
                Err(error) => self.wrong("template", error.to_string()),
            },
        }
        TextRule::Whole
    }

    fn content_type(&mut self) -> ContentTypeRule {
        let spec = self.spec;
        let of_format = match spec.format {
            Format::Markdown => ContentTypeRule::Fixed(ContentType::Markdown),
            Format::Html => ContentTypeRule::Fixed(ContentType::Html),
            Format::Cloudevents => ContentTypeRule::Data,
            _ => ContentTypeRule::Fixed(ContentType::Plain),
        };
        let Some(text) = spec.content_type.as_deref() else {
            return of_format;
        };
        if spec.format.is_plain() {
            self.refuse(&[("content_type", true)], "it is the format's; remove it");
            return of_format;
        }
        if let Some(fixed) = content_type(text) {
            return ContentTypeRule::Fixed(fixed);
        }
        if Location::parse(text).is_err() {
            self.wrong(
                "content_type",
                format!(
                    "is \"{text}\"; expected text/plain, text/markdown or text/html, or where it \
                     stands (/type)"
                ),
            );
            return of_format;
        }
        self.location("content_type", text).map_or(of_format, ContentTypeRule::At)
    }

    fn updated_at(&mut self) -> Option<(Location, TimeFormat)> {
        let format = self.spec.updated_at_format;
        match self.spec.updated_at.as_deref() {
            Some(text) => Some((self.location("updated_at", text)?, format)),
            None => {
                if format != TimeFormat::default() {
                    self.wrong("updated_at_format", "is set, but updated_at is not; set both");
                }
                // Every CloudEvent may have it, in RFC 3339.
                (self.spec.format == Format::Cloudevents)
                    .then(|| (Location::Attribute("time".to_owned()), TimeFormat::Rfc3339))
            }
        }
    }

    fn metadata(&mut self) -> Vec<(String, Location)> {
        let spec = self.spec;
        if spec.metadata.len() > MAX_METADATA_KEYS {
            let length = spec.metadata.len();
            self.wrong("metadata", format!("has {length} keys, the limit is {MAX_METADATA_KEYS}"));
        }
        let mut metadata = Vec::new();
        for (name, text) in &spec.metadata {
            let key = format!("metadata.{name}");
            if name.is_empty() || name.len() > MAX_METADATA_KEY_BYTES {
                let bytes = name.len();
                self.wrong(
                    &key,
                    format!(
                        "has a name of {bytes} bytes, allowed are 1 to {MAX_METADATA_KEY_BYTES}"
                    ),
                );
            }
            metadata.extend(self.location(&key, text).map(|location| (name.clone(), location)));
        }
        metadata
    }

    fn deleted(&mut self) -> Deleted {
        let spec = &self.spec.deleted;
        let types: Vec<_> = self.spec.deleted_types.iter().cloned().map(TypePattern).collect();
        if types.iter().any(|pattern| pattern.0.trim_start_matches('*').is_empty()) {
            self.wrong(
                "deleted_types",
                "holds a type without a name, which would delete everything",
            );
        }
        let Some(text) = spec.pointer.as_deref() else {
            if spec.equals.is_some() || spec.present {
                self.wrong("deleted.pointer", "is not set; name where the mark stands");
            }
            return Deleted { marker: None, types };
        };
        let at = self.location("deleted.pointer", text);
        let means = match (&spec.equals, spec.present) {
            (None, true) => Some(Means::Present),
            (Some(value), false) => {
                let text = scalar(value);
                if text.is_none() {
                    self.wrong("deleted.equals", "is no scalar; such as true, \"true\" or 1");
                }
                text.map(Means::Equals)
            }
            (Some(_), true) => {
                self.wrong("deleted.equals", "and deleted.present are both set; keep one of them");
                None
            }
            (None, false) => {
                self.wrong(
                    "deleted.equals",
                    "is not set; say what marks a deletion, such as equals = true, or present = true \
                     for a column that is null until then",
                );
                None
            }
        };
        let marker = at.zip(means).map(|(at, means)| Marker { at, means });
        Deleted { marker, types }
    }
}
