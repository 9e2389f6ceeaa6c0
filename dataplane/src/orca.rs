//! What a server says of its load in the head of an answer: the `endpoint-load-metrics` field (ORCA).
//!
//! Owns: both forms of its value, with or without the word in front that names the form.
//! Must not: allocate, or trust a value: anything malformed says nothing, and is counted by whoever asked.
//! Read next: [`crate::load`], which takes the numbers in.

use std::fmt;

use ringway_contract::snapshot::Orca;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::bounds::{ORCA_BYTES_MAX, ORCA_PAIRS_MAX};

/// The field of answers.
pub const FIELD: &str = "endpoint-load-metrics";
/// The field of requests that asks for it.
pub const ASK: &[u8] = b"endpoint-load-metrics-format";

/// How a form is asked for.
pub const fn wish(form: Orca) -> &'static [u8] {
    match form {
        Orca::Text => b"TEXT",
        Orca::Json => b"JSON",
    }
}

/// What the head of an answer said. None is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Beside {
    /// Requests that wait in the server.
    pub waiting: Option<u32>,
    /// Share of its KV cache in use, 0 to 1.
    pub kv: Option<f32>,
}

impl Beside {
    fn take(&mut self, name: &str, value: f64) {
        let name = name.strip_prefix("named_metrics.").unwrap_or(name);
        if !value.is_finite() || value < 0.0 {
            return; // the other values may be right
        }
        match name {
            "kv_cache_usage_perc" | "kv_cache_utilization" if value <= SHARE_MAX => {
                self.kv = Some((value as f32).min(1.0));
            }
            "num_requests_waiting" => self.waiting = Some(value as u32), // saturates
            _ => {}
        }
    }
}

/// Engines round up past a full cache for a moment; further beyond it is another unit.
const SHARE_MAX: f64 = 1.5;

/// Reads the value of the field; none if it is malformed or too large.
pub fn read(value: &[u8]) -> Option<Beside> {
    if value.len() > ORCA_BYTES_MAX {
        return None;
    }
    let value = std::str::from_utf8(value).ok()?.trim();
    if let Some(json) = value.strip_prefix("JSON ") {
        return read_json(json.trim_start());
    }
    match value.strip_prefix("TEXT ") {
        Some(text) => read_text(text),
        None if value.starts_with('{') => read_json(value),
        None => read_text(value),
    }
}

fn read_text(text: &str) -> Option<Beside> {
    let mut beside = Beside::default();
    let mut pairs = 0;
    for pair in text.split(',') {
        pairs += 1;
        let (name, number) = pair.split_once('=')?;
        let number: f64 = number.trim().parse().ok()?;
        if pairs > ORCA_PAIRS_MAX || name.trim().is_empty() {
            return None;
        }
        beside.take(name.trim(), number);
    }
    Some(beside)
}

fn read_json(text: &str) -> Option<Beside> {
    let mut beside = Beside::default();
    let mut pairs = 0;
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Pairs { beside: &mut beside, count: &mut pairs, nested: false }).ok()?;
    json.end().ok()?;
    Some(beside)
}

/// One object: numbers by name, and at the top one more object of them.
struct Pairs<'b> {
    beside: &'b mut Beside,
    count: &'b mut usize,
    nested: bool,
}

impl<'de> Visitor<'de> for Pairs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&'de str>()? {
            *self.count += 1;
            if *self.count > ORCA_PAIRS_MAX {
                return Err(serde::de::Error::custom("too many pairs"));
            }
            match name {
                "named_metrics" if !self.nested => {
                    map.next_value_seed(Pairs { beside: self.beside, count: self.count, nested: true })?;
                }
                "kv_cache_usage_perc" | "kv_cache_utilization" | "num_requests_waiting" => {
                    self.beside.take(name, map.next_value()?);
                }
                _ if name.starts_with("named_metrics.") => self.beside.take(name, map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Pairs<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read_with_and_without_their_word_and_prefix() {
        for value in [
            "TEXT named_metrics.kv_cache_usage_perc=0.41, named_metrics.num_requests_waiting=3",
            "named_metrics.kv_cache_usage_perc=0.41,named_metrics.num_requests_waiting=3",
            "TEXT kv_cache_utilization=0.41, num_requests_waiting=3.0, cpu_utilization=0.2",
            r#"JSON {"named_metrics":{"kv_cache_usage_perc":0.41,"num_requests_waiting":3}}"#,
            r#"{"cpu_utilization":0.5,"kv_cache_utilization":0.41,"num_requests_waiting":3,"utilization":{"a":1}}"#,
            r#"{"named_metrics.kv_cache_usage_perc":0.41,"named_metrics.num_requests_waiting":3}"#,
        ] {
            assert_eq!(read(value.as_bytes()), Some(Beside { waiting: Some(3), kv: Some(0.41) }), "{value}");
        }
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        let many = vec!["a=1"; ORCA_PAIRS_MAX + 1].join(",");
        let long = format!("num_requests_waiting=3{}", " ".repeat(ORCA_BYTES_MAX));
        let cases = [
            "",
            "TEXT",
            "TEXT a",
            "a=b",
            "=1",
            "a=1,",
            "JSON {",
            "{\"named_metrics\":{",
            "{} {}",
            "[1]",
            "\u{1}",
        ];
        for value in cases.into_iter().chain([many.as_str(), long.as_str()]) {
            assert_eq!(read(value.as_bytes()), None, "{value}");
        }
        assert_eq!(read(b"num_requests_waiting=3,\xff=1"), None);
        assert_eq!(read(b"{}"), Some(Beside::default()));
    }

    #[test]
    fn a_value_that_cannot_be_is_left_out_and_the_others_stay() {
        let read = |text: &str| read(text.as_bytes()).expect("well formed");
        assert_eq!(read("kv_cache_usage_perc=NaN, num_requests_waiting=3").waiting, Some(3));
        assert_eq!(read("kv_cache_usage_perc=41, num_requests_waiting=-1"), Beside::default());
        assert_eq!(read("kv_cache_usage_perc=1.2").kv, Some(1.0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(beside) = read(&bytes) {
                prop_assert!(beside.kv.is_none_or(|kv| (0.0..=1.0).contains(&kv)));
            }
        }

        #[test]
        fn anything_near_a_report_is_read_without_a_panic(text in "(TEXT |JSON )?[{\"]?[a-z_.={}:,0-9 ]{0,80}") {
            let _ = read(text.as_bytes());
        }
    }
}
