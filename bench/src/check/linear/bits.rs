//! A set of small integers as `W` machine words: one word for nearly every
//! history, more only when more than 64 operations are open at once.

/// A set of integers below `64 * W`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bits<const W: usize>([u64; W]);

impl<const W: usize> Bits<W> {
    /// How many different members a set can have.
    pub(super) const CAPACITY: usize = 64 * W;

    /// The empty set.
    pub(super) const EMPTY: Bits<W> = Bits([0; W]);

    /// Whether `bit` is a member.
    pub(super) fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Adds `bit`.
    pub(super) fn insert(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    /// Removes `bit`.
    pub(super) fn remove(&mut self, bit: usize) {
        self.0[bit / 64] &= !(1 << (bit % 64));
    }

    /// The members that are not in `other`.
    pub(super) fn without(&self, other: &Bits<W>) -> Bits<W> {
        Bits(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    /// Whether every member is also in `other`.
    pub(super) fn is_subset(&self, other: &Bits<W>) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// The members of both.
    pub(super) fn and(&self, other: &Bits<W>) -> Bits<W> {
        Bits(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    /// The members of either.
    pub(super) fn or(&self, other: &Bits<W>) -> Bits<W> {
        Bits(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    /// The members, the smallest first.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let words = self.0.into_iter().enumerate();
        words.flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(64 * at + bit)
            })
        })
    }

    /// How many members there are.
    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is no member.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_beyond_the_first_word() {
        let mut a = Bits::<2>::EMPTY;
        a.insert(3);
        a.insert(64);
        a.insert(127);
        let mut b = a;
        b.remove(64);
        assert!(a.has(64) && !b.has(64) && !a.has(65));
        assert!(b.is_subset(&a) && !a.is_subset(&b));
        assert!(a.without(&b).has(64));
        assert!(b.without(&a).is_empty());
        assert_eq!(a.iter().collect::<Vec<_>>(), [3, 64, 127]);
    }
}
