//! A real PostgreSQL server: the machine for the suite, and the refusals.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::private_cluster::PrivateCluster;
use super::*;
use crate::storage::Write;
use crate::storage::suite::{
    Machine, PROMISES, agrees_with_model, any_op, checkpoint, log, record,
};

/// One server for all tests of this process; each has a schema of its own.
static CLUSTER: LazyLock<Option<Mutex<PrivateCluster>>> = LazyLock::new(|| {
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let cluster = PrivateCluster::start(&parent);
    if cluster.is_none() {
        println!("PostgreSQL is not installed: storage in it is not tested");
    }
    cluster.map(Mutex::new)
});

fn fresh_url() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let cluster = CLUSTER.as_ref()?.lock().unwrap();
    Some(cluster.url("postgres", &format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed))))
}

/// Runs SQL, and returns the rows as psql would. Not by psql: a process that is started while
/// another test lets go of a lock on a file keeps that lock for a moment.
fn sql(text: &str) -> String {
    let url = CLUSTER.as_ref().unwrap().lock().unwrap().url("postgres", "x");
    let run = async {
        let config = PostgresUrl::parse(&url).unwrap().config;
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.simple_query(text).await.unwrap()
    };
    let rows = std::thread::scope(|s| s.spawn(|| runtime().block_on(run)).join().unwrap());
    let rows = rows.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            let columns = (0..row.len()).map(|i| row.get(i).unwrap_or(""));
            Some(columns.collect::<Vec<_>>().join("|"))
        }
        _ => None,
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn owner(node: &str, cluster: &str) -> Owner {
    let describe: Describe = |bytes| {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        value.is_object().then(|| value.to_string())
    };
    Owner { node: node.into(), cluster: cluster.into(), fresh: 7, about: "{}".into(), describe }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn open(url: &str, node: &str) -> Result<Opened, StorageError> {
    PostgresStorage::open(&PostgresUrl::parse(url).unwrap(), &owner(node, "c")).await
}

struct PostgresMachine {
    url: String,
    runtime: Runtime,
    storage: Option<PostgresStorage>,
}

/// A machine for the suite; none if PostgreSQL is not installed.
fn machine() -> Option<Box<dyn Machine>> {
    let mut machine = PostgresMachine { url: fresh_url()?, runtime: runtime(), storage: None };
    assert_eq!(machine.restart(0), Recovered::default());
    Some(Box::new(machine))
}

impl Machine for PostgresMachine {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        self.runtime.block_on(self.storage.as_mut().unwrap().commit(writes))
    }

    /// The session ends before the commit, or at some moment of it.
    fn fail_commit(&mut self, writes: Vec<Write>, dice: u64) -> Result<(), StorageError> {
        let end =
            format!("SELECT pg_terminate_backend({})", self.storage.as_ref().unwrap().backend());
        if dice.is_multiple_of(2) {
            sql(&end);
            return match self.commit(writes.clone()) {
                // Nothing to write is no reason to talk to the database.
                Ok(()) if writes.is_empty() => self.commit(vec![record("a", "")]),
                other => other,
            };
        }
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(dice % 20_000));
            sql(&end);
        });
        let result = self.commit(writes);
        killer.join().unwrap();
        result
    }

    fn restart(&mut self, _dice: u64) -> Recovered {
        // The lock goes with the session.
        self.storage = None;
        let opened = self.runtime.block_on(open(&self.url, "n1")).unwrap();
        self.storage = Some(opened.storage);
        opened.recovered
    }
}

#[test]
fn the_promises_of_the_suite_are_kept() {
    for (name, promise) in PROMISES {
        let Some(mut machine) = machine() else { return };
        println!("{name}");
        promise(&mut *machine);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_database_agrees_with_the_model(ops in proptest::collection::vec(any_op(), 1..12)) {
        if let Some(mut machine) = machine() {
            agrees_with_model(&mut *machine, ops);
        }
    }
}

#[test]
fn another_node_another_cluster_and_a_second_process_are_refused() {
    let Some(url) = fresh_url() else { return };
    runtime().block_on(async {
        let opened = open(&url, "n1").await.unwrap();
        assert!(opened.is_new);
        let place = PostgresUrl::parse(&url).unwrap();
        let second = open(&url, "n1").await.unwrap_err().to_string();
        for part in ["in use", "\"seaworthy n1\"", "pg_terminate_backend("] {
            assert!(second.contains(part), "{second}");
        }
        drop(opened);
        let other = open(&url, "n2").await.unwrap_err().to_string();
        assert!(
            other.contains("belongs to node n1") && other.contains("this is node n2"),
            "{other}"
        );
        assert!(other.contains("schema of its own"), "{other}");
        let foreign = PostgresStorage::open(&place, &owner("n1", "d")).await;
        let foreign = foreign.unwrap_err().to_string();
        assert!(
            foreign.contains("cluster \"c\"") && foreign.contains("cluster \"d\""),
            "{foreign}"
        );
        assert!(!open(&url, "n1").await.unwrap().is_new);
    });
}

#[test]
fn a_schema_of_another_program_is_left_alone() {
    let Some(url) = fresh_url() else { return };
    let schema = url.rsplit('=').next().unwrap();
    sql(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.record (a integer)"));
    let why = runtime().block_on(open(&url, "n1")).unwrap_err().to_string();
    assert!(why.contains("another program"), "{why}");
}

#[test]
fn a_database_that_may_lose_what_it_has_committed_is_refused() {
    let Some(url) = fresh_url() else { return };
    let Some(mut own) = PrivateCluster::start(&std::env::temp_dir()) else { return };
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        own.tell(&format!("set {setting} = off"));
        // The processes of the server learn of it one after the other.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while own.sql("postgres", &format!("SHOW {setting}")) != "off" {
            assert!(std::time::Instant::now() < deadline, "{setting}");
        }
        let opened = runtime().block_on(open(&own.url("postgres", "x"), "n1"));
        let why = opened.unwrap_err().to_string();
        assert!(
            why.contains(&format!("{setting} is off")) && why.contains("ALTER SYSTEM"),
            "{why}"
        );
        own.tell(&format!("set {setting} = on"));
        while own.sql("postgres", &format!("SHOW {setting}")) != "on" {
            assert!(std::time::Instant::now() < deadline, "{setting}");
        }
    }
    runtime().block_on(open(&own.url("postgres", "x"), "n1")).unwrap();
    own.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let why = runtime().block_on(open(&own.url("latin", "x"), "n1")).unwrap_err().to_string();
    assert!(why.contains("LATIN1"), "{why}");
    // No session with the other one was affected.
    runtime().block_on(open(&url, "n1")).unwrap();
}

#[test]
fn a_session_waits_for_its_commits_whatever_the_configuration_says_later() {
    let Some(mut own) = PrivateCluster::start(&std::env::temp_dir()) else { return };
    runtime().block_on(async {
        let url = PostgresUrl::parse(&own.url("postgres", "x")).unwrap();
        let session = Session::open(&url, "n1").await.unwrap();
        let ask = "SELECT current_setting('synchronous_commit')";
        own.tell("set synchronous_commit = off");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while own.sql("postgres", ask) != "off" {
            assert!(std::time::Instant::now() < deadline);
        }
        // The session has read the configuration, too, once it knows of another setting in it.
        own.tell("set work_mem = 5MB");
        loop {
            let known: String =
                session.one("SELECT current_setting('work_mem')").await.unwrap().get(0);
            if known == "5MB" {
                break;
            }
            assert!(std::time::Instant::now() < deadline);
        }
        let value: String = session.one(ask).await.unwrap().get(0);
        assert_eq!(value, "on");
    });
}

/// Opens what was written, after the rows were changed by hand.
fn after(change: &str) -> Option<Result<Recovered, StorageError>> {
    let url = fresh_url()?;
    let schema = url.rsplit('=').next().unwrap().to_owned();
    let runtime = runtime();
    runtime.block_on(async {
        let mut storage = open(&url, "n1").await.unwrap().storage;
        let long = vec![7_u8; 2 * pieces::PIECE_BYTES + 5];
        storage.commit(vec![checkpoint("s", long)]).await.unwrap();
        for text in ["a", "b", "c"] {
            storage.commit(vec![record("s", text)]).await.unwrap();
        }
    });
    sql(&format!("SET search_path TO {schema}; {change}"));
    Some(runtime.block_on(open(&url, "n1")).map(|opened| opened.recovered))
}

#[test]
fn damage_that_no_crash_explains_is_an_error() {
    for (change, told) in [
        ("DELETE FROM record WHERE number = 3", "record 3 of stream s is missing"),
        ("UPDATE record SET bytes = 'x' WHERE number = 2", "does not match its checksum"),
        ("DELETE FROM checkpoint", "record 1 of stream s is missing"),
        ("DELETE FROM piece WHERE part = 1", "a piece is missing"),
        ("UPDATE piece SET part = 9 WHERE part = 2", "a piece is missing"),
        ("UPDATE piece SET bytes = 'x' WHERE part = 2", "does not match its checksum"),
        ("UPDATE checkpoint SET length = length - 1", "its length is another"),
        ("UPDATE stream SET next = 3", "different moments"),
        ("DELETE FROM stream", "that the table stream lacks"),
        ("ALTER TABLE record SET UNLOGGED", "not logged"),
        ("UPDATE node SET format = 2", "format 2"),
    ] {
        let Some(opened) = after(change) else { return };
        let why = opened.unwrap_err().to_string();
        assert!(why.contains(told), "{change}: {why}");
    }
}

#[test]
fn a_tail_that_is_gone_is_told_until_the_stream_is_written_to() {
    let Some(url) = fresh_url() else { return };
    let schema = url.rsplit('=').next().unwrap().to_owned();
    runtime().block_on(async {
        let mut storage = open(&url, "n1").await.unwrap().storage;
        storage.commit(vec![record("s", "a"), record("s", "b"), record("s", "c")]).await.unwrap();
        drop(storage);
        sql(&format!("DELETE FROM {schema}.record WHERE number > 1"));
        for _ in 0..2 {
            let found = open(&url, "n1").await.unwrap().recovered.take("s");
            assert!(found.lost.as_ref().unwrap().contains("records 2 to 3"), "{found:?}");
        }
        let mut storage = open(&url, "n1").await.unwrap().storage;
        storage.commit(vec![record("s", "d")]).await.unwrap();
        drop(storage);
        assert_eq!(open(&url, "n1").await.unwrap().recovered.take("s"), log(None, &["a", "d"]));
    });
}

#[test]
fn a_second_writer_that_no_lock_stops_cannot_write() {
    let Some(url) = fresh_url() else { return };
    let schema = url.rsplit('=').next().unwrap().to_owned();
    runtime().block_on(async {
        let mut storage = open(&url, "n1").await.unwrap().storage;
        storage.commit(vec![record("s", "a")]).await.unwrap();
        sql(&format!("UPDATE {schema}.stream SET next = 9"));
        let why = storage.commit(vec![record("s", "b")]).await.unwrap_err().to_string();
        assert!(why.contains("another process has written"), "{why}");
        assert_eq!(sql(&format!("SELECT count(*) FROM {schema}.record")), "1");
    });
}

#[test]
fn the_log_can_be_read_and_shows_the_entries_in_force() {
    let Some(url) = fresh_url() else { return };
    let schema = url.rsplit('=').next().unwrap().to_owned();
    runtime().block_on(async {
        let mut storage = open(&url, "n1").await.unwrap().storage;
        let entry = |index: u64, term: u64, key: &str| {
            format!(r#"{{"index":{index},"term":{term},"operation":"put","key":"{key}"}}"#)
        };
        let entries = |list: &[String]| format!(r#"{{"entries":[{}]}}"#, list.join(","));
        storage
            .commit(vec![
                record("s", r#"{"term":1,"vote":"n2"}"#),
                record("s", entries(&[entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")])),
                record("s", "not for people"),
            ])
            .await
            .unwrap();
        // A follower whose log conflicts from the second entry on.
        let replaced = entries(&[entry(2, 2, "x")]);
        storage
            .commit(vec![record("s", replaced), record("s", r#"{"term":2,"vote":null}"#)])
            .await
            .unwrap();
        let rows = sql(&format!("SELECT index, term, operation, key FROM {schema}.log"));
        assert_eq!(rows, "1|1|put|a\n2|2|put|x");
        assert_eq!(sql(&format!("SELECT term, voted_for FROM {schema}.vote")), "2|");
        let kept = entries(&[entry(2, 2, "x")]);
        storage.commit(vec![checkpoint("s", kept)]).await.unwrap();
        storage.commit(vec![record("s", entries(&[entry(3, 2, "y")]))]).await.unwrap();
        let rows = sql(&format!("SELECT index, term, operation, key FROM {schema}.log"));
        assert_eq!(rows, "2|2|put|x\n3|2|put|y");
    });
}

#[test]
fn values_beside_the_streams_are_there_or_not() {
    let Some(url) = fresh_url() else { return };
    let schema = url.rsplit('=').next().unwrap().to_owned();
    runtime().block_on(async {
        let mut storage = open(&url, "n1").await.unwrap().storage;
        let beside = PostgresBeside::new(PostgresUrl::parse(&url).unwrap(), "n1".into());
        let long: Vec<u8> = (0..20 * pieces::PIECE_BYTES + 1).map(|i| (i >> 9) as u8).collect();
        for (number, bytes) in [(3, &b""[..]), (5, &long), (7, b"c")] {
            beside.write(number, bytes).await.unwrap();
            beside.write(number, b"other").await.unwrap();
            assert_eq!(beside.read(number).await.unwrap(), bytes);
        }
        assert_eq!(sql(&format!("SELECT count(*) FROM {schema}.piece WHERE number = 5")), "21");
        // They are no stream, and a checkpoint of one leaves them alone.
        storage.commit(vec![checkpoint("s", "C"), checkpoint("t", "")]).await.unwrap();
        beside.remove_older(5, false).await.unwrap();
        assert!(beside.read(3).await.unwrap_err().to_string().contains("missing"));
        beside.remove_older(5, true).await.unwrap();
        assert!(beside.read(7).await.is_err());
        assert_eq!(beside.read(5).await.unwrap(), long);
        drop(storage);
        let mut recovered = open(&url, "n1").await.unwrap().recovered;
        assert_eq!(recovered.streams().collect::<Vec<_>>(), ["s", "t"]);
        assert_eq!(recovered.take("s"), log(Some("C"), &[]));
    });
}

#[test]
fn the_loss_of_an_idle_session_is_told_with_its_reason() {
    let Some(url) = fresh_url() else { return };
    runtime().block_on(async {
        let mut storage = open(&url, "n1").await.unwrap().storage;
        let lost = storage.lost();
        // It is idle once the last statement of the start is closed.
        tokio::time::sleep(Duration::from_millis(100)).await;
        sql(&format!("SELECT pg_terminate_backend({})", storage.backend()));
        let why = lost.await.to_string();
        assert!(why.contains("administrator command"), "{why}");
        let why = storage.commit(vec![record("s", "a")]).await.unwrap_err().to_string();
        assert!(why.contains("administrator command"), "{why}");
    });
}
