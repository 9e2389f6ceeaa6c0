//! A pushed document, turned into a snapshot.
//!
//! Owns: reading its sections one by one, so that every section with a mistake is named at once, and laying changed
//! sections over the running snapshot.
//! Must not: judge what a snapshot means; compiling does, later and again.
//! Read next: [`super::pipeline`].

use ringway_contract::snapshot::FORMAT;
use ringway_contract::{Generation, Problem, Snapshot};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::bounds::PROBLEMS_MAX;

/// The sections of a document as they came. A section may be `null`, which is not the same as absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    format: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    generation: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    listeners: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    admin: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    backends: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    routes: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    models: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    limits: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    logging: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    drain_timeout_ms: Given<'a>,
}

type Given<'a> = Option<&'a RawValue>;

fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Given<'de>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A document read.
#[derive(Debug, PartialEq)]
pub struct Change {
    /// The snapshot it asks for; its generation is 0 unless the document names one.
    pub snapshot: Snapshot,
    /// The sections it names, for the record.
    pub sections: Vec<&'static str>,
}

/// Reads `document`: a whole snapshot, or sections to lay over `running`.
pub fn read(document: &[u8], running: Option<&Snapshot>) -> Result<Change, Vec<Problem>> {
    if document.trim_ascii_start().first() != Some(&b'{') {
        return Err(vec![Problem::new("$", "is no JSON object")]); // serde would take a list for a struct
    }
    let sections: Sections<'_> =
        serde_json::from_slice(document).map_err(|error| vec![Problem::new("$", error.to_string())])?;
    let mut reading = Reading { problems: Vec::new(), sections: Vec::new() };
    let snapshot = if sections.is_whole() {
        reading.lay(&sections, empty())
    } else if let Some(running) = running {
        let base = Snapshot { generation: Generation::NONE, ..running.clone() };
        reading.lay(&sections, base)
    } else {
        return Err(sections.missing());
    };
    if reading.sections.is_empty() {
        reading.problems.push(Problem::new("$", "names no section"));
    }
    if reading.problems.is_empty() {
        Ok(Change { snapshot, sections: reading.sections })
    } else {
        Err(reading.problems)
    }
}

impl Sections<'_> {
    const fn is_whole(&self) -> bool {
        self.format.is_some() && self.listeners.is_some() && self.backends.is_some() && self.routes.is_some()
    }

    /// What keeps it from being whole, where there is nothing to lay it over.
    fn missing(&self) -> Vec<Problem> {
        let needed = [
            ("format", self.format),
            ("listeners", self.listeners),
            ("backends", self.backends),
            ("routes", self.routes),
        ];
        let absent = needed.into_iter().filter(|(_, given)| given.is_none());
        absent
            .map(|(at, _)| {
                Problem::new(at, "is missing, and no snapshot runs that it could be taken from")
                    .mend("send a whole snapshot")
            })
            .collect()
    }
}

fn empty() -> Snapshot {
    let text = format!(r#"{{"format":{FORMAT},"listeners":[],"backends":[],"routes":[]}}"#);
    serde_json::from_str(&text).expect("the contract's required sections, empty")
}

/// What came of the sections so far.
struct Reading {
    problems: Vec<Problem>,
    sections: Vec<&'static str>,
}

impl Reading {
    fn lay(&mut self, sections: &Sections<'_>, over: Snapshot) -> Snapshot {
        let format = self.one("format", sections.format, over.format);
        if format != FORMAT {
            let what = format!("is {format}; this version reads {FORMAT}");
            self.problems
                .push(Problem::new("format", what).mend("use ringctl and ringway of the same release"));
        }
        Snapshot {
            format,
            generation: self.one("generation", sections.generation, over.generation),
            listeners: self.many("listeners", sections.listeners, over.listeners),
            admin: self.one("admin", sections.admin, over.admin),
            backends: self.many("backends", sections.backends, over.backends),
            routes: self.many("routes", sections.routes, over.routes),
            models: self.many("models", sections.models, over.models),
            limits: self.one("limits", sections.limits, over.limits),
            logging: self.one("logging", sections.logging, over.logging),
            drain_timeout_ms: self.one("drain_timeout_ms", sections.drain_timeout_ms, over.drain_timeout_ms),
        }
    }

    fn one<'a, T: Deserialize<'a>>(&mut self, at: &'static str, given: Given<'a>, otherwise: T) -> T {
        let Some(raw) = given else { return otherwise };
        self.sections.push(at);
        self.parse(at, raw).unwrap_or(otherwise)
    }

    fn many<'a, T: Deserialize<'a>>(
        &mut self,
        at: &'static str,
        given: Given<'a>,
        otherwise: Vec<T>,
    ) -> Vec<T> {
        let Some(raw) = given else { return otherwise };
        self.sections.push(at);
        let Some(items) = self.parse::<Vec<&RawValue>>(at, raw) else { return otherwise };
        let parsed = |(index, raw): (usize, &'a RawValue)| self.parse(&format!("{at}[{index}]"), raw);
        items.into_iter().enumerate().filter_map(parsed).collect()
    }

    fn parse<'a, T: Deserialize<'a>>(&mut self, at: &str, raw: &'a RawValue) -> Option<T> {
        let parsed = serde_json::from_str(raw.get());
        let problem = |error| {
            if self.problems.len() < PROBLEMS_MAX {
                self.problems.push(Problem::new(at, what(&error)));
            }
        };
        parsed.map_err(problem).ok()
    }
}

/// The parser's words without its line and column, which count within the section and would mislead.
fn what(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::snapshot;
    use super::*;

    fn problems(document: &str, running: Option<&Snapshot>) -> Vec<String> {
        let found = read(document.as_bytes(), running).expect_err("problems");
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_document_takes_nothing_from_the_running_one() {
        let mut running = snapshot(7);
        running.limits.connections = 5;
        let document = serde_json::json!({"format": FORMAT, "listeners": [], "backends": [], "routes": []});
        let change = read(document.to_string().as_bytes(), Some(&running)).expect("a snapshot");
        assert_eq!(change.snapshot, empty());
    }

    #[test]
    fn changed_sections_are_laid_over_the_running_snapshot() {
        let running = snapshot(7);
        let change = read(br#"{"routes": [], "admin": null}"#, Some(&running)).expect("a snapshot");
        assert_eq!(change.sections, ["admin", "routes"]);
        assert!(change.snapshot.routes.is_empty() && change.snapshot.admin.is_none());
        assert_eq!(change.snapshot.backends, running.backends);
        assert_eq!(
            change.snapshot.generation,
            Generation::NONE,
            "a change is not the generation it is laid over"
        );
    }

    #[test]
    fn sections_without_a_running_snapshot_name_all_that_is_missing() {
        let found = problems(r#"{"routes": []}"#, None);
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("format: is missing") && found[2].starts_with("backends: is missing"));
    }

    #[test]
    fn every_section_and_item_with_a_mistake_is_named() {
        let found = problems(
            r#"{"format": 9, "listeners": [{"address": "nowhere"}, {"address": "127.0.0.1:1"}, {"adress": 1}],
                "backends": {}, "routes": [], "limits": {"connections": -1}, "drain_timeout_ms": "1s"}"#,
            None,
        );
        let starts = [
            "format: is 9",
            "listeners[0]: ",
            "listeners[2]: ",
            "backends: ",
            "limits: ",
            "drain_timeout_ms: ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found}");
            assert!(!found.contains(" at line "), "{found}");
        }
    }

    #[test]
    fn problems_without_end_are_listed_up_to_a_bound() {
        let items = vec![1; 10 * PROBLEMS_MAX];
        let document = serde_json::json!({ "routes": items }).to_string();
        assert_eq!(problems(&document, Some(&snapshot(1))).len(), PROBLEMS_MAX);
    }

    #[test]
    fn unknown_and_repeated_sections_are_refused() {
        let running = snapshot(1);
        assert!(problems(r#"{"rotues": []}"#, Some(&running))[0].contains("rotues"));
        assert!(problems(r#"{"routes": [], "routes": []}"#, Some(&running))[0].contains("duplicate"));
        assert!(problems("", Some(&running))[0].starts_with("$: "));
        assert!(problems("[]", Some(&running))[0].starts_with("$: "));
        assert!(problems("{}", Some(&running))[0].starts_with("$: "));
    }
}
