//! `livedex schema`: the JSON Schemas of the messages.

use std::process::ExitCode;

use anyhow::bail;
use livedex_wire::schemas;

use super::print;
use crate::cli::SchemaArgs;

/// Prints one schema, or all of them one after the other.
pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let all = schemas::all();
    let Some(wanted) = &args.name else {
        for (_, text) in all {
            print(text);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some((_, text)) = all.iter().find(|(name, _)| name == wanted) else {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        bail!("there is no schema {wanted:?}; there are {}", names.join(", "));
    };
    print(text);
    Ok(ExitCode::SUCCESS)
}
