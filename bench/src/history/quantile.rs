//! Quantiles of latencies, as Jepsen takes them.

/// The element of `sorted` at the fraction `q` of its length, from 0 to 1; the last one at 1.
/// None if it is empty.
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    // The product is not negative, so the cast rounds down.
    let at = (sorted.len() as f64 * q) as usize;
    sorted.get(at).or(sorted.last()).copied()
}
