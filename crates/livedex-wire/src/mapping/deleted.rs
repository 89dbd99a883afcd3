//! What marks a document as gone, other than a null value.

use super::{error::MappingError, location::Location, scope::Scope};

/// When a document counts as gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Deleted {
    /// A value that says so.
    pub(super) marker: Option<Marker>,
    /// Types of CloudEvents that say so.
    pub(super) types: Vec<TypePattern>,
}

/// A value that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) at: Location,
    pub(super) means: Means,
}

/// What the value has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Means {
    /// A scalar with this text, so that `true` and `"true"` are the same.
    Equals(String),
    /// Anything but null, as a column `deleted_at` is.
    Present,
}

/// A type of events, or with a star in front the end of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypePattern(pub(super) String);

impl TypePattern {
    fn matches(&self, name: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => name == self.0,
        }
    }
}

impl Deleted {
    /// Whether the record says that its document is gone.
    pub(super) fn says(&self, scope: &Scope<'_>) -> Result<bool, MappingError> {
        let event = scope.attributes.get("type").and_then(|name| name.as_str());
        if event.is_some_and(|event| self.types.iter().any(|pattern| pattern.matches(event))) {
            return Ok(true);
        }
        const FIELD: &str = "deleted";
        match &self.marker {
            None => Ok(false),
            Some(Marker { at, means: Means::Present }) => Ok(scope.find(FIELD, at)?.is_some()),
            Some(Marker { at, means: Means::Equals(text) }) => {
                Ok(scope.text(FIELD, at)?.as_ref() == Some(text))
            }
        }
    }
}
