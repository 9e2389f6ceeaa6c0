//! Checks single values of a snapshot: each says what is wrong and what would be right.
//!
//! Owns: the alphabets and shapes. A snapshot is an allegation until its values passed here; what did can be
//! put into a head, a log line or a label as it is (H1-RS-03, SEC-INJ-01, SEC-UN-01).
//! Must not: look anything up; that is [`super::compile`].
//! Read next: [`super::compile`].

use ringway_contract::snapshot::{Credential, Endpoint};

use crate::bounds::{
    CREDENTIAL_BYTES_MAX, HOST_BYTES_MAX, METHOD_BYTES_MAX, MODEL_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX,
    TIMEOUT_MS_MAX, TITLE_BYTES_MAX, VALUE_GLOB_BYTES_MAX,
};

/// What is wrong with a value, and how to mend it.
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) mend: Option<&'static str>,
}

type Checked = Result<(), Wrong>;

/// Wrong in this way.
pub(super) fn wrong(what: impl Into<String>, mend: &'static str) -> Wrong {
    Wrong { what: what.into(), mend: Some(mend) }
}

/// The name of a route or a backend.
pub(super) fn name(name: &str) -> Checked {
    identifier("name", name, NAME_BYTES_MAX, "")
}

/// A model's name, as a backend lists it or an alias sets it.
pub(super) fn model(model: &str) -> Checked {
    identifier("model", model, MODEL_BYTES_MAX, "")
}

/// What a target calls a model, on a route with these globs: a name, or one star for what theirs match.
pub(super) fn alias(model: &str, globs: &[String]) -> Checked {
    if !model.contains('*') {
        return self::model(model);
    }
    model_glob(model)?;
    let one_star = |text: &str| text.matches('*').count() == 1 && !text.contains('?');
    if !one_star(model) {
        return Err(wrong(format!("the model {model:?} has more than one wildcard"), "leave one `*`"));
    }
    if globs.is_empty() || !globs.iter().all(|glob| one_star(glob)) {
        return Err(wrong(
            format!(
                "the model {model:?} stands for what a glob matches, and the route has not one `*` in each"
            ),
            "match on the model with one `*` in each glob, such as openai/*",
        ));
    }
    Ok(())
}

/// What people call something: one line of text.
pub(super) fn title(title: &str) -> Checked {
    length("title", title, TITLE_BYTES_MAX)?;
    match title.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(bad) => Err(wrong(format!("the title {title:?} has a {bad:?}"), "write it in one line")),
    }
}

/// A glob on a model's name.
pub(super) fn model_glob(glob: &str) -> Checked {
    identifier("model", glob, MODEL_BYTES_MAX, "*?")
}

/// ASCII letters, digits and a few marks (SEC-UN-01): nothing looks like another, nothing needs escaping.
fn identifier(what: &str, text: &str, bytes_max: usize, more: &str) -> Checked {
    length(what, text, bytes_max)?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "._:/@+-".contains(c) || more.contains(c);
    match text.chars().find(|&c| !fine(c)) {
        None => Ok(()),
        Some(bad) => Err(wrong(
            format!("the {what} {text:?} has a {bad:?}"),
            "use letters, digits and any of . _ : / @ + -",
        )),
    }
}

fn length(what: &str, text: &str, bytes_max: usize) -> Checked {
    match text.len() {
        0 => Err(wrong(format!("the {what} is empty"), "give it a value")),
        len if len > bytes_max => {
            Err(Wrong { what: format!("the {what} has {len} bytes; {bytes_max} are allowed"), mend: None })
        }
        _ => Ok(()),
    }
}

/// A path or prefix to match, as it stands on the wire.
pub(super) fn path(path: &str) -> Checked {
    length("path", path, PATH_BYTES_MAX)?;
    if !path.starts_with('/') {
        return Err(wrong(format!("the path {path:?} does not start with a slash"), "start it with /"));
    }
    // H1-SY-12, less the query.
    let bad = |byte: &u8| !(0x21..=0x7e).contains(byte) || b"\"<>\\^`{|}#?".contains(byte);
    match path.bytes().find(bad) {
        None => Ok(()),
        Some(byte) => Err(wrong(
            format!("the path {path:?} has a {:?}, which no request path can have", char::from(byte)),
            "percent-encode it, and leave query and fragment out",
        )),
    }
}

/// A prefix to match: also plain, as other paths never get to it (H1-SY-13).
pub(super) fn path_prefix(prefix: &str) -> Checked {
    path(prefix)?;
    plain(prefix)
}

/// What is put before every path of an endpoint.
pub(super) fn base_path(base: &str) -> Checked {
    if base.is_empty() {
        return Ok(());
    }
    path(base)?;
    if base.ends_with('/') {
        return Err(wrong(
            format!("the base path {base:?} ends with a slash"),
            "leave the final slash out; for none, leave it empty",
        ));
    }
    plain(base)
}

fn plain(path: &str) -> Checked {
    if super::path::is_plain(path.as_bytes()) {
        return Ok(());
    }
    Err(wrong(
        format!("the path {path:?} has a dot segment, an empty segment or an encoded separator"),
        "write it in its plain form",
    ))
}

/// A method to match.
pub(super) fn method(method: &str) -> Checked {
    length("method", method, METHOD_BYTES_MAX)?;
    if !method.bytes().all(is_token) {
        return Err(wrong(format!("{method:?} is not a method"), "methods are tokens such as GET or POST"));
    }
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(wrong(format!("{method} is never served"), "leave it out"));
    }
    if method.bytes().any(|byte| byte.is_ascii_lowercase()) && is_known_method(&method.to_ascii_uppercase()) {
        return Err(wrong(
            format!("methods are case-sensitive; {method:?} matches nothing"),
            "write it in capitals",
        ));
    }
    Ok(())
}

fn is_known_method(method: &str) -> bool {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method)
}

/// The name that a secure endpoint must prove to be.
pub(super) fn server_name(name: &str) -> Checked {
    length("name", name, HOST_BYTES_MAX)?;
    match rustls::pki_types::ServerName::try_from(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(wrong(
            format!("{name:?} is no name that a certificate can be for"),
            "write a host name or an address, without a port",
        )),
    }
}

/// A host to match: a name or address without port, lower case, perhaps with `*.` in front.
pub(super) fn host(host: &str) -> Checked {
    length("host", host, HOST_BYTES_MAX)?;
    let name = host.strip_prefix("*.").unwrap_or(host);
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    if is_bracketed_ipv6(name) || (!name.is_empty() && name.bytes().all(fits) && !name.ends_with('.')) {
        return Ok(());
    }
    let mend = if host.contains(':') {
        "leave the port out; conditions hold for every port"
    } else {
        "write it in lower case; *. in front matches all names below"
    };
    Err(wrong(format!("{host:?} is not a host"), mend))
}

/// The name of a header to match.
pub(super) fn header_name(name: &str) -> Checked {
    length("header name", name, NAME_BYTES_MAX)?;
    if name.bytes().all(|byte| is_token(byte) && !byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(wrong(format!("{name:?} is not a header name in lower case"), "write it in lower case"))
}

/// A glob on the value of a header.
pub(super) fn value_glob(glob: &str) -> Checked {
    if glob.len() > VALUE_GLOB_BYTES_MAX {
        let what = format!("the value has {} bytes; {VALUE_GLOB_BYTES_MAX} are allowed", glob.len());
        return Err(Wrong { what, mend: None });
    }
    if glob.bytes().all(is_field_byte) {
        return Ok(());
    }
    Err(wrong("the value has a control byte, which no header can have", "leave it out"))
}

/// A credential. Its value never shows in what is said about it.
pub(super) fn credential(credential: &Credential) -> Checked {
    header_name(&credential.header)?;
    if is_reserved(&credential.header) {
        return Err(wrong(
            format!("`{}` is a header that ringway writes itself", credential.header),
            "use authorization, x-api-key or x-goog-api-key",
        ));
    }
    secret(&credential.value)
}

/// A secret that goes into a field, or signs one. It never shows in what is said about it.
pub(super) fn secret(value: &str) -> Checked {
    if value.is_empty() || value.len() > CREDENTIAL_BYTES_MAX {
        return Err(wrong("the secret is empty or too long", "check where it is read from"));
    }
    let trimmed = value.trim_matches([' ', '\t']);
    if trimmed.len() != value.len() || !value.bytes().all(is_field_byte) {
        return Err(wrong(
            "the secret has a control byte, or white space around it",
            "look for a line end behind it where it is read from",
        ));
    }
    Ok(())
}

/// Fields that frame a message or belong to one hop.
fn is_reserved(header: &str) -> bool {
    let framing = ["host", "content-length", "transfer-encoding", "connection", "expect", "date", "trailer"];
    let hop = ["keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "x-request-id"];
    framing.contains(&header) || hop.contains(&header) || header.starts_with("x-ringway-")
}

/// `host`, `host:port`, `1.2.3.4:port` or `[v6]:port`; it is sent as `Host` (H1-HO-02).
pub(super) fn authority(authority: &str) -> Checked {
    length("authority", authority, NAME_BYTES_MAX)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let host_fits = is_bracketed_ipv6(host) || (!host.is_empty() && host.bytes().all(fits));
    let port_fits = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if host_fits && port_fits {
        return Ok(());
    }
    Err(wrong(
        format!("{authority:?} is not host:port"),
        "write it as name:8000, 10.0.0.1:8000 or [::1]:8000",
    ))
}

fn is_bracketed_ipv6(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// The addresses of an endpoint.
pub(super) fn addresses(endpoint: &Endpoint) -> Checked {
    match endpoint
        .addresses
        .iter()
        .find(|it| it.port() == 0 || it.ip().is_unspecified() || it.ip().is_multicast())
    {
        None => Ok(()),
        Some(bad) => {
            Err(wrong(format!("{bad} is no address to connect to"), "give a host and a port above 0"))
        }
    }
}

/// A timeout: above 0 and not beyond a day.
pub(super) fn timeout(ms: u64) -> Checked {
    match ms {
        0 => Err(wrong("a timeout of 0 ends everything at once", "give a time above 0")),
        1..=TIMEOUT_MS_MAX => Ok(()),
        _ => Err(wrong(format!("{ms} ms is more than a day"), "check the unit")),
    }
}

/// A number in a range.
pub(super) fn range(what: &str, value: u64, min: u64, max: u64) -> Checked {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Wrong { what: format!("{what} is {value}; it must be {min} to {max}"), mend: None })
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 section 5.5, without the control bytes.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}
