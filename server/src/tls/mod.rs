//! TLS for clients and for other servers: from files in PEM form, which are read again when they
//! change, so that a renewed certificate needs no restart.
//!
//! The flags are etcd's. A trusted CA means, as in etcd, that the other side must show a
//! certificate of it. `trouble` turns failed handshakes into sentences with a remedy.

// Files and the clock are this module's business.
#![allow(clippy::disallowed_methods)]

mod files;
mod stream;
mod trouble;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::rustls::{ClientConfig, ServerConfig};

pub use self::files::{Files, TlsFlags};
use self::files::{Loaded, Stamp};
pub use self::stream::Stream;
pub use self::trouble::{explain, explain_dial};

/// How often the files are looked at, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The first byte of a TLS connection: a record of the handshake.
pub const HELLO: u8 = 0x16;

/// Certificates and keys in use.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked: Instant,
    stamps: Vec<Stamp>,
    loaded: Loaded,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The flag, the file, and the reason why it cannot be used.
    pub fn load(files: Files) -> anyhow::Result<Tls> {
        let (stamps, loaded) = (files.stamps(), files.load()?);
        let state = Mutex::new(State { looked: Instant::now(), stamps, loaded });
        Ok(Tls { files, state })
    }

    /// The side that is dialled, with the certificates as they are now.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.current().server
    }

    /// The side that dials.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.current().client
    }

    /// Whether the common name of a client's certificate is the name of a user.
    pub fn names_users(&self) -> bool {
        self.files.wants_certificates
    }

    /// Whether there is an authority by which a server that is dialled can be checked.
    pub fn checks_servers(&self) -> bool {
        self.files.checks_servers()
    }

    fn current(&self) -> Loaded {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_AGAIN {
            state.looked = Instant::now();
            let stamps = self.files.stamps();
            // Remembered also if they are wrong, so that this is said once.
            if stamps != state.stamps {
                state.stamps = stamps;
                match self.files.load() {
                    Ok(loaded) => state.loaded = loaded,
                    Err(error) => tracing::error!("the old certificates stay in use: {error:#}"),
                }
            }
        }
        state.loaded.clone()
    }
}
