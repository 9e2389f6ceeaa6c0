//! Event streams, read whole and the slow way.
//!
//! Owns: cutting a stream into events, and the framing rules for what we emit (dialects section 5.2).
//! Must not: know what an event means.
//! Read next: `mod.rs`.

use super::Mind;

/// One event, as dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: Option<String>,
    pub data: String,
}

/// The framing a dialect's clients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `data: ` lines and comments.
    Anonymous,
    /// Each event has an `event: ` line too.
    Named,
    /// `data: ` lines only, no comments.
    Bare,
}

/// Cuts a stream into events. Strictly: one-line data, exactly one space, LF only, a final blank line.
pub fn events(bytes: &[u8], framing: Framing, mind: Mind) -> Result<Vec<Event>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("no UTF-8: {error}"))?;
    mind.rule(!text.contains('\r'), || "a carriage return".to_owned())?;
    mind.rule(text.is_empty() || text.ends_with("\n\n"), || "no blank line at the end".to_owned())?;
    let unruly = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{7f}');
    mind.rule(!text.contains(unruly), || "a separator that SDKs split lines at".to_owned())?;
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut all = Vec::new();
    let mut open: Option<(Option<String>, Vec<String>)> = None;
    for line in text.trim_start_matches('\u{feff}').split('\n') {
        if line.is_empty() {
            dispatch(&mut open, &mut all, framing, mind)?;
        } else if line.starts_with(':') {
            mind.rule(framing != Framing::Bare, || format!("a comment: {line}"))?;
        } else {
            field(line, open.get_or_insert_default(), framing, mind)?;
        }
    }
    dispatch(&mut open, &mut all, framing, Mind::Lenient)?;
    Ok(all)
}

fn field(
    line: &str,
    open: &mut (Option<String>, Vec<String>),
    framing: Framing,
    mind: Mind,
) -> Result<(), String> {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    mind.rule(value.starts_with(' '), || format!("no space behind the colon: {line}"))?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    match name {
        "data" => open.1.push(value.to_owned()),
        "event" => {
            mind.rule(framing == Framing::Named, || format!("a named event: {line}"))?;
            open.0 = Some(value.to_owned());
        }
        _ => mind.rule(false, || format!("a field nobody asked for: {line}"))?,
    }
    Ok(())
}

fn dispatch(
    open: &mut Option<(Option<String>, Vec<String>)>,
    all: &mut Vec<Event>,
    framing: Framing,
    mind: Mind,
) -> Result<(), String> {
    let Some((name, data)) = open.take() else { return Ok(()) };
    mind.rule(data.len() == 1, || format!("an event with {} data lines", data.len()))?;
    mind.rule(framing != Framing::Named || name.is_some(), || "an event without a name".to_owned())?;
    let data = data.join("\n");
    if !data.trim().is_empty() {
        all.push(Event { name, data });
    }
    Ok(())
}
