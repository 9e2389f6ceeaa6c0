//! From the names of certificates, keys and authorities to the places where the data plane reads them.
//!
//! Owns: what can be said of those files without opening them.
//! Must not: read a key: the data plane does, and `trust.rs` where it is shown to an endpoint that is probed.
//! Read next: `environment.rs`, which looks.

use std::path::Path;

use ringway_contract::snapshot::{BackendTls, CertificateFiles, ListenerTls};

use super::decode::{Sink, Written};
use super::environment::{Environment, Looks};
use super::values::{Fault, quoted};
use super::written;

/// Of a listener.
pub(super) fn listener(
    from: &written::ListenerTls,
    env: &dyn Environment,
    sink: &Sink,
) -> Option<ListenerTls> {
    let certificates: Vec<_> = from.certificates.iter().map(|pair| certificate(pair, env, sink)).collect();
    let client_ca = from.client_ca.as_ref().map(|file| place(file, env, sink));
    Some(ListenerTls { certificates: certificates.into_iter().collect::<Option<_>>()?, client_ca })
}

/// Of a backend.
pub(super) fn backend(
    from: &written::BackendTls,
    endpoints: &[written::Endpoint],
    env: &dyn Environment,
    sink: &Sink,
) -> Option<BackendTls> {
    let mut urls = endpoints.iter().filter_map(|endpoint| endpoint.url.as_ref()).peekable();
    if urls.peek().is_some() && !urls.any(|url| url.value.secure) {
        let fault = Fault::new("no endpoint of this backend speaks TLS");
        sink.error(&from.at, fault.mend("write its endpoints as `https://…`, or remove `tls`"));
    }
    let skips = from.insecure_skip_verify.as_ref().filter(|skips| skips.value);
    if let Some(skips) = skips {
        let fault = Fault::new("whoever answers there is taken for the endpoint, and gets its credential");
        sink.warn(&skips.at, fault.mend("name the authority in `ca`, or the certificate itself"));
    }
    if let (Some(_), Some(ca)) = (skips, &from.ca) {
        let fault = Fault::new("`ca` has no effect beside `insecure_skip_verify: true`");
        sink.error(&ca.at, fault.mend("keep one of them"));
    }
    let certificate = from.certificate.as_ref().map(|pair| certificate(pair, env, sink));
    Some(BackendTls {
        ca: from.ca.as_ref().map(|file| place(file, env, sink)),
        server_name: from.server_name.as_ref().map(|name| name.value.clone()),
        insecure_skip_verify: skips.is_some(),
        certificate: match certificate {
            None => None,
            Some(certificate) => Some(certificate?),
        },
    })
}

fn certificate(from: &written::Certificate, env: &dyn Environment, sink: &Sink) -> Option<CertificateFiles> {
    let cert = from.cert.as_ref().map(|file| place(file, env, sink));
    let key = from.key.as_ref().map(|file| {
        let placed = env.place(Path::new(&file.value));
        if placed.looks == Looks::OpenToAll {
            let fault = Fault::new("every user of this machine may read this key");
            sink.warn(&file.at, fault.mend("`chmod 600` it"));
        }
        place(file, env, sink)
    });
    Some(CertificateFiles { cert: cert?, key: key? })
}

/// The absolute path. A file that is not here is a warning: it may be where the data plane runs.
fn place(file: &Written<String>, env: &dyn Environment, sink: &Sink) -> String {
    let placed = env.place(Path::new(&file.value));
    let path = placed.path.to_string_lossy().into_owned();
    if placed.looks == Looks::Missing {
        let fault = Fault::new(format!("there is no file {}", quoted(&path)));
        sink.warn(
            &file.at,
            fault.mend("put it there on the machine where `ringway` runs, before this is applied"),
        );
    }
    path
}
