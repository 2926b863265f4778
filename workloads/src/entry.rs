//! A row of the table of workloads, and the node that serves a single one.

use std::any::Any;

use seaworthy::node::{Context, DEFAULT_STREAM, Event, Workload};
use seaworthy::storage::{Log, Recovered};

use crate::options::Options;

/// One workload: a row of the table.
pub struct Entry {
    /// Its name on the command line, and its stream in storage.
    pub name: &'static str,
    /// A line about it for `--help`.
    pub summary: &'static str,
    /// The types of messages it understands, those between its own nodes included
    /// (replies find their way by themselves).
    pub serves: &'static [&'static str],
    /// Makes one that has not started yet.
    pub build: fn(&Options) -> Box<dyn Workload + Send>,
}

/// One named workload. Its records go to a stream of its name, as they do when all
/// workloads are served, so that a data directory outlives a change of arguments.
pub(crate) struct Single {
    entry: &'static Entry,
    workload: Box<dyn Workload + Send>,
}

impl Single {
    /// Builds the workload of this row.
    pub(crate) fn new(entry: &'static Entry, options: &Options) -> Single {
        Single { entry, workload: (entry.build)(options) }
    }
}

impl Workload for Single {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let event = match event {
            Event::Start(mut recovered) => start_with(recovered.take(self.entry.name)),
            event => event,
        };
        self.workload.handle(&mut cx.scoped(0, self.entry.name), event);
    }

    fn engine(&self) -> Option<&dyn Any> {
        self.workload.engine()
    }
}

/// Returns the start of a workload whose stream held `log`. A workload knows its stream
/// by the default name only.
pub(crate) fn start_with(log: Log) -> Event {
    let mut own = Recovered::default();
    if !log.is_empty() {
        own.insert(DEFAULT_STREAM, log);
    }
    Event::Start(own)
}
