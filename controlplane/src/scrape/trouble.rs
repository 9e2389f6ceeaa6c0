//! What is wrong with the readings and probes of endpoints now, for whoever asks.
//!
//! Owns: the last trouble of each round, told once in the log, and forgotten with the round.
//! Must not: judge a server; `watch.rs` does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use crate::daemon::api::{EndpointTrouble, Looking};
use crate::log;

/// The troubles of all rounds that go on.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<Vec<Weak<Told>>>);

/// One round's.
#[derive(Debug)]
struct Told {
    endpoint: String,
    by: Looking,
    last: Mutex<Option<EndpointTrouble>>,
}

impl Troubles {
    /// All there are, by endpoint.
    pub fn list(&self) -> Vec<EndpointTrouble> {
        let rounds = self.rounds();
        let mut all: Vec<_> =
            rounds.iter().filter_map(Weak::upgrade).filter_map(|told| told.last().clone()).collect();
        all.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
        all
    }

    fn rounds(&self) -> MutexGuard<'_, Vec<Weak<Told>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn last(&self) -> MutexGuard<'_, Option<EndpointTrouble>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what is wrong with one endpoint, once. Its trouble is over when this is dropped.
pub(super) struct Said(Arc<Told>);

impl Said {
    /// Nothing is wrong yet.
    pub(super) fn new(troubles: &Troubles, endpoint: &str, by: Looking) -> Self {
        let told = Arc::new(Told { endpoint: endpoint.to_owned(), by, last: Mutex::default() });
        let mut rounds = troubles.rounds();
        rounds.retain(|round| round.strong_count() > 0);
        rounds.push(Arc::downgrade(&told));
        Self(told)
    }

    /// How it is now.
    pub(super) fn now(&mut self, trouble: Option<String>) {
        let Told { endpoint, by, last } = &*self.0;
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().map(|last| &last.why) == trouble.as_ref() {
            return;
        }
        let about = match by {
            Looking::Load => "its load cannot be read",
            Looking::Probe => "its probe fails",
        };
        match &trouble {
            Some(why) => log::warn(about, &[("endpoint", endpoint), ("why", why)]),
            None => log::info("it is well again", &[("endpoint", endpoint), ("before", &about)]),
        }
        let since = || log::rfc3339(SystemTime::now());
        *last =
            trouble.map(|why| EndpointTrouble { endpoint: endpoint.clone(), by: *by, since: since(), why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_listed_until_it_is_over_or_nobody_looks_any_more() {
        let troubles = Troubles::default();
        let mut load = Said::new(&troubles, "b/2", Looking::Load);
        let mut probe = Said::new(&troubles, "b/1", Looking::Probe);
        load.now(Some("404".to_owned()));
        probe.now(Some("late".to_owned()));
        let listed = || troubles.list().into_iter().map(|it| (it.endpoint, it.why)).collect::<Vec<_>>();
        let told = |endpoint: &str, why: &str| (endpoint.to_owned(), why.to_owned());
        assert_eq!(listed(), [told("b/1", "late"), told("b/2", "404")]);
        load.now(None);
        assert_eq!(listed(), [told("b/1", "late")]);
        drop(probe);
        assert_eq!(listed(), []);
    }
}
