//! Which destinations of a route can do what a request asks for.
//!
//! Owns: the judgement, once for each exchange, before the first endpoint is chosen.
//! Must not: look at load or health: whoever is judged unfit stays so, however idle.
//! Read next: [`crate::dispatch`], which goes where this lets it; [`crate::explain`], which says why.

use ringway_dialect::dialect::Dialect;
use ringway_dialect::json::{Surrogates, Tape};
use ringway_dialect::model::{Losses, Needs};
use ringway_dialect::translate::read_request;

use crate::bounds::{FALLBACKS_MAX, TARGETS_MAX};
use crate::refusal::Refusal;
use crate::table::catalogue::Profile;
use crate::table::{Backend, Route, Target};
use crate::translate::{Speaks, of_backend};

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
    fn of(route: &Route, against: impl Fn(&Target) -> Option<Refusal>) -> Result<Self, Refusal> {
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

    /// Whether this destination of the route is one of them.
    pub fn has(self, route: &Route, target: &Target) -> bool {
        let at = route.destinations().position(|other| std::ptr::eq(other, target));
        at.is_some_and(|at| match at.checked_sub(route.targets.list.len()) {
            None => self.targets & 1 << at != 0,
            Some(later) => self.has_fallback(later),
        })
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

/// What is asked for, as far as it decides who can do it.
pub struct Demand<'a> {
    speaks: Speaks,
    model: &'a [u8],
    needs: Option<Needs>,
}

impl<'a> Demand<'a> {
    /// Of this model. The body of a call is read only where a model of the route may be unable to do what it says; none: it
    /// cannot be read, and whoever has to says so.
    pub fn new(
        speaks: Speaks,
        model: &'a [u8],
        route: &Route,
        body: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Self {
        let needs = match speaks {
            Speaks::Calls(dialect) if is_choosy(speaks, route, model) => {
                body().and_then(|body| needs(dialect, &body))
            }
            _ => None,
        };
        Self { speaks, model, needs }
    }

    /// What speaks against this destination.
    pub fn against(&self, route: &Route, target: &Target) -> Option<Refusal> {
        match self.speaks {
            Speaks::Calls(_) => {
                lacks(known(route, target, self.model), &target.backend, self.needs.as_ref()?)
            }
            Speaks::Embeds(_)
            | Speaks::Counts(_)
            | Speaks::Beside(_)
            | Speaks::Completes
            | Speaks::Anything => (!self.speaks.reaches(&target.backend)).then_some(Refusal::NotTranslated),
        }
    }

    /// Which destinations are passed over, for they have no answer to it.
    ///
    /// # Errors
    /// None has: what speaks against the first.
    pub fn judge(&self, route: &Route) -> Result<Unfit, Refusal> {
        let fits_all = match self.speaks {
            Speaks::Calls(_) => self.needs.is_none(),
            Speaks::Completes | Speaks::Anything => !route.hosted,
            Speaks::Embeds(_) | Speaks::Counts(_) | Speaks::Beside(_) => false,
        };
        if fits_all { Ok(Unfit::default()) } else { Unfit::of(route, |target| self.against(route, target)) }
    }
}

/// Whether some destination cannot do what a call may ask for, so that the call is read for it.
pub fn is_choosy(speaks: Speaks, route: &Route, model: &[u8]) -> bool {
    let restricts = |target: &Target| known(route, target, model).is_some_and(Profile::restricts);
    let catalogue = route.catalogue.as_ref().filter(|_| matches!(speaks, Speaks::Calls(_)));
    catalogue.is_some_and(|catalogue| catalogue.restricts()) && route.destinations().any(restricts)
}

/// What is known of the model that this target calls what the caller asks for.
pub fn known<'t>(route: &'t Route, target: &Target, model: &[u8]) -> Option<&'t Profile> {
    let catalogue = route.catalogue.as_ref()?;
    match target.model_there(model, route) {
        Some(there) => catalogue.find(there.as_bytes()),
        None => catalogue.find(model),
    }
}

/// What a call needs of a model.
fn needs(dialect: Dialect, body: &[u8]) -> Option<Needs> {
    let text = std::str::from_utf8(body).ok()?;
    let mut tape = Tape::new();
    let body = tape.read(text, Surrogates::Replace).ok()?;
    read_request(dialect, body, &mut Losses::new()).ok().map(|request| Needs::of(&request))
}

/// Why a model that this much is known of cannot do what is needed.
fn lacks(known: Option<&Profile>, backend: &Backend, needs: &Needs) -> Option<Refusal> {
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
