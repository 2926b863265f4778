//! Versions and numbers as bytes: integers are little-endian, bytes have their length before them.

use std::io::{self, Read};

use bytes::Bytes;

use super::key::Key;
use super::version::{Body, Revision, Version};

/// Appends one version.
pub(super) fn put_version(out: &mut Vec<u8>, version: &Version) {
    out.extend_from_slice(&version.at.main.to_le_bytes());
    out.extend_from_slice(&version.at.sub.to_le_bytes());
    put_bytes(out, &version.key);
    out.push(u8::from(version.body.is_some()));
    if let Some(body) = &version.body {
        out.extend_from_slice(&body.create_revision.to_le_bytes());
        out.extend_from_slice(&body.version.to_le_bytes());
        out.extend_from_slice(&body.lease.to_le_bytes());
        put_bytes(out, &body.value);
    }
}

/// Reads one version, whose key is made by `key_of`.
pub(super) fn read_version(
    input: &mut impl Read,
    key_of: &mut dyn FnMut(&[u8]) -> Key,
    scratch: &mut Vec<u8>,
) -> io::Result<Option<Version>> {
    let at = Revision { main: read_i64(input)?, sub: u32::from_le_bytes(read_array(input)?) };
    let key = key_of(read_bytes(input, scratch)?);
    let body = match read_array(input)? {
        [0] => None,
        [1] => Some(Body {
            create_revision: read_i64(input)?,
            version: read_i64(input)?,
            lease: read_i64(input)?,
            value: Bytes::copy_from_slice(read_bytes(input, scratch)?),
        }),
        _ => return Ok(None),
    };
    Ok(Some(Version { key, at, body }))
}

pub(super) fn read_array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn read_i64(input: &mut impl Read) -> io::Result<i64> {
    read_array(input).map(i64::from_le_bytes)
}

/// Reads a length and so many bytes. A length that is wrong takes no more memory than there are
/// bytes.
fn read_bytes<'a>(input: &mut impl Read, scratch: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    let len = u64::from(u32::from_le_bytes(read_array(input)?));
    scratch.clear();
    match input.by_ref().take(len).read_to_end(scratch)? as u64 == len {
        true => Ok(scratch),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("requests are far smaller");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*head)
}

pub(super) fn i64_of(input: &mut &[u8]) -> Option<i64> {
    take(input).map(i64::from_le_bytes)
}

pub(super) fn bytes_of<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_le_bytes(take(input)?);
    let (head, rest) = input.split_at_checked(usize::try_from(len).ok()?)?;
    *input = rest;
    Some(head)
}
