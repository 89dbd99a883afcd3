//! A template: text with values in it, such as `# {/title}\n\n{/body}`.
//!
//! What stands between braces is a [`Location`]. `{{` and `}}` are braces themselves. A location ends
//! at the first `}`, so a field whose name holds one cannot be named here.

use super::location::{Location, LocationError};

/// A template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Value(Location),
}

/// Why a text is no template. Reads on from the key that holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum TemplateError {
    /// A brace that opens nothing.
    #[error("has a {{ at byte {at} that is never closed; write {{{{ for the character")]
    Open {
        /// Its byte.
        at: usize,
    },
    /// A brace that closes nothing.
    #[error("has a }} at byte {at} that closes nothing; write }}}} for the character")]
    Close {
        /// Its byte.
        at: usize,
    },
    /// Every document would have the same text.
    #[error("names no value; write such as {{/body}} where one belongs")]
    NoValue,
    /// What stands between braces is no location.
    #[error("between its braces {0}")]
    Location(#[from] LocationError),
}

impl Template {
    /// Takes `text` apart.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let at = text.len() - rest.len() + brace;
            literal.push_str(&rest[..brace]);
            let doubled = &rest[brace..=brace];
            let after = &rest[brace + 1..];
            if let Some(after) = after.strip_prefix(doubled) {
                literal.push_str(doubled);
                rest = after;
                continue;
            }
            if doubled == "}" {
                return Err(TemplateError::Close { at });
            }
            let (location, after) = after.split_once('}').ok_or(TemplateError::Open { at })?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Value(Location::parse(location)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let template = Self(parts);
        let has_value = template.locations().next().is_some();
        if has_value { Ok(template) } else { Err(TemplateError::NoValue) }
    }

    /// The locations in it, in order.
    pub(super) fn locations(&self) -> impl Iterator<Item = &Location> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Value(location) => Some(location),
        })
    }

    /// The text with what `find` gives for every location, and nothing where it gives nothing.
    /// `None` if it gives nothing at all.
    pub(super) fn render<E>(
        &self,
        mut find: impl FnMut(&Location) -> Result<Option<String>, E>,
    ) -> Result<Option<String>, E> {
        let mut text = String::new();
        let mut has_value = false;
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value(location) => {
                    if let Some(value) = find(location)? {
                        has_value = true;
                        text.push_str(&value);
                    }
                }
            }
        }
        Ok(has_value.then_some(text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// What a template says where every location's value is the location in brackets.
    fn rendered(text: &str) -> Result<String, TemplateError> {
        let template = Template::parse(text)?;
        let find = |location: &Location| Ok::<_, Infallible>(Some(format!("[{location}]")));
        Ok(template.render(find).unwrap().unwrap())
    }

    #[test]
    fn values_stand_between_braces() {
        assert_eq!(rendered("# {/title}\n\n{/body}").unwrap(), "# [/title]\n\n[/body]");
        assert_eq!(
            rendered("{/a}{key:/b}{header:c}{ce:d}").unwrap(),
            "[/a][key:/b][header:c][ce:d]"
        );
        assert_eq!(rendered("{{{/a}}}, {{/b}}").unwrap(), "{[/a]}, {/b}");
        assert_eq!(rendered("{}").unwrap(), "[\"\"]");
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_place() {
        assert_eq!(rendered("ä {/a"), Err(TemplateError::Open { at: 3 }));
        assert_eq!(rendered("{/a} }"), Err(TemplateError::Close { at: 5 }));
        assert_eq!(rendered("nothing, {{/a}}"), Err(TemplateError::NoValue));
        assert_eq!(rendered(""), Err(TemplateError::NoValue));
        let error = rendered("{title}").unwrap_err().to_string();
        assert!(error.starts_with("between its braces is \"title\"; expected"), "{error}");
    }

    #[test]
    fn a_value_that_is_not_there_is_empty_and_all_of_them_are_nothing() {
        let template = Template::parse("# {/title}\n\n{/body}").unwrap();
        let only = |name: &'static str| {
            template.render(|location| {
                let is_there = location.to_string() == name;
                Ok::<_, Infallible>(is_there.then(|| "x".to_owned()))
            })
        };
        assert_eq!(only("/body").unwrap().unwrap(), "# \n\nx");
        assert_eq!(only("/nothing").unwrap(), None);
    }

    proptest! {
        /// A template made of literals and names says the literals with the names' values between.
        #[test]
        fn rendering_is_what_a_naive_reading_says(
            parts in prop::collection::vec(("[a-c{}\\n ]{0,6}", "/[a-c0-9]{0,4}"), 1..6),
            last in "[a-c{}]{0,4}",
        ) {
            let escape = |text: &str| text.replace('{', "{{").replace('}', "}}");
            let (mut template, mut expected) = (String::new(), String::new());
            for (literal, name) in &parts {
                template += &format!("{}{{{name}}}", escape(literal));
                expected += &format!("{literal}[{name}]");
            }
            template += &escape(&last);
            expected += &last;
            // `{{{{/a}`: a doubled brace and then one that opens, or the other way round, is read
            // from the left, as it is here.
            prop_assert_eq!(rendered(&template), Ok(expected));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}/a~:ä ]{0,12}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert!(template.locations().count() > 0);
            }
        }
    }
}
