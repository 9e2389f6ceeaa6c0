//! TLS on both sides: rustls driven through its unbuffered interface, without I/O.
//!
//! Owns: one connection's session ([`Session`]), why one failed ([`Fault`]), the certificates of listeners and the
//! trust of backends ([`Vault`]), read again when their files change.
//! Must not: touch a socket (`ring/secure.rs` moves the bytes), or show a key or a certificate to anybody.
//! Read next: `session.rs`, then `vault.rs`.

mod client;
mod der;
mod fault;
mod files;
mod names;
mod server;
mod session;
mod vault;

#[cfg(test)]
pub(crate) mod testing;

pub use client::ClientSide;
pub use fault::{Fault, Side};
pub use server::ServerSide;
pub use session::{Read, Session, Stage, record_bytes};
pub use vault::{Opened, Vault};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography: ring. It needs nothing but the C compiler that Rust's own linker comes with, builds in seconds,
/// and is of the same speed as aws-lc-rs for records of a few KiB, which is what models send. aws-lc-rs is faster at
/// handshakes and has post-quantum key exchange; it costs minutes of build in a fresh clone.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}
