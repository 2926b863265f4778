//! From a history to transactions that can be judged.
//!
//! adya trusts its input: it lets through histories from which nothing follows,
//! and calls them valid. So everything Elle would throw at is refused
//! here with a reason, and a value that no client ever wrote is collected as a *phantom*.
//!
//! Keys and values may be any EDN. Each is replaced by a small number, equal
//! numbers for equal values (as Clojure compares them), and translated back when a
//! result is built.

use std::borrow::Cow;
use std::collections::BTreeMap;

use adya::history::{Id, Interner, Mop, ReadValue, Scalar};

use super::options::Flavour;
use crate::check::names::Names;
use crate::edn::Edn;
use crate::history::{Events, Op, OpType, Process};

/// A history of transactions, in adya's terms and in ours.
///
/// Transactions are known by the position of their completion in `adya.ops`,
/// which is also the index adya reports.
pub(super) struct Transactions<'h> {
    pub(super) adya: adya::History,
    history: Events<'h>,
    /// Where the history has the event behind each of adya's; an unfinished invocation
    /// stands for its own, missing completion.
    source: Vec<u32>,
    names: Names,
    /// Key and value of every write ever invoked, sorted.
    written: Vec<(Id, Id)>,
}

/// Where a value was read that cannot have been there.
pub(super) struct Sighting {
    pub(super) reader: usize,
    pub(super) mop: usize,
    pub(super) element: Id,
}

impl<'h> Transactions<'h> {
    /// The event behind one of adya's, perhaps without its value.
    pub(super) fn head(&self, position: usize) -> &'h Op {
        &self.history.heads()[self.source[position] as usize]
    }

    /// The event behind one of adya's, with everything.
    pub(super) fn op(&self, position: usize) -> Cow<'h, Op> {
        self.history.op(self.source[position] as usize)
    }

    /// How many keys and values there are; they are numbered from 0.
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    /// The key or value behind a number.
    pub(super) fn name(&self, id: Id) -> &Edn {
        self.names.name(id)
    }

    pub(super) fn mops(&self, position: usize) -> &[Mop] {
        &self.adya.ops[position].value
    }

    /// Positions of the completions of the given type.
    pub(super) fn completed(&self, kind: OpType) -> impl Iterator<Item = usize> + '_ {
        let kind = adya_type(kind);
        (0..self.adya.ops.len()).filter(move |&i| self.adya.ops[i].kind == kind)
    }

    /// Positions of the transactions that committed, or may have.
    pub(super) fn possible(&self) -> impl Iterator<Item = usize> + '_ {
        use adya::history::OpType::{Info, Ok};
        (0..self.adya.ops.len()).filter(|&i| matches!(self.adya.ops[i].kind, Ok | Info))
    }
}

/// Reads the transactions of a history; the nemesis is passed over.
///
/// # Errors
/// The reason why nothing can be concluded from this history.
pub(super) fn read(history: Events<'_>, flavour: Flavour) -> Result<Transactions<'_>, String> {
    let mut reader = Reader {
        flavour,
        ops: Vec::with_capacity(history.heads().len()),
        source: Vec::with_capacity(history.heads().len()),
        open: BTreeMap::new(),
        written: Vec::new(),
        names: Names::default(),
    };
    for (at, head) in history.heads().iter().enumerate() {
        let Process::Client(process) = head.process else { continue };
        if head.f != "txn" {
            // A history of another workload must not pass by being ignored.
            return Err(format!("operation {}: {} is no transaction", head.index, head.f));
        }
        reader.event(&history.op(at), at, process)?;
    }
    reader.finish(history)
}

struct Reader {
    flavour: Flavour,
    ops: Vec<adya::history::Op>,
    source: Vec<u32>,
    /// Per process, its open invocation and the micro-operations of that.
    open: BTreeMap<u64, (Event, Vec<Mop>)>,
    /// Key and value of every write ever invoked.
    written: Vec<(Id, Id)>,
    names: Names,
}

/// Where the history has an event, and when it was.
#[derive(Clone, Copy)]
struct Event {
    at: usize,
    time: i64,
}

impl Reader {
    fn event(&mut self, op: &Op, at: usize, process: u64) -> Result<(), String> {
        let because = |reason: String| format!("operation {}: {reason}", op.index);
        if op.kind == OpType::Invoke {
            let mops = self.mops(op).map_err(because)?;
            for mop in &mops {
                if let Mop::Append { key, value } | Mop::Write { key, value } = mop {
                    self.written.push((*key, *value));
                }
            }
            let opened = Event { at, time: op.time };
            if self.open.insert(process, (opened, mops)).is_some() {
                return Err(because(format!(
                    "process {process} invokes while its last is still open"
                )));
            }
            // The intent of an invocation plays no part in adya's analysis.
            self.push(opened, process, op.kind, Vec::new());
            return Ok(());
        }
        let Some((_, intended)) = self.open.remove(&process) else {
            return Err(because(format!("process {process} completes what it has not invoked")));
        };
        let mops = if op.kind != OpType::Ok && op.value == Edn::Nil {
            intended
        } else {
            let mops = self.mops(op).map_err(because)?;
            let same = intended.len() == mops.len()
                && intended.iter().zip(&mops).all(|(a, b)| same_intent(a, b));
            if !same {
                return Err(because("completes with another transaction than it invoked".into()));
            }
            mops
        };
        self.push(Event { at, time: op.time }, process, op.kind, mops);
        Ok(())
    }

    fn push(&mut self, event: Event, process: u64, kind: OpType, value: Vec<Mop>) {
        self.ops.push(adya::history::Op {
            index: self.ops.len() as u64,
            kind: adya_type(kind),
            // Client processes are counted up from 0 and never come near the limit.
            process: Some(i64::try_from(process).unwrap_or(i64::MAX)),
            value,
            time: Some(event.time),
        });
        let at = u32::try_from(event.at).expect("a history has under 2^32 events");
        self.source.push(at);
    }

    fn mops(&mut self, op: &Op) -> Result<Vec<Mop>, String> {
        let mops = match &op.value {
            // Go writes null for a list that was never filled.
            Edn::Nil => &[],
            value => value.as_seq().ok_or("its value is not a list of micro-operations")?,
        };
        // Collected, they would take room for four each.
        let mut read = Vec::with_capacity(mops.len());
        for mop in mops {
            read.push(self.mop(mop, op.kind == OpType::Invoke)?);
        }
        Ok(read)
    }

    fn mop(&mut self, mop: &Edn, invoked: bool) -> Result<Mop, String> {
        let Some([f, key, value]) = mop.as_seq() else {
            return Err("a micro-operation is no triple".into());
        };
        let key = self.names.id(key);
        match (self.flavour, f.as_text()) {
            (Flavour::ListAppend, Some("append")) => {
                Ok(Mop::Append { key, value: self.names.id(value) })
            }
            (Flavour::RwRegister, Some("w")) if *value == Edn::Nil => {
                Err("writes nil, which cannot be told from the initial state".into())
            }
            (Flavour::RwRegister, Some("w")) => Ok(Mop::Write { key, value: self.names.id(value) }),
            // An invocation's own word on a read means nothing yet.
            (_, Some("r")) if invoked => Ok(Mop::Read { key, value: ReadValue::Nil }),
            (_, Some("r")) => Ok(Mop::Read { key, value: self.read_value(value)? }),
            (_, f) => Err(format!(
                "{} is no micro-operation of {}",
                f.unwrap_or("a nameless one"),
                self.flavour.name()
            )),
        }
    }

    fn read_value(&mut self, value: &Edn) -> Result<ReadValue, String> {
        match (self.flavour, value) {
            (_, Edn::Nil) => Ok(ReadValue::Nil),
            (Flavour::RwRegister, value) => Ok(ReadValue::Scalar(self.names.id(value))),
            (Flavour::ListAppend, Edn::List(items) | Edn::Vector(items)) => {
                Ok(ReadValue::List(items.iter().map(|item| self.names.id(item)).collect()))
            }
            (Flavour::ListAppend, _) => Err("reads something that is no list".into()),
        }
    }

    fn finish(mut self, history: Events<'_>) -> Result<Transactions<'_>, String> {
        // Still open at the end: indeterminate, as after a time-out.
        for (process, (opened, mops)) in std::mem::take(&mut self.open) {
            self.push(opened, process, OpType::Info, mops);
        }
        self.written.sort_unstable();
        if let Some(twice) = self.written.windows(2).find(|w| w[0] == w[1]) {
            let (key, value) = twice[0];
            return Err(format!(
                "value {} is written to key {} twice, so reads do not tell which they saw",
                self.names.name(value),
                self.names.name(key),
            ));
        }
        // adya's own table maps each number to itself.
        let mut interner = Interner::default();
        for id in 0..self.names.len() {
            interner.intern(Scalar::Int(id as i64));
        }
        let adya = adya::History::from_ops(self.ops, interner);
        let (source, names, written) = (self.source, self.names, self.written);
        Ok(Transactions { adya, history, source, names, written })
    }
}

/// Whether a completion's micro-operation can be the invoked one.
fn same_intent(invoked: &Mop, completed: &Mop) -> bool {
    match (invoked, completed) {
        (Mop::Read { key: a, .. }, Mop::Read { key: b, .. }) => a == b,
        (invoked, completed) => invoked == completed,
    }
}

/// Every read of a value that no transaction tried to write.
pub(super) fn phantoms(txns: &Transactions<'_>) -> Vec<Sighting> {
    let mut found = Vec::new();
    for (reader, op) in txns.adya.ops.iter().enumerate() {
        for (mop, read) in op.value.iter().enumerate() {
            let Mop::Read { key, value } = read else { continue };
            let is_unheard = |e: &&Id| txns.written.binary_search(&(*key, **e)).is_err();
            let unheard = elements(value).iter().find(is_unheard);
            found.extend(unheard.map(|&element| Sighting { reader, mop, element }));
        }
    }
    found
}

/// The first committed read of each transaction that saw a value which it wrote only later.
///
/// Of registers Elle and adya know nothing of the kind, and let the transaction pass, or find a
/// cycle by way of another reader. Of lists both know it, but adya does not look further in a
/// transaction once that contradicts itself.
pub(super) fn future_reads(txns: &Transactions<'_>) -> Vec<Sighting> {
    let of_reader = |reader: usize| {
        let mops = txns.mops(reader);
        mops.iter().enumerate().find_map(|(mop, read)| {
            let Mop::Read { key, value } = read else { return None };
            let written = |later: &Mop| match later {
                Mop::Append { key: k, value } | Mop::Write { key: k, value } if k == key => {
                    Some(*value)
                }
                _ => None,
            };
            let mut later = mops[mop..].iter().filter_map(written);
            let element = later.find(|element| elements(value).contains(element))?;
            Some(Sighting { reader, mop, element })
        })
    };
    txns.completed(OpType::Ok).filter_map(of_reader).collect()
}

/// All that a read saw.
fn elements(value: &ReadValue) -> &[Id] {
    match value {
        ReadValue::Nil => &[],
        ReadValue::Scalar(element) => std::slice::from_ref(element),
        ReadValue::List(elements) => elements,
    }
}

fn adya_type(kind: OpType) -> adya::history::OpType {
    match kind {
        OpType::Invoke => adya::history::OpType::Invoke,
        OpType::Ok => adya::history::OpType::Ok,
        OpType::Fail => adya::history::OpType::Fail,
        OpType::Info => adya::history::OpType::Info,
    }
}
