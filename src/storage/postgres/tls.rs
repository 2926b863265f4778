//! TLS to the database, with libpq's meaning of `sslmode` and `sslrootcert`.
//!
//! `require` encrypts, and looks at no certificate unless there is a file of authorities; `verify-ca` demands
//! a certificate of one of them, `verify-full` also that it names the host. None of them falls back to
//! plain text. `allow` and `prefer` would, in silence, so there are none.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// The protection of the session with the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// None.
    Plain,
    /// Encryption; the database may be any.
    Encrypted,
    /// Encryption, and a certificate of one of the authorities in a file.
    Verified { authorities: PathBuf, names_host: bool },
}

impl Security {
    /// The protection that a URL asks for.
    pub(super) fn parse(mode: Option<&str>, authorities: Option<String>) -> Result<Self, String> {
        let authorities = authorities.filter(|file| !file.is_empty()).map(PathBuf::from);
        if authorities.as_ref().is_some_and(|file| file.as_os_str() == "system") {
            return Err(
                "sslrootcert=system is not known here: name a file of authorities".to_owned()
            );
        }
        match (mode, authorities) {
            (None | Some("disable"), None) => Ok(Security::Plain),
            (None | Some("disable"), Some(_)) => {
                Err("sslrootcert has no use without sslmode=verify-full, verify-ca or require"
                    .to_owned())
            }
            (Some("require"), None) => Ok(Security::Encrypted),
            (Some("require" | "verify-ca"), Some(authorities)) => {
                Ok(Security::Verified { authorities, names_host: false })
            }
            (Some("verify-full"), Some(authorities)) => {
                Ok(Security::Verified { authorities, names_host: true })
            }
            (Some(mode @ ("verify-ca" | "verify-full")), None) => Err(format!(
                "sslmode={mode} needs sslrootcert=FILE, with the authorities whose certificates count"
            )),
            (Some(mode @ ("allow" | "prefer")), _) => Err(format!(
                "sslmode={mode} would fall back to plain text in silence: write disable, require, \
                 verify-ca or verify-full"
            )),
            (Some(mode), _) => Err(format!(
                "sslmode={mode} is none: there are disable, require, verify-ca and verify-full"
            )),
        }
    }

    /// The way to make connections. The file is read now, so that a renewed one counts for the next session.
    pub(super) fn connector(&self) -> Result<Connector, String> {
        let (authorities, names_host) = match self {
            Security::Plain => return Ok(Connector(None)),
            Security::Encrypted => (None, false),
            Security::Verified { authorities, names_host } => (Some(authorities), *names_host),
        };
        let provider = Arc::new(ring::default_provider());
        let chains = match authorities {
            None => None,
            Some(file) => {
                let wrong = |why| format!("sslrootcert {}: {why}", file.display());
                let roots = Arc::new(read(file).map_err(wrong)?);
                let builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                Some(builder.build().map_err(|e| wrong(e.to_string()))?)
            }
        };
        let verifier = Arc::new(Verifier { provider: provider.clone(), chains, names_host });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = config.with_no_client_auth();
        // PostgreSQL 17 demands it if TLS begins without a question (sslnegotiation=direct).
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Connector(Some(Arc::new(config))))
    }
}

/// Reads authorities: at least one.
fn read(file: &PathBuf) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| e.to_string())? {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    match roots.is_empty() {
        true => Err("no certificates in PEM form".to_owned()),
        false => Ok(roots),
    }
}

/// Decides about the certificate of a database.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Verifies chains and, after them, names. None accepts every certificate.
    chains: Option<Arc<WebPkiServerVerifier>>,
    names_host: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chains) = &self.chains else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last, so the chain is a good one.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names_host => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Makes connections of TLS, if there is to be any.
#[derive(Clone)]
pub(super) struct Connector(Option<Arc<ClientConfig>>);

/// One handshake that is to be made.
pub(super) struct Handshake {
    config: Option<Arc<ClientConfig>>,
    host: String,
}

/// A connection of TLS.
pub(super) struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        Ok(Handshake { config: self.0.clone(), host: host.to_owned() })
    }
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let Handshake { config, host } = self;
            let config = config.ok_or_else(|| io::Error::other("the URL asks for no TLS"))?;
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            TlsConnector::from(config).connect(name, stream).await.map(Encrypted)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    /// None: passwords are proved without it (SCRAM-SHA-256, and not -PLUS).
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
