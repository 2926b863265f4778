//! TLS to the database of `--store postgres://...`: the databases that each `sslmode` accepts, and a server that lives
//! with it. Skipped where PostgreSQL is not installed.

#![cfg(feature = "postgres")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../src/storage/postgres/private_cluster.rs"]
mod private_cluster;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use private_cluster::PrivateCluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use support::{Cluster, free_port, http, wait_for};
use tempfile::TempDir;

/// An authority of its own: NAME.pem in `dir`.
fn authority(dir: &Path, name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), issuer.pem()).unwrap();
    issuer
}

/// Certificates: the database's names localhost, and not 127.0.0.1. Its user may read them.
fn certificates() -> TempDir {
    let dir = TempDir::new().unwrap();
    let issuer = authority(dir.path(), "ca");
    authority(dir.path(), "other");
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(dir.path().join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.path().join("server.key"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A database that listens at a port of this machine.
fn database(certificates: Option<&Path>) -> Option<PrivateCluster> {
    let Some(mut database) = PrivateCluster::start(Path::new("/tmp")) else {
        println!("PostgreSQL is not installed: TLS to it is not tested");
        return None;
    };
    database.listen(free_port(), certificates);
    Some(database)
}

/// The program's words about a schema without data, at this host and with these parameters.
fn look(database: &PrivateCluster, host: &str, parameters: &str) -> String {
    let url = format!("postgres://postgres@{host}:{}/postgres?{parameters}", database.port);
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy-server"));
    let output = program.args(["log", &url]).output().unwrap();
    assert!(!output.status.success(), "there is no data: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The words of a session that was made.
const CONNECTED: &str = "no node has its data there";

#[test]
fn each_mode_accepts_what_libpq_accepts_and_refuses_the_rest() {
    let files = certificates();
    let Some(database) = database(Some(files.path())) else { return };
    let file = |name: &str| format!("sslrootcert={}", files.path().join(name).display());
    let (ours, other) = (file("ca.pem"), file("other.pem"));
    for (host, parameters, words) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), CONNECTED),
        ("127.0.0.1", "sslmode=require".to_owned(), CONNECTED),
        ("127.0.0.1", format!("sslmode=require&{ours}"), CONNECTED),
        ("127.0.0.1", format!("sslmode=require&{other}"), "UnknownIssuer"),
        ("127.0.0.1", format!("sslmode=verify-ca&{ours}"), CONNECTED),
        ("localhost", format!("sslmode=verify-ca&{other}"), "UnknownIssuer"),
        ("localhost", format!("sslmode=verify-full&{ours}"), CONNECTED),
        ("127.0.0.1", format!("sslmode=verify-full&{ours}"), "not valid for name"),
        ("localhost", format!("sslmode=verify-full&{other}"), "UnknownIssuer"),
        ("localhost", format!("sslmode=verify-full&{}", file("none.pem")), "none.pem: "),
        ("localhost", format!("sslmode=verify-full&{}", file("server.key")), "server.key: "),
        ("localhost", "sslmode=prefer".to_owned(), "plain text in silence"),
    ] {
        let told = look(&database, host, &parameters);
        assert!(told.contains(words), "{host} {parameters}: {told}");
    }
}

#[test]
fn a_database_without_tls_is_refused_and_never_spoken_to_in_plain_text() {
    let files = certificates();
    let Some(database) = database(None) else { return };
    let ours = format!("sslrootcert={}", files.path().join("ca.pem").display());
    for parameters in ["sslmode=require", &format!("sslmode=verify-full&{ours}")] {
        let told = look(&database, "localhost", parameters);
        assert!(told.contains("server does not support TLS"), "{parameters}: {told}");
    }
    assert!(look(&database, "localhost", "schema=n1").contains(CONNECTED));
}

#[test]
fn a_server_keeps_its_log_and_its_snapshots_over_tls_alone() {
    let files = certificates();
    let Some(mut database) = database(Some(files.path())) else { return };
    let ca = files.path().join("ca.pem");
    let url = format!(
        "postgres://postgres@localhost:{}/postgres?schema=n0&sslmode=verify-full&sslrootcert={}",
        database.port,
        ca.display()
    );
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 1);
    cluster.add_flag("--store", &url);
    cluster.add_flag("--snapshot-bytes", "20000");
    cluster.start_one(0);
    cluster.wait_healthy();
    let value = "v".repeat(1000);
    for n in 0..60 {
        let path = format!("/v1/k{n}");
        let answer = http(cluster.servers[0].port, "PUT", &path, value.as_bytes());
        assert_eq!(answer.unwrap().0, 201);
    }
    wait_for("a state", Duration::from_secs(20), || {
        let count = "SELECT count(*) FROM n0.checkpoint WHERE stream = ':states'";
        database.sql("postgres", count) != "0"
    });
    let sessions = "SELECT count(*), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE application_name = 'seaworthy n0'";
    assert!(database.sql("postgres", sessions).ends_with("|t"), "all are encrypted");
    // It comes back with everything, and does not come up when the certificate is no longer good.
    cluster.kill(0);
    cluster.start_one(0);
    cluster.wait_healthy();
    let (status, body) = http(cluster.servers[0].port, "GET", "/v1/k59", b"").unwrap();
    assert_eq!((status, body), (200, value.into_bytes()));
    std::fs::copy(files.path().join("other.pem"), &ca).unwrap();
    database.tell("kill");
    database.tell("start");
    assert_eq!(cluster.wait_for_end(0), Some(1), "the session has ended");
    cluster.start_one(0);
    assert_eq!(cluster.wait_for_end(0), Some(1), "another authority");
    assert!(cluster.log("n0").contains("UnknownIssuer"), "{}", cluster.log("n0"));
}
