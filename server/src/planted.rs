//! Known bugs of the server's own, to be switched on by those who test the tests.
//!
//! The core has many more (`seaworthy::planted`). Without the cargo feature `mutants` [`is`] is
//! the constant `false`.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A server whose directory was emptied takes part under its old name.
    TrustEmptied,
    /// A server takes part with an older copy of its data directory.
    TrustOlder,
    /// A leader answers signs of life without asking whether it still leads.
    RenewUnconfirmed,
}

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in everything that this thread does from now on; `None` takes it back.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether this bug is planted.
#[cfg(feature = "mutants")]
pub fn is(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Whether this bug is planted: never in this build.
#[cfg(not(feature = "mutants"))]
pub const fn is(_: Mutant) -> bool {
    false
}
