//! How much of a run a page holds.
//!
//! Every part of a page has a bound, and all bounds shrink together until the page is below
//! its limit. A run of usual size, and the largest that is promised, fit at once; a run of
//! hostile nodes, whose every message has a type of its own and whose every value is long, is
//! written again with half as much, and half of that. At last only constants are left, which
//! are far below the limit.

/// Bytes below which a page stays.
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// The share of everything that a page holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    halvings: u32,
}

impl Measure {
    /// As much of something as this page has room for, if a whole page has room for `most`.
    pub(super) fn of(self, most: usize) -> usize {
        most.checked_shr(self.halvings).unwrap_or(0)
    }

    /// Half of it.
    pub(super) fn halved(self) -> Measure {
        Measure { halvings: self.halvings + 1 }
    }

    /// Whether nothing is left.
    pub(super) fn is_nothing(self) -> bool {
        self.halvings >= usize::BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_comes_to_nothing() {
        let mut measure = Measure::default();
        assert_eq!(measure.of(7), 7);
        measure = measure.halved();
        assert_eq!(measure.of(7), 3);
        while !measure.is_nothing() {
            measure = measure.halved();
        }
        assert_eq!(measure.of(usize::MAX), 0);
    }
}
