//! Known bugs of the server's own, to be switched on by those who test the tests.
//!
//! Most are bugs that etcd had, by the list of its robustness tests; `docs/mutants-server.md` has a
//! table of them. Where a bug is a condition too few, the condition stands in a `guard!` with the
//! mutant's name; any other behaviour is in the file `planted` of its module. The core has many
//! more (`seaworthy::planted`). Without the cargo feature `mutants` [`is`] is the constant `false`.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A server whose directory was emptied takes part under its old name.
    TrustEmptied,
    /// A server takes part with an older copy of its data directory.
    TrustOlder,
    /// A snapshot claims entries that were applied while it was encoded.
    SnapshotAhead,
    /// A record counts as durable as soon as it is handed to the disk.
    CountUnflushed,
    /// A server that restarts from a snapshot has forgotten the sessions in it.
    ForgetSessions,
    /// A write that was sent again is carried out again.
    ApplyRepeated,
    /// Linearizable reads are answered from the state at hand.
    ReadLocal,
    /// A deposed leader answers reads until it hears of the next one.
    ReadDeposed,
    /// A transaction that fails at an operation keeps the changes of those before it.
    TxnPartial,
    /// The revision of a restored store is that of its newest key.
    RevisionOfKeys,
    /// A compaction drops a deletion of its own revision.
    CompactDeletion,
    /// A watch from the compacted revision begins behind it.
    SkipCompacted,
    /// A watch from before the compacted revision goes on without a word.
    SilentCompaction,
    /// The hub passes over events that were compacted before it looked.
    HubPassesCompacted,
    /// Progress is told while events up to it are still to come.
    ProgressUnsynced,
    /// A watch from a revision that this server has not reached begins now.
    WatchBackInTime,
    /// A watch that names an earlier revision begins now, without the events in between.
    WatchSkipsPast,
    /// A watch that waits for a later revision is told of earlier events.
    WatchEarly,
    /// A slow watch that is read in pieces is told the end of each piece twice.
    RepeatPiece,
    /// A new event takes a slow watch past those that it has not been told of.
    MarkJumps,
    /// A leader answers signs of life without asking whether it still leads.
    RenewUnconfirmed,
    /// A sign of life is answered, and does not move the end of its lease.
    RenewForgotten,
    /// A sign of life is accepted although the lease's end may be in the log.
    RenewEnded,
    /// A deposed leader goes on to end leases, by way of the new one.
    DeposedEnds,
    /// A leader measures the time of leases before it knows all ends of earlier terms.
    EarlyReign,
    /// A snapshot holds no leases.
    SnapshotWithoutLeases,
    /// A snapshot holds leases, and not which keys are attached to them.
    SnapshotDetaches,
    /// A snapshot does not hold who was removed.
    SnapshotWithoutRemoved,
    /// A batch for the tree claims an entry more than there is in it.
    BatchAhead,
}

impl Mutant {
    /// All of them, in the order of the table.
    pub const ALL: [Mutant; 29] = {
        use Mutant::*;
        [
            TrustEmptied,
            TrustOlder,
            SnapshotAhead,
            CountUnflushed,
            ForgetSessions,
            ApplyRepeated,
            ReadLocal,
            ReadDeposed,
            TxnPartial,
            RevisionOfKeys,
            CompactDeletion,
            SkipCompacted,
            SilentCompaction,
            HubPassesCompacted,
            ProgressUnsynced,
            WatchBackInTime,
            WatchSkipsPast,
            WatchEarly,
            RepeatPiece,
            MarkJumps,
            RenewUnconfirmed,
            RenewForgotten,
            RenewEnded,
            DeposedEnds,
            EarlyReign,
            SnapshotWithoutLeases,
            SnapshotDetaches,
            SnapshotWithoutRemoved,
            BatchAhead,
        ]
    };
}

/// A condition that the code demands, labelled with the mutant that removes the guard: it then
/// holds in any case, or, after `if`, in the cases that the mutant lets pass.
macro_rules! guard {
    ($demand:expr, $mutant:ident $(if $passes:expr)?) => {
        $demand || ($crate::planted::is($crate::planted::Mutant::$mutant) $(&& $passes)?)
    };
}
pub(crate) use guard;

#[cfg(feature = "mutants")]
impl std::str::FromStr for Mutant {
    type Err = String;

    /// The bug of this name.
    fn from_str(name: &str) -> Result<Mutant, String> {
        let found = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
        found.ok_or_else(|| format!("there is no mutant {name}"))
    }
}

/// The bug of a process, whose servers have many threads.
#[cfg(feature = "mutants")]
static EVERYWHERE: std::sync::OnceLock<Mutant> = std::sync::OnceLock::new();

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in everything that this thread does from now on; `None` takes it back.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Plants a bug in all threads that have none of their own, until the process ends.
#[cfg(feature = "mutants")]
pub fn plant_everywhere(mutant: Mutant) {
    let first = EVERYWHERE.get_or_init(|| mutant);
    assert_eq!(*first, mutant, "a process has one bug");
}

/// Whether this bug is planted.
#[cfg(feature = "mutants")]
pub fn is(mutant: Mutant) -> bool {
    PLANTED.get().or_else(|| EVERYWHERE.get().copied()) == Some(mutant)
}

/// Whether this bug is planted: never in this build.
#[cfg(not(feature = "mutants"))]
pub const fn is(_: Mutant) -> bool {
    false
}
