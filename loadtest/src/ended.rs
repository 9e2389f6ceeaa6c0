//! What became of one request: a line each, for whoever wants more than sums.
//!
//! Owns: the record, and how it is written. Must not: judge; the oracle did.
//! Read next: `client.rs`, which makes them; `cli.rs`, which writes them down (`--log`).

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::oracle::Fault;

/// One request, when it is over. Times but `due` count from when it was due; in JSON they are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ended {
    /// Its number, in the order of being due.
    pub request: u64,
    /// When it was due, since the start of the run.
    #[serde(rename = "due_s", serialize_with = "seconds")]
    pub due: Duration,
    /// What became of it.
    pub outcome: Outcome,
    /// The status of its answer, if one began.
    pub status: Option<u16>,
    /// When its first token came; of an answer in one piece, its head.
    #[serde(rename = "first_token_s", serialize_with = "maybe_seconds")]
    pub first_token: Option<Duration>,
    /// When its last token came, of those that did.
    #[serde(rename = "last_token_s", serialize_with = "maybe_seconds")]
    pub last_token: Option<Duration>,
    /// When it was over.
    #[serde(rename = "end_s", serialize_with = "seconds")]
    pub end: Duration,
    /// Tokens that came.
    pub tokens: u64,
    /// Tokens of its prompt, as the usage of a valid answer says.
    pub prompt_tokens: u64,
    /// Those of them found in a cache.
    pub cached_tokens: u64,
    /// Who answered, where the answer says so.
    pub endpoint: Option<String>,
    /// How long it was told to stay away.
    #[serde(rename = "retry_after_s", serialize_with = "maybe_seconds")]
    pub retry_after: Option<Duration>,
    /// How it was refused before, if it came back.
    pub came_back: Option<Refusal>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Well.
    Valid,
    /// Its caller left, as the trace says.
    Left,
    /// By a fault.
    #[serde(untagged)]
    Fault(Fault),
}

/// A refusal that said when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When it was told, since the request was due.
    #[serde(rename = "at_s", serialize_with = "seconds")]
    pub at: Duration,
    /// How long it was to stay away.
    #[serde(rename = "retry_after_s", serialize_with = "seconds")]
    pub retry_after: Duration,
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_micros() as f64 / 1e6)
}

#[expect(clippy::ref_option, reason = "serde hands out references to fields")]
fn maybe_seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_line_of_json_with_seconds_and_plain_words() {
        let ms = Duration::from_millis;
        let record = Ended {
            request: 7,
            due: ms(1_500),
            outcome: Outcome::Fault(Fault::Status),
            status: Some(429),
            first_token: None,
            last_token: None,
            end: ms(2),
            tokens: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            endpoint: None,
            retry_after: Some(ms(3_000)),
            came_back: Some(Refusal { at: ms(1), retry_after: ms(2_000) }),
        };
        let json = |record: &Ended| serde_json::to_value(record).expect("plain data");
        let line = json(&record);
        assert_eq!(
            (&line["outcome"], &line["due_s"], &line["end_s"]),
            (&"status".into(), &1.5.into(), &0.002.into())
        );
        assert_eq!((&line["retry_after_s"], &line["came_back"]["retry_after_s"]), (&3.0.into(), &2.0.into()));
        assert!(line["first_token_s"].is_null());
        for (outcome, word) in [(Outcome::Valid, "valid"), (Outcome::Left, "left")] {
            assert_eq!(json(&Ended { outcome, ..record.clone() })["outcome"], word);
        }
    }
}
