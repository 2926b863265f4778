//! The values that the engine replicates: they only grow.

/// A join-semilattice whose deltas are small values of the same type (Almeida,
/// Shoker and Baquero, "Delta state replicated data types", section 4).
///
/// The default value is the bottom: merging it changes nothing. [`Lattice::merge`]
/// must be idempotent, commutative and associative; then it does not matter how
/// often, in which order or in which grouping deltas arrive, and the engine may
/// repeat, reorder and join them as it likes.
///
/// The highest number that any of two nodes has seen, replicated:
///
/// ```
/// use seaworthy::gossip::{Boot, Options, Engine, Lattice, Output, Rank};
/// use seaworthy::time::Time;
///
/// #[derive(Clone, Debug, Default, PartialEq)]
/// struct Highest(u64);
///
/// impl Lattice for Highest {
///     fn merge(&mut self, other: &Highest) {
///         self.0 = self.0.max(other.0);
///     }
/// }
///
/// let engine = |rank| Engine::new(Rank(rank), 2, Boot(u64::from(rank)), &Options::default());
/// let mut nodes: [Engine<Highest>; 2] = [engine(0), engine(1)];
/// let mut now = Time::ZERO;
/// nodes.iter_mut().for_each(|node| node.start(now));
/// nodes[0].add(now, Highest(3));
/// nodes[1].add(now, Highest(7));
/// // Until both are silent, which they are when each knows that the other has everything.
/// while let Some(at) = nodes.iter().filter_map(Engine::wake_at).min() {
///     now = now.max(at);
///     for from in [0, 1] {
///         nodes[from].tick(now);
///         for output in nodes[from].take_outputs() {
///             // The other kind is a record, to be durable before any later message is sent.
///             let Output::Send(to, message) = output else { continue };
///             nodes[to.index()].receive(now, Rank(from as u16), message);
///         }
///     }
/// }
/// assert_eq!(nodes[0].state(), &Highest(7));
/// assert_eq!(nodes[1].state(), &Highest(7));
/// ```
pub trait Lattice: Clone + Default {
    /// Joins `other` into this value.
    fn merge(&mut self, other: &Self);
}
