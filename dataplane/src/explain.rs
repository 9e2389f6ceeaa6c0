//! Says which route, target and endpoint a request would get, and why. Sends nothing, changes nothing.
//!
//! Owns: the wording, and the walk over all routes up to the one that matches.
//! Must not: match or choose by itself. Conditions are tried by the function the workers use, the verdict is
//! the workers', scores are what balancing compares.
//! Read next: [`crate::table::matching`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use ringway_contract::explain::{self, Candidate, Cost, Explanation, Question, RouteVerdict, TargetChance};
use ringway_contract::snapshot::Balance;
use ringway_dialect::surface::{path_model, surface};

use crate::balance;
use crate::balance::adapters::Residence;
use crate::balance::gpu::Wanted;
use crate::balance::prompt::Prompt;
use crate::balance::score::Terms;
use crate::clock::Moment;
use crate::fit::Demand;
use crate::health::State;
use crate::refusal::{Refusal, SOON_MS};
use crate::session::{self, Claim};
use crate::table::matching::{Conditions, Failing, HostCondition, PathCondition, Seen};
use crate::table::{Ask, Backend, Endpoint, ModelSeen, Route, Table, Target, Verdict};
use crate::translate::Speaks;

/// What would happen to this request now.
pub fn explain(table: &Table, question: &Question, now: Moment) -> Explanation {
    let headers: HashMap<String, &str> =
        question.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
    let host = question.host.as_deref().or_else(|| headers.get("host").copied()).unwrap_or("localhost");
    let model = question.body.as_ref().and_then(|body| body.get("model")).and_then(|model| model.as_str());
    let ask = Ask {
        method: question.method.as_bytes(),
        host: host.as_bytes(),
        path: question.path.as_bytes(),
        header: &|name| headers.get(name).map(|value| value.as_bytes()),
        client: question.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        model: model.map_or(ModelSeen::Absent, |model| ModelSeen::Is(model.as_bytes())),
    };
    let verdict = table.route(&ask);
    let route = match &verdict {
        Verdict::Route(route) => Some(*route),
        Verdict::ReadModel | Verdict::Models | Verdict::Probe | Verdict::Refused(_) => None,
    };
    let token = headers.get(session::FIELD).map(|value| value.as_bytes());
    let session = route.and_then(|route| session::claimed(route, token));
    let asked = Asked { session, ..Asked::of(question, now) };
    let targets = route.map(|route| chances(route, &asked)).unwrap_or_default();
    let endpoints = route.map(|route| candidates(route, &asked)).unwrap_or_default();
    let refusal = match verdict {
        Verdict::Route(route) => asked.lost(route, &endpoints).as_ref().map(refusal_text),
        Verdict::Refused(refusal) => Some(refusal_text(&refusal)),
        Verdict::Probe => Some("200: ringway answers that it is alive".to_owned()),
        Verdict::Models => Some("200: ringway answers with the list of models itself".to_owned()),
        Verdict::ReadModel => None,
    };
    Explanation {
        generation: table.generation(),
        routes: verdicts(table, &ask),
        route: route.map(|route| route.name.as_str().to_owned()),
        targets,
        endpoints,
        refusal,
    }
}

/// Each route in order, up to and including the first whose conditions hold.
fn verdicts(table: &Table, ask: &Ask<'_>) -> Vec<RouteVerdict> {
    let seen = Seen::new(ask, true, true);
    let mut verdicts = Vec::new();
    for route in table.routes() {
        let failing = route.conditions.first_failing(&seen);
        let why = failing.map(|failing| why_not(&route.conditions, failing, &seen));
        verdicts.push(RouteVerdict {
            route: route.name.as_str().to_owned(),
            matched: failing.is_none(),
            why,
        });
        if failing.is_none() {
            break;
        }
    }
    verdicts
}

/// The failing condition in words.
fn why_not(conditions: &Conditions, failing: Failing, seen: &Seen<'_>) -> String {
    match failing {
        Failing::Path => match &conditions.path {
            PathCondition::Prefix(prefix) => {
                format!("path {} is not below \"{prefix}\"", quoted(seen.path()))
            }
            PathCondition::Exact(path) => format!("path {} is not \"{path}\"", quoted(seen.path())),
            PathCondition::Any => "the path does not fit".to_owned(),
        },
        Failing::Host => {
            let hosts = conditions.hosts.iter().map(|host| match host {
                HostCondition::Exact(name) => name.to_string(),
                HostCondition::Below(suffix) => format!("*{suffix}"),
            });
            format!("host {} does not match {}", quoted(seen.host()), any_of(hosts))
        }
        Failing::Client => {
            let networks = conditions.clients.iter().map(ToString::to_string);
            format!("caller {} is not in {}", seen.client(), any_of(networks))
        }
        Failing::Header(at) => {
            let header = &conditions.headers[at];
            match (seen.ask.header)(&header.name) {
                None => format!("header {} is missing", header.name),
                Some(value) => {
                    format!(
                        "header {} {} does not match \"{}\"",
                        header.name,
                        quoted(value),
                        header.value.as_str()
                    )
                }
            }
        }
        Failing::Method => {
            let methods = conditions.methods.iter().map(ToString::to_string);
            format!("method {} is not {}", quoted(seen.ask.method), any_of(methods))
        }
        Failing::Model => {
            let globs = any_of(conditions.models.iter().map(|glob| glob.as_str().to_owned()));
            match seen.model() {
                ModelSeen::Is(model) => format!("model {} does not match {globs}", quoted(model)),
                ModelSeen::Absent | ModelSeen::Unread => {
                    format!("the request names no model; wanted is {globs}")
                }
            }
        }
        Failing::ModelUnread => "the model is not known".to_owned(),
    }
}

fn quoted(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

/// Values in quotes with commas and an "or"; of many, the first few.
fn any_of(values: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 4;
    let count = values.len();
    let mut text = String::new();
    for (at, value) in values.take(SHOWN).enumerate() {
        let join = match at {
            0 => "",
            _ if at + 1 == count => " or ",
            _ => ", ",
        };
        let _ = write!(text, "{join}\"{value}\"");
    }
    if count > SHOWN {
        let _ = write!(text, " or {} more", count - SHOWN);
    }
    text
}

/// Chances of the targets as they are now: one without an endpoint to give, or without an answer to this request, has none,
/// and the others share.
fn chances(route: &Route, asked: &Asked<'_>) -> Vec<TargetChance> {
    let demand = asked.demand(route);
    let gives = |target: &Target| {
        target.backend.endpoints.iter().any(Endpoint::is_eligible) && demand.against(route, target).is_none()
    };
    let live = route.targets.list.iter().filter(|target| gives(target));
    let total: u32 = live.map(|target| target.weight).sum();
    let chance = |target: &Target| match total {
        0 => 0.0,
        _ if !gives(target) => 0.0,
        _ => f64::from(target.weight) / f64::from(total),
    };
    let targets = route.targets.list.iter();
    targets
        .map(|target| TargetChance {
            backend: target.backend.name.as_str().to_owned(),
            chance: chance(target),
            model: target.model.as_ref().map(|alias| alias.written().into_owned()),
        })
        .collect()
}

/// What the scores depend on, and who has an answer at all.
struct Asked<'a> {
    body: Option<&'a serde_json::Value>,
    model: Cow<'a, [u8]>,
    speaks: Speaks,
    session: Option<Claim>,
    now: Moment,
}

impl<'a> Asked<'a> {
    fn of(question: &'a Question, now: Moment) -> Self {
        let path = question.path.as_bytes();
        let body = question.body.as_ref();
        let named = body.and_then(|body| body.get("model")?.as_str()).map(str::as_bytes);
        let model = named.map(Cow::Borrowed).or_else(|| path_model(path)).unwrap_or_default();
        Self {
            body,
            model,
            speaks: Speaks::of(path, surface(path), question.method == "POST"),
            session: None,
            now,
        }
    }

    fn demand(&self, route: &Route) -> Demand<'_> {
        Demand::new(self.speaks, &self.model, route, || self.body.map(|body| body.to_string().into_bytes()))
    }

    /// Why nobody takes it, if nobody does.
    fn lost(&self, route: &Route, endpoints: &[Candidate]) -> Option<Refusal> {
        if let Err(refusal) = self.demand(route).judge(route) {
            return Some(refusal);
        }
        let somebody = endpoints.iter().any(|candidate| candidate.eligible);
        (!somebody).then_some(Refusal::NoEndpoint { retry_after_ms: SOON_MS })
    }

    fn wanted<'w>(&'w self, route: &'w Route, target: &'w Target) -> Wanted<'w> {
        balance::wanted(target, &self.model, &route.conditions.models, self.session)
    }

    /// The cost on each endpoint of a backend that is balanced by it.
    fn costs(&self, route: &Route, target: &Target) -> Vec<(f64, Cost)> {
        let Some(gpu) = &target.backend.gpu else { return Vec::new() };
        let mut prompt = Prompt::default();
        if let Some(body) = self.body {
            prompt.feed(gpu.key(), body.to_string().as_bytes());
        }
        let wanted = self.wanted(route, target);
        costs(&target.backend, Some(&mut prompt), wanted, self.now)
    }
}

/// What this prompt costs on each endpoint of a backend that is balanced by it; nothing where it is not.
pub fn costs(
    backend: &Backend,
    prompt: Option<&mut Prompt>,
    wanted: Wanted<'_>,
    now: Moment,
) -> Vec<(f64, Cost)> {
    let Some(gpu) = &backend.gpu else { return Vec::new() };
    let mut none = Prompt::default();
    let prompt = prompt.unwrap_or(&mut none);
    let tokens = gpu.tokens(prompt);
    gpu.explain(prompt, wanted, now).iter().map(|terms| cost(terms, tokens)).collect()
}

fn cost(terms: &Terms, prompt_tokens: u64) -> (f64, Cost) {
    let parts = Cost {
        queue_s: terms.queue_s.into(),
        miss_s: terms.miss_s.into(),
        in_flight_s: terms.in_flight_s.into(),
        kv_s: terms.kv_s.into(),
        adapter_s: terms.adapter_s.into(),
        adapter: terms.residence.map(residence),
        suspect_s: terms.suspect_s.into(),
        session_s: terms.session_s.into(),
        slowness: terms.slowness.into(),
        prompt_tokens,
        miss_tokens: terms.miss as u64,
        uncached_tokens: terms.pressure.uncached as u64,
        kv: terms.pressure.kv.into(),
        reported: terms.pressure.fresh,
    };
    (terms.cost().into(), parts)
}

fn residence(of: Residence) -> explain::Residence {
    match of {
        Residence::Here => explain::Residence::Here,
        Residence::Room => explain::Residence::Room,
        Residence::Full => explain::Residence::Full,
    }
}

/// The endpoints of all targets; where none of them takes it, those of the fallbacks behind them.
fn candidates(route: &Route, asked: &Asked<'_>) -> Vec<Candidate> {
    let demand = asked.demand(route);
    let of = |target: &Target| of_target(route, target, asked, demand.against(route, target).as_ref());
    let mut all: Vec<Candidate> = route.targets.list.iter().flat_map(of).collect();
    if !all.iter().any(|candidate| candidate.eligible) {
        all.extend(route.fallback.iter().flat_map(of));
    }
    all
}

/// The endpoints of one target, best first, and what speaks against all of them.
fn of_target(route: &Route, target: &Target, asked: &Asked<'_>, against: Option<&Refusal>) -> Vec<Candidate> {
    let backend = &target.backend;
    let costs = asked.costs(route, target);
    // A cost has a part for it; with other policies it is all there is to say.
    let session = asked.wanted(route, target).session.filter(|_| backend.gpu.is_none());
    let told = |(at, endpoint)| {
        let mut candidate = candidate(backend, endpoint, costs.get(at).copied());
        if session == Some(at) && candidate.eligible {
            candidate.why = String::from(SESSION_HERE);
        }
        match against {
            Some(refusal) => Candidate { eligible: false, why: refusal.message().into_owned(), ..candidate },
            None => candidate,
        }
    };
    let mut all: Vec<Candidate> = backend.endpoints.iter().enumerate().map(told).collect();
    all.sort_by(|a, b| b.eligible.cmp(&a.eligible).then(a.score.total_cmp(&b.score)));
    all
}

const SESSION_HERE: &str = "the caller's session was here: preferred while it takes requests";

/// This endpoint as balancing sees it now.
pub fn candidate(backend: &Backend, endpoint: &Endpoint, cost: Option<(f64, Cost)>) -> Candidate {
    let in_flight = endpoint.cell.in_flight();
    Candidate {
        backend: backend.name.as_str().to_owned(),
        endpoint: endpoint.authority.to_string(),
        eligible: endpoint.is_eligible(),
        why: why_ranked(backend, endpoint, in_flight),
        in_flight,
        score: score(backend, endpoint, cost.as_ref()),
        cost: cost.map(|(_, cost)| cost),
    }
}

/// What its policy compares, lower is better; 0 where it compares nothing.
pub fn score(backend: &Backend, endpoint: &Endpoint, cost: Option<&(f64, Cost)>) -> f64 {
    match (backend.balance, cost) {
        (_, Some((score, _))) => *score,
        (Balance::RoundRobin | Balance::Hash, None) => 0.0,
        (Balance::LeastRequests | Balance::P2c | Balance::Gpu, None) => balance::score(endpoint),
    }
}

fn why_ranked(backend: &Backend, endpoint: &Endpoint, in_flight: u64) -> String {
    if backend.awaits_token() {
        return "there is no token for it yet; `ringctl backends` says why".to_owned();
    }
    if endpoint.addresses.is_empty() {
        return "its name has no address".to_owned();
    }
    if endpoint.drained {
        return "drained by the configuration".to_owned();
    }
    if endpoint.cell.is_drained() {
        return "drained by order; `ringctl undrain` puts it back".to_owned();
    }
    match endpoint.health.state() {
        State::Open => {
            return "its circuit is open: it failed too often; tried again after a pause".to_owned();
        }
        State::Drain => return "it said that it goes down".to_owned(),
        State::HalfOpen if !endpoint.health.admits() => {
            return "its circuit is half open, and the few requests that go are under way".to_owned();
        }
        State::Warm | State::Ok | State::Suspect | State::HalfOpen => {}
    }
    if endpoint.health.is_resting() {
        return "it asked to be left alone for a while; preferred is any other".to_owned();
    }
    let weight = endpoint.weight;
    match backend.balance {
        Balance::LeastRequests => {
            format!("{in_flight} in flight at weight {weight}; the lowest score of its target gets it")
        }
        Balance::P2c => format!("{in_flight} in flight at weight {weight}; the lower of two drawn gets it"),
        Balance::RoundRobin => format!("in turn, at weight {weight}"),
        Balance::Hash => {
            format!(
                "{in_flight} in flight at weight {weight}; the first below its bound behind the hash gets it"
            )
        }
        Balance::Gpu => format!("{in_flight} in flight; the lowest cost of its target gets it"),
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    format!("{} {}: {}", refusal.verdict().status, refusal.code(), refusal.message())
}

#[cfg(test)]
mod tests {
    use ringway_contract::snapshot;
    use serde_json::{Value, json};

    use super::*;
    use crate::cells::Lease;
    use crate::table::testing::{backend, compiled, route, snapshot};

    fn question(request: Value) -> Question {
        serde_json::from_value(request).expect("a question")
    }

    fn table() -> Table {
        let mut wide = route("wide", json!({"path_prefix": "/v1", "models": ["llama-*", "m1"]}), "a");
        let target =
            |backend: &str, weight| snapshot::Target { backend: backend.into(), weight, model: None };
        wide.targets = vec![target("a", 75), target("b", 20), target("gone", 5)];
        wide.targets[1].model = Some("other".into());
        let inner = json!({"hosts": ["in.test", "*.in.test"], "methods": ["GET"],
                           "headers": [{"name": "x-team", "value": "ops-*"}], "client_cidrs": ["10.0.0.0/8"]});
        let mut gone = backend("gone", "vllm", &["g:1"]);
        gone.endpoints[0].addresses.clear();
        let backends = vec![backend("a", "vllm", &["a:1", "a:2"]), backend("b", "vllm", &["b:1"]), gone];
        compiled(&snapshot(backends, vec![route("inner", inner, "a"), wide, route("rest", json!({}), "b")]))
    }

    /// Why the first route does not match this request.
    fn why(request: Value) -> Option<String> {
        explain(&table(), &question(request), Moment::default()).routes.remove(0).why
    }

    #[test]
    fn the_first_condition_that_fails_is_named_with_both_sides() {
        let mut request = json!({"path": "/x"});
        assert_eq!(
            why(request.clone()).as_deref(),
            Some(r#"host "localhost" does not match "in.test" or "*.in.test""#)
        );
        request["host"] = json!("A.IN.test:80");
        assert_eq!(why(request.clone()).as_deref(), Some(r#"caller 127.0.0.1 is not in "10.0.0.0/8""#));
        request["client"] = json!("10.1.1.1");
        assert_eq!(why(request.clone()).as_deref(), Some("header x-team is missing"));
        request["headers"] = json!({"X-Team": "dev"});
        assert_eq!(why(request.clone()).as_deref(), Some(r#"header x-team "dev" does not match "ops-*""#));
        request["headers"] = json!({"X-Team": "ops-1"});
        assert_eq!(why(request.clone()).as_deref(), Some(r#"method "POST" is not "GET""#));
        request["method"] = json!("GET");
        assert_eq!(why(request), None);
    }

    #[test]
    fn routes_are_shown_up_to_the_match() {
        let body = json!({"model": "gpt"});
        let explanation = explain(
            &table(),
            &question(json!({"path": "/v1/chat/completions", "body": body})),
            Moment::default(),
        );
        assert_eq!(explanation.route.as_deref(), Some("rest"));
        let whys: Vec<_> = explanation.routes.iter().map(|route| route.why.as_deref()).collect();
        assert_eq!(whys[1..], [Some(r#"model "gpt" does not match "llama-*" or "m1""#), None]);
        assert!(explanation.routes[2].matched && explanation.refusal.is_none());
    }

    #[test]
    fn chances_leave_out_targets_that_have_nobody_to_give() {
        let request = json!({"path": "/v1/x", "body": {"model": "llama-3"}});
        let table = table();
        let explanation = explain(&table, &question(request), Moment::default());
        assert_eq!(explanation.route.as_deref(), Some("wide"));
        let chances: Vec<_> = explanation
            .targets
            .iter()
            .map(|target| (&*target.backend, (target.chance * 1_000.0).round()))
            .collect();
        assert_eq!(chances, [("a", 789.0), ("b", 211.0), ("gone", 0.0)]);
        assert_eq!(explanation.targets[1].model.as_deref(), Some("other"));
        assert_eq!(explanation.generation, table.generation());
    }

    #[test]
    fn a_model_that_cannot_do_what_is_asked_is_passed_over_and_said_to_be() {
        let mut known =
            snapshot(vec![backend("a", "vllm", &["a:1"]), backend("b", "vllm", &["b:1"])], vec![]);
        known.models = serde_json::from_value(json!([{"name": "blind", "capabilities": {"images": false}}]))
            .expect("a model");
        let mut both = route("both", json!({"path_prefix": "/"}), "a");
        both.targets[0].model = Some("blind".into());
        both.fallback = vec![snapshot::Fallback { backend: "b".to_owned(), model: None }];
        known.routes = vec![both];
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]});
        let picture = question(json!({"path": "/v1/chat/completions", "body": body}));
        let told = explain(&compiled(&known), &picture, Moment::default());
        let rows: Vec<_> = told.endpoints.iter().map(|it| (&*it.endpoint, it.eligible)).collect();
        assert_eq!((rows, told.targets[0].chance), (vec![("a:1", false), ("b:1", true)], 0.0));
        assert!(told.endpoints[0].why.contains("sees no pictures"), "{}", told.endpoints[0].why);
        assert_eq!(told.refusal, None, "the fallback takes it");
        known.routes[0].fallback.clear();
        let refused = explain(&compiled(&known), &picture, Moment::default()).refusal.unwrap_or_default();
        assert!(refused.starts_with("400 model_incapable: "), "{refused}");
    }

    #[test]
    fn endpoints_stand_in_the_order_balancing_sees_them() {
        let table = table();
        let busy = &table.endpoint("a/a:1").expect("it is there").cell;
        let _leases = [Lease::take(busy), Lease::take(busy)];
        let explanation =
            explain(&table, &question(json!({"path": "/v1/x", "body": {"model": "m1"}})), Moment::default());
        let rows: Vec<_> = explanation
            .endpoints
            .iter()
            .map(|it| (&*it.endpoint, it.eligible, it.in_flight, it.score))
            .collect();
        assert_eq!(
            rows,
            [("a:2", true, 0, 0.0), ("a:1", true, 2, 2.0), ("b:1", true, 0, 0.0), ("g:1", false, 0, 0.0)]
        );
        assert_eq!(explanation.endpoints[3].why, "its name has no address");
    }

    #[test]
    fn a_backend_without_its_first_token_is_not_taken_for_one_without_an_address() {
        let mut vertex = backend("v", "gemini", &["v:1"]);
        vertex.hosting =
            Some(snapshot::Hosting::Vertex { project: "p".to_owned(), location: "l".to_owned() });
        vertex.endpoints[0].addresses.clear();
        let route = route("all", json!({"path_prefix": "/"}), "v");
        let table = compiled(&snapshot(vec![vertex], vec![route]));
        let explanation = explain(
            &table,
            &question(json!({"path": "/v1beta/models/m:generateContent"})),
            Moment::default(),
        );
        assert!(explanation.endpoints[0].why.contains("no token"), "{}", explanation.endpoints[0].why);
    }

    #[test]
    fn explaining_changes_no_turn_and_no_count() {
        let table = table();
        let request = question(json!({"path": "/v1/x", "body": {"model": "m1"}}));
        assert_eq!(
            explain(&table, &request, Moment::default()),
            explain(&table, &request, Moment::default())
        );
        assert!(table.endpoints().all(|(_, endpoint)| endpoint.cell.attempts_total() == 0));
    }

    #[test]
    fn a_refusal_is_told_with_its_status() {
        let mut only = snapshot(vec![backend("a", "vllm", &["a:1"])], vec![]);
        only.routes = vec![route("m", json!({"path": "/v1/chat/completions", "models": ["m"]}), "a")];
        let refusal = |table: &Table, request: Value| {
            explain(table, &question(request), Moment::default()).refusal.unwrap_or_default()
        };
        let table = compiled(&only);
        let chat = |model: &str| json!({"path": "/v1/chat/completions", "body": {"model": model}});
        assert!(refusal(&table, chat("x")).starts_with("404 model_not_found: the model `x`"));
        assert!(refusal(&table, json!({"path": "/nope"})).starts_with("404 no_route: "));
        let list = json!({"path": "/v1/models", "method": "GET"});
        assert!(refusal(&table, list).starts_with("200: ringway answers with the list of models"));
        only.backends[0].endpoints[0].drained = true;
        assert!(refusal(&compiled(&only), chat("m")).starts_with("503 no_endpoint: "));
    }
}
