//! From one text to one value: durations, sizes, addresses, globs, names.
//!
//! Owns: what each kind of value may look like, and what to say when it does not.
//! Must not: know a place or a field.
//! Read next: `fields.rs`, which says which field holds which kind.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ringway_contract::{Bytes, MicroDollars, Millis};

use super::resolved::Host;
use super::snapshot::may_connect;
use crate::bounds::{
    AUTHORITY_BYTES_MAX, HOST_BYTES_MAX, HOST_LABEL_BYTES_MAX, MESSAGE_CHARS_MAX, METHOD_BYTES_MAX,
    MODEL_BYTES_MAX, NAME_BYTES_MAX, PRICE_DOLLARS_MAX, QUOTED_CHARS_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX,
};

/// What is wrong with a value, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) mend: Option<String>,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), mend: None }
    }

    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

/// Somebody's text inside a message: in backticks and not too long.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    let more = if text.chars().nth(QUOTED_CHARS_MAX).is_some() { "…" } else { "" };
    tame(&format!("`{short}{more}`"))
}

/// A text that a terminal can be shown: bounded, and what would act on the terminal escaped.
pub(super) fn tame(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(MESSAGE_CHARS_MAX) {
        if acts(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    if text.chars().nth(MESSAGE_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// Whether a character does something to a terminal or to the order of its neighbours.
pub(super) fn acts(c: char) -> bool {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    c.is_control() || reorders || breaks
}

// Quantities.

/// `250ms`, `10s`, `5m`, `1h`.
pub(super) fn duration(text: &str) -> Result<Millis, Fault> {
    let (digits, unit) = number_and_unit(text);
    let wrong = || Fault::new(format!("{} is no duration", quoted(text)));
    let Ok(count) = digits.parse::<u64>() else {
        return Err(wrong().mend("a whole number and a unit, as `250ms`, `10s`, `5m` or `1h`"));
    };
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => {
            let fault = Fault::new("a duration needs a unit");
            return Err(fault.mend(format!("write `{count}s` or `{count}ms`")));
        }
        _ => return Err(wrong().mend("units are ms, s, m and h, one of them at a time")),
    };
    count.checked_mul(factor).map(Millis::new).ok_or_else(|| wrong().mend("that is longer than time is"))
}

/// `16KiB`, `4MiB`, `1GiB`, `512B`, or bare bytes.
pub(super) fn size(text: &str) -> Result<Bytes, Fault> {
    let (digits, unit) = number_and_unit(text);
    let wrong = || Fault::new(format!("{} is no size", quoted(text)));
    let Ok(count) = digits.parse::<u64>() else {
        return Err(wrong().mend("a whole number and a unit, as `16KiB` or `4MiB`, or bytes"));
    };
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => {
            let meant = match other.as_bytes()[0].to_ascii_lowercase() {
                b'k' => "KiB",
                b'm' => "MiB",
                b'g' => "GiB",
                _ => return Err(wrong().mend("units are KiB, MiB and GiB")),
            };
            return Err(wrong().mend(format!("write `{count}{meant}`")));
        }
    };
    count.checked_mul(factor).map(Bytes::new).ok_or_else(wrong)
}

/// `10%`.
pub(super) fn percent(text: &str) -> Result<u32, Fault> {
    let (digits, unit) = number_and_unit(text);
    let wrong = || Fault::new(format!("{} is no share in percent", quoted(text)));
    let Ok(count) = digits.parse::<u32>() else {
        return Err(wrong().mend("a whole number and the sign, as `10%`"));
    };
    match unit {
        "%" if count <= 100 => Ok(count),
        "%" => Err(Fault::new(format!("{count}% is out of range: 0% to 100%"))),
        "" => Err(wrong().mend(format!("write `{count}%`"))),
        _ => Err(wrong().mend("a whole number and the sign, as `10%`")),
    }
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A span of time as this file writes it: the largest unit that is exact.
pub(super) fn write_duration(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// A size as this file writes it: the largest unit that is exact.
pub(super) fn write_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        b if b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => b.to_string(),
    }
}

// Names.

/// A name of the operator's: it becomes a metric label and part of log lines.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    identifier(text, "name", NAME_BYTES_MAX)
}

/// A model's name, whole.
pub(super) fn model(text: &str) -> Result<String, Fault> {
    if text.contains(['*', '?']) {
        let fault = Fault::new(format!("{} is a pattern, and one model is meant here", quoted(text)));
        return Err(fault.mend("write its whole name"));
    }
    identifier(text, "model name", MODEL_BYTES_MAX)
}

/// What a target calls a model: a name, or one with a star for what the star of the route's glob matches.
pub(super) fn alias(text: &str) -> Result<String, Fault> {
    if !text.contains('*') {
        return model(text);
    }
    if text.matches('*').count() > 1 || text.contains('?') {
        let fault = Fault::new(format!("{} has more than one wildcard", quoted(text)));
        return Err(fault.mend("leave one `*`, for what the `*` of the route's `model` matches"));
    }
    model_glob(text)
}

/// A glob on models: `*` any run, `?` one byte.
pub(super) fn model_glob(text: &str) -> Result<String, Fault> {
    let bare: String = text.chars().filter(|c| !matches!(c, '*' | '?')).collect();
    if bare.is_empty() && !text.is_empty() {
        return bounded(text, "glob", MODEL_BYTES_MAX);
    }
    if bare.contains(['[', ']', '{', '}', '|', '^', '$', '\\']) {
        let fault = Fault::new(format!("{} is no glob of ours", quoted(text)));
        return Err(fault.mend("only `*` (any run) and `?` (one byte); a list takes several globs"));
    }
    identifier(&bare, "model name", MODEL_BYTES_MAX)?;
    bounded(text, "glob", MODEL_BYTES_MAX)
}

fn identifier(text: &str, word: &str, max: usize) -> Result<String, Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/@+-".contains(c);
    if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
        let bad = quoted(&bad.to_string());
        let fault = Fault::new(format!("{bad} cannot be part of a {word}"));
        return Err(fault.mend("letters, digits and `. _ : / @ + -`"));
    }
    bounded(text, word, max)
}

fn bounded(text: &str, word: &str, max: usize) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new(format!("an empty {word}")));
    }
    if text.len() > max {
        return Err(Fault::new(format!("a {word} of {} bytes; at most {max} are allowed", text.len())));
    }
    Ok(text.to_owned())
}

/// Free text of the operator's, one line.
pub(super) fn line(text: &str) -> Result<String, Fault> {
    if text.chars().any(char::is_control) {
        return Err(Fault::new("control characters and line breaks have no place here"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::new(format!(
            "a text of {} bytes; at most {TEXT_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    Ok(text.to_owned())
}

/// What people call something: one line, not empty.
pub(super) fn title(text: &str) -> Result<String, Fault> {
    match line(text)? {
        title if title.is_empty() => Err(Fault::new("an empty title").mend("write one, or leave it out")),
        title => bounded(&title, "title", TITLE_BYTES_MAX),
    }
}

/// An amount of US dollars, as `"0.25"`, down to a millionth.
pub(super) fn money(text: &str) -> Result<MicroDollars, Fault> {
    let wrong = || Fault::new(format!("{} is no amount in dollars", quoted(text)));
    let shape = "digits and at most six decimals, as `\"0.25\"`";
    if let Some(bare) = text.strip_prefix('$') {
        return Err(wrong().mend(format!("write `\"{bare}\"`")));
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
        return Err(wrong().mend(shape));
    }
    let dollars = whole.parse::<u64>().ok().filter(|dollars| *dollars <= PRICE_DOLLARS_MAX);
    let dollars = dollars.ok_or_else(|| wrong().mend(format!("at most {PRICE_DOLLARS_MAX}")))?;
    let micros = format!("{decimals:0<6}").parse::<u64>().expect("six digits");
    Ok(MicroDollars::new(dollars * 1_000_000 + micros))
}

// Addresses.

/// An address to accept on.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let fault = Fault::new(format!("{} is no address to listen on", quoted(text)));
    let mend = if let Some(port) = only_port(text) {
        format!("write `127.0.0.1:{port}` for this machine only, `0.0.0.0:{port}` for all")
    } else if let Some(port) = text.strip_prefix("localhost:").and_then(only_port) {
        format!("write `127.0.0.1:{port}`")
    } else if let Ok(ip) = text.parse::<IpAddr>() {
        format!("add a port, as `{}`", SocketAddr::new(ip, 8_080))
    } else if text.contains("://") {
        "an IP address and a port, without a scheme, as `127.0.0.1:8080`".to_owned()
    } else {
        "an IP address and a port, as `127.0.0.1:8080` or `[::1]:8080`".to_owned()
    };
    Err(fault.mend(mend))
}

fn only_port(text: &str) -> Option<u16> {
    let text = text.strip_prefix('*').unwrap_or(text);
    text.strip_prefix(':').unwrap_or(text).parse().ok()
}

/// A network of callers. A single address is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        let fault = Fault::new(format!("{} is no network", quoted(text)));
        return Err(fault.mend("an address and a prefix length, as `10.0.0.0/8` or `fd00::/8`"));
    };
    if net.addr() != net.network() {
        let fault = Fault::new(format!("{} has bits set behind its prefix", quoted(text)));
        return Err(fault.mend(format!("write `{}`", net.trunc())));
    }
    Ok(net)
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) secure: bool,
    pub(super) authority: String,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) base_path: String,
}

/// `http://host[:port][/base]`, or `https`. Never repeats user information: it may hold a password.
pub(super) fn url(text: &str) -> Result<Url, Fault> {
    const SHAPE: &str = "write it as `http://host:port` or `https://host`";
    let Some((scheme, rest)) = text.split_once("://") else {
        let fault = Fault::new("an endpoint is a URL with its scheme");
        let looks_whole = !text.contains(['@', ' ']) && !text.is_empty();
        return Err(fault.mend(if looks_whole {
            format!("write `http://{text}`")
        } else {
            SHAPE.to_owned()
        }));
    };
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(Fault::new(format!("{} is no scheme of endpoints", quoted(scheme))).mend(SHAPE)),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        let fault = Fault::new("user and password have no place in an endpoint's URL");
        return Err(fault.mend("use the backend's `credential: {env: NAME}`"));
    }
    if path.contains(['?', '#']) {
        let fault = Fault::new("an endpoint's URL has no query and no fragment");
        return Err(fault.mend("end it with the path that goes before every request's own"));
    }
    let (host, port) = host_and_port(authority)?;
    let base_path = path.trim_end_matches('/').to_owned();
    if !base_path.is_empty() {
        path_prefix(&base_path)?;
    }
    let authority = bounded(&authority.to_ascii_lowercase(), "host and port", AUTHORITY_BYTES_MAX)?;
    Ok(Url { secure, authority, host, port: port.unwrap_or(if secure { 443 } else { 80 }), base_path })
}

const BRACKETS: &str = "an IPv6 address stands in brackets, as `[::1]:8000`";

fn host_and_port(authority: &str) -> Result<(Host, Option<u16>), Fault> {
    let wrong = || Fault::new(format!("{} is no host with an optional port", quoted(authority)));
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (ip, after) = rest.split_once(']').ok_or_else(wrong)?;
        (Host::Address(IpAddr::V6(ip.parse().map_err(|_| wrong().mend(BRACKETS))?)), after)
    } else {
        let (name, after) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        if after.matches(':').count() > 1 {
            return Err(wrong().mend(BRACKETS));
        }
        (name_or_address(name)?, after)
    };
    if let Host::Address(ip) = host
        && !may_connect(ip)
    {
        return Err(Fault::new(format!("{ip} is no address of a server"))
            .mend("unspecified, link-local and multicast ranges are refused"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(wrong()),
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            Ok(_) | Err(_) => {
                return Err(
                    Fault::new(format!("{} is no port", quoted(digits))).mend("ports go from 1 to 65535")
                );
            }
        },
    };
    Ok((host, port))
}

fn name_or_address(text: &str) -> Result<Host, Fault> {
    if let Ok(ip) = text.parse() {
        return Ok(Host::Address(IpAddr::V4(ip)));
    }
    let name = text.to_ascii_lowercase();
    dns_name(&name)?;
    Ok(Host::Name(name))
}

fn dns_name(name: &str) -> Result<(), Fault> {
    let wrong = || Fault::new(format!("{} is no host name", quoted(name)));
    if name.is_empty() {
        return Err(Fault::new("the host is missing").mend("write it as `http://host:port`"));
    }
    if name.len() > HOST_BYTES_MAX {
        return Err(wrong().mend(format!("at most {HOST_BYTES_MAX} bytes are allowed")));
    }
    for label in name.split('.') {
        // Underscores are no hostname by RFC 1123, but container networks name services with them.
        let sane = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if label.is_empty() || label.len() > HOST_LABEL_BYTES_MAX || !sane {
            return Err(wrong().mend("labels of letters, digits, `-` and `_`, with dots between"));
        }
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        // `127.1` and `0x7f000001` are addresses to some resolvers and names to others.
        return Err(wrong().mend("an IPv4 address is four numbers up to 255"));
    }
    Ok(())
}

// What a route matches on.

/// A whole path.
pub(super) fn path(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        let fault = Fault::new(format!("{} does not begin with `/`", quoted(text)));
        return Err(fault.mend(format!("write {}", quoted(&format!("/{text}")))));
    }
    if let Some(lead) = text.strip_suffix("/*").or(text.strip_suffix('*')) {
        let fault = Fault::new("a path is no glob");
        let lead = if lead.is_empty() { "/" } else { lead };
        return Err(fault.mend(format!("write `path_prefix: {lead}`")));
    }
    if text.contains(['?', '#']) {
        return Err(Fault::new("a path is matched without its query").mend("end it before the `?`"));
    }
    if text.contains(['{', '}', '*']) {
        let fault = Fault::new("a path has no placeholders");
        return Err(fault.mend("use `path_prefix` up to the part that varies"));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`|".contains(*c)) {
        let fault = Fault::new(format!("{} cannot be part of a path", quoted(&bad.to_string())));
        return Err(fault.mend("write it percent-encoded, as it is sent"));
    }
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    if text.split('/').any(dots) || text.contains("//") {
        return Err(Fault::new("a path without `.`, `..` and empty parts is wanted"));
    }
    bounded(text, "path", TEXT_BYTES_MAX)
}

/// A path to ask for, with its query if there is one.
pub(super) fn question(text: &str) -> Result<String, Fault> {
    let (place, query) = text.split_once('?').map_or((text, ""), |(place, query)| (place, query));
    path(place)?;
    if query.contains('#') || !query.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::new("this query cannot be sent").mend("write it percent-encoded, as it is sent"));
    }
    bounded(text, "path", TEXT_BYTES_MAX)
}

/// A leading part of paths. Encoded separators and dots are refused: a server behind may read them as such.
pub(super) fn path_prefix(text: &str) -> Result<String, Fault> {
    let prefix = path(text)?;
    let lower = prefix.to_ascii_lowercase();
    if let Some(hidden) = ["%2f", "%5c", "%00", "%2e"].iter().find(|hidden| lower.contains(**hidden)) {
        let fault = Fault::new(format!("`{hidden}` hides a part of the path from whoever reads it"));
        return Err(fault.mend("end the prefix before it"));
    }
    Ok(prefix)
}

/// A host without port; `*.` in front stands for one or more labels.
pub(super) fn host(text: &str) -> Result<String, Fault> {
    if text == "*" {
        return Err(Fault::new("`*` matches every host").mend("leave `host` out"));
    }
    if text.contains("://") || text.contains('/') {
        return Err(Fault::new(format!("{} is no host name", quoted(text))).mend("without scheme and path"));
    }
    let lower = text.to_ascii_lowercase();
    if let Ok(ip) = lower.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
    }
    if let Some((name, port)) = lower.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(Fault::new("a host is matched without its port").mend(format!("write {}", quoted(name))));
    }
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    if name.contains('*') {
        let fault = Fault::new(format!("{} is no pattern of hosts", quoted(text)));
        return Err(fault.mend("`*.` in front stands for one or more labels; nothing else does"));
    }
    dns_name(name)?;
    Ok(lower)
}

/// A method, as it is sent: upper case.
pub(super) fn method(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.len() > METHOD_BYTES_MAX || !text.bytes().all(is_token) {
        return Err(Fault::new(format!("{} is no method", quoted(text))).mend("one of them, as `GET`"));
    }
    if ["CONNECT", "TRACE"].iter().any(|never| text.eq_ignore_ascii_case(never)) {
        return Err(Fault::new(format!("{} is never served", quoted(text))).mend("leave it out"));
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        let fault = Fault::new("methods are upper case");
        return Err(fault.mend(format!("write `{}`", text.to_ascii_uppercase())));
    }
    Ok(text.to_owned())
}

/// The name of a field, made lower case.
pub(super) fn matched_header(text: &str) -> Result<String, Fault> {
    let lower = header_name(text)?;
    if lower == "host" {
        return Err(
            Fault::new("`host` is matched by a field of its own").mend("write `host:` beside `headers:`")
        );
    }
    Ok(lower)
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b) // RFC 9110 section 5.6.2
}

/// A glob on a header's value.
pub(super) fn header_glob(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new("an empty value").mend("`*` stands for any value"));
    }
    if text.trim() != text {
        return Err(Fault::new("a header's value neither begins nor ends with a space"));
    }
    line(text)
}

/// The name of a header, in lower case.
pub(super) fn header_name(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_token) {
        return Err(Fault::new(format!("{} is no name of a header", quoted(text))).mend("as `x-team`"));
    }
    Ok(text.to_ascii_lowercase())
}

/// A tenant, as a header names it.
pub(super) fn tenant(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.trim() != text {
        let fault = Fault::new("a tenant is named by the value of a header, without spaces around it");
        return Err(fault.mend("requests without the header are a tenant of their own, with a weight of 1"));
    }
    line(text)
}

// The system.

/// A file the data plane writes; its folder is not ours, so the path is absolute.
pub(super) fn file_absolute(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        let fault = Fault::new(format!("{} is no absolute path", quoted(text)));
        return Err(fault.mend("begin it with `/`; the data plane runs in a folder of its own"));
    }
    if text.ends_with('/') {
        return Err(Fault::new(format!("{} is a folder", quoted(text))).mend("add the name of the file"));
    }
    line(text)
}

/// A file with a secret.
pub(super) fn file(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new("an empty file name"));
    }
    line(text)
}

/// The name of a file with certificates or a key. Does not repeat what is no name: it may be the key itself.
pub(super) fn pem_file(text: &str) -> Result<String, Fault> {
    if text.contains("-----BEGIN") || text.contains(['\n', '\r']) {
        return Err(Fault::new("the name of a file is wanted, not what is in it").mend("write its path"));
    }
    file(text)
}

/// The name that a server's certificate must be for.
pub(super) fn server_name(text: &str) -> Result<String, Fault> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    let name = text.to_ascii_lowercase();
    dns_name(&name)?;
    Ok(name)
}

/// The name of an environment variable. Does not repeat what is no name: it may be the secret itself.
pub(super) fn variable(text: &str) -> Result<String, Fault> {
    let name = text.strip_prefix('$').unwrap_or(text).trim_start_matches('{').trim_end_matches('}');
    let sane = |text: &str| {
        !text.is_empty()
            && text.len() <= NAME_BYTES_MAX
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match (sane(text), sane(name)) {
        (true, _) => Ok(text.to_owned()),
        (false, true) => {
            Err(Fault::new("the bare name of a variable is wanted").mend(format!("write `env: {name}`")))
        }
        (false, false) => {
            let fault = Fault::new("this is no name of an environment variable");
            Err(fault.mend("letters, digits and `_`; the secret itself stays out of this file"))
        }
    }
}
