//! Known bugs, to be switched on one at a time by those who test the tests.
//!
//! A checker that has never failed has proved nothing. Each [`Mutant`] is a classic
//! mistake. Where it is a condition too few, the condition stands in a `guard!` with the
//! mutant's name; any other behaviour is in the file `planted` of its module, and the code
//! calls it by a function `planted::*` or a method `plant_*`, which do nothing unless the
//! mutant is active. `docs/mutants.md` tells which of them the bench finds, by what, and how
//! soon.
//!
//! None of this is in a binary that is shipped: without the cargo feature `mutants`
//! [`is`] is the constant `false`, and the compiler leaves nothing of a guard but the
//! guard. With it, one mutant may be active in each thread: a simulated run is one
//! thread, so that several can run side by side.

/// A bug that can be planted. The numbers are those of the table in `docs/mutants.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "mutants", derive(Debug))]
pub enum Mutant {
    /// A leader answers reads without asking whether it still leads.
    LocalReadAtLeader = 1,
    /// Any server answers reads from its applied state.
    LocalReadAnywhere = 2,
    /// A leader serves reads before it has committed an entry of its own term.
    ReadBeforeOwnCommit = 3,
    /// Entries of earlier terms are committed by counting (Figure 8).
    CommitEarlierTerm = 4,
    /// The vote is not written to disk.
    VoteNotPersisted = 5,
    /// Entries are acknowledged before they are durable.
    AckBeforeDurable = 6,
    /// Votes go to any log that is as long, whatever its last term.
    VoteByLengthOnly = 7,
    /// A follower truncates after each append, conflict or not.
    TruncateAlways = 8,
    /// A follower keeps entries that conflict with the leader's.
    KeepConflict = 9,
    /// An append is accepted by the index of `prev` alone.
    IgnorePrevTerm = 10,
    /// A follower commits as far as the leader has, beyond the end of the append.
    CommitBeyondAppend = 11,
    /// Acknowledgements count whatever their term, and for everything sent since.
    StaleAck = 12,
    /// A candidate counts votes instead of voters.
    CountVotesTwice = 13,
    /// Half of an even number of voters is a quorum.
    HalfIsQuorum = 14,
    /// A leader goes on when it hears of a later term.
    LeaderIgnoresTerm = 15,
    /// Voters change without a joint phase and before the leader has committed
    /// anything (the bug of 2015 in the thesis' shortcut).
    EarlyChange = 16,
    /// A configuration is in force when it is committed, not when it is appended.
    ConfigAtCommit = 17,
    /// Neither pre-vote nor check-quorum.
    NoPreVote = 18,
    /// Followers protect their leader, but a leader without a quorum goes on.
    NoCheckQuorum = 19,
    /// A lease lasts longer than the promises behind it.
    LongLease = 20,
    /// Any snapshot is installed, also one of the past, and the sessions are not in it.
    OldSnapshot = 21,
    /// A snapshot is acknowledged before it is durable.
    SnapshotNotPersisted = 22,
    /// A command that comes twice happens twice.
    NoSessions = 23,
    /// A command is answered when it is in the leader's log.
    AnswerOnAppend = 24,
    /// A command that may be in a log is refused for certain.
    DefiniteRefusal = 25,
    /// A command that is sent again is a new one.
    RetryIsNew = 26,
    /// A leader's own copy counts before it is durable.
    OwnCopyAtOnce = 27,
    /// Election timeouts are all the same.
    FixedTimeout = 28,
    /// In a joint configuration the new voters commit alone.
    NewVotersCommit = 29,
    /// The logs of learners count like those of voters.
    LearnersCount = 30,
    /// A leaf forgets deltas that its old hub never acknowledged.
    ForgetUnacknowledged = 31,
    /// The knowledge of a peer before its restart counts as its present one.
    IgnoreIncarnation = 32,
    /// A counter goes on under its old name after it has lost its total.
    ReuseReplica = 33,
    /// Totals are merged by addition.
    MergeByAdding = 34,
    /// A client is answered before the record is durable.
    OkBeforeDurable = 35,
    /// Ids count from zero after a restart.
    IdsFromZero = 36,
    /// A poll shows messages that are not committed.
    PollUncommitted = 37,
    /// A transaction takes effect key by key.
    KeyByKey = 38,
    /// A reply goes to the oldest request, whichever it answers.
    ReplyInOrder = 39,
    /// A snapshot of the logs leaves out their committed offsets.
    CommitsNotInSnapshot = 40,
    /// A vote, or a request for votes, leaves before it is durable.
    VoteBeforeDurable = 41,
    /// A snapshot holds the newest configuration, committed or not.
    SnapshotConfigAhead = 42,
    /// In a joint configuration the new voters elect alone.
    NewVotersElect = 43,
    /// Agreement with an earlier leader's log counts for the present one.
    VerifiedForever = 44,
    /// A command of a session that has expired is applied all the same.
    ExpiredApplies = 45,
    /// An echo by one incarnation of a peer counts as proof of another.
    FloorOutlivesPeer = 46,
    /// A read is confirmed by answers to messages that were sent before it came.
    ReadInCurrentRound = 47,
    /// A leader forgets the commands that it answered without a place in its log.
    IdleForgotten = 48,
    /// Such an answer counts whatever was sent to a later leader.
    IdleOfAnyTerm = 49,
    /// A node opens its session, by which it is known, before its disk holds anything.
    KnownBeforeDurable = 50,
}

/// Whether `mutant` is active in this thread.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_mutant: Mutant) -> bool {
    false
}

/// Whether the assertions of the engines are to be passed over, so that a mutant shows
/// in what clients see, if it does.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn spares_assertions() -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use active::{activate, is, spares_assertions};

#[cfg(feature = "mutants")]
mod active {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<(Option<Mutant>, bool)> = const { Cell::new((None, false)) };
    }

    /// Plants `mutant` in this thread, in the place of any other. `spare_assertions`
    /// switches off what the engines assert about themselves.
    pub fn activate(mutant: Option<Mutant>, spare_assertions: bool) {
        ACTIVE.set((mutant, spare_assertions));
    }

    /// Whether `mutant` is active in this thread.
    pub fn is(mutant: Mutant) -> bool {
        ACTIVE.get().0 == Some(mutant)
    }

    /// Whether the assertions of the engines are to be passed over, so that a mutant
    /// shows in what clients see, if it does.
    pub fn spares_assertions() -> bool {
        ACTIVE.get().1
    }
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them, by number.
    pub const ALL: [Mutant; 50] = {
        use Mutant::*;
        [
            LocalReadAtLeader,
            LocalReadAnywhere,
            ReadBeforeOwnCommit,
            CommitEarlierTerm,
            VoteNotPersisted,
            AckBeforeDurable,
            VoteByLengthOnly,
            TruncateAlways,
            KeepConflict,
            IgnorePrevTerm,
            CommitBeyondAppend,
            StaleAck,
            CountVotesTwice,
            HalfIsQuorum,
            LeaderIgnoresTerm,
            EarlyChange,
            ConfigAtCommit,
            NoPreVote,
            NoCheckQuorum,
            LongLease,
            OldSnapshot,
            SnapshotNotPersisted,
            NoSessions,
            AnswerOnAppend,
            DefiniteRefusal,
            RetryIsNew,
            OwnCopyAtOnce,
            FixedTimeout,
            NewVotersCommit,
            LearnersCount,
            ForgetUnacknowledged,
            IgnoreIncarnation,
            ReuseReplica,
            MergeByAdding,
            OkBeforeDurable,
            IdsFromZero,
            PollUncommitted,
            KeyByKey,
            ReplyInOrder,
            CommitsNotInSnapshot,
            VoteBeforeDurable,
            SnapshotConfigAhead,
            NewVotersElect,
            VerifiedForever,
            ExpiredApplies,
            FloorOutlivesPeer,
            ReadInCurrentRound,
            IdleForgotten,
            IdleOfAnyTerm,
            KnownBeforeDurable,
        ]
    };

    /// Its number in the table.
    pub const fn number(self) -> usize {
        self as usize
    }
}

/// A condition that the guard beside it demands, labelled with the mutants that remove the
/// guard: it then holds in any case, or, after `if`, in the cases that the mutant lets pass.
macro_rules! guard {
    ($demand:expr $(, $mutant:ident $(if $passes:expr)?)+ $(,)?) => {
        $demand $(|| ($crate::planted::is($crate::planted::Mutant::$mutant) $(&& $passes)?))+
    };
}
pub(crate) use guard;

/// As [`assert!`], for what would also show to clients if it failed: passed over when
/// a mutant is to be found without help.
macro_rules! invariant {
    ($holds:expr, $($why:tt)+) => {
        assert!($crate::planted::spares_assertions() || $holds, $($why)+)
    };
}
pub(crate) use invariant;

#[cfg(all(test, feature = "mutants"))]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_one_and_only_one_mutant_is_active() {
        for (place, mutant) in Mutant::ALL.into_iter().enumerate() {
            assert_eq!(mutant.number(), place + 1);
            activate(Some(mutant), false);
            assert_eq!(Mutant::ALL.into_iter().filter(|m| is(*m)).count(), 1);
        }
        activate(None, false);
        assert!(!Mutant::ALL.into_iter().any(is));
    }
}
