//! Frames: a length, a checksum, and the payload.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A longer frame is a mistake, or no frame. A parcel holds at most the entries that may be on the
/// way to a server, and one turn's commands.
const MAX_BYTES: usize = 256 << 20;
/// A greeting is short, and comes from strangers.
const GREETING_BYTES: usize = 256 << 10;
const HEADER_BYTES: usize = 8;

/// Appends a frame of `payload` to `out`.
pub(super) fn put(out: &mut Vec<u8>, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("parcels are bounded");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Reads a frame's payload.
///
/// # Errors
/// Also if the checksum is wrong, or the length absurd.
pub(super) async fn take(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    take_at_most(input, MAX_BYTES).await
}

async fn take_at_most(
    input: &mut (impl AsyncRead + Unpin),
    max_bytes: usize,
) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header).await?;
    let [a, b, c, d, e, f, g, h] = header;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    if len > max_bytes {
        return Err(damaged("a frame is too long"));
    }
    // The length is not trusted before its bytes are there.
    let mut payload = Vec::with_capacity(len.min(1 << 20));
    let read = input.take(len as u64).read_to_end(&mut payload).await?;
    if read < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match crc32fast::hash(&payload) == u32::from_le_bytes([e, f, g, h]) {
        true => Ok(payload),
        false => Err(damaged("a frame's checksum is wrong")),
    }
}

/// Writes a frame of a structure.
///
/// # Errors
/// Those of the connection.
pub(super) async fn put_value(
    output: &mut (impl AsyncWrite + Unpin),
    value: &impl Serialize,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    put(&mut bytes, &postcard::to_allocvec(value).expect("plain data"));
    output.write_all(&bytes).await
}

/// Reads a frame of a structure: of a greeting, or its answer.
///
/// # Errors
/// Also if it is no such structure.
pub(super) async fn take_value<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let bytes = take_at_most(input, GREETING_BYTES).await?;
    postcard::from_bytes(&bytes).map_err(|_| damaged("a greeting does not parse"))
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_comes_back_and_a_damaged_one_does_not() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"abc");
        put(&mut bytes, b"");
        let mut input = &bytes[..];
        assert_eq!(take(&mut input).await.unwrap(), b"abc");
        assert_eq!(take(&mut input).await.unwrap(), b"");
        assert!(take(&mut input).await.is_err(), "the stream has ended");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let mut input = &damaged[..];
            let first = take(&mut input).await;
            let second = take(&mut input).await;
            assert!(first.is_err() || second.is_err(), "byte {at}");
        }
    }
}
