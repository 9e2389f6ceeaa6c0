//! Scenarios as YAML (or JSON, which is YAML too).
//!
//! Owns: the names of its fields and their defaults; what is not known is refused by name.
//! Must not: resolve anything before the file makes sense. Read next: `../scenario.rs`; the examples.

use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc, time::Duration};

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::{Ask, BadUrl, Expect, Form, Generation, Load, Raw, Scenario, Slo, Target};
use crate::{
    arrival::Arrival,
    bounds::{CONNECTIONS_DEFAULT, CONNECTIONS_MAX, PROMPT_TOKENS_MAX, RATE_MAX, SCENARIO_BYTES_MAX},
    lengths::Lengths,
    prompts::Prompts,
    trace::{BadTrace, Replay, Trace},
};

/// Why a file is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum BadScenario {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, std::io::Error),
    /// It is no YAML, or none that stands for one document.
    #[error("not a YAML document: {0}")]
    Yaml(String),
    /// A field is missing, unknown or of the wrong kind.
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
    /// Its fields do not go together.
    #[error("{0}")]
    Senseless(String),
    /// Its target is no URL.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// Its trace is none.
    #[error(transparent)]
    Trace(#[from] BadTrace),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    target: String,
    load: Option<FileLoad>,
    #[serde(default, deserialize_with = "duration")]
    duration: Option<Duration>,
    requests: Option<u64>,
    model: Option<String>,
    stream: Option<bool>,
    prompts: Option<FilePrompts>,
    #[serde(default, deserialize_with = "lengths")]
    output: Option<Lengths>,
    ignore_eos: Option<bool>,
    expect: Option<FileExpect>,
    raw: Option<FileRaw>,
    #[serde(default)]
    slo: FileSlo,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    obey_retry_after: bool,
    #[serde(default, deserialize_with = "duration")]
    timeout: Option<Duration>,
    connections: Option<usize>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLoad {
    rate: Option<f64>,
    arrival: Option<FileArrival>,
    concurrency: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileArrival {
    Constant,
    Poisson,
    Bursts(u32),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum FilePrompts {
    Unique {
        #[serde(deserialize_with = "lengths")]
        tokens: Option<Lengths>,
    },
    Shared {
        prefixes: u32,
        prefix_tokens: u32,
        #[serde(deserialize_with = "lengths")]
        own: Option<Lengths>,
    },
    Conversations {
        #[serde(deserialize_with = "lengths")]
        turns: Option<Lengths>,
        #[serde(deserialize_with = "lengths")]
        first: Option<Lengths>,
        #[serde(deserialize_with = "lengths")]
        next: Option<Lengths>,
        #[serde(default, deserialize_with = "lengths")]
        think_ms: Option<Lengths>,
    },
    Trace {
        file: PathBuf,
        scale: Option<f64>,
        rows: Option<usize>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileExpect {
    Auto,
    Sim,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRaw {
    method: Option<String>,
    #[serde(default)]
    body_bytes: usize,
    expect_length: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileSlo {
    #[serde(default, deserialize_with = "duration")]
    ttft: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    tpot: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    e2el: Option<Duration>,
}

/// A number, or a distribution by its name.
fn lengths<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Lengths>, D::Error> {
    let value = Value::deserialize(from)?;
    let lengths = match value.as_u64() {
        Some(number) => Lengths::Exactly(u32::try_from(number).map_err(D::Error::custom)?),
        None => serde_json::from_value(value).map_err(D::Error::custom)?,
    };
    match lengths.problem() {
        Some(problem) => Err(D::Error::custom(problem)),
        None => Ok(Some(lengths)),
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).map(Some).map_err(D::Error::custom)
}

/// Reads `250ms`, `30s`, `2m` or `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration like 250ms, 30s or 2m");
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(number * scale).map_err(|_| wrong())?;
    // An hour times a thousand still adds to any clock without overflow.
    if duration.is_zero() || duration > Duration::from_hours(1_000) { Err(wrong()) } else { Ok(duration) }
}

impl Scenario {
    /// Reads a scenario file. With a `url`, that is the target instead of the file's. A trace is looked for
    /// beside the file.
    pub fn from_file(path: &Path, url: Option<&str>) -> Result<Self, BadScenario> {
        let unreadable = |error| BadScenario::Unreadable(path.display().to_string(), error);
        if std::fs::metadata(path).map_err(unreadable)?.len() > SCENARIO_BYTES_MAX {
            return Err(BadScenario::Senseless(format!("a scenario has at most {SCENARIO_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let beside = path.parent().unwrap_or(Path::new("."));
        Self::from_yaml(&text, url, beside)
    }

    /// Reads a scenario. Relative paths in it start at `folder`.
    pub fn from_yaml(text: &str, url: Option<&str>, folder: &Path) -> Result<Self, BadScenario> {
        let documents = Yaml::load_from_str(text).map_err(|error| BadScenario::Yaml(error.to_string()))?;
        let [document] = &documents[..] else {
            return Err(BadScenario::Yaml(format!("{} documents instead of one", documents.len())));
        };
        let file: File = serde_json::from_value(json(document)?)?;
        scenario(file, url, folder)
    }
}

/// The same as JSON, which `serde` can read.
fn json(yaml: &Yaml<'_>) -> Result<Value, BadScenario> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::FloatingPoint(value)) => value.into_inner().into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Yaml::Mapping(entries) => {
            let mut object = serde_json::Map::new();
            for (key, value) in entries {
                let key = key.as_str().ok_or_else(|| BadScenario::Yaml("a key is no text".to_owned()))?;
                object.insert(key.to_owned(), json(value)?);
            }
            object.into()
        }
        _ => return Err(BadScenario::Yaml("tags and aliases have no meaning here".to_owned())),
    })
}

fn senseless<T>(why: impl Into<String>) -> Result<T, BadScenario> {
    Err(BadScenario::Senseless(why.into()))
}

fn scenario(file: File, url: Option<&str>, folder: &Path) -> Result<Scenario, BadScenario> {
    let mut target = Target::parse(url.unwrap_or(&file.target))?;
    let seed = file.seed.unwrap_or(1);
    let mut load = load(file.load.as_ref())?;
    let ask = if let Some(raw) = &file.raw {
        if file.prompts.is_some() || file.output.is_some() {
            return senseless("`raw` has neither prompts nor output");
        }
        Ask::Raw(Raw {
            method: raw.method.clone().unwrap_or_else(|| "GET".to_owned()),
            body_bytes: raw.body_bytes,
            expect_length: raw.expect_length,
            expect_hash: None,
        })
    } else {
        let (prompts, arrivals) = prompts(file.prompts.as_ref(), seed, folder)?;
        if let Some(arrivals) = arrivals {
            if file.load.is_some() {
                return senseless("a trace has its own arrivals: `load` does not go with it");
            }
            load = Load::Given(arrivals);
        }
        Ask::Tokens(Generation {
            form: form(&mut target)?,
            model: file.model.clone().unwrap_or_else(|| "demo".to_owned()),
            stream: file.stream.unwrap_or(true),
            prompts,
            output: file.output.unwrap_or(Lengths::Exactly(128)),
            ignore_eos: file.ignore_eos.unwrap_or(true),
            expect: match file.expect {
                None | Some(FileExpect::Auto) => Expect::Auto,
                Some(FileExpect::Sim) => Expect::Sim,
                Some(FileExpect::Any) => Expect::Any,
            },
        })
    };
    let duration = match (&load, file.duration, file.requests) {
        (Load::Open { .. } | Load::Closed { .. }, None, None) => Some(Duration::from_secs(30)),
        (_, duration, _) => duration,
    };
    let requests = match &load {
        Load::Given(times) => Some(file.requests.unwrap_or(u64::MAX).min(times.len() as u64)),
        Load::Open { .. } | Load::Closed { .. } => file.requests,
    };
    let connections = file.connections.unwrap_or(CONNECTIONS_DEFAULT);
    if !(1..=CONNECTIONS_MAX).contains(&connections) {
        return senseless(format!("`connections` must lie between 1 and {CONNECTIONS_MAX}"));
    }
    Ok(Scenario {
        target,
        load,
        duration,
        requests,
        ask,
        headers: headers(file.headers)?,
        obedient: file.obey_retry_after,
        timeout: file.timeout.unwrap_or(Duration::from_mins(2)),
        connections,
        seed,
        slo: Slo { ttft: file.slo.ttft, tpot: file.slo.tpot, e2el: file.slo.e2el },
    })
}

fn load(load: Option<&FileLoad>) -> Result<Load, BadScenario> {
    let Some(load) = load else { return Ok(Load::Open { rate: 10.0, arrival: Arrival::Poisson }) };
    match (load.rate, load.concurrency) {
        (Some(rate), None) if rate > 0.0 && rate <= RATE_MAX => {
            let arrival = match load.arrival {
                None | Some(FileArrival::Poisson) => Arrival::Poisson,
                Some(FileArrival::Constant) => Arrival::Constant,
                Some(FileArrival::Bursts(0)) => return senseless("a burst has at least one request"),
                Some(FileArrival::Bursts(size)) => Arrival::Bursts(size),
            };
            Ok(Load::Open { rate, arrival })
        }
        (Some(_), None) => senseless(format!("`rate` must lie above 0 and at most at {RATE_MAX}")),
        (None, Some(concurrency)) if (1..=CONNECTIONS_MAX).contains(&concurrency) => {
            if load.arrival.is_some() {
                return senseless("`arrival` goes with `rate` only");
            }
            Ok(Load::Closed { concurrency })
        }
        (None, Some(_)) => senseless(format!("`concurrency` must lie between 1 and {CONNECTIONS_MAX}")),
        (None, None) | (Some(_), Some(_)) => senseless("`load` needs either `rate` or `concurrency`"),
    }
}

/// When requests come, where that is written down.
type Arrivals = Option<Arc<[Duration]>>;

fn prompts(
    prompts: Option<&FilePrompts>,
    seed: u64,
    folder: &Path,
) -> Result<(Prompts, Arrivals), BadScenario> {
    let or = |lengths: Option<Lengths>, default| lengths.unwrap_or(Lengths::Exactly(default));
    let made = match prompts {
        None => Prompts::Unique { tokens: Lengths::Exactly(128) },
        Some(FilePrompts::Unique { tokens }) => Prompts::Unique { tokens: or(*tokens, 128) },
        Some(FilePrompts::Shared { prefixes, prefix_tokens, own }) => {
            let own = or(*own, 128);
            Prompts::Shared { prefixes: *prefixes, prefix_tokens: *prefix_tokens, own }
        }
        Some(FilePrompts::Conversations { turns, first, next, think_ms }) => Prompts::Conversations {
            turns: or(*turns, 4),
            first: or(*first, 128),
            next: or(*next, 64),
            think_ms: or(*think_ms, 1_000),
        },
        Some(FilePrompts::Trace { file, scale, rows }) => {
            let scale = scale.unwrap_or(1.0);
            if !(scale.is_finite() && scale > 0.0) || *rows == Some(0) {
                return senseless("a trace has a scale above 0 and at least one row");
            }
            let replay = Replay { scale, rows: *rows, seed, ..Replay::default() };
            let trace = Trace::read(&folder.join(file))?.replayed(&replay);
            let arrivals = trace.rows().iter().map(|row| row.at).collect();
            return Ok((Prompts::Trace(Arc::new(trace)), Some(arrivals)));
        }
    };
    match made.problem() {
        Some(problem) => senseless(problem),
        None if made.longest() > PROMPT_TOKENS_MAX => {
            senseless(format!("prompts have at most {PROMPT_TOKENS_MAX} tokens"))
        }
        None => Ok((made, None)),
    }
}

/// The API that the path names; without a path, chat completions.
pub(crate) fn form(target: &mut Target) -> Result<Form, BadScenario> {
    if target.path == "/" {
        "/v1/chat/completions".clone_into(&mut target.path);
    }
    let path = target.path.split('?').next().unwrap_or_default();
    if path.ends_with("/chat/completions") {
        Ok(Form::Chat)
    } else if path.ends_with("/completions") {
        Ok(Form::Completion)
    } else {
        senseless(format!("answers of {path} cannot be judged as completions; a plain target has to be raw"))
    }
}

fn headers(headers: BTreeMap<String, String>) -> Result<Vec<(String, String)>, BadScenario> {
    let checked = headers.into_iter().map(|(name, value)| {
        crate::cli::parse_header(&format!("{name}:{value}")).map_err(BadScenario::Senseless)
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Scenario, String> {
        Scenario::from_yaml(text, None, Path::new(".")).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let scenario = read("target: http://127.0.0.1:1").expect("enough");
        assert_eq!(scenario.duration, Some(Duration::from_secs(30)));
        assert_eq!(scenario.load, Load::Open { rate: 10.0, arrival: Arrival::Poisson });
        assert_eq!(scenario.target.path, "/v1/chat/completions");
        assert_eq!(scenario.slo, Slo::default());
    }

    #[test]
    fn everything_can_be_said() {
        let text = "
target: http://127.0.0.1:1/v1/completions
load: {rate: 20, arrival: {bursts: 8}}
requests: 100
prompts:
  shared: {prefixes: 4, prefix_tokens: 1000, own: {log_normal: {median: 100, sigma: 0.5, max: 900}}}
output: {uniform: {min: 1, max: 9}}
slo: {ttft: 2s, tpot: 100ms}
headers: {x-tenant: a}
";
        let scenario = read(text).expect("all known");
        assert_eq!(scenario.load, Load::Open { rate: 20.0, arrival: Arrival::Bursts(8) });
        assert_eq!(scenario.slo.tpot, Some(Duration::from_millis(100)));
        let Ask::Tokens(generation) = scenario.ask else { panic!("not raw") };
        assert_eq!(generation.output, Lengths::Uniform { min: 1, max: 9 });
        assert!(matches!(generation.prompts, Prompts::Shared { prefixes: 4, .. }));
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_named() {
        for (text, says) in [
            ("target: x", "x"),
            ("load: {rate: 1}", "target"),
            ("target: http://h:1\nspeed: 3", "speed"),
            ("target: http://127.0.0.1:1\nload: {rate: 0}", "rate"),
            ("target: http://127.0.0.1:1\nload: {rate: 1, concurrency: 1}", "either"),
            ("target: http://127.0.0.1:1\noutput: 0", "at least 1"),
            ("target: http://127.0.0.1:1\noutput: {gauss: {}}", "gauss"),
            ("target: http://127.0.0.1:1\nduration: soon", "soon"),
            ("target: http://127.0.0.1:1\nprompts: {trace: {file: no-such-file}}", "no-such-file"),
            ("target: http://127.0.0.1:1/x", "/x"),
            ("target: http://127.0.0.1:1\nheaders: {content-length: '1'}", "content-length"),
            ("a: [", "YAML"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
