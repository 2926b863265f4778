//! A program over `etcd-client` (crate), over gRPC: `etcd-client-script PORT` prints the answers of
//! the server there, without ids, terms and sizes.

// A program of a test runs on the real clock.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::fmt::Write;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context;
use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, KeyValue,
    LeaseGrantOptions, LeaseTimeToLiveOptions, LockOptions, ProclaimOptions, PutOptions,
    ResignOptions, SortOrder, SortTarget, Txn, TxnOp, WatchFilterType, WatchOptions,
};

type Done = Result<(), Error>;

struct Script {
    client: Client,
    out: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).context("usage: etcd-client-script PORT")?;
    let client = Client::connect([format!("127.0.0.1:{port}")], None).await?;
    let mut script = Script { client, out: String::new() };
    script.keys().await?;
    script.transactions().await?;
    script.leases().await?;
    script.watches().await?;
    script.locks().await?;
    script.elections().await?;
    script.upkeep().await?;
    std::io::stdout().write_all(script.out.as_bytes())?;
    Ok(())
}

fn about(kv: &KeyValue) -> String {
    let key = String::from_utf8_lossy(kv.key());
    let (create, modified) = (kv.create_revision(), kv.mod_revision());
    format!("{key}={:?} {create} {modified} {} {}", kv.value(), kv.version(), kv.lease() != 0)
}

fn all(kvs: &[KeyValue]) -> String {
    kvs.iter().map(about).collect::<Vec<_>>().join(", ")
}

/// A refusal as code and text.
fn refusal<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "fine".to_owned(),
        Err(Error::GRpcStatus(status)) => format!("{:?} {}", status.code(), status.message()),
        Err(other) => other.to_string(),
    }
}

impl Script {
    fn say(&mut self, what: &str, text: impl std::fmt::Debug) {
        writeln!(self.out, "{what} {text:?}").expect("a string takes all");
    }

    async fn keys(&mut self) -> Done {
        let options = PutOptions::new().with_prev_key();
        let put = self.client.put("a", "1", Some(options.clone())).await?;
        self.say("put", (put.header().map(|header| header.revision()), put.prev_key().map(about)));
        let put = self.client.put("a", [0, 255], Some(options)).await?;
        self.say("put", put.prev_key().map(about));
        for number in 0..5 {
            self.client.put(format!("d/{number}"), (9 - number).to_string(), None).await?;
        }
        let got = self.client.get("d/", Some(GetOptions::new().with_prefix())).await?;
        self.say("prefix", (all(got.kvs()), got.count(), got.more()));
        for order in [SortOrder::Ascend, SortOrder::Descend] {
            use SortTarget::{Create, Key, Mod, Value, Version};
            for target in [Key, Version, Create, Mod, Value] {
                let options = GetOptions::new().with_prefix().with_sort(target, order);
                let got = self.client.get("d/", Some(options.with_limit(3))).await?;
                self.say("sorted", (all(got.kvs()), got.count(), got.more()));
            }
        }
        let options = GetOptions::new().with_all_keys().with_count_only();
        let got = self.client.get("", Some(options)).await?;
        self.say("count", (got.count(), got.kvs().len()));
        let old = GetOptions::new().with_revision(2).with_serializable();
        let found = self.client.get("a", Some(old)).await?;
        self.say("old", all(found.kvs()));
        let later = GetOptions::new().with_revision(100_000);
        let refused = refusal(self.client.get("a", Some(later)).await);
        self.say("refusal", refused);
        let options = DeleteOptions::new().with_range("d/3").with_prev_key();
        let gone = self.client.delete("d/1", Some(options)).await?;
        self.say("delete", (gone.deleted(), all(gone.prev_kvs())));
        let refused = refusal(self.client.put("", "x", None).await);
        self.say("refusal", refused);
        Ok(())
    }

    async fn transactions(&mut self) -> Done {
        let txn = || {
            let nested = Txn::new()
                .when([Compare::version("none", CompareOp::Equal, 0)])
                .and_then([TxnOp::put("nested", "1", None)]);
            Txn::new()
                .when([Compare::value("a", CompareOp::Equal, [0, 255])])
                .and_then([
                    TxnOp::put("a", "2", None),
                    TxnOp::get("a", None),
                    TxnOp::delete("none", None),
                    TxnOp::txn(nested),
                ])
                .or_else([TxnOp::get("a", None)])
        };
        for _ in 0..2 {
            let done = self.client.txn(txn()).await?;
            let answers: Vec<String> = done
                .op_responses()
                .iter()
                .map(|answer| match answer {
                    etcd_client::TxnOpResponse::Get(got) => all(got.kvs()),
                    etcd_client::TxnOpResponse::Put(_) => "put".to_owned(),
                    etcd_client::TxnOpResponse::Delete(gone) => gone.deleted().to_string(),
                    etcd_client::TxnOpResponse::Txn(nested) => nested.succeeded().to_string(),
                })
                .collect();
            self.say("txn", (done.succeeded(), answers));
        }
        let twice = [TxnOp::put("a", "1", None), TxnOp::put("a", "2", None)];
        let refused = refusal(self.client.txn(Txn::new().and_then(twice)).await);
        self.say("refusal", refused);
        Ok(())
    }

    async fn leases(&mut self) -> Done {
        let options = || Some(LeaseGrantOptions::new().with_id(4711));
        let lease = self.client.lease_grant(100, options()).await?;
        self.say("lease", (lease.id(), lease.ttl()));
        let refused = refusal(self.client.lease_grant(100, options()).await);
        self.say("refusal", refused);
        self.client.put("l/1", "x", Some(PutOptions::new().with_lease(4711))).await?;
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let left = self.client.lease_time_to_live(4711, Some(options)).await?;
        self.say("lease", (left.granted_ttl(), (98..=100).contains(&left.ttl())));
        self.say("keys", left.keys());
        let (mut keeper, mut answers) = self.client.lease_keep_alive(4711).await?;
        keeper.keep_alive().await?;
        self.say("alive", answers.message().await?.map(|answer| answer.ttl()));
        let leases = self.client.leases().await?;
        self.say("leases", leases.leases().iter().map(|lease| lease.id()).collect::<Vec<_>>());
        self.client.lease_revoke(4711).await?;
        let found = self.client.get("l/1", None).await?.count();
        self.say("revoked", found);
        let refused = refusal(self.client.lease_revoke(4711).await);
        self.say("refusal", refused);
        let refused = refusal(self.client.lease_keep_alive(4711).await);
        self.say("refusal", refused);
        Ok(())
    }

    async fn watches(&mut self) -> Done {
        let put = self.client.put("w/0", "first", None).await?;
        let first = put.header().map_or(0, |header| header.revision());
        self.client.put("w/k", "1", None).await?;
        self.client.delete("w/k", None).await?;
        let options = WatchOptions::new().with_prefix().with_start_revision(first);
        let mut watch = self.client.watch("w/", Some(options.with_prev_key())).await?;
        self.say_watch(&mut watch, 3).await?;
        let options = WatchOptions::new().with_watch_id(7).with_start_revision(first);
        let options = options.with_prefix().with_filters([WatchFilterType::NoPut]);
        watch.watch("w/", Some(options)).await?;
        self.say_watch(&mut watch, 1).await?;
        watch.cancel(7).await?;
        self.say_watch(&mut watch, 0).await?;
        watch.request_progress().await?;
        let progress = watch.message().await?;
        self.say("progress", progress.map(|told| (told.watch_id(), told.events().len())));
        self.client.put("w/live", "now", None).await?;
        self.say_watch(&mut watch, 1).await?;
        self.client.compact(first + 2, None).await?;
        let old = WatchOptions::new().with_start_revision(first);
        let mut watch = self.client.watch("w/k", Some(old)).await?;
        loop {
            let Some(told) = watch.message().await? else { break };
            self.say("compacted", (told.created(), told.canceled(), told.compact_revision()));
            if told.canceled() {
                break;
            }
        }
        Ok(())
    }

    /// Prints what a watch tells, until so many events have come, or the end of it.
    async fn say_watch(&mut self, watch: &mut etcd_client::WatchStream, count: usize) -> Done {
        let mut seen = 0;
        while let Some(told) = watch.message().await? {
            self.say("told", (told.watch_id(), told.created(), told.canceled()));
            for event in told.events() {
                let what = if event.event_type() == EventType::Put { "put" } else { "delete" };
                self.say(what, (event.kv().map(about), event.prev_kv().map(about)));
                seen += 1;
            }
            if told.canceled() || (seen >= count && count > 0) {
                break;
            }
        }
        Ok(())
    }

    /// The key of a lock ends with its lease.
    fn name(key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        key.split('/').next().unwrap_or_default().to_owned()
    }

    async fn locks(&mut self) -> Done {
        let mine = self.client.lock("lock", None).await?;
        self.say("lock", Script::name(mine.key()));
        let lease = self.client.lease_grant(60, None).await?.id();
        let mut other = self.client.clone();
        let waits = tokio::spawn(async move {
            other.lock("lock", Some(LockOptions::new().with_lease(lease))).await
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.say("waits", !waits.is_finished());
        self.client.unlock(mine.key()).await?;
        let theirs = waits.await.expect("the task ends")?;
        let held = self.client.get("lock", Some(GetOptions::new().with_prefix())).await?;
        self.say("lock", (Script::name(theirs.key()), held.count()));
        self.client.unlock(theirs.key()).await?;
        let lost = LockOptions::new().with_lease(123_456);
        let refused = refusal(self.client.lock("lock", Some(lost)).await);
        self.say("refusal", refused);
        self.client.unlock("lock/none").await?;
        let wrong = Some(LockOptions::new().with_lease(123_456));
        let refused = refusal(self.client.lock("lock", wrong).await);
        self.say("refusal", refused);
        Ok(())
    }

    async fn elections(&mut self) -> Done {
        let refused = refusal(self.client.leader("ship").await);
        self.say("refusal", refused);
        let lease = self.client.lease_grant(60, None).await?.id();
        let won = self.client.campaign("ship", "ann", lease).await?;
        self.say(
            "won",
            won.leader().map(|leader| (leader.name().to_vec(), leader.lease() == lease)),
        );
        let ann = won.leader().cloned().expect("it won");
        let mut observed = self.client.observe("ship").await?;
        let seen = observed.message().await?;
        self.say("seen", seen.and_then(|seen| seen.kv().map(|kv| kv.value().to_vec())));
        let refused = refusal(self.client.proclaim("bob", None).await);
        self.say("nameless proclaims", refused);
        let of_ann = ProclaimOptions::new().with_leader(ann.clone());
        self.client.proclaim("bob", Some(of_ann)).await?;
        let seen = observed.message().await?;
        self.say("seen", seen.and_then(|seen| seen.kv().map(|kv| kv.value().to_vec())));
        let leader = self.client.leader("ship").await?;
        self.say("leader", leader.kv().map(|kv| (Script::name(kv.key()), kv.version())));
        let rival = self.client.lease_grant(60, None).await?.id();
        let mut other = self.client.clone();
        let waits = tokio::spawn(async move { other.campaign("ship", "carl", rival).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.say("waits", !waits.is_finished());
        let refused = refusal(self.client.resign(None).await);
        self.say("nameless resigns", refused);
        self.client.resign(Some(ResignOptions::new().with_leader(ann))).await?;
        let won = waits.await.expect("the task ends")?;
        let seen = observed.message().await?;
        self.say("seen", seen.and_then(|seen| seen.kv().map(|kv| kv.value().to_vec())));
        let leader = won.leader().cloned().expect("it won");
        self.client.resign(Some(ResignOptions::new().with_leader(leader))).await?;
        let refused = refusal(self.client.leader("ship").await);
        self.say("refusal", refused);
        let refused = refusal(self.client.campaign("ship", "dan", 123_456).await);
        self.say("refusal", refused);
        Ok(())
    }

    async fn upkeep(&mut self) -> Done {
        let status = self.client.status().await?;
        self.say("status", (status.leader() != 0, status.is_learner(), status.errors()));
        let members = self.client.member_list().await?;
        let urls = members.members().first().map(|m| (m.peer_urls().len(), m.client_urls().len()));
        self.say("members", urls);
        let refused = refusal(self.client.member_remove(123).await);
        self.say("refusal", refused);
        self.client.defragment().await?;
        let found = self.client.hash_kv(0).await?.compact_version() > 0;
        self.say("hash", found);
        let mut backup = self.client.snapshot().await?;
        let mut size = 0;
        while let Some(piece) = backup.message().await? {
            size += piece.blob().len();
        }
        self.say("snapshot", size > 100);
        self.client.user_add("ann", "secret", None).await?;
        self.client.role_add("r").await?;
        self.client.user_grant_role("ann", "r").await?;
        let user = self.client.user_get("ann").await?;
        self.say("user", user.roles());
        let refused = refusal(self.client.auth_enable().await);
        self.say("refusal", refused);
        Ok(())
    }
}
