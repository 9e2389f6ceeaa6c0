//! How a rule is judged: exact status, connection closed, nothing at the origin, and nobody else harmed.
//!
//! Owns: one gateway per rule and driver, in front of an origin that repeats each request.
//! Must not: stop at the first broken case: all of a rule's cases are reported together.
//! Read next: any `s*.rs`.

use std::time::Duration;

use ringway_contract::Bytes;
use ringway_tests::client::{Answer, get};
use ringway_tests::{Client, End, Gateway, Io, Origin, Setup, each_driver};

/// The largest body that the gateways of this suite accept.
pub const BODY_BYTES_MAX: u64 = 256 * 1_024;

/// How long nothing at all must happen before a case believes that nothing will.
const QUIET: Duration = Duration::from_millis(60);

/// What must become of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// This status, the connection closed, not one byte at the origin.
    Refused(u16),
    /// This status and the connection closed; the origin may have seen the head, never a whole request.
    RefusedInBody(u16),
    /// Closed, with a 400 or without a word; not one byte at the origin.
    ClosedOr400,
    /// This status from ringway itself, not one byte at the origin; the connection may stay.
    Answered(u16),
    /// Answered 200 by the origin, and the connection still serves.
    Passes,
    /// Answered 200 by the origin; what follows on the connection is the test's business.
    PassesOnce,
}

impl Want {
    fn is_refusal(self) -> bool {
        matches!(self, Self::Refused(_) | Self::RefusedInBody(_))
    }

    /// Closed without a word, or a method that is merely not served: counted or not.
    fn may_be_refusal(self) -> bool {
        matches!(self, Self::ClosedOr400 | Self::Answered(_))
    }
}

/// Bytes and what must become of them.
#[derive(Clone, Debug)]
pub struct Case {
    pub what: String,
    pub bytes: Vec<u8>,
    pub want: Want,
}

/// A case in one line.
pub fn case(what: impl Into<String>, bytes: impl AsRef<[u8]>, want: Want) -> Case {
    Case { what: what.into(), bytes: bytes.as_ref().to_vec(), want }
}

/// A request with these field lines (each without its line end) and body.
pub fn request(line: &str, fields: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{line}\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// `POST /case` with a Host and these field lines.
pub fn post(fields: &[&str], body: &str) -> Vec<u8> {
    let all: Vec<&str> = std::iter::once("Host: a.example").chain(fields.iter().copied()).collect();
    request("POST /case HTTP/1.1", &all, body)
}

/// `GET /case` with a Host and these field lines.
pub fn get_with(fields: &[&str]) -> Vec<u8> {
    let all: Vec<&str> = std::iter::once("Host: a.example").chain(fields.iter().copied()).collect();
    request("GET /case HTTP/1.1", &all, "")
}

/// The gateway and the origin behind it.
pub struct Rig {
    pub gateway: Gateway,
    pub origin: Origin,
}

impl Rig {
    /// Everything goes to an origin that repeats it.
    pub fn echo(io: Io) -> Self {
        Self::with(io, Origin::echo(), |setup| setup)
    }

    /// The same with another origin or another setup.
    pub fn with(io: Io, origin: Origin, change: impl FnOnce(Setup) -> Setup) -> Self {
        let setup = Setup::raw(origin.address())
            .tune(|snapshot| snapshot.limits.request_body = Bytes::new(BODY_BYTES_MAX));
        Self { gateway: Gateway::start(io, change(setup)), origin }
    }

    /// A caller.
    pub fn caller(&self) -> Client {
        self.gateway.connect()
    }

    /// Runs one case; what went wrong, if anything.
    pub fn judge(&self, case: &Case) -> Result<(), String> {
        let (bytes, requests) = (self.origin.bytes(), self.origin.requests().len());
        let mut caller = self.caller();
        let sent = caller.try_send(&case.bytes);
        match case.want {
            Want::Passes | Want::PassesOnce => {
                sent.map_err(|error| format!("not taken: {error}"))?;
                passed(&mut caller, &case.bytes)?;
                if case.want == Want::Passes {
                    own_answer(&mut caller, "/same-connection")?;
                }
            }
            Want::Refused(status) => {
                refused(&mut caller, &case.bytes, status)?;
                self.untouched(bytes)?;
            }
            Want::RefusedInBody(status) => {
                refused(&mut caller, &case.bytes, status)?;
                std::thread::sleep(QUIET);
                let now = self.origin.requests().len();
                if now != requests {
                    return Err(format!("{} whole requests at the origin", now - requests));
                }
            }
            Want::Answered(status) => {
                answered(&mut caller, &case.bytes, status)?;
                self.untouched(bytes)?;
            }
            Want::ClosedOr400 => {
                closed(&mut caller)?;
                self.untouched(bytes)?;
            }
        }
        own_answer(&mut self.caller(), "/next-connection")
    }

    /// Requests counted as malformed under this rule; all rules for the empty one.
    fn malformed(&self, rule: &str) -> f64 {
        self.gateway.metric(&["ringway_malformed_requests_total", rule])
    }

    fn untouched(&self, before: usize) -> Result<(), String> {
        std::thread::sleep(QUIET);
        let now = self.origin.bytes();
        if now == before { Ok(()) } else { Err(format!("{} bytes at the origin", now - before)) }
    }

    /// Ends the rule: everything the origin got was strict, and the gateway is at rest.
    pub fn finish(self) {
        self.origin.assert_strict();
        self.gateway.finish();
    }
}

/// Judges all cases of a rule on both drivers, in front of an echoing origin.
pub fn rule(id: &str, cases: &[Case]) {
    rule_with(id, cases, |setup| setup);
}

/// The same with another setup.
pub fn rule_with(id: &str, cases: &[Case], change: impl Fn(Setup) -> Setup) {
    each_driver(|io| {
        let rig = Rig::with(io, Origin::echo(), &change);
        let before = rig.malformed("");
        let mut broken: Vec<String> = cases
            .iter()
            .filter_map(|case| {
                rig.judge(case).err().map(|why| format!("  {}: want {:?}, {why}", case.what, case.want))
            })
            .collect();
        let refused = cases.iter().filter(|case| case.want.is_refusal()).count();
        let unsure = cases.iter().filter(|case| case.want.may_be_refusal()).count();
        let counted = rig.malformed("") - before;
        if counted < refused as f64 - 0.5 || counted > (refused + unsure) as f64 + 0.5 {
            broken.push(format!("  {counted} counts of malformed requests for {refused} refusals"));
        }
        if refused > 0 && id.starts_with("H1-") && rig.malformed(id) < 0.5 {
            broken.push(format!("  no count under {id}"));
        }
        assert!(
            broken.is_empty(),
            "{id} on {io}: {} problems with {} cases:\n{}",
            broken.len(),
            cases.len(),
            broken.join("\n")
        );
        rig.finish();
    });
}

fn method_of(bytes: &[u8]) -> String {
    let word = bytes.split(|b| *b == b' ').next().unwrap_or_default();
    String::from_utf8_lossy(word).into_owned()
}

fn answer_to(caller: &mut Client, bytes: &[u8]) -> Result<Answer, String> {
    caller.try_answer(&method_of(bytes)).map_err(|why| format!("no answer: {why:?}"))
}

fn answered(caller: &mut Client, bytes: &[u8], status: u16) -> Result<Answer, String> {
    let answer = answer_to(caller, bytes)?;
    if answer.status() != status {
        return Err(format!("status {}: {}", answer.status(), answer.text().trim()));
    }
    if !answer.whole() {
        return Err(format!("the refusal was cut: {:?}", answer.cut));
    }
    Ok(answer)
}

fn refused(caller: &mut Client, bytes: &[u8], status: u16) -> Result<(), String> {
    let answer = answered(caller, bytes, status)?;
    if !answer.says_close() {
        return Err("no `Connection: close`".to_owned());
    }
    match caller.rest() {
        (rest, End::Fin) if rest.is_empty() => Ok(()),
        (rest, end) => Err(format!("{end:?} after {:?} behind the refusal", String::from_utf8_lossy(&rest))),
    }
}

fn closed(caller: &mut Client) -> Result<(), String> {
    let (rest, end) = caller.rest();
    let polite = rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 ");
    if end != End::Open && polite {
        return Ok(());
    }
    Err(format!("{end:?} after {:?}", String::from_utf8_lossy(&rest)))
}

fn passed(caller: &mut Client, bytes: &[u8]) -> Result<(), String> {
    let answer = answered(caller, bytes, 200)?;
    let method = method_of(bytes.trim_ascii_start());
    if method != "HEAD" && !answer.text().starts_with(&format!("{method} ")) {
        return Err(format!("somebody else's answer: {:?}", answer.text()));
    }
    Ok(())
}

/// The question that finds a desync: is the next request answered with its own answer?
pub fn own_answer(caller: &mut Client, target: &str) -> Result<(), String> {
    caller.try_send(get(target).as_bytes()).map_err(|error| format!("{target} was not taken: {error}"))?;
    let answer = caller.try_answer("GET").map_err(|why| format!("{target} got no answer: {why:?}"))?;
    if answer.text() == format!("GET {target}\n") {
        return Ok(());
    }
    Err(format!("{target} got {} {:?}", answer.status(), answer.text()))
}
