//! Claims about the parts that the outside cannot see: the table of fields, globs of words, coverage of
//! routes, the drawing of a line.

use std::io;
use std::path::Path;

use ringway_contract::snapshot::{
    Balance, Class, Dialect, Engine, HalfClose, LogFormat, Match, Orca, Order, Reasoning,
};

use super::fields::{Choice, FILE, Field, Kind, Need, Section};
use super::hardware::Preset;
use super::values::{duration, percent, size, write_duration, write_size};
use super::{Environment, SecretFile, Source, check, overlap, speaks, suggest};

struct Nothing;

impl Environment for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> io::Result<SecretFile> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

/// A file in flow style with every required field, and every default written out if `defaults`.
fn write(section: &Section, defaults: bool) -> String {
    if section.name == "match" {
        return "{path_prefix: /}".to_owned(); // some condition is required, no one in particular
    }
    let value = |field: &Field| match field.need {
        Need::Required => Some(sample(&field.kind, defaults)),
        Need::Optional(_) if !defaults => None,
        Need::Optional(default) => match &field.kind {
            Kind::Whole(..) if !default.starts_with(|first: char| first.is_ascii_digit()) => None, // in words
            Kind::Flag | Kind::Whole(..) | Kind::Duration(..) | Kind::Size(..) | Kind::Percent => {
                Some(default.to_owned())
            }
            Kind::Choice(choices) => {
                choices.iter().any(|choice| choice.name == default).then(|| default.to_owned())
            }
            Kind::Section(section) if default == "see there" => Some(write(section, true)),
            Kind::Either(kinds) if default == "see there" => Some(sample(&kinds[kinds.len() - 1], true)),
            Kind::Either(_) => (default != "none").then(|| default.to_owned()),
            _ => None,
        },
        Need::Later(_) => None,
    };
    let fields = section.fields.iter().filter_map(|field| Some(format!("{}: {}", field.name, value(field)?)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
}

fn sample(kind: &Kind, defaults: bool) -> String {
    match kind {
        Kind::Text(format) => format!("\"{}\"", format.example),
        Kind::Whole(min, _) => min.to_string(),
        Kind::Choice(choices) => choices[0].name.to_owned(),
        Kind::Section(section) => write(section, defaults),
        Kind::Many(kind, _) => format!("[{}]", sample(kind, defaults)),
        Kind::Named(kind, _) => format!("{{llama: {}}}", sample(kind, defaults)),
        Kind::Either(kinds) => sample(&kinds[kinds.len() - 1], defaults),
        kind => panic!("no required field holds {kind:?}"),
    }
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_contract() {
    let bare = write(&FILE, false);
    let full = write(&FILE, true);
    for shown in
        ["first_byte: 60s", "budget: 10%", "drain_timeout: 30s", "balance: least_requests", "access: stdout"]
    {
        assert!(full.contains(shown), "{full}");
    }
    let resolve = |text| {
        check(&Source::new("ringway.yaml", text), &Nothing).unwrap_or_else(|report| panic!("{report}"))
    };
    let (bare, full) = (resolve(bare), resolve(full));
    let nowhere = |_: &str, _| Vec::new();
    assert_eq!(super::snapshot(&bare, &nowhere), super::snapshot(&full, &nowhere));
    assert_eq!(super::targets(&bare, &nowhere), super::targets(&full, &nowhere));
}

#[test]
fn each_word_of_a_choice_is_one_of_the_contract() {
    fn read<T: serde::de::DeserializeOwned>(choices: &[Choice]) {
        for choice in choices.iter().filter(|choice| choice.later.is_none()) {
            let read = serde_json::from_value::<T>(choice.name.into());
            assert!(read.is_ok(), "{}", choice.name);
        }
    }
    let mut known = 0;
    each_choice(&FILE, &mut |field, choices| {
        known += 1;
        match field {
            "engine" => read::<Engine>(choices),
            "dialect" => read::<Dialect>(choices),
            "balance" => read::<Balance>(choices),
            "preset" => read::<Preset>(choices),
            "half_close" => read::<HalfClose>(choices),
            "format" => read::<LogFormat>(choices),
            "orca" => read::<Orca>(choices),
            "order" => read::<Order>(choices),
            "class" => read::<Class>(choices),
            "reasoning" => read::<Reasoning>(choices),
            other => panic!("no claim about {other}"),
        }
    });
    assert_eq!(known, 11, "`preset` stands in two places");
}

fn each_choice(section: &Section, see: &mut dyn FnMut(&str, &[Choice])) {
    fn inside(name: &str, kind: &Kind, see: &mut dyn FnMut(&str, &[Choice])) {
        match kind {
            Kind::Choice(choices) => see(name, choices),
            Kind::Section(section) => each_choice(section, see),
            Kind::Many(kind, _) | Kind::Named(kind, _) => inside(name, kind, see),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| inside(name, kind, see)),
            _ => {}
        }
    }
    section.fields.iter().for_each(|field| inside(field.name, &field.kind, see));
}

#[test]
fn quantities_read_what_they_write() {
    for ms in [0, 1, 250, 1_000, 90_000, 60_000, 3_600_000, 86_400_000] {
        assert_eq!(duration(&write_duration(ms)).expect("ours").get(), ms);
    }
    for bytes in [0, 1, 1_000, 1_024, 1 << 20, 3 << 30] {
        assert_eq!(size(&write_size(bytes)).expect("ours").get(), bytes);
    }
    assert_eq!(size("512B").expect("bytes").get(), 512);
    assert_eq!(percent("0%"), Ok(0));
}

#[test]
fn quantities_past_counting_are_refused() {
    assert!(duration("99999999999999999999s").is_err());
    assert!(duration("9999999999999999999h").is_err());
    assert!(size("99999999999999999GiB").is_err());
    assert!(percent("4294967296%").is_err());
    for text in ["", "s", "-1s", "1 0s", "١s", "1é"] {
        assert!(duration(text).is_err(), "{text}");
        assert!(size(text).is_err(), "{text}");
        assert!(percent(text).is_err(), "{text}");
    }
}

#[test]
fn a_slip_is_recognised_and_another_word_is_not() {
    let fields = ["address", "timeouts", "half_close", "path_prefix"];
    assert_eq!(suggest::nearest("adress", fields), Some("address"));
    assert_eq!(suggest::nearest("timeuots", fields), Some("timeouts"));
    assert_eq!(suggest::nearest("PathPrefix", fields), Some("path_prefix"));
    assert_eq!(suggest::nearest("path-prefix", fields), Some("path_prefix"));
    assert_eq!(suggest::nearest("certificate", fields), None);
    assert_eq!(suggest::nearest("", fields), None);
}

fn on(path: Option<&str>, prefix: Option<&str>) -> Match {
    Match { path: path.map(str::to_owned), path_prefix: prefix.map(str::to_owned), ..Match::default() }
}

#[test]
fn a_match_covers_what_it_must_take_and_nothing_else() {
    let everything = on(None, Some("/"));
    let v1 = on(None, Some("/v1"));
    let chat = on(Some("/v1/chat/completions"), None);
    assert!(overlap::covers(&everything, &chat) && overlap::covers(&everything, &v1));
    assert!(overlap::covers(&v1, &chat) && overlap::covers(&chat, &chat));
    assert!(!overlap::covers(&chat, &v1) && !overlap::covers(&v1, &everything));
    assert!(!overlap::covers(&on(None, Some("/v1/ch")), &chat), "a prefix ends at a slash");

    let post = Match { methods: vec!["POST".into()], ..v1.clone() };
    assert!(overlap::covers(&v1, &post) && !overlap::covers(&post, &v1));
    let wild = Match { hosts: vec!["*.example.com".into()], ..v1.clone() };
    let host = Match { hosts: vec!["api.example.com".into()], ..v1.clone() };
    let apex = Match { hosts: vec!["example.com".into()], ..v1.clone() };
    assert!(
        overlap::covers(&wild, &host) && !overlap::covers(&host, &wild) && !overlap::covers(&wild, &apex)
    );
    let wide = Match { client_cidrs: vec!["10.0.0.0/8".parse().expect("a network")], ..v1.clone() };
    let narrow = Match { client_cidrs: vec!["10.1.0.0/16".parse().expect("a network")], ..v1.clone() };
    assert!(overlap::covers(&wide, &narrow) && !overlap::covers(&narrow, &wide));
}

#[test]
fn model_paths_have_one_dialect_and_shared_folders_none() {
    let path = |path| speaks::dialect(&on(Some(path), None));
    let prefix = |prefix| speaks::dialect(&on(None, Some(prefix)));
    assert_eq!(path("/v1/chat/completions"), Some(Dialect::OpenaiChat));
    assert_eq!(path("/v1/responses"), Some(Dialect::OpenaiResponses));
    assert_eq!(path("/v1/messages/count_tokens"), Some(Dialect::AnthropicMessages));
    assert_eq!(path("/v1beta/models/gemini-pro:streamGenerateContent"), Some(Dialect::Gemini));
    assert_eq!(path("/v1/models/gemini-pro:generateContent"), Some(Dialect::Gemini));
    assert_eq!(path("/v1/models"), None);
    assert_eq!(path("/v1/models/gpt-4"), None);
    assert_eq!(path("/api/tags"), None);
    assert_eq!(prefix("/v1/chat"), Some(Dialect::OpenaiChat));
    assert_eq!(prefix("/v1/messages"), Some(Dialect::AnthropicMessages));
    assert_eq!(prefix("/v1beta"), Some(Dialect::Gemini));
    assert_eq!(prefix("/v1beta/models/gemini-pro"), Some(Dialect::Gemini));
    assert_eq!(prefix("/v1"), None);
    assert_eq!(prefix("/"), None);
    assert_eq!(prefix("/v1/models"), None);
    assert_eq!(speaks::dialect(&Match::default()), None);
}
