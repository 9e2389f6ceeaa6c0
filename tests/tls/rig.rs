//! What these tests have in common: an authority, a folder for its files, and setups that use them.

use std::path::Path;
use std::sync::Arc;

use ringway_contract::snapshot::{BackendTls, ListenerTls};
use ringway_tests::Setup;
use ringway_tests::tls::{ANY_VERSION, Authority, TlsStream};
use ringway_tests::{Client, Gateway};
use rustls::ClientConfig;

/// The name in the certificates of listeners here.
pub const NAME: &str = "gateway.test";

/// An authority with a place for files.
pub struct Rig {
    pub authority: Authority,
    folder: tempfile::TempDir,
}

impl Rig {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { authority: Authority::new(), folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The TLS of a listener with a certificate for [`NAME`].
    pub fn listener(&self) -> ListenerTls {
        let files = self.authority.issue(&[NAME]).write(self.folder(), "site");
        ListenerTls { certificates: vec![files], client_ca: None }
    }

    /// `setup`, its listener speaking TLS.
    pub fn secure(&self, setup: Setup) -> Setup {
        let tls = self.listener();
        setup.tune(|snapshot| snapshot.listeners[0].tls = Some(tls))
    }

    /// The TLS of a backend that trusts this authority to vouch for `name`.
    pub fn backend(&self, name: &str) -> BackendTls {
        BackendTls {
            ca: Some(self.authority.write(self.folder(), "ca.pem")),
            server_name: Some(name.to_owned()),
            ..BackendTls::default()
        }
    }

    /// `setup`, its endpoints speaking TLS like `tls`.
    pub fn upstream(setup: Setup, tls: &BackendTls) -> Setup {
        setup.tune(|snapshot| {
            for backend in &mut snapshot.backends {
                backend.tls = Some(tls.clone());
                backend.endpoints.iter_mut().for_each(|endpoint| endpoint.secure = true);
            }
        })
    }

    /// A caller's configuration.
    pub fn caller(&self) -> Arc<ClientConfig> {
        Arc::new(self.authority.client(None, ANY_VERSION))
    }

    /// A caller's connection to `gateway`.
    pub fn connect(&self, gateway: &Gateway) -> Client<TlsStream> {
        ringway_tests::tls::connect(&self.caller(), gateway.address(), NAME)
    }
}
