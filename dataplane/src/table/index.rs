//! Narrows ten thousand routes down to the few that a request could match.
//!
//! Owns: hash maps from path, host and model to routes in their order. A route whose conditions are all texts
//! is found by hash, a glob by what it begins with; one that begins with a wildcard waits in a list beside them. Every list is ascending, so the first
//! match of each is its best, and the best of all is the first match of the table.
//! Must not: decide. Each candidate is tried with [`Conditions::found`](super::matching::Conditions); the index
//! only leaves out what cannot hold, so without it the answer would be the same.
//! Read next: [`super::matching`].

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Route;
use super::matching::{Found, HostCondition, ModelSeen, PathCondition, Seen, ends_a_segment};

/// The index of a table's routes.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: Map<ByHost>,
    prefix: Map<ByHost>,
    /// Lengths that prefixes have, ascending: only there can a path be cut.
    prefix_lengths: Vec<usize>,
    anywhere: ByHost,
    /// Whether any route asks for the host.
    pub(super) asks_hosts: bool,
    /// Whether any route asks for the model.
    pub(super) asks_models: bool,
}

/// Routes with the same condition on the path.
#[derive(Debug, Default)]
struct ByHost {
    named: Map<ByModel>,
    /// Any host, or a wildcard.
    any: ByModel,
}

/// Routes with the same condition on path and host.
#[derive(Debug, Default)]
struct ByModel {
    named: Map<Vec<u32>>,
    /// Globs, by what they begin with.
    begun: Map<Vec<u32>>,
    /// Lengths that these beginnings have, ascending: only there can a name be cut.
    beginnings: Vec<usize>,
    /// All of `named` and `begun`, for when the model is not known.
    all_named: Vec<u32>,
    /// Any model, or a glob that begins with a wildcard.
    any: Vec<u32>,
}

impl Index {
    /// Indexes these routes by their place.
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut index = Self::default();
        for route in routes {
            index.asks_hosts |= !route.conditions.hosts.is_empty();
            index.asks_models |= !route.conditions.models.is_empty();
            let by_host = match &route.conditions.path {
                PathCondition::Any => &mut index.anywhere,
                PathCondition::Exact(path) => index.exact.entry(key(path)).or_default(),
                PathCondition::Prefix(prefix) => {
                    index.prefix_lengths.push(prefix.len());
                    index.prefix.entry(key(prefix)).or_default()
                }
            };
            by_host.add(route);
        }
        index.prefix_lengths.sort_unstable();
        index.prefix_lengths.dedup();
        index
    }

    /// The first route whose conditions hold, or wait for the model alone.
    pub(super) fn first(&self, routes: &[Route], seen: &Seen<'_>) -> Option<(u32, Found)> {
        let mut best: Option<(u32, Found)> = None;
        self.each_list(seen, true, |list| {
            let worth = list.iter().take_while(|&&order| best.is_none_or(|(first, _)| order < first));
            let mut tried =
                worth.filter_map(|&order| Some((order, routes[order as usize].conditions.found(seen)?)));
            if let Some(better) = tried.next() {
                best = Some(better);
            }
            ControlFlow::Continue(())
        });
        best
    }

    /// All routes whose condition on the path holds and whose host could, whatever the model.
    pub(super) fn each(&self, seen: &Seen<'_>, mut visit: impl FnMut(u32) -> ControlFlow<()>) {
        self.each_list(seen, false, |list| list.iter().try_for_each(|&order| visit(order)));
    }

    fn each_list<'i>(
        &'i self,
        seen: &Seen<'_>,
        by_model: bool,
        mut visit: impl FnMut(&'i [u32]) -> ControlFlow<()>,
    ) {
        let prefixes = self.prefix_lengths.iter().take_while(|&&len| len <= seen.path().len());
        let prefixes = prefixes.filter(|&&len| ends_a_segment(seen.path(), len));
        let prefixes = prefixes.filter_map(|&len| self.prefix.get(&seen.path()[..len]));
        let by_path = self.exact.get(seen.path()).into_iter().chain([&self.anywhere]).chain(prefixes);
        for by_host in by_path {
            let named = if by_host.named.is_empty() { None } else { by_host.named.get(seen.host()) };
            for leaf in named.into_iter().chain([&by_host.any]) {
                if leaf.each_list(seen, by_model, &mut visit).is_break() {
                    return;
                }
            }
        }
    }
}

impl ByHost {
    fn add(&mut self, route: &Route) {
        let hosts = &route.conditions.hosts;
        let literal = hosts.iter().all(|host| matches!(host, HostCondition::Exact(_)));
        if hosts.is_empty() || !literal {
            self.any.add(route);
            return;
        }
        for host in hosts {
            if let HostCondition::Exact(name) = host {
                self.named.entry(key(name)).or_default().add(route);
            }
        }
    }
}

impl ByModel {
    fn add(&mut self, route: &Route) {
        let models = &route.conditions.models;
        if models.is_empty() || models.iter().any(|glob| glob.beginning().is_empty()) {
            push_once(&mut self.any, route.order);
            return;
        }
        push_once(&mut self.all_named, route.order);
        for glob in models {
            let list = if let Some(name) = glob.literal() {
                self.named.entry(key(name)).or_default()
            } else {
                let beginning = glob.beginning();
                if let Err(at) = self.beginnings.binary_search(&beginning.len()) {
                    self.beginnings.insert(at, beginning.len());
                }
                self.begun.entry(key(beginning)).or_default()
            };
            push_once(list, route.order);
        }
    }

    fn each_list<'i>(
        &'i self,
        seen: &Seen<'_>,
        by_model: bool,
        visit: &mut impl FnMut(&'i [u32]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !self.all_named.is_empty() {
            match seen.model() {
                ModelSeen::Is(model) if by_model => self.each_naming(model, visit)?,
                ModelSeen::Absent if by_model => {}
                ModelSeen::Is(_) | ModelSeen::Absent | ModelSeen::Unread => visit(&self.all_named)?,
            }
        }
        visit(&self.any)
    }

    /// The lists of those that name this model, or how it begins.
    fn each_naming<'i>(
        &'i self,
        model: &[u8],
        visit: &mut impl FnMut(&'i [u32]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let beginnings = self.beginnings.iter().map_while(|&len| model.get(..len));
        let begun = beginnings.filter_map(|beginning| self.begun.get(beginning));
        self.named.get(model).into_iter().chain(begun).try_for_each(|list| visit(list))
    }
}

/// Routes come in their order, so a list stays ascending; a route may come twice by two equal conditions.
fn push_once(list: &mut Vec<u32>, order: u32) {
    if list.last() != Some(&order) {
        list.push(order);
    }
}

fn key(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// Keys come from the configuration and callers only look them up, so the hash need not be keyed (SEC-DOS-03).
type Map<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<Xxh3>>;

#[derive(Debug, Default)]
struct Xxh3(u64);

impl Hasher for Xxh3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 = length as u64; // a slice hashes its length first; it becomes the seed
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use ringway_contract::snapshot::Match;
    use serde_json::json;

    use super::super::Table;
    use super::super::matching::{Ask, ModelSeen};
    use super::super::testing::{ask, ask_model, backend, compiled, route, snapshot, verdict};
    use super::*;

    /// The definition: every route in order.
    fn one_by_one(table: &Table, seen: &Seen<'_>) -> Option<(u32, Found)> {
        table.routes().iter().find_map(|route| Some((route.order, route.conditions.found(seen)?)))
    }

    const PATHS: [&str; 8] =
        ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/v1/models/m1:generateContent", "/a/b?x=/a"];
    const HOSTS: [&str; 5] = ["x.test", "X.test:80", "a.x.test", "y.test", ""];
    const MODELS: [&str; 5] = ["m1", "m2", "n1", "m", ""];

    fn some_of(values: &'static [&'static str], max: usize) -> impl Strategy<Value = Vec<String>> {
        let chosen = subsequence(values, 0..=max);
        chosen.prop_map(|chosen| chosen.into_iter().map(str::to_owned).collect())
    }

    fn condition() -> impl Strategy<Value = Match> {
        let path = prop_oneof![
            Just((None, None)),
            select(&PATHS[..7]).prop_map(|path| (Some(path.to_owned()), None)),
            select(&["/", "/a", "/a/", "/a/b", "/v1"][..]).prop_map(|prefix| (None, Some(prefix.to_owned()))),
        ];
        let hosts = some_of(&["x.test", "y.test", "*.test", "*.x.test"], 2);
        let models = some_of(&["m1", "m2", "m*", "m?", "?1", "*", "m1*"], 2);
        let methods = some_of(&["GET", "POST"], 1);
        (path, hosts, models, methods).prop_map(|((path, path_prefix), hosts, models, methods)| Match {
            path,
            path_prefix,
            hosts,
            models,
            methods,
            ..Match::default()
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_going_through_all_routes_finds(
            conditions in prop::collection::vec(condition(), 1..24),
            asks in prop::collection::vec((select(&PATHS[..]), select(&HOSTS[..]), select(&MODELS[..]), 0..3, any::<bool>()), 24),
        ) {
            let routes = conditions.into_iter().enumerate().map(|(order, matches)| {
                let mut route = route(&format!("r{order}"), json!({}), "ai");
                route.matches = matches;
                route
            });
            let table = compiled(&snapshot(vec![backend("ai", "vllm", &["ai:1"])], routes.collect()));
            for (path, host, model, known, get) in asks {
                let model = match known {
                    0 => ModelSeen::Unread,
                    1 => ModelSeen::Absent,
                    _ => ModelSeen::Is(model.as_bytes()),
                };
                let method: &[u8] = if get { b"GET" } else { b"POST" };
                let ask = Ask { host: host.as_bytes(), method, model, ..ask(path) };
                let seen = Seen::new(&ask, true, true);
                let lazy = Seen::new(&ask, table.index.asks_hosts, table.index.asks_models);
                let expected = one_by_one(&table, &seen);
                prop_assert_eq!(table.index.first(table.routes(), &lazy), expected, "{:?} {:?}", path, model);
            }
        }
    }

    /// Ten thousand routes of one kind, and the request for the last of them.
    fn ten_thousand(matches: impl Fn(u32) -> serde_json::Value) -> Table {
        let routes = (0..10_000).map(|i| route(&format!("r{i}"), matches(i), "ai")).collect();
        compiled(&snapshot(vec![backend("ai", "vllm", &["ai:1"])], routes))
    }

    fn time_of_each(table: &Table, ask: &Ask<'_>, expected: &str) -> Duration {
        const TIMES: u32 = 2_000;
        assert_eq!(verdict(table, ask), expected);
        let started = Instant::now();
        for _ in 0..TIMES {
            std::hint::black_box(table.route(std::hint::black_box(ask)));
        }
        started.elapsed() / TIMES
    }

    #[test]
    fn ten_thousand_routes_are_found_in_microseconds() {
        let by_path = ten_thousand(|i| json!({"path": format!("/p{i}")}));
        let by_prefix = ten_thousand(|i| json!({"path_prefix": format!("/t{i}/v1")}));
        let by_model = ten_thousand(|i| json!({"path": "/v1/chat/completions", "models": [format!("m{i}")]}));
        let by_glob =
            ten_thousand(|i| json!({"path": "/v1/chat/completions", "models": [format!("m{i}-*")]}));
        let by_host = ten_thousand(|i| json!({"path_prefix": "/", "hosts": [format!("h{i}.test")]}));
        let times = [
            time_of_each(&by_path, &ask("/p9999"), "r9999"),
            time_of_each(&by_prefix, &ask("/t9999/v1/chat/completions"), "r9999"),
            time_of_each(&by_model, &ask_model("/v1/chat/completions", "m9999"), "r9999"),
            time_of_each(&by_glob, &ask_model("/v1/chat/completions", "m9999-instruct"), "r9999"),
            time_of_each(&by_host, &Ask { host: b"h9999.test", ..ask("/x") }, "r9999"),
            time_of_each(&by_path, &ask("/none"), "no_route"),
        ];
        // Going through them all takes a debug build about a millisecond.
        assert!(times.iter().all(|&time| time < Duration::from_micros(100)), "{times:?}");
        println!("path, prefix, model, glob, host, none: {times:?}");
    }
}
