//! Where the database is, and which schema of it.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::error::reason;

/// A database and a schema in it: `postgres://USER@HOST:PORT/DATABASE?schema=NAME`, with all
/// parameters that libpq knows.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) schema: String,
}

const DEFAULT_SCHEMA: &str = "seaworthy";
/// PostgreSQL cuts longer names, in silence.
const MAX_NAME_BYTES: usize = 63;

impl PostgresUrl {
    /// Whether `text` is meant to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence about the part that is wrong.
    pub fn parse(text: &str) -> Result<PostgresUrl, String> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut schema = DEFAULT_SCHEMA.to_owned();
        let mut others = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.strip_prefix("schema=") {
                Some(name) => name.clone_into(&mut schema),
                None => others.push(parameter),
            }
            let mode = parameter.strip_prefix("sslmode=");
            if mode.is_some_and(|mode| ["require", "verify-ca", "verify-full"].contains(&mode)) {
                return Err(format!(
                    "{parameter} asks for TLS to the database, which this program does not have: \
                     connect over a Unix socket (host=/run/postgresql) or through a tunnel on this \
                     machine, and leave sslmode out"
                ));
            }
        }
        let libpq = match others.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", others.join("&")),
        };
        let mut config: Config = libpq.parse().map_err(|e| reason(&e))?;
        if config.get_hosts().is_empty() {
            return Err("the URL names no host".to_owned());
        }
        // A database whose machine is gone must not hold a commit for hours.
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(20));
        }
        if !query.contains("keepalives") {
            config.keepalives_idle(Duration::from_secs(10));
            config.keepalives_interval(Duration::from_secs(5));
            config.keepalives_retries(3);
        }
        PostgresUrl { config, schema: String::new() }.with_schema(schema)
    }

    /// The same database, and in it the schema of one node of several.
    ///
    /// # Errors
    /// If that is no name for a schema.
    pub fn of_node(&self, node: &str) -> Result<PostgresUrl, String> {
        self.clone().with_schema(format!("{}_{node}", self.schema))
    }

    pub(super) fn with_schema(self, schema: String) -> Result<PostgresUrl, String> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
        let is_reserved = schema.starts_with("pg_");
        if !(1..=MAX_NAME_BYTES).contains(&schema.len())
            || !schema.bytes().all(is_plain)
            || is_reserved
        {
            return Err(format!(
                "{schema:?} cannot name a schema: a name has 1 to {MAX_NAME_BYTES} lower-case letters, \
                 digits, dots, dashes and underscores, and does not begin with pg_"
            ));
        }
        Ok(PostgresUrl { schema, ..self })
    }

    /// The place for people: without the password.
    pub fn place(&self) -> String {
        let host = |(i, host): (usize, &Host)| {
            let port = self.config.get_ports();
            let port = port.get(i).or(port.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}/.s.PGSQL.{port}", path.display()),
            }
        };
        let hosts: Vec<String> = self.config.get_hosts().iter().enumerate().map(host).collect();
        let user = self.config.get_user().unwrap_or("");
        let database = self.config.get_dbname().unwrap_or(user);
        format!("schema {} of database {database} at {}", self.schema, hosts.join(","))
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_database_and_a_schema_and_shows_no_password() {
        let place = |text: &str| PostgresUrl::parse(text).map(|url| url.place());
        let plain = place("postgres://me:secret@db.example/app").unwrap();
        assert_eq!(plain, "schema seaworthy of database app at db.example:5432");
        let url = "postgresql://me@/app?host=/run/pg&schema=n1&port=5433&connect_timeout=3";
        assert_eq!(place(url).unwrap(), "schema n1 of database app at /run/pg/.s.PGSQL.5433");
        let node = PostgresUrl::parse(url).unwrap().of_node("n2").unwrap();
        assert!(node.place().starts_with("schema n1_n2 of"));
        for wrong in ["schema=", "schema=pg_x", "schema=a%22b", "shema=a", "schema=A"] {
            place(&format!("postgres://h/d?{wrong}")).unwrap_err();
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            let why = place(&format!("postgres://h/d?schema=n1&sslmode={mode}")).unwrap_err();
            assert!(why.contains("does not have: connect over a Unix socket"), "{why}");
        }
        place("postgres://h/d?sslmode=disable").unwrap();
        assert!(place("postgres:///d").unwrap_err().contains("no host"));
    }
}
