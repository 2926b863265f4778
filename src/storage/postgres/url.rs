//! Where the database is, and which schema of it.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::error::reason;
use super::tls::Security;

/// A database and a schema in it: `postgres://USER@HOST:PORT/DATABASE?schema=NAME`, with all
/// parameters that libpq and `tokio_postgres` know, and of TLS `sslmode` and `sslrootcert`.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) security: Security,
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
        let (mut mode, mut authorities, mut others) = (None, None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("schema", name)) => name.clone_into(&mut schema),
                Some(("sslmode", name)) => mode = Some(name),
                Some(("sslrootcert", file)) => authorities = Some(decode(file)?),
                _ => others.push(parameter),
            }
        }
        let mut security = Security::parse(mode, authorities)?;
        let libpq = match others.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", others.join("&")),
        };
        let mut config: Config = libpq.parse().map_err(|e| reason(&e))?;
        if config.get_hosts().is_empty() {
            return Err("the URL names no host".to_owned());
        }
        // Nothing can listen in on a Unix socket: as in libpq, it has no TLS.
        if config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_))) {
            security = Security::Plain;
        }
        config.ssl_mode(match security {
            Security::Plain => SslMode::Disable,
            _ => SslMode::Require,
        });
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
        PostgresUrl { config, security, schema: String::new() }.with_schema(schema)
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

/// Undoes the escapes of a URL.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} has a % that begins no escape of UTF-8");
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(escape, 16).map_err(|_| wrong())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
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
        assert!(place("postgres:///d").unwrap_err().contains("no host"));
    }

    #[test]
    fn a_url_says_how_the_session_is_protected_and_nothing_falls_back_to_plain_text() {
        let parse = |query: &str| PostgresUrl::parse(&format!("postgres://h/d?{query}"));
        let mode = |query: &str| parse(query).map(|url| (url.security, url.config.get_ssl_mode()));
        let verified = |names_host| {
            let authorities = "/a b/ca.pem".into();
            Ok((Security::Verified { authorities, names_host }, SslMode::Require))
        };
        assert_eq!(mode(""), Ok((Security::Plain, SslMode::Disable)));
        assert_eq!(mode("sslmode=disable"), Ok((Security::Plain, SslMode::Disable)));
        assert_eq!(mode("sslmode=require"), Ok((Security::Encrypted, SslMode::Require)));
        let file = "sslrootcert=/a%20b/ca.pem";
        assert_eq!(mode(&format!("sslmode=require&{file}")), verified(false));
        assert_eq!(mode(&format!("{file}&schema=n1&sslmode=verify-ca")), verified(false));
        assert_eq!(mode(&format!("sslmode=verify-full&{file}")), verified(true));
        let socket = PostgresUrl::parse("postgres://u@/d?host=/run/pg&sslmode=require").unwrap();
        assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable);
        for (query, part) in [
            ("sslmode=verify-full", "needs sslrootcert=FILE"),
            ("sslmode=verify-ca&sslrootcert=", "needs sslrootcert=FILE"),
            ("sslmode=prefer", "plain text in silence"),
            ("sslmode=allow", "plain text in silence"),
            ("sslmode=on", "sslmode=on is none"),
            ("sslrootcert=/ca.pem", "no use without"),
            ("sslmode=require&sslrootcert=system", "name a file"),
            ("sslmode=require&sslrootcert=%2", "begins no escape"),
        ] {
            let why = parse(query).map(|url| url.place()).unwrap_err();
            assert!(why.contains(part), "{query}: {why}");
        }
    }
}
