//! Members that come and go, in virtual time.

use seaworthy::raft::RaftId;

use super::tests::{World, id};
use super::{Change, Hello, NotChanged, Options, Reply, Request, Token, Verdict};

impl World {
    fn change(&mut self, at: RaftId, change: Change) -> Token {
        self.ask(at, Request::Change(change))
    }

    /// The outcome of a change, if there is one yet.
    fn outcome(&self, token: Token) -> Option<Result<(), NotChanged>> {
        match self.replies.get(&token)? {
            Reply::Members(_, outcome) => Some(outcome.as_ref().map(|_| ()).map_err(|why| *why)),
            other => panic!("{other:?}"),
        }
    }

    fn voters(&self, at: RaftId) -> Vec<RaftId> {
        let node = self.hosts[&at].node.as_ref().unwrap();
        let (_, config) = node.raft().configuration();
        assert!(!config.is_joint());
        config.voters.iter().copied().collect()
    }
}

fn add(n: u64, is_learner: bool) -> Change {
    Change::Add { id: id(n), peer_urls: vec![format!("http://h{n}:1")], is_learner }
}

fn ids(numbers: &[u64]) -> Vec<RaftId> {
    numbers.iter().map(|n| id(*n)).collect()
}

#[test]
fn a_member_is_added_catches_up_by_a_snapshot_and_votes() {
    let options = Options { snapshot_bytes: 500, keep_entries: 0, ..Options::default() };
    for count in [1, 3] {
        let mut world = World::new(count, count, options);
        world.run(3000);
        for n in 0..50 {
            world.put(id(0), &format!("k{n}"));
        }
        world.run(200);
        let added = world.change(id(0), add(9, false));
        world.run(100);
        assert_eq!(world.outcome(added), Some(Ok(())), "it is not waited for");
        let written = world.put(id(0), "meanwhile");
        world.run(2000);
        assert!(world.replies.contains_key(&written), "it costs no quorum");
        assert_eq!(world.voters(id(0)).len(), count as usize);
        world.join(9);
        world.run(1000);
        assert_eq!(world.voters(id(9)).len(), count as usize + 1);
        assert_eq!(world.version_of(id(9), "k7"), 1);
        let written = world.put(id(9), "here");
        world.run(100);
        assert!(world.replies.contains_key(&written));
    }
}

#[test]
fn a_learner_votes_when_it_is_promoted_in_sync() {
    let mut world = World::new(1, 3, Options::default());
    world.run(3000);
    let added = world.change(id(1), add(9, true));
    let second = world.change(id(1), add(8, true));
    world.run(100);
    let early = world.change(id(2), Change::Promote(id(9)));
    world.run(100);
    assert_eq!(world.outcome(added), Some(Ok(())));
    assert_eq!(world.outcome(second), Some(Err(NotChanged::TooManyLearners)));
    assert_eq!(world.outcome(early), Some(Err(NotChanged::NotInSync)));
    world.join(9);
    world.run(1000);
    assert_eq!(world.voters(id(0)), ids(&[0, 1, 2]));
    let promoted = world.change(id(9), Change::Promote(id(9)));
    world.run(200);
    assert_eq!(world.outcome(promoted), Some(Ok(())));
    assert_eq!(world.voters(id(9)), ids(&[0, 1, 2, 9]));
    let again = world.change(id(0), Change::Promote(id(9)));
    let unknown = world.change(id(0), Change::Promote(id(7)));
    world.run(100);
    assert_eq!(world.outcome(again), Some(Err(NotChanged::NoLearner)));
    assert_eq!(world.outcome(unknown), Some(Err(NotChanged::NotFound)));
}

#[test]
fn a_server_that_is_removed_stops_and_the_others_go_on() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3, Options::default());
        world.run(3000);
        let leader = world.leader().unwrap();
        // In turn a follower that another one is asked to remove, the leader, and itself.
        let gone = if seed % 3 == 0 { leader } else { id((leader.0 - 100 + 1) % 3) };
        let at = if seed % 2 == 0 { leader } else { gone };
        let removed = world.change(at, Change::Remove(gone));
        world.run(3000);
        assert_eq!(world.outcome(removed), Some(Ok(())), "seed {seed}");
        assert!(world.hosts[&gone].has_left, "seed {seed}");
        let other = world.leader().unwrap();
        assert_eq!(world.voters(other).len(), 2);
        let written = world.put(other, "k");
        world.run(100);
        assert!(world.replies.contains_key(&written));
        let back = world.change(
            other,
            Change::Add { id: gone, peer_urls: vec!["http://x:1".to_owned()], is_learner: true },
        );
        world.run(100);
        assert_eq!(world.outcome(back), Some(Err(NotChanged::Exists)), "ids do not come back");
    }
}

#[test]
fn a_change_that_would_cost_the_quorum_is_refused() {
    let mut world = World::new(3, 3, Options::default());
    world.run(3000);
    let leader = world.leader().unwrap();
    let followers: Vec<RaftId> = (0..3).map(id).filter(|n| *n != leader).collect();
    world.kill(followers[0]);
    world.run(1500);
    let alive = world.change(leader, Change::Remove(followers[1]));
    let added = world.change(leader, add(9, false));
    let dead = world.change(leader, Change::Remove(followers[0]));
    world.run(500);
    assert_eq!(world.outcome(alive), Some(Err(NotChanged::Unhealthy)));
    assert_eq!(world.outcome(added), Some(Err(NotChanged::Unhealthy)));
    assert_eq!(world.outcome(dead), Some(Ok(())));
    // And so a dead one is replaced.
    let replaced = world.change(leader, add(9, false));
    world.run(100);
    assert_eq!(world.outcome(replaced), Some(Ok(())));
    let further = world.change(leader, Change::Remove(followers[1]));
    world.run(100);
    assert_eq!(world.outcome(further), Some(Err(NotChanged::NotEnoughStarted)));
    world.join(9);
    world.run(1000);
    assert_eq!(world.voters(leader).len(), 3);
}

#[test]
fn addresses_belong_to_one_member() {
    let mut world = World::new(3, 1, Options::default());
    world.run(3000);
    let urls = |n: u64| vec![format!("http://h{n}:1")];
    let update = |n, to| Change::Update { id: id(n), peer_urls: urls(to) };
    let first = world.change(id(0), update(0, 5));
    let none = world.change(id(0), update(4, 5));
    let taken = world.change(id(0), add(5, true));
    let other = world.change(id(0), add(6, true));
    let both = world.change(id(0), update(6, 5));
    world.run(200);
    assert_eq!(world.outcome(first), Some(Ok(())));
    assert_eq!(world.outcome(none), Some(Err(NotChanged::NotFound)));
    assert_eq!(world.outcome(taken), Some(Err(NotChanged::AddressTaken)));
    assert_eq!(world.outcome(other), Some(Ok(())));
    assert_eq!(world.outcome(both), Some(Err(NotChanged::AddressTaken)));
    assert_eq!(
        world.hosts[&id(0)].node.as_ref().unwrap().machine().members[&id(0)].peer_urls,
        urls(5)
    );
}

#[test]
fn the_leadership_goes_where_it_is_sent() {
    let mut world = World::new(3, 3, Options::default());
    world.run(3000);
    let leader = world.leader().unwrap();
    let other = (0..3).map(id).find(|n| *n != leader).unwrap();
    let wrong = world.ask(other, Request::MoveLeader(other));
    let unknown = world.ask(leader, Request::MoveLeader(id(7)));
    let moved = world.ask(leader, Request::MoveLeader(other));
    world.run(500);
    assert_eq!(world.outcome(wrong), Some(Err(NotChanged::NotLeader)));
    assert_eq!(world.outcome(unknown), Some(Err(NotChanged::CannotLead)));
    assert_eq!(world.outcome(moved), Some(Ok(())));
    assert_eq!(world.leader(), Some(other));
}

#[test]
fn a_founder_that_never_took_part_listens_to_a_server_that_was_added() {
    let mut world = World::new(4, 3, Options::default());
    world.kill(id(2));
    world.run(3000);
    world.change(id(0), add(9, true));
    world.run(100);
    world.join(9);
    world.run(1000);
    world.start(id(2));
    let added = world.hosts[&id(9)].node.as_ref().unwrap();
    let hello = Hello {
        founding: 1,
        cluster: added.cluster().unwrap(),
        from: id(9),
        to: id(2),
        member: added.member().clone(),
        lineage: added.lineage().clone(),
    };
    let founder = world.hosts.get_mut(&id(2)).unwrap().node.as_mut().unwrap();
    assert_eq!(founder.cluster(), None);
    let unknown = Hello { cluster: 0, ..hello.clone() };
    assert_eq!(founder.admit(1, &unknown).unwrap_err().verdict, Verdict::Never);
    assert_eq!(founder.admit(1, &hello), Ok(()));
}
