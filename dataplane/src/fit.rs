//! Which destinations of a route can do what a request asks for.
//!
//! Owns: the judgement, once for each exchange, before the first endpoint is chosen.
//! Must not: look at load or health: whoever is judged unfit stays so, however idle.
//! Read next: [`crate::dispatch`], which goes where this lets it.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Losses, Needs};
use ringway_dialect::translate::read_request;

use crate::bounds::{FALLBACKS_MAX, TARGETS_MAX};
use crate::refusal::Refusal;
use crate::table::catalogue::Profile;
use crate::table::{Backend, Route, Target};
use crate::translate::of_backend;

/// Destinations of one route that cannot do what is asked for; none at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfit {
    /// A bit for each target.
    targets: u64,
    /// A bit for each fallback.
    fallback: u8,
}

const _: () =
    assert!(TARGETS_MAX <= u64::BITS as usize && FALLBACKS_MAX <= u8::BITS as usize, "each has its bit");

impl Unfit {
    /// Asks of each destination what speaks against it.
    ///
    /// # Errors
    /// Something speaks against each of them: what was said of the first.
    pub fn of(route: &Route, against: impl Fn(&Target) -> Option<Refusal>) -> Result<Self, Refusal> {
        let mut unfit = Self::default();
        let mut first = None;
        let mut fits = 0;
        for (at, target) in route.destinations().enumerate() {
            let Some(refusal) = against(target) else {
                fits += 1;
                continue;
            };
            first.get_or_insert(refusal);
            unfit.mark(route, at);
        }
        match first {
            Some(refusal) if fits == 0 => Err(refusal),
            _ => Ok(unfit),
        }
    }

    /// Passes over all destinations that lead to this backend from here on: it has shown that it cannot.
    pub fn add(&mut self, route: &Route, backend: &Backend) {
        for (at, target) in route.destinations().enumerate() {
            if std::ptr::eq(&raw const *target.backend, backend) {
                self.mark(route, at);
            }
        }
    }

    fn mark(&mut self, route: &Route, at: usize) {
        match at.checked_sub(route.targets.list.len()) {
            None => self.targets |= 1 << at,
            Some(later) => self.fallback |= 1 << later,
        }
    }

    /// Those among the targets, a bit for each.
    pub const fn targets(self) -> u64 {
        self.targets
    }

    /// Whether this fallback is one of them.
    pub const fn has_fallback(self, at: usize) -> bool {
        self.fallback & 1 << at != 0
    }
}

/// What a call needs of a model; none where it cannot be read: then whoever reads it says so.
pub fn needs<'b>(dialect: Dialect, body: impl Iterator<Item = &'b [u8]>) -> Option<Needs> {
    let bytes: Vec<u8> = body.collect::<Vec<_>>().concat();
    let text = std::str::from_utf8(&bytes).ok()?;
    let mut tape = Tape::new();
    let body = tape.read(text, Surrogates::Replace).ok()?;
    read_request(dialect, body, &mut Losses::new()).ok().map(|request| Needs::of(&request))
}

/// Why a model that this much is known of cannot do what is needed.
pub fn lacks(known: Option<&Profile>, backend: &Backend, needs: &Needs) -> Option<Refusal> {
    let capabilities = known?.capabilities(of_backend(backend.dialect)?);
    capabilities.lacks(needs).map(|need| Refusal::Incapable { need })
}

#[cfg(test)]
mod tests {
    use ringway_contract::snapshot::Fallback;
    use serde_json::json;

    use super::*;
    use crate::table::testing::{backend, compiled, route, snapshot};

    #[test]
    fn what_speaks_against_all_is_said_and_what_speaks_against_some_is_remembered() {
        let mut all = route("all", json!({}), "a");
        all.targets
            .push(ringway_contract::snapshot::Target { backend: "b".to_owned(), ..all.targets[0].clone() });
        all.fallback = vec![Fallback { backend: "a".to_owned(), model: None }];
        let backends = vec![backend("a", "vllm", &["a:1"]), backend("b", "vllm", &["b:1"])];
        let table = compiled(&snapshot(backends, vec![all]));
        let route = &table.routes()[0];
        let unlike = |name: &'static str| {
            move |target: &Target| (target.backend.name.as_str() == name).then_some(Refusal::NotTranslated)
        };
        assert_eq!(Unfit::of(route, |_| None), Ok(Unfit::default()));
        let without_a = Unfit::of(route, unlike("a")).expect("b is left");
        assert_eq!((without_a.targets(), without_a.has_fallback(0)), (0b01, true));
        let without_b = Unfit::of(route, unlike("b")).expect("a is left");
        assert_eq!((without_b.targets(), without_b.has_fallback(0)), (0b10, false));
        assert_eq!(Unfit::of(route, |_| Some(Refusal::NotTranslated)), Err(Refusal::NotTranslated));
    }
}
