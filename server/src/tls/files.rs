//! Certificates, keys and authorities in files, and the flags that name them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

/// etcd's flags for TLS.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsFlags {
    /// The certificate to show to clients, and those between it and its CA, in PEM form
    #[arg(long, env = "SEAWORTHY_CERT_FILE", value_name = "FILE")]
    pub cert_file: Option<PathBuf>,
    /// The key of --cert-file
    #[arg(long, env = "SEAWORTHY_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Clients must show a certificate of --trusted-ca-file; its common name is a user
    #[arg(long, env = "SEAWORTHY_CLIENT_CERT_AUTH")]
    pub client_cert_auth: bool,
    /// The authorities of clients' certificates
    #[arg(long, env = "SEAWORTHY_TRUSTED_CA_FILE", value_name = "FILE")]
    pub trusted_ca_file: Option<PathBuf>,
    /// The certificate to show to other servers
    #[arg(long, env = "SEAWORTHY_PEER_CERT_FILE", value_name = "FILE")]
    pub peer_cert_file: Option<PathBuf>,
    /// The key of --peer-cert-file
    #[arg(long, env = "SEAWORTHY_PEER_KEY_FILE", value_name = "FILE")]
    pub peer_key_file: Option<PathBuf>,
    /// Other servers must show a certificate of --peer-trusted-ca-file
    #[arg(long, env = "SEAWORTHY_PEER_CLIENT_CERT_AUTH")]
    pub peer_client_cert_auth: bool,
    /// The authorities of other servers' certificates
    #[arg(long, env = "SEAWORTHY_PEER_TRUSTED_CA_FILE", value_name = "FILE")]
    pub peer_trusted_ca_file: Option<PathBuf>,
}

/// The files of one side: clients, or other servers.
#[derive(Clone, Debug)]
pub struct Files {
    /// "--" or "--peer-", for messages.
    prefix: &'static str,
    cert: PathBuf,
    key: PathBuf,
    trusted: Option<PathBuf>,
    /// The flag that asks for certificates was given.
    pub(super) wants_certificates: bool,
    /// Protocols that may be agreed on.
    protocols: &'static [&'static [u8]],
}

/// When a file was changed, and its size; `None` if it cannot be looked at.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// The files, as rustls has them.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl TlsFlags {
    /// The files for clients, if `urls`, where they are listened for, ask for TLS.
    ///
    /// # Errors
    /// If flags and URLs contradict each other.
    pub fn for_clients(&self, urls: &str) -> anyhow::Result<Option<Files>> {
        let TlsFlags { cert_file, key_file, trusted_ca_file, client_cert_auth, .. } = self;
        let pair = (cert_file.as_ref(), key_file.as_ref(), trusted_ca_file.as_ref());
        files("--", "--listen-client-urls", urls, pair, *client_cert_auth, &[b"h2", b"http/1.1"])
    }

    /// The files for other servers.
    ///
    /// # Errors
    /// If flags and URLs contradict each other.
    pub fn for_peers(&self, urls: &str) -> anyhow::Result<Option<Files>> {
        let cert = (&self.peer_cert_file, &self.peer_key_file, &self.peer_trusted_ca_file);
        let pair = (cert.0.as_ref(), cert.1.as_ref(), cert.2.as_ref());
        let asks = self.peer_client_cert_auth;
        let files = files("--peer-", "--listen-peer-urls", urls, pair, asks, &[])?;
        if let Some(files) = &files {
            ensure!(
                files.trusted.is_some(),
                "--listen-peer-urls has https://: give --peer-trusted-ca-file, by which this \
                 server checks the certificates of the others"
            );
        }
        Ok(files)
    }
}

fn files(
    prefix: &'static str,
    flag: &str,
    urls: &str,
    (cert, key, trusted): (Option<&PathBuf>, Option<&PathBuf>, Option<&PathBuf>),
    wants_certificates: bool,
    protocols: &'static [&'static [u8]],
) -> anyhow::Result<Option<Files>> {
    if !urls.contains("https://") {
        let is_any = cert.or(key).or(trusted).is_some() || wants_certificates;
        ensure!(
            !is_any,
            "{prefix}cert-file or one of its companions is given, but {flag} is {urls}, without \
             TLS: write https:// there, or leave the files out"
        );
        return Ok(None);
    }
    let (Some(cert), Some(key)) = (cert, key) else {
        bail!("{flag} has https://: give {prefix}cert-file and {prefix}key-file");
    };
    ensure!(
        trusted.is_some() || !wants_certificates,
        "{prefix}client-cert-auth needs {prefix}trusted-ca-file: whose certificates count?"
    );
    let (cert, key, trusted) = (cert.clone(), key.clone(), trusted.cloned());
    Ok(Some(Files { prefix, cert, key, trusted, wants_certificates, protocols }))
}

impl Files {
    /// Whether there is an authority by which a server that is dialled can be checked.
    pub(super) fn checks_servers(&self) -> bool {
        self.trusted.is_some()
    }

    pub(super) fn stamps(&self) -> Vec<Stamp> {
        let paths = [Some(&self.cert), Some(&self.key), self.trusted.as_ref()];
        let stamp = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        paths.into_iter().flatten().map(|path| stamp(path)).collect()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The flag, the file, and the reason.
    pub(super) fn load(&self) -> anyhow::Result<Loaded> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&format!("{}cert-file", self.prefix), &self.cert)?;
        let key = self.private_key()?;
        self.tell_validity(&chain[0])?;
        let roots = match &self.trusted {
            Some(path) => Some(self.authorities(path)?),
            None => None,
        };
        let server = self.server(&provider, chain.clone(), key.clone_key(), roots.clone())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.unwrap_or_else(|| Arc::new(RootCertStore::empty())))
            .with_client_auth_cert(chain, key)
            .map_err(|e| self.no_pair(&e))?;
        Ok(Loaded { server, client: Arc::new(client) })
    }

    fn server(
        &self,
        provider: &Arc<CryptoProvider>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        roots: Option<Arc<RootCertStore>>,
    ) -> anyhow::Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match roots {
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                builder.with_client_cert_verifier(verifier.build()?)
            }
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(|e| self.no_pair(&e))?;
        server.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(server))
    }

    fn private_key(&self) -> anyhow::Result<PrivateKeyDer<'static>> {
        let (prefix, path) = (self.prefix, self.key.display());
        PrivateKeyDer::from_pem_file(&self.key).map_err(|e| {
            anyhow!("{prefix}key-file {path}: no private key in PEM form without a password: {e}")
        })
    }

    fn authorities(&self, path: &Path) -> anyhow::Result<Arc<RootCertStore>> {
        let flag = format!("{}trusted-ca-file", self.prefix);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&flag, path)? {
            let added = roots.add(certificate);
            added.with_context(|| format!("{flag} {}: no authority", path.display()))?;
        }
        Ok(Arc::new(roots))
    }

    fn no_pair(&self, error: &tokio_rustls::rustls::Error) -> anyhow::Error {
        let (prefix, cert, key) = (self.prefix, self.cert.display(), self.key.display());
        anyhow!("{prefix}cert-file {cert} and {prefix}key-file {key} do not fit: {error}")
    }

    /// Tells until when the certificate is valid. One that is not is no reason to stay away: a
    /// restart must not turn a warning into an outage.
    fn tell_validity(&self, certificate: &CertificateDer<'_>) -> anyhow::Result<()> {
        let (prefix, path) = (self.prefix, self.cert.display());
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|e| anyhow!("{prefix}cert-file {path}: {e}"))?;
        let (subject, validity) = (parsed.subject(), parsed.validity());
        match validity.is_valid() {
            true => {
                tracing::info!("TLS with {path}: {subject}, valid until {}", validity.not_after)
            }
            false => tracing::error!(
                "TLS with {path}: {subject} is valid from {} to {}, and so not now: the others \
                 will refuse it. Put a new certificate there; it is read without a restart",
                validity.not_before,
                validity.not_after
            ),
        }
        Ok(())
    }
}

/// Reads certificates: at least one.
fn certificates(flag: &str, path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("{flag} {}: no certificates in PEM form", path.display());
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.with_context(wrong)?;
    ensure!(!found.is_empty(), wrong());
    Ok(found)
}

/// The common name of a certificate that was verified.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned()).filter(|name| !name.is_empty())
}
