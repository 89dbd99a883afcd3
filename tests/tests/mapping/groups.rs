//! The consumer groups that a broker knows, asked for by hand, so that no client of ours can hide
//! one.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The ids of all groups (ListGroups request, version 0).
/// <https://kafka.apache.org/protocol#The_Messages_ListGroups>
pub(crate) fn list(brokers: &str) -> Result<BTreeSet<String>> {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let mut stream = TcpStream::connect(brokers)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut body = Vec::new();
    body.extend(16_i16.to_be_bytes()); // API key: ListGroups
    body.extend(0_i16.to_be_bytes()); // its version
    body.extend(7_i32.to_be_bytes()); // correlation id
    body.extend((-1_i16).to_be_bytes()); // no client id
    let length = i32::try_from(body.len())?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat())?;

    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    let mut rest = &answer[..];
    ensure!(take(&mut rest, 4)? == 7_i32.to_be_bytes(), "another request's answer");
    ensure!(take(&mut rest, 2)? == 0_i16.to_be_bytes(), "an error: {answer:?}");
    let n_groups = i32::from_be_bytes(take(&mut rest, 4)?.try_into()?);
    (0..n_groups)
        .map(|_| {
            let id = string(&mut rest)?;
            string(&mut rest)?; // the protocol's type
            Ok(id)
        })
        .collect()
}

fn string(rest: &mut &[u8]) -> Result<String> {
    let length = i16::from_be_bytes(take(rest, 2)?.try_into()?);
    Ok(String::from_utf8(take(rest, usize::try_from(length)?)?.to_vec())?)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(n).context("the answer is too short")?;
    *rest = left;
    Ok(taken)
}
