//! Lists the models that a caller may ask for: `GET /v1/models` and its kin (dialects section 7.5).
//!
//! Owns: when ringway answers the listing itself, what is on offer, and the bodies.
//!
//! The listing takes part in "first match wins": it stands at the place of the first model route that concerns
//! the caller (by host, network and headers) and offers a model by name. So, in this order:
//! 1. a route whose `path` is the listing's own path gets the request if it is the first to match;
//! 2. an `engine: http` route that matches and stands before that place gets it;
//! 3. ringway answers, if there is such a place;
//! 4. else it is a request like any other.
//!
//! Must not: ask an endpoint.
//! Read next: `ringway_dialect::surface`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ringway_dialect::listing;
use ringway_dialect::surface::{self, Grammar, Surface};

use super::catalogue::Profile;
use super::glob::Glob;
use super::matching::{ModelSeen, Seen};
use super::{Alias, Ask, Backend, Route, Table, Target};
use crate::refusal::Refusal;

/// Names on offer, by route.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Each once, in order of first mention.
    names: Vec<Box<str>>,
    /// How lists show each.
    shown: Vec<listing::Model>,
    /// Routes that offer any, in their order, with places in `names`.
    routes: Vec<(u32, Box<[u32]>)>,
}

impl Offers {
    /// What these routes offer: models they name without wildcard, and those of their backends, and the models
    /// put in place, as far as their globs match them.
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut offers = Self::default();
        let mut places: HashMap<Box<str>, u32> = HashMap::new();
        for route in routes.iter().filter(|route| !route.raw) {
            let mut seen = HashSet::new();
            let mut list = Vec::new();
            for name in offered(route) {
                let place = *places.entry((&*name).into()).or_insert_with(|| {
                    offers.names.push((&*name).into());
                    offers.shown.push(shown(route, &name));
                    offers.names.len() as u32 - 1
                });
                if seen.insert(place) {
                    list.push(place);
                }
            }
            if !list.is_empty() {
                offers.routes.push((route.order, list.into()));
            }
        }
        offers
    }

    fn listed(&self, place: usize) -> listing::Model {
        self.shown[place].clone()
    }

    /// Offers of all routes together: what a listing may cost.
    pub(super) fn len(&self) -> usize {
        self.routes.iter().map(|(_, list)| list.len()).sum()
    }
}

/// How lists show a model that this route offers: what is known of it where the route's first target has it.
fn shown(route: &Route, name: &str) -> listing::Model {
    let there = route.targets.list.first().and_then(|target| target.model_there(name.as_bytes(), route));
    let there = there.as_deref().unwrap_or(name);
    let known = route.catalogue.as_ref().and_then(|catalogue| catalogue.find(there.as_bytes()));
    Profile::listed(known, name)
}

fn offered(route: &Route) -> impl Iterator<Item = Cow<'_, str>> {
    let globs = &route.conditions.models;
    let literal = globs.iter().filter_map(|glob| glob.literal()).map(Cow::Borrowed);
    // Where all globs are literal, a backend's list can add nothing to them.
    let open = globs.is_empty() || globs.iter().any(|glob| glob.literal().is_none());
    let live = route.targets.list.iter().filter(move |target| open && target.weight > 0);
    let listed = live.flat_map(move |target| {
        let named = named_by(&target.backend).map(move |name| asked_by(target, globs.first(), name));
        let alias = match &target.model {
            Some(Alias::Name(name)) => Some(Cow::Borrowed(&**name)),
            Some(Alias::Around { .. }) | None => None,
        };
        named.chain(alias)
    });
    literal
        .chain(listed.filter(|name| globs.is_empty() || globs.iter().any(|it| it.matches(name.as_bytes()))))
}

/// What a caller asks for to get this model of a target: the way of its alias back.
fn asked_by<'t>(target: &Target, glob: Option<&Glob>, name: &'t str) -> Cow<'t, str> {
    let (Some(Alias::Around { front, back }), Some(glob)) = (&target.model, glob) else {
        return Cow::Borrowed(name);
    };
    let star = name.strip_prefix(&**front).and_then(|rest| rest.strip_suffix(&**back));
    star.map_or(Cow::Borrowed(name), |star| Cow::Owned(glob.as_str().replacen('*', star, 1)))
}

fn named_by(backend: &Backend) -> impl Iterator<Item = &str> {
    backend.models.iter().map(|model| &**model)
}

impl Table {
    /// The JSON body that answers a request for which [`Table::route`] said [`super::Verdict::Models`]: the
    /// list, or one model, in the caller's own form. Who cannot be told apart gets all forms at once.
    pub fn models_answer(&self, ask: &Ask<'_>) -> Result<Vec<u8>, Refusal> {
        let Surface::Models { id, .. } = surface::surface(ask.path) else {
            return Err(Refusal::NoRoute);
        };
        if surface::query_has(ask.path, b"client_version") {
            // Codex reads a list of another form, and has one of its own for when there is none.
            return Err(Refusal::NoRoute);
        }
        let places = self.offered_to(ask);
        let grammar = match Grammar::of(ask.path, |name| (ask.header)(name).is_some()) {
            Grammar::OpenAi | Grammar::Plain => Grammar::Plain,
            grammar @ (Grammar::Anthropic | Grammar::Gemini) => grammar,
        };
        let mut out = Vec::with_capacity(64 + places.len() * 256);
        match id {
            None => {
                let models: Vec<_> = places.into_iter().map(|place| self.offers.listed(place)).collect();
                listing::write_list(grammar, &models, &mut out);
            }
            Some(id) => {
                let id = surface::decoded(id).ok_or(Refusal::NoRoute)?;
                let place = places.into_iter().find(|&place| self.offers.names[place].as_bytes() == &*id);
                let place = place.ok_or_else(|| Refusal::unknown_model(&id))?;
                listing::write_item(grammar, &self.offers.listed(place), &mut out);
            }
        }
        Ok(out)
    }

    /// Names of the models on offer to this caller, in the order of the routes that offer them.
    pub fn models_for(&self, ask: &Ask<'_>) -> Vec<&str> {
        self.offered_to(ask).into_iter().map(|place| &*self.offers.names[place]).collect()
    }

    /// The same by their places.
    fn offered_to(&self, ask: &Ask<'_>) -> Vec<usize> {
        let seen = Seen::new(ask, self.index.asks_hosts, false);
        let mut listed = vec![false; self.offers.names.len()];
        let mut places = Vec::new();
        for (_, list) in self.offers.routes.iter().filter(|(order, _)| self.concerns(*order, &seen)) {
            for &place in list {
                if !std::mem::replace(&mut listed[place as usize], true) {
                    places.push(place as usize);
                }
            }
        }
        places
    }

    /// Whether ringway answers this request with its listing; see the head of this file.
    pub(super) fn lists_models(&self, seen: &Seen<'_>) -> bool {
        let ask = &seen.ask;
        if self.offers.routes.is_empty() || !matches!(ask.method, b"GET" | b"HEAD") {
            return false;
        }
        if !matches!(surface::surface(ask.path), Surface::Models { .. }) {
            return false;
        }
        let place = self.offers.routes.iter().map(|(order, _)| *order).find(|&it| self.concerns(it, seen));
        let Some(place) = place else { return false };
        let without_model = Ask { model: ModelSeen::Absent, ..*ask };
        let without_model = Seen::new(&without_model, self.index.asks_hosts, false);
        match self.index.first(&self.routes, &without_model) {
            Some((order, _)) => {
                let route = &self.routes[order as usize];
                let before = route.raw && order < place;
                !before && !route.conditions.path.is_exact()
            }
            None => true,
        }
    }

    fn concerns(&self, order: u32, seen: &Seen<'_>) -> bool {
        self.routes[order as usize].conditions.failing_for_caller(seen).is_none()
    }
}

#[cfg(test)]
mod tests {
    use ringway_contract::snapshot;
    use serde_json::{Value, json};

    use super::super::testing::{ask, backend, compiled, route, verdict};
    use super::*;

    fn get(path: &str) -> Ask<'_> {
        Ask { method: b"GET", model: ModelSeen::Absent, ..ask(path) }
    }

    fn chat() -> snapshot::Route {
        route("chat", json!({"path": "/v1/chat/completions", "models": ["m1", "llama-*"]}), "ai")
    }

    fn table(routes: Vec<snapshot::Route>) -> Table {
        let mut ai = backend("ai", "vllm", &["ai:1"]);
        ai.models = ["llama-3", "mistral", "m1"].map(str::to_owned).into();
        compiled(&super::super::testing::snapshot(vec![ai, backend("raw", "http", &["raw:1"])], routes))
    }

    fn answer(table: &Table, ask: &Ask<'_>) -> Value {
        let body = table.models_answer(ask).expect("a listing");
        serde_json::from_slice(&body).expect("valid JSON")
    }

    #[test]
    fn literal_models_and_listed_ones_that_match_are_on_offer_once_and_in_order() {
        let mut alias = route("alias", json!({"path_prefix": "/v1/x"}), "ai");
        alias.targets[0].model = Some("served-as".to_owned());
        let table = table(vec![chat(), route("raw", json!({"path_prefix": "/r"}), "raw"), alias]);
        assert_eq!(table.models_for(&get("/v1/models")), ["m1", "llama-3", "mistral", "served-as"]);
    }

    #[test]
    fn a_caller_sees_only_what_its_routes_offer() {
        let inner = json!({"hosts": ["in.test"], "models": ["secret"]});
        let table = table(vec![chat(), route("inner", inner, "ai")]);
        assert_eq!(table.models_for(&get("/v1/models")), ["m1", "llama-3"]);
        let inside = Ask { host: b"in.test", ..get("/v1/models") };
        assert_eq!(table.models_for(&inside), ["m1", "llama-3", "secret"]);
    }

    #[test]
    fn the_listing_stands_where_the_first_model_route_does() {
        let raw = || route("raw", json!({"path_prefix": "/"}), "raw");
        let exact = || route("exact", json!({"path": "/v1/models"}), "raw");
        let wide = || route("wide", json!({"path_prefix": "/v1"}), "ai");
        for (routes, expected) in [
            (vec![chat()], "models"),
            (vec![chat(), raw()], "models"),
            (vec![raw(), chat()], "raw"),
            (vec![chat(), exact()], "exact"),
            (vec![chat(), raw(), exact()], "models"), // "exact" is shadowed by "raw" anyway
            (vec![wide()], "models"),
            (vec![raw()], "raw"),
        ] {
            let table = table(routes);
            assert_eq!(verdict(&table, &get("/v1/models?limit=10")), expected);
            assert_eq!(
                verdict(&table, &Ask { method: b"HEAD", ..get("/v1beta/models") }),
                match expected {
                    "exact" => "models",
                    other => other,
                }
            );
            assert_ne!(verdict(&table, &ask("/v1/models")), "models", "a POST asks for no list");
        }
    }

    #[test]
    fn without_a_model_to_name_the_request_is_like_any_other() {
        let mut nameless = backend("ai", "vllm", &["ai:1"]);
        nameless.models.clear();
        let routes = vec![route("wide", json!({"path_prefix": "/v1"}), "ai")];
        let table = compiled(&super::super::testing::snapshot(vec![nameless], routes));
        assert_eq!(verdict(&table, &get("/v1/models")), "wide");
    }

    #[test]
    fn one_body_has_the_keys_of_all_three_families() {
        let table = table(vec![route("m", json!({"models": ["b", "a"]}), "ai")]);
        let body = answer(&table, &get("/v1/models"));
        let item = json!({"id": "b", "object": "model", "created": 0, "owned_by": "ringway", "type": "model",
                          "display_name": "b", "created_at": "1970-01-01T00:00:00Z"});
        assert_eq!(body["data"][0], item);
        assert_eq!(body["data"][1]["id"], "a");
        assert_eq!(body["models"][0]["name"], "models/b");
        let ends = [&body["object"], &body["has_more"], &body["first_id"], &body["last_id"]];
        assert_eq!(ends, [&json!("list"), &json!(false), &json!("b"), &json!("a")]);
        let gemini = answer(&table, &get("/v1beta/models"));
        assert_eq!(gemini.as_object().expect("an object").keys().collect::<Vec<_>>(), ["models"]);
        assert_eq!(gemini["models"][1]["displayName"], "a");
    }

    #[test]
    fn one_model_is_answered_in_the_callers_form_and_an_unknown_one_refused() {
        let table = table(vec![route("m", json!({"models": ["org/a:b"]}), "ai")]);
        assert_eq!(answer(&table, &get("/v1/models/org/a:b"))["id"], "org/a:b");
        assert_eq!(answer(&table, &get("/v1/models/org%2Fa:b"))["id"], "org/a:b");
        assert_eq!(answer(&table, &get("/v1beta/models/org/a:b"))["name"], "models/org/a:b");
        let unknown = table.models_answer(&get("/v1/models/nope")).expect_err("there is no such model");
        assert_eq!(unknown.code(), "model_not_found");
    }

    #[test]
    fn a_caller_that_says_who_it_is_gets_its_own_form_with_what_the_catalogue_knows() {
        let mut aliased = route("m", json!({"models": ["fast"]}), "ai");
        aliased.targets[0].model = Some("llama-3".to_owned());
        let mut snapshot =
            super::super::testing::snapshot(vec![backend("ai", "vllm", &["ai:1"])], vec![aliased]);
        snapshot.models = serde_json::from_value(json!([
            {"name": "llama-*", "display_name": "Llama 3", "owner": "meta", "context_tokens": 8192, "output_tokens_max": 4096},
        ]))
        .expect("models");
        let table = compiled(&snapshot);
        let anthropic = Ask {
            header: &|name| (name == "anthropic-version").then_some(b"2023-06-01"),
            ..get("/v1/models")
        };
        let item = json!({"id": "fast", "type": "model", "display_name": "Llama 3",
            "created_at": "1970-01-01T00:00:00Z", "max_input_tokens": 8192, "max_tokens": 4096});
        assert_eq!(
            answer(&table, &anthropic),
            json!({"data": [item], "has_more": false, "first_id": "fast", "last_id": "fast"})
        );
        let gemini = answer(&table, &get("/v1beta/models/fast"));
        assert_eq!((&gemini["name"], &gemini["inputTokenLimit"]), (&json!("models/fast"), &json!(8192)));
        assert_eq!(answer(&table, &get("/v1/models"))["data"][0]["owned_by"], "meta");
    }

    #[test]
    fn a_list_names_models_as_they_are_asked_for() {
        let mut stripped = route("m", json!({"models": ["openai/*"]}), "ai");
        stripped.targets[0].model = Some("*".to_owned());
        let table = table(vec![stripped]);
        assert_eq!(table.models_for(&get("/v1/models")), ["openai/llama-3", "openai/mistral", "openai/m1"]);
    }

    #[test]
    fn codex_is_sent_to_its_own_list() {
        let table = table(vec![chat()]);
        let refusal = table.models_answer(&get("/v1/models?client_version=1.2")).expect_err("not for Codex");
        assert_eq!(refusal, Refusal::NoRoute);
    }
}
