//! The session with the database: how it begins, what it demands, and how it ends.

use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::error::reason;
use super::url::PostgresUrl;
use crate::storage::StorageError;

/// How often, and for how long, a start waits for the lock of an earlier process, whose
/// session the database may not have ended yet, and for a database that itself starts.
const ATTEMPTS: u32 = 50;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);
/// The high half of the advisory lock's key, "SWDB"; the low half is the schema's object id.
const LOCK_CLASS: u32 = 0x5357_4442;

/// The settings without which a commit is not durable, with the values that are refused.
const DURABILITY: [(&str, &str); 3] =
    [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")];

/// A session.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) place: String,
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) backend: i32,
    end: watch::Receiver<Option<String>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a session with {}", self.place)
    }
}

impl Session {
    /// Connects, and refuses a database that does not keep what it has committed.
    pub(super) async fn open(url: &PostgresUrl, node: &str) -> Result<Session, StorageError> {
        let place = url.place();
        let mut config = url.config.clone();
        if config.get_application_name().is_none() {
            config.application_name(format!("seaworthy {node}"));
        }
        let failed = |reason| StorageError { place: place.clone(), reason };
        let connector = url.security.connector().map_err(failed)?;
        let mut attempts = 0..ATTEMPTS;
        let (client, connection) = loop {
            match config.connect(connector.clone()).await {
                Ok(both) => break both,
                Err(e) if e.code() == Some(&SqlState::CANNOT_CONNECT_NOW) => {
                    attempts.next().ok_or_else(|| failed(reason(&e)))?;
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                Err(e) => return Err(failed(format!("cannot connect: {}", reason(&e)))),
            }
        };
        let (ended, end) = watch::channel(None);
        tokio::spawn(async move {
            let why = match connection.await {
                Ok(()) => "the session was closed".to_owned(),
                Err(e) => format!("the session with the database ended: {}", reason(&e)),
            };
            let _ = ended.send(Some(why));
        });
        let mut session = Session { client, place, backend: 0, end };
        session.backend = session.one("SELECT pg_backend_pid()").await?.get(0);
        // Limits that an administrator set for short queries end no session that is idle for hours.
        session
            .one(
                "SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN \
                 ('statement_timeout', 'lock_timeout', 'idle_session_timeout', \
                 'idle_in_transaction_session_timeout', 'transaction_timeout')",
            )
            .await?;
        session
            .one("SELECT set_config('default_transaction_isolation', 'read committed', false)")
            .await?;
        session.demand_durability().await?;
        // A setting of the session's own outlasts a reload of the configuration. With one that is
        // turned off while the database runs, its end would lose what was acknowledged.
        let pinned =
            "set_config('synchronous_commit', current_setting('synchronous_commit'), false)";
        session.one(&format!("SELECT {pinned}")).await?;
        Ok(session)
    }

    /// Refuses settings with which a commit may be answered and lost, or its text not be written.
    pub(super) async fn demand_durability(&self) -> Result<(), StorageError> {
        for (setting, refused) in DURABILITY {
            let value: String =
                self.one(&format!("SELECT current_setting('{setting}')")).await?.get(0);
            if value == refused {
                return Err(self.error(format!(
                    "{setting} is {value}: the database may lose what it has committed. Set it to on \
                     (ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf(); and no other value \
                     for this database or role), or use another database"
                )));
            }
        }
        if self.one("SELECT pg_is_in_recovery()").await?.get(0) {
            return Err(self.error("it is a standby, and takes no writes".to_owned()));
        }
        let encoding: String = self.one("SELECT current_setting('server_encoding')").await?.get(0);
        match encoding.as_str() {
            "UTF8" => Ok(()),
            other => Err(self.error(format!(
                "the database's encoding is {other}, and must be UTF8: CREATE DATABASE ... ENCODING \
                 'UTF8' TEMPLATE template0"
            ))),
        }
    }

    /// Takes the lock of the schema, for as long as the session lasts.
    pub(super) async fn lock(&self, url: &PostgresUrl, node: &str) -> Result<(), StorageError> {
        let key = format!(
            "({}::bigint << 32) | (SELECT oid::bigint FROM pg_namespace WHERE nspname = '{}')",
            LOCK_CLASS, url.schema
        );
        for _ in 0..ATTEMPTS {
            if self.one(&format!("SELECT pg_try_advisory_lock({key})")).await?.get(0) {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        let holder = self
            .client
            .query_opt(
                &format!(
                    "SELECT pid, application_name, coalesce(host(client_addr), 'this machine') \
                     FROM pg_locks JOIN pg_stat_activity USING (pid) \
                     WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
                     AND (classid::bigint << 32 | objid::bigint) = ({key})"
                ),
                &[],
            )
            .await
            .map_err(|e| self.failed("look for the holder of the lock", &e))?;
        let (who, remedy) = match holder {
            Some(row) => {
                let (pid, name, host): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
                let remedy = format!("SELECT pg_terminate_backend({pid})");
                (format!("{name:?} from {host}, process {pid} of the database,"), remedy)
            }
            None => ("another session".to_owned(), "SELECT pg_terminate_backend(PID)".to_owned()),
        };
        Err(self.error(format!(
            "in use: {who} holds the lock. Stop that process, or, if its machine is gone, end its \
             session ({remedy}); or give {node} a schema of its own (?schema=NAME)"
        )))
    }

    /// The one row of a query.
    pub(super) async fn one(&self, query: &str) -> Result<Row, StorageError> {
        self.client.query_one(query, &[]).await.map_err(|e| self.failed(query, &e))
    }

    pub(super) fn error(&self, reason: String) -> StorageError {
        StorageError { place: self.place.clone(), reason }
    }

    /// An error of the database; `what` is the action that failed.
    pub(super) fn failed(&self, what: &str, error: &tokio_postgres::Error) -> StorageError {
        self.error(format!("cannot {what}: {}", reason(error)))
    }

    /// The same, with the reason for which the session ended, if it did.
    pub(super) async fn failed_with_end(
        &self,
        what: &str,
        error: &tokio_postgres::Error,
    ) -> StorageError {
        match error.is_closed() || self.client.is_closed() {
            true => self.error(format!("cannot {what}: {}", self.ended().await)),
            false => self.failed(what, error),
        }
    }

    /// Waits for the end of the session, and says why it ended.
    pub(super) fn ended(&self) -> impl Future<Output = String> + Send + 'static {
        let mut end = self.end.clone();
        async move {
            let why = end.wait_for(Option::is_some).await.map(|why| why.clone());
            why.ok().flatten().unwrap_or_else(|| "the session with the database ended".to_owned())
        }
    }
}
