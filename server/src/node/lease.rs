//! Signs of life for leases, and their ends.
//!
//! A server that is asked to keep a lease alive, or how long it has, asks the leader, until it
//! answers or the request times out. The leader renews the lease *first*, and then has a quorum
//! confirm that it still leads (ReadIndex): the next leader begins after that moment, and gives the
//! lease its full time from then on. So a deposed leader promises nothing, and a sign of life costs
//! no entry of the log.
//!
//! The leader proposes the end of a lease itself, in its own term, and the entry is never sent on
//! to another leader: it is true only by the time that this leader has measured.

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy::raft::{RaftId, ReadContext, Term};
use seaworthy::time::Time;

use super::envelope::Expire;
use super::planted;
use super::question::{Asked, Question, Told};
use super::{Failure, Node, Reply, Token};
use crate::kv::Command;
use crate::lease::Deadlines;
use crate::planted::guard;

/// A question that got no answer goes out again after this long.
const RETRY: Duration = Duration::from_millis(400);
/// How many leases end with one entry of the log.
pub(super) const ENDS_AT_ONCE: usize = 500;

#[derive(Debug)]
struct Waiting {
    token: Token,
    asked: Asked,
    deadline: Time,
    due: Time,
}

/// A question that this leader takes care of, and for whom.
type Taken = (RaftId, Asked);
/// Such a question, and its answer, once it is confirmed.
type Answered = (Taken, Option<Duration>);

/// Everything about leases that is not replicated.
#[derive(Debug)]
pub(super) struct Leases {
    /// The questions of this server's clients, by number.
    waiting: BTreeMap<u64, Waiting>,
    next_number: u64,
    /// The earliest time at which one of them is due.
    check_at: Time,
    /// The term in which this server leads, and when leases end.
    pub(super) reign: Option<(Term, Deadlines)>,
    /// Questions for this leader that are not looked at yet.
    taken: Vec<Taken>,
    /// Those whose leases were over when they came: their ends are about to be decided.
    held: Vec<Taken>,
    /// Those that wait for a quorum, with the answer that it will make true.
    confirming: Option<(ReadContext, Vec<Answered>)>,
    next_context: u64,
    /// When to propose ends again, if the last proposal was refused.
    retry_at: Time,
}

/// Contexts of reads that confirm leases have this bit; those of clients' reads do not.
const CONTEXT_BIT: u64 = 1 << 31;

impl Leases {
    /// `nonce` makes the names of this life's questions its own.
    pub(super) fn new(nonce: u64) -> Leases {
        Leases {
            waiting: BTreeMap::new(),
            next_number: nonce << 32,
            check_at: Time::MAX,
            reign: None,
            taken: Vec::new(),
            held: Vec::new(),
            confirming: None,
            next_context: nonce << 32 | CONTEXT_BIT,
            retry_at: Time::ZERO,
        }
    }

    /// When something here is due.
    pub(super) fn deadline(&self) -> Time {
        let ends = self.reign.as_ref().map_or(Time::MAX, |(_, deadlines)| deadlines.next());
        self.check_at.min(ends.max(self.retry_at))
    }

    /// All questions go out again at once: there is a new leader.
    pub(super) fn resend(&mut self, now: Time) {
        self.waiting.values_mut().for_each(|waiting| waiting.due = now);
        self.set_check();
    }

    fn set_check(&mut self) {
        let next = self.waiting.values().map(|waiting| waiting.due.min(waiting.deadline));
        self.check_at = next.min().unwrap_or(Time::MAX);
    }

    pub(super) fn take(&mut self, from: RaftId, asked: Vec<Asked>) {
        self.taken.extend(asked.into_iter().map(|asked| (from, asked)));
    }

    pub(super) fn fail_all(&mut self) -> Vec<Token> {
        self.check_at = Time::MAX;
        std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.token).collect()
    }

    /// A confirmation will not come: those that wait for it ask again.
    pub(super) fn dropped(&mut self, context: ReadContext) {
        if let Some((_, asked)) = self.confirming.take_if(|(own, _)| *own == context) {
            self.taken.extend(asked.into_iter().map(|(taken, _)| taken));
        }
    }
}

impl Node {
    /// Takes up a client's question.
    pub(super) fn ask_leader(&mut self, token: Token, lease: i64, question: Question) {
        let deadline = self.now + Duration::from_millis(self.options.request_timeout_ms);
        let leases = &mut self.leases;
        let number = leases.next_number;
        leases.next_number += 1;
        let asked = Asked { number, lease, question };
        leases.waiting.insert(number, Waiting { token, asked, deadline, due: self.now });
        leases.check_at = self.now;
    }

    /// The questions that are to go to the leader now. Those that are too old fail.
    pub(super) fn due_questions(&mut self) -> Vec<Asked> {
        let now = self.now;
        if self.leases.check_at > now {
            return Vec::new();
        }
        let late = self.leases.waiting.extract_if(.., |_, waiting| waiting.deadline <= now);
        let late: Vec<Token> = late.map(|(_, waiting)| waiting.token).collect();
        late.into_iter().for_each(|t| self.reply(t, Reply::Failed(Failure::TimedOut)));
        let mut due = Vec::new();
        for waiting in self.leases.waiting.values_mut().filter(|waiting| waiting.due <= now) {
            due.push(waiting.asked);
            waiting.due = now + RETRY;
        }
        self.leases.set_check();
        due
    }

    /// Hands the leader's answers to those who asked.
    pub(super) fn take_answers(&mut self, answers: Vec<Told>) {
        for Told { number, left_ms } in answers {
            if let Some(waiting) = self.leases.waiting.remove(&number) {
                let left = left_ms.map(Duration::from_millis);
                self.reply(waiting.token, Reply::Lease(self.raft.term(), left));
            }
        }
        self.leases.set_check();
    }

    /// Begins or ends to measure the time of leases. It begins when everything of earlier
    /// terms is applied: before that, not all leases are known.
    pub(super) fn notice_reign(&mut self) {
        let term = self.raft.term();
        let is_first = guard!(self.applied_term == term, EarlyReign);
        let leads = self.raft.is_leader() && is_first;
        let known = self.leases.reign.as_ref().map(|(term, _)| *term);
        if !self.raft.is_leader() && !self.reigns_on() {
            let leases = &mut self.leases;
            (leases.reign, leases.confirming) = (None, None);
            // Their askers ask the next leader.
            leases.taken.clear();
            leases.held.clear();
        } else if leads && known != Some(term) {
            let deadlines = Deadlines::begin(self.now, &self.machine.store);
            self.leases.reign = Some((term, deadlines));
        }
    }

    /// Follows the log's decisions about leases.
    pub(super) fn follow_lease(&mut self, command: &Command) {
        let Some((_, deadlines)) = &mut self.leases.reign else { return };
        match command.bare() {
            Command::LeaseGrant(grant) => {
                let lease = self.machine.store.lease(grant.id).expect("it was granted");
                deadlines.grant(self.now, grant.id, lease);
            }
            Command::LeaseRevoke(revoke) => deadlines.forget(revoke.id),
            _ => {}
        }
    }

    /// Ends leases, because the leader of that term has measured that their time is over.
    pub(super) fn apply_expire(&mut self, expire: Expire) {
        for ended in expire.ended {
            self.machine.store.expire(ended.id, ended.serial);
            let is_gone = self.machine.store.lease(ended.id).is_none();
            if let Some((_, deadlines)) = self.leases.reign.as_mut().filter(|_| is_gone) {
                deadlines.forget(ended.id);
            }
        }
    }

    /// Proposes the end of leases whose time is over.
    pub(super) fn propose_ends(&mut self) {
        while let Some((_, deadlines)) = &mut self.leases.reign
            && self.leases.retry_at <= self.now
        {
            let ended = deadlines.ended(self.now, ENDS_AT_ONCE);
            if ended.is_empty() {
                return;
            }
            let expire = Expire { ended: ended.clone() };
            match self.raft.propose(expire.encode()) {
                Ok(_) => deadlines.proposed(&ended),
                Err(_) => self.leases.retry_at = self.now + RETRY,
            }
        }
    }

    /// Renews leases, and begins to confirm that this server still leads. Questions that come
    /// meanwhile wait for the next confirmation.
    pub(super) fn answer_questions(&mut self) {
        let Some((_, deadlines)) = &mut self.leases.reign else { return };
        let store = &self.machine.store;
        let is_decided = |(_, asked): &mut Taken| store.lease(asked.lease).is_none();
        self.leases.taken.extend(self.leases.held.extract_if(.., is_decided));
        if self.leases.taken.is_empty() || self.leases.confirming.is_some() {
            return;
        }
        let mut answers = Vec::new();
        for (from, asked) in std::mem::take(&mut self.leases.taken) {
            let left = match asked.question {
                Question::KeepAlive => deadlines.renew(self.now, asked.lease),
                Question::Left => deadlines.left(self.now, asked.lease),
            };
            match left.is_none() && store.lease(asked.lease).is_some() {
                true => self.leases.held.push((from, asked)),
                false => answers.push(((from, asked), left)),
            }
        }
        if answers.is_empty() {
            return;
        }
        let context = ReadContext(self.leases.next_context);
        self.leases.next_context += 1;
        // Guard: the confirmation begins after the renewal.
        if planted::renews_unconfirmed() {
            self.leases.confirming = Some((context, answers));
            return self.confirmed_leases(context);
        }
        match self.raft.read(context) {
            Ok(()) => self.leases.confirming = Some((context, answers)),
            Err(_) => self.leases.taken.extend(answers.into_iter().map(|(taken, _)| taken)),
        }
    }

    /// A quorum has confirmed the answers from before the confirmation began.
    pub(super) fn confirmed_leases(&mut self, context: ReadContext) {
        let confirming = self.leases.confirming.take_if(|(own, _)| *own == context);
        for ((from, asked), left) in confirming.into_iter().flat_map(|(_, answers)| answers) {
            let left_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            let told = Told { number: asked.number, left_ms };
            match from == self.me {
                true => self.take_answers(vec![told]),
                false => self.told.entry(from).or_default().push(told),
            }
        }
    }
}
