//! `seaworthy-server log DIR|URL`: the log as text, a line an entry.
//!
//! ```text
//! index TAB term TAB type TAB key TAB value
//! ```
//!
//! Keys and values are escaped (`\t`, `\n`, `\\`, `\xff`). Nothing in the directory, or the schema
//! of a database, is changed, so a server may run on it meanwhile; the line that it is writing may be missing.

use std::fmt::Write;

use seaworthy::raft::Entry;

use super::{Place, escaped, say};
use crate::data_dir;
use crate::kv::Command;
use crate::node::offline::{self, Content};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;

/// Prints the log in a data directory or a database.
///
/// # Errors
/// If no server has its data there, or its log cannot be read.
pub async fn print(place: &Place) -> anyhow::Result<()> {
    let (identity, log) = match place {
        Place::Dir(dir) => data_dir::look(dir).map(|found| (found.identity, found.log))?,
        #[cfg(feature = "postgres")]
        Place::Postgres(url) => crate::store::offline::look(url).await?,
    };
    let reading = offline::look(&log).map_err(anyhow::Error::msg)?;
    if reading.state.0 > 0 {
        tracing::info!(
            "what the entries up to {} did is in the state beside the log",
            reading.state
        );
    }
    if let Some(lost) = &log.lost {
        tracing::warn!("{lost}");
    }
    reading.entries.iter().try_for_each(|entry| say(&line(entry)))?;
    tracing::info!(
        "{}: term {}, last entry {} of term {}",
        identity.name,
        reading.term,
        reading.last.index,
        reading.last.term
    );
    Ok(())
}

fn line(entry: &Entry) -> String {
    let content = offline::content(entry);
    let (kind, key, value) = match &content {
        Content::Blank => ("blank", String::new(), String::new()),
        Content::Members(text) => ("members", String::new(), text.clone()),
        Content::Open(text) => ("start", String::new(), text.clone()),
        Content::Expired(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| format!("{id:x}")).collect();
            ("lease-expire", ids.join(" "), String::new())
        }
        Content::Command(Some(command)) => describe(command),
        Content::Command(None) => ("unknown", String::new(), String::new()),
        Content::Unknown(bytes) => ("unknown", String::new(), escaped(bytes)),
    };
    format!("{}\t{}\t{kind}\t{key}\t{value}\n", entry.id.index, entry.id.term)
}

fn describe(command: &Command) -> (&'static str, String, String) {
    match command {
        Command::Put(put) => ("put", escaped(&put.key), escaped(&put.value)),
        Command::DeleteRange(delete) => {
            ("delete", escaped(&delete.key), escaped(&delete.range_end))
        }
        Command::Txn(txn) => ("txn", String::new(), describe_txn(txn)),
        Command::Compact(compact) => ("compact", String::new(), compact.revision.to_string()),
        Command::LeaseGrant(lease) => {
            ("lease-grant", format!("{:x}", lease.id), format!("{} s", lease.ttl))
        }
        Command::LeaseRevoke(lease) => ("lease-revoke", format!("{:x}", lease.id), String::new()),
        Command::Alarm(alarm) => {
            let what = (alarm.action().as_str_name(), alarm.alarm().as_str_name());
            ("alarm", format!("{:x}", alarm.member_id), format!("{} {}", what.0, what.1))
        }
        // Neither secrets nor hashes of passwords are printed.
        Command::Auth(change) => {
            let (kind, name) = change.title();
            (kind, escaped(name.as_bytes()), String::new())
        }
        Command::By(by) => {
            let (kind, key, value) = describe(&by.command);
            (kind, key, format!("{value} (by {})", escaped(by.who.name.as_bytes())))
        }
    }
}

/// The operations of a transaction, on one line.
fn describe_txn(txn: &pb::TxnRequest) -> String {
    let mut text = format!("if {} conditions hold:", txn.compare.len());
    describe_ops(&txn.success, &mut text);
    if !txn.failure.is_empty() {
        text.push_str(" else:");
        describe_ops(&txn.failure, &mut text);
    }
    text
}

fn describe_ops(ops: &[pb::RequestOp], text: &mut String) {
    for op in ops {
        let _ = match &op.request {
            Some(Request::RequestPut(put)) => {
                write!(text, " put {} {};", escaped(&put.key), escaped(&put.value))
            }
            Some(Request::RequestDeleteRange(delete)) => {
                let (key, end) = (escaped(&delete.key), escaped(&delete.range_end));
                write!(text, " delete {key} {end};")
            }
            Some(Request::RequestRange(range)) => write!(text, " get {};", escaped(&range.key)),
            Some(Request::RequestTxn(nested)) => write!(text, " ({});", describe_txn(nested)),
            None => Ok(()),
        };
    }
}
