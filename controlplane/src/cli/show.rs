//! `show`, `routes`, `backends`: what runs.
//!
//! Owns: the overview and the tables. Must not: print a secret; every snapshot is redacted first.

use std::fmt::Write as _;

use ringway_contract::Snapshot;
use ringway_contract::snapshot::{Backend, Endpoint, Match, Route};
use ringway_contract::stats::{EndpointStats, QueueStats, Reported, Stats};
use serde::Serialize;

use super::args::{Output, Which};
use super::{Context, Failure, output, say};
use crate::bounds::running::TROUBLES_SHOWN_MAX;
use crate::client::Running;
use crate::daemon::api::{EndpointTrouble, Looking, Status, TokenStatus};
use crate::digest;

pub(super) async fn show(context: &Context, effective: bool, output: Output) -> Result<(), Failure> {
    if output == Output::Table {
        return overview(context).await;
    }
    let written = if effective {
        None
    } else {
        let revision = context.if_daemon(async |daemon| daemon.revision(None).await).await?;
        if revision.is_none() {
            say("no daemon: this is the effective config, not the one that was written\n");
        }
        revision
    };
    let Some(revision) = written else {
        return output::show(output, &running(context).await?.snapshot, String::new);
    };
    if output == Output::Json {
        return output::print(&output::json(&revision));
    }
    let meta = &revision.meta;
    let head = format!("# revision {}, {}, by {}, {}\n", meta.revision, meta.at, meta.by, meta.hash);
    output::print(&(head + &revision.text))
}

/// What runs, without its secrets.
async fn running(context: &Context) -> Result<Running, Failure> {
    match context.dataplane().snapshot().await? {
        Some(running) => {
            let mut snapshot = digest::redact(running.snapshot);
            snapshot.generation = running.generation;
            Ok(Running { snapshot, ..running })
        }
        None => Err(Failure::Failed("nothing runs yet; push a config with `ringctl apply FILE`".to_owned())),
    }
}

async fn overview(context: &Context) -> Result<(), Failure> {
    let stats = context.dataplane().stats().await?;
    let running = context.dataplane().snapshot().await?;
    let status = context.if_daemon(async |daemon| daemon.status().await).await?;
    let mut facts =
        vec![("data plane", dataplane(&stats)), ("control", context.control().display().to_string())];
    facts.push(match &running {
        Some(running) => ("generation", running.generation.to_string()),
        None => ("generation", "none: it waits for a first config, `ringctl apply FILE`".to_owned()),
    });
    if let Some(Running { snapshot, .. }) = &running {
        let list = |addresses: Vec<String>| addresses.join(", ");
        facts.push(("listeners", list(snapshot.listeners.iter().map(|it| it.address.to_string()).collect())));
        facts.push(("admin", snapshot.admin.map_or("none".to_owned(), |address| address.to_string())));
        facts.push(("routes", snapshot.routes.len().to_string()));
        let endpoints: usize = snapshot.backends.iter().map(|backend| backend.endpoints.len()).sum();
        facts.push(("backends", format!("{}, with {endpoints} endpoints", snapshot.backends.len())));
    }
    match &status {
        Some(status) => daemon_facts(&mut facts, status),
        None => facts.push(("daemon", "none".to_owned())),
    }
    output::print(&output::facts(&facts))
}

fn dataplane(stats: &Stats) -> String {
    let exchanges: u64 = stats.workers.iter().map(|worker| worker.exchanges).sum();
    let connections: u64 = stats.workers.iter().map(|worker| worker.connections).sum();
    let io = stats.workers.first().map_or("none", |worker| worker.io.as_str());
    let draining = if stats.draining { ", draining" } else { "" };
    let (version, workers, up) = (&stats.version, stats.workers.len(), span(stats.uptime_s));
    format!(
        "ringway {version}, up {up}, {workers} workers ({io}), {connections} connections, \
         {exchanges} exchanges{draining}"
    )
}

fn daemon_facts(facts: &mut Vec<(&str, String)>, status: &Status) {
    facts.push(("daemon", format!("ringctl {}, process {}", status.version, status.pid)));
    facts.push(("watches", status.config.clone()));
    if let Some(meta) = &status.revision {
        let pending = if status.pending { "; a newer one waits" } else { "" };
        facts.push(("revision", format!("{} ({}, {}){pending}", meta.revision, meta.origin, meta.at)));
    }
    if !status.connected {
        facts.push(("link", "the daemon does not reach the data plane".to_owned()));
    }
    for token in &status.tokens {
        if let Some(error) = &token.error {
            facts.push(("token", format!("none for {}: {error}", token.backend)));
        }
    }
    if let Some(trouble) = &status.trouble {
        let first = trouble.what.lines().next().unwrap_or_default();
        facts.push(("trouble", format!("{first} (since {})", trouble.at)));
    }
}

fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

pub(super) async fn routes(context: &Context, which: Which) -> Result<(), Failure> {
    let routes = running(context).await?.snapshot.routes;
    match which {
        Which::List { print } => output::show(print.output, &routes, || {
            let row = |route: &Route| vec![route.name.clone(), conditions(&route.matches), targets(route)];
            output::table(&["route", "match", "targets"], routes.iter().map(row))
        }),
        Which::Get { name, print } => {
            let names = routes.iter().map(|route| route.name.as_str());
            let route = pick(names, &name, "route").map(|at| &routes[at])?;
            output::show(print.output, route, || output::yaml(route))
        }
    }
}

/// All conditions in one line, as one would say them.
fn conditions(matches: &Match) -> String {
    let mut line = matches.methods.join("|");
    let mut add = |text: String| {
        let gap = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{gap}{text}");
    };
    if let Some(path) = &matches.path {
        add(path.clone());
    }
    if let Some(prefix) = &matches.path_prefix {
        add(format!("{}/*", prefix.trim_end_matches('/')));
    }
    let any = |name: &str, list: &[String]| (!list.is_empty()).then(|| format!("{name}={}", list.join("|")));
    any("host", &matches.hosts).into_iter().for_each(&mut add);
    any("model", &matches.models).into_iter().for_each(&mut add);
    for header in &matches.headers {
        add(format!("{}={}", header.name, header.value));
    }
    let cidrs: Vec<String> = matches.client_cidrs.iter().map(ToString::to_string).collect();
    any("client", &cidrs).into_iter().for_each(&mut add);
    if line.is_empty() { "anything".to_owned() } else { line }
}

fn targets(route: &Route) -> String {
    let sum: u32 = route.targets.iter().map(|target| target.weight).sum();
    let share = |target: &ringway_contract::snapshot::Target| {
        let model = target.model.as_ref().map(|model| format!(" as {model}")).unwrap_or_default();
        if route.targets.len() == 1 {
            return format!("{}{model}", target.backend);
        }
        let percent = f64::from(target.weight) * 100.0 / f64::from(sum.max(1));
        format!("{}{model} {percent:.0}%", target.backend)
    };
    route.targets.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// A backend, the load of its endpoints, the token that it is spoken to with if the daemon gets one, its queue, and what
/// the daemon cannot learn of its endpoints.
#[derive(Serialize)]
struct Loaded {
    #[serde(flatten)]
    backend: Backend,
    load: Vec<EndpointStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<QueueStats>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    troubles: Vec<EndpointTrouble>,
}

pub(super) async fn backends(context: &Context, which: Which) -> Result<(), Failure> {
    let Snapshot { backends, .. } = running(context).await?.snapshot;
    let stats = context.dataplane().stats().await?;
    let status = context.if_daemon(async |daemon| daemon.status().await).await?;
    let (tokens, troubles) = status.map(|status| (status.tokens, status.endpoints)).unwrap_or_default();
    let load = |backend: Backend| {
        let load =
            stats.endpoints.iter().filter(|endpoint| endpoint.backend == backend.name).cloned().collect();
        let token = tokens.iter().find(|token| token.backend == backend.name).cloned();
        let waiting = stats.queues.iter().find(|queue| queue.backend == backend.name).cloned();
        let of_it = |trouble: &&EndpointTrouble| {
            trouble.endpoint.strip_prefix(&backend.name).is_some_and(|rest| rest.starts_with('/'))
        };
        let troubles = troubles.iter().filter(of_it).cloned().collect();
        Loaded { backend, load, token, waiting, troubles }
    };
    let backends: Vec<Loaded> = backends.into_iter().map(load).collect();
    match which {
        Which::List { print } => output::show(print.output, &backends, || {
            endpoint_table(backends.iter())
                + &token_troubles(backends.iter())
                + &endpoint_troubles(backends.iter())
        }),
        Which::Get { name, print } => {
            let names = backends.iter().map(|it| it.backend.name.as_str());
            let one = pick(names, &name, "backend").map(|at| &backends[at])?;
            output::show(print.output, one, || {
                output::yaml(&one.backend)
                    + "\n"
                    + &endpoint_table([one].into_iter())
                    + &token_troubles([one].into_iter())
                    + &endpoint_troubles([one].into_iter())
            })
        }
    }
}

fn endpoint_table<'a>(backends: impl Iterator<Item = &'a Loaded>) -> String {
    // Ours is what this gateway counts; the rest is what the server said, and how long ago.
    let header = [
        "endpoint",
        "engine",
        "addresses",
        "state",
        "ours",
        "running",
        "waiting",
        "kv",
        "age",
        "attempts",
        "failures",
    ];
    let backends: Vec<&Loaded> = backends.collect();
    let rows = backends
        .iter()
        .flat_map(|it| it.backend.endpoints.iter().map(move |endpoint| endpoint_row(it, endpoint)));
    let table = output::table(&header, rows) + &adapter_table(backends.iter().flat_map(|it| &it.load));
    let queues: Vec<&QueueStats> = backends.iter().filter_map(|it| it.waiting.as_ref()).collect();
    if queues.is_empty() { table } else { table + "\n" + &queue_table(&queues) }
}

/// The LoRA adapters that endpoints are taken to have in memory, where backends have any.
fn adapter_table<'a>(load: impl Iterator<Item = &'a EndpointStats>) -> String {
    let row = |load: &EndpointStats| {
        let adapters = load.adapters.as_ref()?;
        let slots = format!("{} of {}", adapters.resident.len(), adapters.slots);
        let resident = adapters.resident.join(", ");
        let resident = if resident.is_empty() { "-".to_owned() } else { resident };
        Some(vec![format!("{}/{}", load.backend, load.endpoint), slots, resident])
    };
    let rows: Vec<_> = load.filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    "\n".to_owned() + &output::table(&["endpoint", "slots", "adapters in memory"], rows)
}

/// The queues in front of backends: who waits now, and what became of the others since the start.
fn queue_table(queues: &[&QueueStats]) -> String {
    let header = [
        "queue of",
        "open",
        "interactive",
        "default",
        "batch",
        "oldest",
        "bytes",
        "drain",
        "served",
        "refused",
        "most often because",
    ];
    let seconds = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.1}s"));
    let row = |queue: &&QueueStats| {
        let most = queue.refused_total.iter().max_by_key(|(_, count)| count).filter(|(_, count)| *count > 0);
        let refused: u64 = queue.refused_total.iter().map(|(_, count)| count).sum();
        let [interactive, default, batch] = queue.waiting.map(|count| count.to_string());
        vec![
            queue.backend.clone(),
            format!("{} of {}", queue.open, queue.eligible),
            interactive,
            default,
            batch,
            seconds(queue.oldest_s.iter().flatten().copied().reduce(f64::max)),
            queue.bytes.to_string(),
            seconds(queue.drain_s),
            queue.granted_total.to_string(),
            refused.to_string(),
            most.map_or("-".to_owned(), |(why, _)| why.replace('_', " ")),
        ]
    };
    output::table(&header, queues.iter().map(row))
}

/// A line for each token that cannot be had.
fn token_troubles<'a>(backends: impl Iterator<Item = &'a Loaded>) -> String {
    let line = |token: &TokenStatus| {
        let last = token
            .until
            .as_ref()
            .map_or("there was none".to_owned(), |until| format!("the last one holds until {until}"));
        Some(format!(
            "no token for {} ({}): {}; {last}\n",
            token.backend,
            token.account,
            token.error.as_ref()?
        ))
    };
    backends.filter_map(|it| it.token.as_ref()).filter_map(line).collect()
}

/// A line for each endpoint that cannot be read or probed.
fn endpoint_troubles<'a>(backends: impl Iterator<Item = &'a Loaded>) -> String {
    let troubles: Vec<&EndpointTrouble> = backends.flat_map(|it| &it.troubles).collect();
    let line = |EndpointTrouble { endpoint, by, since, why }: &&EndpointTrouble| match by {
        Looking::Load => format!("the load of {endpoint} cannot be read since {since}: {why}\n"),
        Looking::Probe => format!("the probe of {endpoint} fails since {since}: {why}\n"),
    };
    let shown: String = troubles.iter().take(TROUBLES_SHOWN_MAX).map(line).collect();
    match troubles.len().saturating_sub(TROUBLES_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown}and {more} more, see `-o json`\n"),
    }
}

fn endpoint_row(loaded: &Loaded, endpoint: &Endpoint) -> Vec<String> {
    let load = loaded.load.iter().find(|load| load.endpoint == endpoint.authority);
    let addresses: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
    let drained = endpoint.drained || load.is_some_and(|load| load.drained);
    let state = match (drained, addresses.is_empty()) {
        (true, _) => "drained",
        (false, true) if loaded.token.as_ref().is_some_and(|token| token.until.is_none()) => "no token",
        (false, true) => "no address",
        (false, false) => load.map_or("in use", |load| match load.state.as_str() {
            "" | "ok" => "in use",
            other => other,
        }),
    };
    let said = load.and_then(|load| load.reported.as_ref());
    let count = |of: fn(&Reported) -> Option<u32>| {
        said.and_then(of).map_or("-".to_owned(), |count| count.to_string())
    };
    let number =
        |field: fn(&EndpointStats) -> u64| load.map_or("-".to_owned(), |load| field(load).to_string());
    vec![
        format!("{}/{}", loaded.backend.name, endpoint.authority),
        serde_json::to_value(loaded.backend.engine)
            .ok()
            .and_then(|it| it.as_str().map(str::to_owned))
            .unwrap_or_default(),
        addresses.join(" "),
        state.to_owned(),
        number(|load| load.in_flight),
        count(|said| said.running),
        count(|said| said.waiting),
        said.and_then(|said| said.kv).map_or("-".to_owned(), |kv| format!("{:.0}%", kv * 100.0)),
        said.map_or("never".to_owned(), |said| format!("{:.1}s", said.age_s)),
        number(|load| load.attempts_total),
        number(|load| load.failures_total),
    ]
}

/// The place of a name, or a refusal with the nearest name there is.
fn pick<'a>(names: impl Iterator<Item = &'a str>, wanted: &str, kind: &str) -> Result<usize, Failure> {
    let names: Vec<&str> = names.collect();
    if let Some(at) = names.iter().position(|name| *name == wanted) {
        return Ok(at);
    }
    let nearest = names.iter().max_by(|a, b| {
        let near = |name: &str| strsim::jaro_winkler(name, wanted);
        near(a).total_cmp(&near(b))
    });
    let mend = match nearest {
        Some(name) if strsim::jaro_winkler(name, wanted) > 0.8 => format!("did you mean `{name}`?"),
        _ => format!("see `ringctl {kind}s list`"),
    };
    Err(Failure::Failed(format!("there is no {kind} `{wanted}`; {mend}")))
}

#[cfg(test)]
mod tests {
    use ringway_contract::stats::Adapters;

    use super::*;

    #[test]
    fn conditions_read_as_a_line() {
        let matches = Match {
            path: Some("/v1/messages".to_owned()),
            methods: vec!["POST".to_owned()],
            models: vec!["a-*".to_owned(), "b".to_owned()],
            ..Match::default()
        };
        assert_eq!(conditions(&matches), "POST /v1/messages model=a-*|b");
        assert_eq!(conditions(&Match::default()), "anything");
        let prefix = Match { path_prefix: Some("/".to_owned()), ..Match::default() };
        assert_eq!(conditions(&prefix), "/*");
    }

    #[test]
    fn a_queue_is_told_with_its_oldest_and_why_it_refused() {
        let queue = QueueStats {
            backend: "llama".to_owned(),
            waiting: [1, 2, 0],
            oldest_s: [Some(0.25), Some(3.0), None],
            open: 0,
            eligible: 2,
            drain_s: Some(4.2),
            bytes: 1_500,
            granted_total: 7,
            refused_total: vec![("full".to_owned(), 0), ("timed_out".to_owned(), 3)],
        };
        let idle =
            QueueStats { oldest_s: [None; 3], drain_s: None, refused_total: Vec::new(), ..queue.clone() };
        let table = queue_table(&[&queue, &idle]);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let row = ["llama", "0", "of", "2", "1", "2", "0", "3.0s", "1500", "4.2s", "7", "3", "timed", "out"];
        assert_eq!(rows[1], row, "{table}");
        assert_eq!(rows[2][7..], ["-", "1500", "-", "7", "0", "-"], "{table}");
    }

    #[test]
    fn adapters_in_memory_are_a_table_of_their_own_where_there_are_any() {
        let load = |endpoint: &str, resident: Option<&[&str]>| EndpointStats {
            backend: "llama".to_owned(),
            endpoint: endpoint.to_owned(),
            adapters: resident.map(|resident| Adapters {
                resident: resident.iter().map(|&name| name.to_owned()).collect(),
                slots: 4,
            }),
            ..EndpointStats::default()
        };
        let some = [load("a:1", Some(&["poet", "law-eu"])), load("b:1", Some(&[])), load("c:1", None)];
        let table = adapter_table(some.iter());
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 4, "a gap, a head, and a line each: {table}");
        assert_eq!(rows[2], ["llama/a:1", "2", "of", "4", "poet,", "law-eu"]);
        assert_eq!(rows[3], ["llama/b:1", "0", "of", "4", "-"]);
        assert_eq!(adapter_table([load("c:1", None)].iter()), "");
    }

    #[test]
    fn a_near_miss_is_suggested() {
        let miss = |wanted| match pick(["chat", "raw"].into_iter(), wanted, "route") {
            Err(Failure::Failed(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(miss("caht").ends_with("did you mean `chat`?"));
        assert!(miss("zzz").ends_with("see `ringctl routes list`"));
    }

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        assert_eq!([5.9, 61.0, 7_300.0, 90_000.0].map(span), ["5 s", "1 min", "2 h 1 min", "1 d 1 h"]);
    }
}
