//! The server's side of TLS: what a listener shows, and whom it asks for a certificate.
//!
//! Owns: a listener's configuration for rustls, swapped when its files change.
//! Must not: let one listener's sessions be taken up at another: that would skip what the other asks for.
//! Read next: `names.rs`, `vault.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ringway_contract::snapshot::ListenerTls;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::der;
use super::files::{self, Watch, Wrong};
use super::names::Certificates;
use super::provider;

/// What callers may ask for: HTTP/1.1, and 1.0 of old ones.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// The TLS of a listener.
pub struct ServerSide {
    spec: ListenerTls,
    config: ArcSwap<ServerConfig>,
    expiries: ArcSwap<Vec<Expiry>>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    watch: Mutex<Watch>,
}

impl std::fmt::Debug for ServerSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerSide({:?})", self.spec)
    }
}

/// When a certificate runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Its file.
    pub path: String,
    /// Its last second, since 1970.
    pub at_s: i64,
}

/// What is wrong, and with which of the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongPair {
    /// Its place in the list; none: the authority.
    pub index: Option<usize>,
    /// What is wrong.
    pub wrong: Wrong,
}

impl ServerSide {
    /// Reads all files.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn load(spec: &ListenerTls) -> Result<Self, WrongPair> {
        let watch = Mutex::new(Watch::of(paths(spec)));
        let tickets = match &spec.client_ca {
            None => Some(tickets().map_err(|wrong| WrongPair { index: None, wrong })?),
            // A session taken up again is not asked for its certificate again: one that ran out would go on.
            Some(_) => None,
        };
        let (config, expiries) = build(spec, tickets.as_ref())?;
        Ok(Self {
            spec: spec.clone(),
            config: ArcSwap::from_pointee(config),
            expiries: ArcSwap::from_pointee(expiries),
            tickets,
            watch,
        })
    }

    /// For a handshake that begins now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// When its certificates run out.
    pub fn expiries(&self) -> Arc<Vec<Expiry>> {
        self.expiries.load_full()
    }

    /// Reads its files again if one looks different; what cannot be used changes nothing. None: nothing to do.
    pub fn refresh(&self) -> Option<Result<(), WrongPair>> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if !watch.changed() {
            return None;
        }
        Some(build(&self.spec, self.tickets.as_ref()).map(|(config, expiries)| {
            self.config.store(Arc::new(config));
            self.expiries.store(Arc::new(expiries));
        }))
    }

    /// What it is of, for the log.
    pub fn spec(&self) -> &ListenerTls {
        &self.spec
    }
}

fn paths(spec: &ListenerTls) -> impl Iterator<Item = &str> {
    let pairs = spec.certificates.iter().flat_map(|pair| [&*pair.cert, &*pair.key]);
    pairs.chain(spec.client_ca.as_deref())
}

fn tickets() -> Result<Arc<dyn ProducesTickets>, Wrong> {
    rustls::crypto::ring::Ticketer::new().map_err(|_| Wrong {
        field: "certificates",
        what: "the system gives no random bytes for the keys of session tickets".to_owned(),
        mend: "look at the machine: nothing secure runs without them",
    })
}

fn build(
    spec: &ListenerTls,
    tickets: Option<&Arc<dyn ProducesTickets>>,
) -> Result<(ServerConfig, Vec<Expiry>), WrongPair> {
    let mut keys = Vec::new();
    for (index, pair) in spec.certificates.iter().enumerate() {
        keys.push(files::certificate(pair).map_err(|wrong| WrongPair { index: Some(index), wrong })?);
    }
    let expiries =
        spec.certificates.iter().zip(&keys).filter_map(|(pair, key)| expiry(&pair.cert, key)).collect();
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for both versions");
    let builder = match &spec.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let authority = |wrong| WrongPair { index: None, wrong };
            let (roots, _) = files::authorities("client_ca", path).map_err(authority)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            let unusable = |_| {
                authority(Wrong {
                    field: "client_ca",
                    what: format!("{path} cannot be used"),
                    mend: "give the authority's certificate in PEM",
                })
            };
            builder.with_client_cert_verifier(verifier.map_err(unusable)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(keys)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Tickets instead of a store: nothing to lock, and nothing that fills up.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tickets {
        Some(tickets) => config.ticketer = Arc::clone(tickets),
        None => config.send_tls13_tickets = 0,
    }
    Ok((config, expiries))
}

fn expiry(path: &str, key: &CertifiedKey) -> Option<Expiry> {
    let validity = der::validity(key.cert.first()?)?;
    Some(Expiry { path: path.to_owned(), at_s: validity.not_after_s })
}
