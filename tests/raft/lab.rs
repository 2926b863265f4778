//! A cluster in which everything happens on command, and is noted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use seaworthy::raft::{
    Command, Config, Entry, Message, MessageKind, Options, Payload, Raft, RaftId, Ready, RoleName,
    Shelf, Status,
};

use super::disk::Disk;
use super::invariants::Invariants;

/// One server with its disk and its network.
#[derive(Default)]
pub(crate) struct Server {
    /// `None` while it is down.
    pub(crate) raft: Option<Raft>,
    /// The bytes of its snapshots.
    pub(crate) shelf: Shelf,
    /// The commands it has applied: its state machine.
    pub(crate) applied: Vec<String>,
    /// Its disk is done only when told.
    pub(crate) slow_disk: bool,
}

/// The cluster, and its notes since it was last asked.
#[derive(Default)]
pub(crate) struct Lab {
    pub(crate) options: Options,
    pub(crate) initial: Config,
    pub(crate) servers: BTreeMap<RaftId, Server>,
    pub(crate) disks: BTreeMap<RaftId, Disk>,
    /// Messages on their way, oldest first.
    pub(crate) network: Vec<Message>,
    /// Links that lose everything, as (from, to).
    pub(crate) cut: Vec<(RaftId, RaftId)>,
    invariants: Invariants,
    pub(crate) trace: String,
}

impl Lab {
    /// Starts a server from its disk.
    pub(crate) fn start(&mut self, id: RaftId) {
        let restored = self.disks.entry(id).or_default().restored();
        self.invariants.restarted(id, restored.hard_state.term);
        let state = self.disks[&id].state();
        let member = self.initial.contains(id);
        let initial = if member { self.initial.clone() } else { Config::default() };
        let raft = Raft::new(id, initial, id.0, self.options.clone(), restored);
        let server = self.servers.entry(id).or_default();
        (server.applied, server.shelf) = Default::default();
        if let Some((snapshot, data)) = state {
            server.applied = decode(data.as_bytes());
            server.shelf = Shelf::with(snapshot, data);
        }
        server.raft = Some(raft);
    }

    /// Stops a server; writes that are not durable are lost.
    pub(crate) fn crash(&mut self, id: RaftId) {
        self.servers.get_mut(&id).expect("no such server").raft = None;
        self.disks.get_mut(&id).expect("no such server").crash();
    }

    /// The running server `id`.
    pub(crate) fn raft(&self, id: RaftId) -> Option<&Raft> {
        self.servers.get(&id)?.raft.as_ref()
    }

    /// Lets a server do something, carries out its wishes, and notes it all.
    pub(crate) fn act<T>(&mut self, id: RaftId, act: impl FnOnce(&mut Raft) -> T) -> Option<T> {
        let Server { raft, shelf, .. } = self.servers.get_mut(&id)?;
        let raft = raft.as_mut()?;
        let before = raft.status();
        let result = act(raft);
        shelf.receive(raft);
        let mut ready = raft.ready();
        let pieces = std::mem::take(&mut ready.pieces).into_iter();
        let pieces: Vec<Message> = pieces.filter_map(|piece| shelf.message(piece)).collect();
        let after = raft.status();
        self.note_change(&before, &after);
        self.note_ready(id, &ready);
        let free = self.disks.get_mut(&id).expect("every server has one").take(&mut ready);
        self.send(free);
        self.send(pieces);
        self.apply(id, &ready);
        let raft = self.servers[&id].raft.as_ref().expect("it runs");
        self.invariants.check(raft, &self.disks);
        if !self.servers[&id].slow_disk {
            while self.flush(id) {}
        }
        Some(result)
    }

    /// Makes the oldest write of a server durable.
    pub(crate) fn flush(&mut self, id: RaftId) -> bool {
        let Some((persisted, after)) = self.disks.get_mut(&id).and_then(Disk::flush_one) else {
            return false;
        };
        self.send(after);
        if let Some(persisted) = persisted {
            self.act(id, |raft| raft.persisted(persisted));
        }
        true
    }

    /// Delivers the messages that `which` picks among those on their way now.
    pub(crate) fn deliver(&mut self, which: impl Fn(&Message) -> bool) -> bool {
        let picked: Vec<Message> = self.network.extract_if(.., |m| which(m)).collect();
        for message in &picked {
            self.act(message.to, |raft| raft.step(message.clone()));
        }
        !picked.is_empty()
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let lost = self.cut.contains(&(message.from, message.to));
            self.invariants.check_message(&message, &self.disks[&message.from]);
            let mark = if lost { " ✗" } else { "" };
            let _ = writeln!(self.trace, "{}{mark}", describe(&message));
            if !lost {
                self.network.push(message);
            }
        }
    }

    fn apply(&mut self, id: RaftId, ready: &Ready) {
        let server = self.servers.get_mut(&id).expect("it acts");
        if let Some(snapshot) = &ready.restore {
            let data = server.shelf.get(snapshot).expect("it has arrived").clone();
            server.applied = decode(data.as_bytes());
            self.disks.get_mut(&id).expect("every server has one").keep(snapshot, data);
        }
        for entry in &ready.committed {
            if let Payload::Command(command) = &entry.payload {
                server.applied.push(format!("{command:?}"));
            }
        }
    }

    /// Makes a snapshot of everything a server has applied.
    pub(crate) fn compact(&mut self, id: RaftId) {
        let server = self.servers.get_mut(&id).expect("no such server");
        let data = Command::from(server.applied.join(",").as_str());
        let raft = server.raft.as_mut().expect("it runs");
        server.shelf.compact(raft, raft.status().applied, data.clone());
        let state = raft.to_restore();
        let disk = self.disks.get_mut(&id).expect("every server has one");
        disk.keep(state.snapshot.as_ref().expect("it was made"), data);
        disk.checkpoint(state);
        if !self.servers[&id].slow_disk {
            while self.flush(id) {}
        }
    }

    fn note_change(&mut self, before: &Status, after: &Status) {
        let id = after.id;
        if (before.role, before.hard_state.term) != (after.role, after.hard_state.term) {
            let (role, term) = (role_name(after.role), after.hard_state.term);
            let _ = writeln!(self.trace, "{id} is {role} in term {term}");
        }
        if let (true, Some(leader)) = (before.leader != after.leader, after.leader)
            && leader != id
        {
            let _ = writeln!(self.trace, "{id} follows {leader}");
        }
    }

    fn note_ready(&mut self, id: RaftId, ready: &Ready) {
        let trace = &mut self.trace;
        if let Some(snapshot) = &ready.restore {
            let _ = writeln!(trace, "{id} restores snapshot {}", snapshot.last);
        }
        if let Some(persist) = &ready.persist {
            let _ = write!(trace, "{id} writes");
            if let Some(hard) = &persist.hard_state {
                let vote = hard.vote.map_or("nobody".to_owned(), |v| v.to_string());
                let _ = write!(trace, " term={} vote={vote}", hard.term);
            }
            if let Some(snapshot) = &persist.snapshot {
                let _ = write!(trace, " snapshot={}", snapshot.last);
            }
            let _ = writeln!(trace, "{}", list(&persist.entries));
        }
        if !ready.committed.is_empty() {
            let _ = writeln!(trace, "{id} applies{}", list(&ready.committed));
        }
        for read in &ready.reads {
            let _ = writeln!(trace, "{id} serves read {} at {}", read.context.0, read.index);
        }
        for context in &ready.dropped_reads {
            let _ = writeln!(trace, "{id} drops read {}", context.0);
        }
    }
}

fn decode(data: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(data);
    text.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

pub(crate) fn role_name(role: RoleName) -> &'static str {
    match role {
        RoleName::Follower => "follower",
        RoleName::PreCandidate => "pre-candidate",
        RoleName::Candidate => "candidate",
        RoleName::Leader => "leader",
    }
}

/// Entries in brackets, long runs shortened.
pub(crate) fn list(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let show = |e: &Entry| match &e.payload {
        Payload::Noop => e.id.to_string(),
        Payload::Command(command) => format!("{} {command:?}", e.id),
        Payload::Config(config) => format!("{} {config}", e.id),
    };
    let shown: Vec<String> = match entries {
        [first, .., last] if entries.len() > 6 => vec![show(first), "..".into(), show(last)],
        _ => entries.iter().map(show).collect(),
    };
    format!(" [{}]", shown.join(", "))
}

/// A message in one line. Rounds are left out: they count turns.
fn describe(message: &Message) -> String {
    let Message { from, to, term, kind } = message;
    let what = match kind {
        MessageKind::RequestVote { pre, transfer, last } => {
            let kind = if *pre { "pre-vote" } else { "vote" };
            let by = if *transfer { " by transfer" } else { "" };
            format!("asks for a {kind}{by}, last={last}")
        }
        MessageKind::Vote { pre, granted } => {
            let kind = if *pre { "pre-vote" } else { "vote" };
            format!("{} a {kind}", if *granted { "grants" } else { "refuses" })
        }
        MessageKind::Append { prev, commit, entries, .. } => {
            format!("appends after {prev}{}, commit={commit}", list(entries))
        }
        MessageKind::Appended { matched, .. } => format!("agrees up to {matched}"),
        MessageKind::Rejected { prev, hint, .. } => format!("lacks {prev}, perhaps {hint}"),
        MessageKind::Abstained { matched: Some(matched), .. } => format!("abstains at {matched}"),
        MessageKind::Abstained { prev, hint, .. } => {
            format!("abstains, lacks {prev}, perhaps {hint}")
        }
        MessageKind::Snapshot { meta, offset, data, .. } => {
            let end = offset + data.as_bytes().len() as u64;
            format!("sends snapshot {}, bytes {offset}..{end} of {}", meta.last, meta.len_bytes)
        }
        MessageKind::SnapshotProgress { last_index, offset, .. } => {
            format!("wants snapshot {last_index} from byte {offset}")
        }
        MessageKind::ReadIndex { context } => format!("asks to read {}", context.0),
        MessageKind::ReadIndexReply { context, index } => {
            format!("lets read {} at {index}", context.0)
        }
        MessageKind::TimeoutNow => "hands over".to_owned(),
        MessageKind::Outsider { id } => format!("says that {id} asks and is no member"),
    };
    format!("{from} → {to} t{term} {what}")
}
