//! Numbers at the end of all numbers: one wrong message must not stop a cluster.

use seaworthy::raft::{Index, LogId, Message, MessageKind, RaftId, Round, SnapshotMeta, Term};

use super::lab::Lab;

const LEADER: RaftId = RaftId(1);

/// Three servers, of which n1 leads, and which have committed something.
fn cluster() -> Lab {
    let mut lab = Lab::default();
    lab.options.election_timeout_ticks = 10;
    lab.options.heartbeat_ticks = 3;
    lab.options.lease_margin_ticks = 2;
    (lab.options.pre_vote, lab.options.check_quorum) = (false, false);
    lab.initial = seaworthy::raft::Config::of_voters((1..=3).map(RaftId));
    (1..=3).for_each(|n| lab.start(RaftId(n)));
    lab.act(LEADER, |raft| raft.campaign());
    while lab.deliver(|_| true) {}
    lab
}

/// Messages with a number that is wrong, from n1 to n2 and from n2 to n1.
fn wrong(term: Term, id: LogId) -> Vec<MessageKind> {
    let (round, index) = (Round(u64::MAX), id.index);
    let config = std::sync::Arc::new(seaworthy::raft::Config::of_voters([RaftId(9)]));
    let meta = SnapshotMeta { last: id, config, len_bytes: 4, checksum: 0 };
    let data = "data".into();
    let mut kinds = vec![
        MessageKind::RequestVote { pre: false, transfer: true, last: id },
        MessageKind::RequestVote { pre: true, transfer: false, last: id },
        MessageKind::Append { prev: id, commit: index, round, entries: Vec::new() },
        MessageKind::Appended { round: Round::default(), matched: index },
        MessageKind::Rejected { round: Round::default(), prev: index, hint: id },
        MessageKind::Snapshot { meta, offset: 0, data, round },
        MessageKind::SnapshotProgress { last_index: index, offset: u64::MAX, round },
    ];
    if term == Term(u64::MAX) {
        kinds.push(MessageKind::Vote { pre: false, granted: false });
        kinds.push(MessageKind::TimeoutNow);
    }
    kinds
}

#[test]
fn a_message_with_an_absurd_number_counts_as_lost() {
    let far = Term(u64::MAX);
    let numbers = [
        (far, LogId::new(Term(1), Index(1))),
        (Term(1 + Term::MAX_JUMP + 1), LogId::new(Term(1), Index(1))),
        (Term(1), LogId::new(far, Index(1))),
        (Term(1), LogId::new(Term(1), Index::MAX)),
        (Term(1), LogId::new(Term(1), Index(u64::MAX - 1))),
    ];
    for (term, id) in numbers {
        for kind in wrong(term, id) {
            for (from, to) in [(RaftId(1), RaftId(2)), (RaftId(2), RaftId(1))] {
                let mut lab = cluster();
                let message = Message { from, to, term, kind: kind.clone() };
                lab.act(to, |raft| raft.step(message));
                while lab.deliver(|_| true) {}
                // Another election, and another entry.
                lab.act(RaftId(3), |raft| raft.campaign());
                while lab.deliver(|_| true) {}
                let done = lab.act(RaftId(3), |raft| raft.propose("x".into()));
                assert!(matches!(done, Some(Ok(_))), "after {kind:?} in term {term}");
                while lab.deliver(|_| true) {}
                assert_eq!(lab.raft(RaftId(3)).unwrap().status().commit, Index(3));
            }
        }
    }
}

/// A server that abstains may have forgotten a later leader, so that nothing it says tells an
/// earlier one that it still leads: no piece of a snapshot, and no snapshot that is damaged.
#[test]
fn no_answer_about_a_snapshot_confirms_a_leader_to_whom_a_server_abstains() {
    let mut lab = cluster();
    let follower = RaftId(3);
    lab.crash(follower);
    lab.options.abstain = true;
    lab.start(follower);
    lab.network.clear();
    let config = std::sync::Arc::new(lab.initial.clone());
    for len_bytes in [4, 8] {
        let last = LogId::new(Term(1), Index(9));
        let meta = SnapshotMeta { last, config: config.clone(), len_bytes, checksum: 0 };
        let kind = MessageKind::Snapshot { meta, offset: 0, data: "data".into(), round: Round(7) };
        let message = Message { from: LEADER, to: follower, term: Term(1), kind };
        lab.act(follower, |raft| raft.step(message));
    }
    let rounds = lab.network.iter().filter_map(|message| match message.kind {
        MessageKind::SnapshotProgress { round, .. } => Some(round),
        _ => None,
    });
    assert_eq!(rounds.collect::<Vec<_>>(), [Round::default(); 2]);
}
