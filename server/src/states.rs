//! States of the machine beside the log: written, received and sent in pieces by threads of their
//! own, so that a state of gigabytes is never whole in memory in encoded form, and holds up no write.
//!
//! A checkpoint in the log names the state that it goes on from, and is written after it; older
//! states go when the checkpoint is durable. A state that the log does not name counts for nothing.
//! One that comes from another server is kept apart until a checkpoint is to name it.

mod files;

use std::fmt::Debug;
use std::io::{self, BufReader, Read};

use seaworthy::raft::Index;
use seaworthy::storage::StorageError;

pub use self::files::States;
use crate::node::{Machine, Written};

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// Where states are kept. The calls block.
pub trait Beside: Debug + Send + Sync {
    /// Begins to write a state of everything up to the entry `index`.
    ///
    /// # Errors
    /// Those of the disk or database.
    fn create(&self, index: Index) -> Result<Box<dyn Sink>, Trouble>;

    /// Begins to write one that comes from another server.
    ///
    /// # Errors
    /// Those of the disk or database.
    fn receive(&self, index: Index) -> Result<Box<dyn Sink>, Trouble>;

    /// Puts the state that came from another server among the own ones, if it is not there yet: the
    /// log is about to name it.
    ///
    /// # Errors
    /// Those of the disk or database, or if it did not come.
    fn adopt(&self, index: Index) -> Result<(), StorageError>;

    /// Opens a state, own or received.
    ///
    /// # Errors
    /// If it is missing or damaged.
    fn open(&self, index: Index) -> Result<Box<dyn Source>, StorageError>;

    /// Waits for space, or makes some. False if that is of no use.
    fn make_room(&self) -> bool;

    /// Removes states older than the one that the log names, and with `unfinished` all others that
    /// it does not name. One that cannot be removed is left for the next time.
    fn remove_older(&self, index: Index, unfinished: bool);
}

/// A state that is being written. One that is dropped before its end leaves nothing behind.
pub trait Sink: Send {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Those of the disk or database.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Trouble>;

    /// Makes the whole durable. The answer is its name.
    ///
    /// # Errors
    /// Those of the disk or database.
    fn finish(self: Box<Self>) -> Result<Written, Trouble>;
}

/// Why a state was not written.
#[derive(Debug)]
pub enum Trouble {
    /// There is no space for these bytes, which may be appended again.
    Full,
    /// There was no space when bytes were to become durable: the state has to be begun anew.
    Spoilt,
    /// The disk or database failed.
    Failed(StorageError),
}

/// A state that is read.
pub trait Source: Send {
    /// Its name, as it was told when it was written.
    fn written(&self) -> Written;

    /// Where it is, for people.
    fn place(&self) -> String;

    /// Reads so many bytes at this offset.
    ///
    /// # Errors
    /// Those of the disk or database, or if there are fewer.
    fn read_at(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
}

/// Decodes a state, little at a time.
///
/// # Errors
/// If it cannot be read, does not match its checksum, or another version wrote it.
pub fn read_machine(source: &mut dyn Source) -> Result<Box<Machine>, StorageError> {
    read_with(source, &mut |mut input| Machine::read(&mut input))
}

/// The same with another way to decode.
///
/// # Errors
/// As [`read_machine`].
pub fn read_with(
    source: &mut dyn Source,
    read: &mut dyn FnMut(&mut dyn Read) -> io::Result<Option<Machine>>,
) -> Result<Box<Machine>, StorageError> {
    let (place, wanted) = (source.place(), source.written());
    let failed = |reason: String| StorageError { place: place.clone(), reason };
    let whole = Whole { source, offset: 0, hasher: crc32fast::Hasher::new() };
    let mut input = BufReader::with_capacity(READ_BYTES, whole);
    let machine = read(&mut input);
    // To the end, so that damage is not taken for another version.
    let rest = io::copy(&mut input, &mut io::sink());
    rest.map_err(|e| failed(format!("cannot read a state: {e}")))?;
    let checksum = input.into_inner().hasher.finalize();
    if checksum != wanted.checksum {
        return Err(failed("the state is damaged: it does not match its checksum".to_owned()));
    }
    let other = || failed("another version of this program wrote the state".to_owned());
    match machine {
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => {
            Err(failed(format!("cannot read a state: {e}")))
        }
        machine => machine.ok().flatten().map(Box::new).ok_or_else(other),
    }
}

/// A source from its beginning to its end.
struct Whole<'a> {
    source: &'a mut dyn Source,
    offset: u64,
    hasher: crc32fast::Hasher,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.written().len_bytes - self.offset;
        let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = self.source.read_at(self.offset, len)?;
        buffer[..len].copy_from_slice(&bytes);
        self.hasher.update(&bytes);
        self.offset += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use seaworthy::raft::{LogId, RaftId, Term};

    use super::*;
    use crate::kv::Store;
    use crate::node::{Member, offline};

    struct Bytes(Vec<u8>, Written);

    impl Source for Bytes {
        fn written(&self) -> Written {
            self.1
        }

        fn place(&self) -> String {
            "memory".to_owned()
        }

        fn read_at(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
            let bytes = self.0.get(offset as usize..offset as usize + len);
            bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn read(bytes: &[u8], checksum: u32) -> Result<Box<Machine>, String> {
        let written = Written { index: Index(7), len_bytes: bytes.len() as u64, checksum };
        read_machine(&mut Bytes(bytes.to_vec(), written)).map_err(|e| e.to_string())
    }

    #[test]
    fn damage_is_not_taken_for_another_version_nor_the_other_way_round() {
        let member = Member { name: "n1".to_owned(), ..Member::default() };
        let members = BTreeMap::from([(RaftId(1), member)]);
        let at = LogId::new(Term(1), Index(7));
        let state = offline::found(Store::default(), members.clone(), at).state;
        let checksum = crc32fast::hash(&state);
        assert_eq!(read(&state, checksum).unwrap().members, members);
        for place in 0..state.len() {
            let mut damaged = state.clone();
            damaged[place] ^= 1;
            let why = read(&damaged, checksum).unwrap_err();
            assert!(why.contains("damaged"), "at {place}: {why}");
            assert!(read(&state[..place], checksum).unwrap_err().contains("damaged"));
        }
        let longer = [&state[..], &[1]].concat();
        let why = read(&longer, crc32fast::hash(&longer)).unwrap_err();
        assert!(why.contains("another version"), "{why}");
    }
}
