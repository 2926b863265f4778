//! Nothing: this package is its benchmark, `benches/throughput.rs`.
