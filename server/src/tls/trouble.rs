//! Failed handshakes, in sentences that name the remedy.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

fn rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Explains why a handshake with a client or server that dialled came to nothing. `prefix` is that
/// of the flags: "--" or "--peer-".
pub fn explain(error: &io::Error, prefix: &str) -> String {
    let remedy = match rustls(error) {
        Some(Error::NoCertificatesPresented) => format!(
            "it showed no certificate, and this server asks for one: give it a certificate of \
             {prefix}trusted-ca-file (etcdctl --cert FILE --key FILE)"
        ),
        Some(Error::InvalidCertificate(why)) => certificate(why, prefix),
        Some(Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::BadCertificate,
        )) => format!(
            "it does not trust the CA of {prefix}cert-file: give it that CA (etcdctl --cacert FILE)"
        ),
        Some(Error::AlertReceived(AlertDescription::CertificateExpired)) => {
            format!("it refuses the certificate of {prefix}cert-file, which has expired: renew it")
        }
        _ => String::new(),
    };
    join(error, remedy)
}

/// The same for a server that this one has dialled.
pub fn explain_dial(error: &io::Error) -> String {
    let remedy = match (rustls(error), error.kind()) {
        (Some(Error::InvalidCertificate(why)), _) => certificate(why, "--peer-"),
        (Some(Error::InvalidMessage(_)), _) => {
            "it does not speak TLS: if it listens at http://, its URL must begin so".to_owned()
        }
        (Some(Error::AlertReceived(AlertDescription::CertificateRequired)), _) => {
            "it asks for a certificate: give this server --peer-cert-file".to_owned()
        }
        (Some(Error::AlertReceived(alert)), _) => format!(
            "it refuses the certificate of this server's --peer-cert-file ({alert:?}): its log \
             says why"
        ),
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            "it hung up without an answer: if one of both sides has TLS and the other has not, \
             let the URL begin with https:// or http:// as that server listens"
                .to_owned()
        }
        _ => String::new(),
    };
    join(error, remedy)
}

fn join(error: &io::Error, remedy: String) -> String {
    match remedy.is_empty() {
        true => error.to_string(),
        false => format!("{error}: {remedy}"),
    }
}

fn certificate(why: &CertificateError, prefix: &str) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate of the other side has expired: put a new one there".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate of the other side is not valid yet: compare the clocks".to_owned()
        }
        // An authority that was made anew has its old name, and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("the certificate of the other side is of no CA in {prefix}trusted-ca-file")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate of the other side does not name the host in its URL: it must be in \
             subjectAltName, as DNS:NAME or IP:ADDRESS"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate of the other side is not made for this: a server that dials others \
             needs clientAuth beside serverAuth in extendedKeyUsage"
                .to_owned()
        }
        _ => String::new(),
    }
}
