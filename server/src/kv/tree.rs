//! The store over a tree on disk: how it begins, and how its changes get there.
//!
//! Another program part writes each [`Batch`] to the tree, at once or not at all, and hands the tree back as a
//! [`Base`]. The store goes on meanwhile. After a crash it begins with the last batch that was written, and the
//! commands after it are carried out again.

use std::any::Any;
use std::io::{self, Read};
use std::sync::Arc;

use super::base::{Base, Batch, NUMBERS, Part};
use super::coding::{i64_of, take};
use super::store::Store;
use super::views::Views;

const FORMAT: u8 = 1;
/// How much is written at once where a whole state is.
const PIECE_BYTES: u64 = 4 << 20;

impl Store {
    /// The store that a tree holds, which can be empty; `None` if another version wrote it.
    pub fn over(base: Arc<dyn Base>) -> Option<Store> {
        let Some(numbers) = base.get(Part::Rest, NUMBERS) else {
            return Some(Store { views: Views::over(base, 0, 0, 0), ..Store::default() });
        };
        let mut input = &numbers[..];
        let [FORMAT] = take(&mut input)? else { return None };
        let (revision, compacted) = (i64_of(&mut input)?, i64_of(&mut input)?);
        let mut number = || take(&mut input).map(u64::from_le_bytes);
        let (bytes, keys, versions) = (number()?, number()?, number()?);
        let (keys, versions) = (usize::try_from(keys).ok()?, usize::try_from(versions).ok()?);
        let views = Views::over(base, revision, keys, versions);
        let mut store = Store { revision, compacted, bytes, views, ..Store::default() };
        store.take_rest(&mut input)?;
        input.is_empty().then_some(store)
    }

    /// Hands out the changes that the tree does not have yet: none if it is to get others first, or if
    /// there is no tree.
    pub fn hand_over(&mut self) -> Option<Batch> {
        let layer = self.views.hand_over(self.revision)?;
        let (keys, versions) = (self.len() as u64, self.versions() as u64);
        let mut numbers = vec![FORMAT];
        numbers.extend_from_slice(&self.revision.to_le_bytes());
        numbers.extend_from_slice(&self.compacted.to_le_bytes());
        for number in [self.bytes, keys, versions] {
            numbers.extend_from_slice(&number.to_le_bytes());
        }
        self.put_rest(&mut numbers);
        Some(Batch { layer, numbers })
    }

    /// Goes on from the tree that has the changes that were handed out, and no others.
    ///
    /// The answer is those changes, to be let go of, which may take long.
    ///
    /// # Panics
    /// If none were.
    pub fn set_base(&mut self, base: Arc<dyn Base>) -> Box<dyn Any + Send + Sync> {
        Box::new(self.views.set_base(base))
    }

    /// The tree below, if there is one.
    pub fn base(&self) -> Option<&Arc<dyn Base>> {
        self.views.base()
    }

    /// About how many bytes of memory the changes take that were not handed out yet.
    pub fn fresh_bytes(&self) -> u64 {
        self.views.fresh_bytes()
    }

    /// Reads bytes of [`Store::encode`] into an empty tree. `write` writes a batch, and hands the tree back.
    ///
    /// # Errors
    /// Those of `input` and `write`.
    pub fn read_over(
        base: Arc<dyn Base>,
        input: &mut impl Read,
        write: &mut dyn FnMut(Batch) -> io::Result<Arc<dyn Base>>,
    ) -> io::Result<Option<Store>> {
        let store = Store { views: Views::over(base, 0, 0, 0), ..Store::default() };
        let mut relieve = |store: &mut Store, is_end: bool| {
            if (is_end || store.fresh_bytes() >= PIECE_BYTES)
                && let Some(batch) = store.hand_over()
            {
                store.set_base(write(batch)?);
            }
            Ok(())
        };
        let read = store.fill(input, &mut relieve)?.filter(|(_, padding)| padding.is_empty());
        Ok(read.map(|(store, _)| store))
    }
}
