//! A mapping: what may stand in it is the contracts' crate's to say.

use livedex_wire::mapping::{Mapping, MappingSpec};

use super::Check;

impl Check<'_> {
    /// The mapping of the section at `prefix` (`mapping`), with every problem under its key. The
    /// default in its place if there are some.
    pub(super) fn mapping(&mut self, prefix: &str, raw: &MappingSpec) -> Mapping {
        Mapping::new(raw).unwrap_or_else(|problems| {
            for problem in problems {
                self.wrong(&format!("{prefix}.{}", problem.key), problem.message);
            }
            Mapping::default()
        })
    }
}
