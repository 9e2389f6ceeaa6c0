//! Public request traces: when requests came, how long they were, and which prefixes they shared.
//!
//! Owns: the two formats, the rules of replaying them, and the text a trace's blocks stand for.
//! Must not: send anything. Read next: `prompts.rs`; `ringway_gpusim::virtual_time` for replays without sockets.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ringway_gpusim::{bounds::TOKEN_BYTES, prefix::Prefix, random::Random};
use serde::Deserialize;

use crate::bounds::TRACE_ROWS_MAX;

/// Tokens in one block of a trace that names its blocks.
pub const TRACE_BLOCK_TOKENS: u32 = 512;

/// One request of a trace. The last three are ours, beyond the public formats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// When it came, since the start of the trace.
    pub at: Duration,
    /// Tokens of its prompt.
    pub prompt: u32,
    /// Tokens of its answer.
    pub output: u32,
    /// One id per block of the prompt; an id names the whole prefix up to its block.
    pub ids: Vec<u64>,
    /// The model it asks for, if not that of the run.
    pub model: Option<String>,
    /// Header fields of its own, each `(name, value)`.
    pub headers: Vec<(String, String)>,
    /// Its caller leaves so long after it was due, if the answer is not over by then.
    pub leaves: Option<Duration>,
}

/// The rows of a trace, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    rows: Vec<Row>,
}

/// How a trace is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// Times of arrival are divided by this: twice the scale is twice the arrival rate.
    pub scale: f64,
    /// All times are divided by this.
    pub time_scale: f64,
    /// Only the first so many rows; never a random sample, which would destroy the reuse.
    pub rows: Option<usize>,
    /// Decides the jitter.
    pub seed: u64,
    /// Where arrivals are stamped coarsely, each is moved by up to one step of the stamps.
    pub jitter: bool,
}

impl Default for Replay {
    fn default() -> Self {
        Self { scale: 1.0, time_scale: 1.0, rows: None, seed: 1, jitter: true }
    }
}

/// Why a file is no trace.
#[derive(Debug, thiserror::Error)]
pub enum BadTrace {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, std::io::Error),
    /// A row is not as the format has it.
    #[error("line {line} is no row of a trace: {why}")]
    Row {
        /// Counted from one.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// There is nothing in it, or too much.
    #[error("a trace has 1 to {TRACE_ROWS_MAX} rows, this one {0}")]
    Count(usize),
}

/// A row as Mooncake writes it, and what may be added.
#[derive(Deserialize)]
struct MooncakeRow {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
    model: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    leave_after: Option<u64>,
}

/// Stamps of the conversation trace lie so far apart; see [`Trace::is_coarse`].
const STEP_MS: u64 = 3_000;

impl Trace {
    /// Reads a file of either format.
    pub fn read(path: &Path) -> Result<Self, BadTrace> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BadTrace::Unreadable(path.display().to_string(), error))?;
        Self::parse(&text)
    }

    /// Reads Mooncake's JSON lines, or Azure's CSV with its header.
    pub fn parse(text: &str) -> Result<Self, BadTrace> {
        let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let mut rows = Vec::new();
        if text.trim_start().starts_with('{') {
            for (at, line) in numbered {
                rows.push(mooncake(line).map_err(|why| BadTrace::Row { line: at + 1, why })?);
            }
        } else {
            for (number, (at, line)) in numbered.skip(1).enumerate() {
                rows.push(azure(line, number as u64).map_err(|why| BadTrace::Row { line: at + 1, why })?);
            }
            let first = rows.iter().map(|row| row.at).min().unwrap_or_default();
            for row in &mut rows {
                row.at -= first;
            }
        }
        if rows.is_empty() || rows.len() > TRACE_ROWS_MAX {
            return Err(BadTrace::Count(rows.len()));
        }
        rows.sort_by_key(|row| row.at);
        Ok(Self { rows })
    }

    /// Of these rows, in order of time.
    pub fn new(mut rows: Vec<Row>) -> Self {
        rows.sort_by_key(|row| row.at);
        Self { rows }
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether many rows share a stamp: such a trace was written down in steps, and replayed as it is would come
    /// in bursts that never happened.
    fn is_coarse(&self) -> bool {
        let shared = self.rows.windows(2).filter(|pair| pair[0].at == pair[1].at).count();
        shared * 2 > self.rows.len()
            && self.rows.last().is_some_and(|row| row.at.as_millis() > STEP_MS.into())
    }

    /// The trace as it is replayed: cut, jittered, sorted, scaled.
    #[must_use]
    pub fn replayed(&self, replay: &Replay) -> Self {
        let mut random = Random::new(replay.seed);
        let jitter = replay.jitter && self.is_coarse();
        let count = replay.rows.unwrap_or(self.rows.len()).min(self.rows.len());
        let mut rows = self.rows[..count].to_vec();
        for row in &mut rows {
            let offset = if jitter { random.unit() * STEP_MS as f64 / 1_000.0 } else { 0.0 };
            let seconds = (row.at.as_secs_f64() + offset) / (replay.scale * replay.time_scale);
            row.at = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            row.leaves = row.leaves.map(|after| after.div_f64(replay.time_scale));
        }
        rows.sort_by_key(|row| row.at); // stable: ties stay in the order of the rows
        Self { rows }
    }
}

fn mooncake(line: &str) -> Result<Row, String> {
    let row: MooncakeRow = serde_json::from_str(line).map_err(|error| error.to_string())?;
    Ok(Row {
        at: Duration::from_millis(row.timestamp),
        prompt: row.input_length.max(1),
        output: row.output_length.max(1),
        ids: row.hash_ids,
        model: row.model,
        headers: row.headers.into_iter().map(field).collect::<Result<_, _>>()?,
        leaves: row.leave_after.map(Duration::from_millis),
    })
}

/// A field that can stand in a head.
fn field((name, value): (String, String)) -> Result<(String, String), String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let sane =
        !name.is_empty() && name.bytes().all(is_name) && !value.bytes().any(|byte| byte.is_ascii_control());
    if sane { Ok((name, value)) } else { Err(format!("`{name}: {value}` is no header field")) }
}

/// Nothing is known of shared prefixes: every block is like no other.
fn azure(line: &str, number: u64) -> Result<Row, String> {
    let mut fields = line.trim_end().split(',');
    let mut next = || fields.next().ok_or_else(|| "fields are missing".to_owned());
    let at = wall_time(next()?).ok_or("the time is not like 2023-11-16 18:17:03.9799600")?;
    let mut count = || next()?.parse::<u32>().map_err(|error| error.to_string());
    let (prompt, output) = (count()?.max(1), count()?.max(1));
    let blocks = u64::from(prompt.div_ceil(TRACE_BLOCK_TOKENS));
    // Apart from all ids of the other format, which count from zero.
    let ids = (0..blocks).map(|block| AZURE_ID | number << 16 | block).collect();
    Ok(Row { at, prompt, output, ids, ..Row::default() })
}

const AZURE_ID: u64 = 1 << 63;

/// `YYYY-MM-DD hh:mm:ss.fffffff` since some day before all of them.
fn wall_time(text: &str) -> Option<Duration> {
    let (date, time) = text.trim_start_matches('\u{feff}').split_once(' ')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hours, minutes) = (time.next()?.parse::<u32>().ok()?, time.next()?.parse::<u32>().ok()?);
    let seconds = time.next()?.parse::<f64>().ok().filter(|seconds| (0.0..61.0).contains(seconds))?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hours > 23 || minutes > 59 {
        return None;
    }
    let days = u64::try_from(days_from_civil(year, month, day)).ok()?;
    let whole = days * 86_400 + u64::from(hours) * 3_600 + u64::from(minutes) * 60;
    Some(Duration::from_secs(whole) + Duration::from_secs_f64(seconds))
}

/// Days since 1970-01-01: months counted from March, so that a leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl Row {
    /// The text of the prompt: four bytes per token, equal as far as the ids are.
    pub fn text(&self) -> String {
        let bytes = self.prompt as usize * TOKEN_BYTES;
        let mut text = String::with_capacity(bytes + BLOCK_BYTES);
        for id in &self.ids {
            push_block(&mut text, *id);
        }
        text.truncate(bytes);
        text
    }

    /// What a simulated cache knows the prompt by, where no text is sent. Equal as far as the texts are.
    pub fn prefix(&self) -> Prefix {
        Prefix::of_ids(&self.ids, TRACE_BLOCK_TOKENS, u64::from(self.prompt))
    }
}

const BLOCK_BYTES: usize = TRACE_BLOCK_TOKENS as usize * TOKEN_BYTES;

/// Letters, digits, space and full stop: nothing that JSON escapes.
const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

fn push_block(text: &mut String, id: u64) {
    let mut random = Random::new(id);
    let end = text.len() + BLOCK_BYTES;
    while text.len() < end {
        let mut bits = random.bits();
        for _ in 0..8 {
            text.push(char::from(ALPHABET[(bits % 64) as usize]));
            bits >>= 6;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOONCAKE: &str = r#"{"timestamp": 0, "input_length": 1030, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 520, "output_length": 1, "hash_ids": [0, 3]}
"#;
    const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-30 23:59:59.9799600,4808,10\r\n\
                         2023-12-01 00:00:00.4799600,3180,8";

    #[test]
    fn both_formats_are_read() {
        let trace = Trace::parse(MOONCAKE).expect("a trace");
        assert_eq!(trace.rows().len(), 2);
        assert_eq!(trace.rows()[0].ids, [0, 1, 2]);
        let trace = Trace::parse(AZURE).expect("a trace");
        let ats: Vec<_> = trace.rows().iter().map(|row| row.at.as_micros()).collect();
        assert!(ats[0] == 0 && ats[1].abs_diff(500_000) <= 1, "{ats:?}");
        assert_eq!((trace.rows()[0].prompt, trace.rows()[1].output), (4_808, 8));
        assert_eq!(trace.rows()[0].ids.len(), 10);
        assert!(trace.rows()[0].ids.iter().all(|id| !trace.rows()[1].ids.contains(id)));
    }

    #[test]
    fn a_row_may_name_a_model_and_fields_and_when_its_caller_leaves() {
        let text =
            r#"{"timestamp": 0, "input_length": 1, "output_length": 5, "hash_ids": [0], "model": "poet",
 "headers": {"x-tenant": "acme"}, "leave_after": 900}"#
                .replace('\n', "");
        let trace = Trace::parse(&text).expect("a trace");
        let replayed = trace.replayed(&Replay { scale: 10.0, time_scale: 3.0, ..Replay::default() });
        let row = &replayed.rows()[0];
        assert_eq!(row.model.as_deref(), Some("poet"));
        assert_eq!(row.headers, [("x-tenant".to_owned(), "acme".to_owned())]);
        assert_eq!(row.leaves, Some(Duration::from_millis(300)), "a rate changes no caller's patience");
        let broken = text.replace("acme", "a\\r\\nb");
        assert!(matches!(Trace::parse(&broken), Err(BadTrace::Row { line: 1, .. })), "{broken}");
    }

    #[test]
    fn a_broken_row_is_named_by_its_line() {
        for (text, line) in [("{\"timestamp\":0}", 1), ("a,b,c\n2023-13-01 00:00:00.0,1,1", 2), ("h\nx", 2)] {
            assert!(
                matches!(Trace::parse(text), Err(BadTrace::Row { line: at, .. }) if at == line),
                "{text}"
            );
        }
        assert!(matches!(Trace::parse(""), Err(BadTrace::Count(0))));
    }

    #[test]
    fn texts_are_as_long_as_their_prompts_and_agree_as_far_as_the_ids_do() {
        let trace = Trace::parse(MOONCAKE).expect("a trace");
        let (first, second) = (trace.rows()[0].text(), trace.rows()[1].text());
        assert_eq!((first.len(), second.len()), (4_120, 2_080));
        assert_eq!(first[..2_048], second[..2_048]);
        assert_ne!(first[2_048..2_056], second[2_048..2_056]);
        assert_eq!(serde_json::to_string(&first).expect("a string is JSON").len(), first.len() + 2);
    }

    #[test]
    fn coarse_stamps_are_jittered_and_exact_ones_are_not() {
        let rows: String = (0..100)
            .map(|n| {
                let at = n / 10 * 3_000;
                format!(r#"{{"timestamp": {at}, "input_length": 1, "output_length": 1, "hash_ids": [{n}]}}"#)
                    + "\n"
            })
            .collect();
        let trace = Trace::parse(&rows).expect("a trace");
        let replay = Replay { scale: 2.0, rows: Some(50), ..Replay::default() };
        let replayed = trace.replayed(&replay);
        assert_eq!(replayed.rows().len(), 50);
        assert!(replayed.rows().windows(2).all(|pair| pair[0].at <= pair[1].at));
        let distinct = replayed.rows().windows(2).filter(|pair| pair[0].at < pair[1].at).count();
        assert!(distinct > 45 && replayed.rows()[49].at <= Duration::from_millis(7_500));
        assert_eq!(replayed, trace.replayed(&replay));
        assert_ne!(replayed, trace.replayed(&Replay { seed: 2, ..replay }));
        let exact =
            Trace::parse(AZURE).expect("a trace").replayed(&Replay { scale: 5.0, ..Replay::default() });
        assert_eq!(exact.rows()[1].at.as_millis(), 100);
    }
}
