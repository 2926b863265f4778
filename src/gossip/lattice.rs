//! What the engine replicates: values that only grow.

/// A join-semilattice whose deltas are small values of the same type (Almeida,
/// Shoker and Baquero, "Delta state replicated data types", section 4).
///
/// The default value is the bottom: merging it changes nothing. [`Lattice::merge`]
/// must be idempotent, commutative and associative; then it does not matter how
/// often, in which order or in which grouping deltas arrive, and the engine may
/// repeat, reorder and join them as it likes.
pub trait Lattice: Clone + Default {
    /// Joins `other` into this value.
    fn merge(&mut self, other: &Self);
}
