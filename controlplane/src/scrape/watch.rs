//! The rounds of one endpoint: its page of metrics and its probe.
//!
//! Owns: when it is asked (never twice at once), and what an answer means.
//! Must not: take a missing page for a sick server: only a probe says that (spec routing.md section 8).
//! Read next: `fetch.rs`, the question; `page.rs`, the answer; `outbox.rs`, where it goes; `trouble.rs`, what is said.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use ringway_contract::load::Probe;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::fetch::{Fault, Fetcher, Over};
use super::outbox::Outbox;
use super::restart::Lives;
use super::target::{Health, Metrics, Target};
use super::trouble::{Said, Troubles};
use super::{Scratch, dialect, read};
use crate::bounds::running as bounds;
use crate::daemon::api::Looking;
use crate::trust::Trust;

/// What the two rounds of one endpoint share.
pub(super) struct Watched {
    pub(super) target: Target,
    /// Whom it must prove to be, if it speaks TLS; shared with others of its backend.
    pub(super) trust: Option<Arc<Trust>>,
    pub(super) lives: Arc<Mutex<Lives>>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) troubles: Arc<Troubles>,
    /// Where in the interval its turn is, 0 to 1.
    pub(super) phase: f64,
}

impl Watched {
    fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetcher(&self, port: Option<u16>, patience: Duration) -> Fetcher {
        let Target { addresses, authority, credential, secure, .. } = &self.target;
        let at = |address: &SocketAddr| SocketAddr::new(address.ip(), port.unwrap_or(address.port()));
        let addresses = addresses.iter().map(at).collect();
        let over = match secure.as_ref().zip(self.trust.as_ref()) {
            None => Over::Plain,
            Some((secure, trust)) => Over::Tls { name: secure.name.clone(), trust: Arc::clone(trust) },
        };
        Fetcher::new(addresses, over, authority.clone(), credential.clone(), patience)
    }
}

/// Reads the endpoint's page for ever.
pub(super) async fn scrape(watched: Arc<Watched>, metrics: Metrics) {
    let Some(dialect) = dialect(watched.target.engine) else { return };
    let mut fetcher = watched.fetcher(metrics.port, bounds::SCRAPE_MS_MAX);
    let mut scratch = Scratch::default();
    let mut said = Said::new(&watched.troubles, &watched.target.name, Looking::Load);
    let mut which = 0;
    let mut round = rounds(metrics.interval.as_duration(), watched.phase);
    loop {
        round.tick().await;
        let Some(path) = metrics.paths.get(which) else { return };
        let trouble = match fetcher.get(path).await {
            Ok(StatusCode::OK) => {
                let reading = read(&fetcher.body, dialect, &watched.target.models, &mut scratch);
                let generation = {
                    let mut lives = watched.lives();
                    lives.saw(&reading, unix_now());
                    lives.generation()
                };
                let silent = !reading.has_load();
                if !silent {
                    watched.outbox.reading(&watched.target.name, generation, reading);
                }
                silent.then(|| format!("{path} has none of the series that are read"))
            }
            Ok(StatusCode::NOT_FOUND) => {
                watched.lives().answered();
                which = (which + 1) % metrics.paths.len();
                (which == 0).then(|| not_found(&metrics.paths))
            }
            Ok(status) => {
                watched.lives().answered();
                Some(format!("{path} answers {status}"))
            }
            Err(fault) => {
                if fault == Fault::Refused {
                    watched.lives().refused();
                    which = 0; // another version may stand there next
                }
                Some(fault.to_string())
            }
        };
        said.now(trouble);
    }
}

/// Probes the endpoint for ever.
pub(super) async fn probe(watched: Arc<Watched>, health: Health) {
    let mut fetcher = watched.fetcher(None, bounds::PROBE_MS_MAX);
    let mut said = Said::new(&watched.troubles, &watched.target.name, Looking::Probe);
    let mut round = rounds(health.interval.as_duration(), watched.phase);
    loop {
        round.tick().await;
        let answer = fetcher.get(&health.path).await;
        let generation = {
            let mut lives = watched.lives();
            match &answer {
                Ok(_) => lives.answered(),
                Err(Fault::Refused) => lives.refused(),
                Err(_) => {}
            }
            lives.generation()
        };
        let verdict = verdict(&answer);
        if let Some(probe) = verdict {
            watched.outbox.probe(&watched.target.name, generation, probe);
        }
        said.now(match (verdict, answer) {
            (Some(Probe::Passed), _) => None,
            (_, Ok(status)) => Some(format!("{} answers {status}", health.path)),
            (_, Err(fault)) => Some(fault.to_string()),
        });
    }
}

/// What an answer to a probe says of the server. None: nothing. A path that is not there, or wants a key that we do not
/// have, is a matter of configuration: whoever says so is alive. So are files of ours that cannot be used.
fn verdict(answer: &Result<StatusCode, Fault>) -> Option<Probe> {
    match answer {
        Ok(status) if status.is_success() => Some(Probe::Passed),
        Ok(status) if status.is_client_error() || status.is_redirection() => None,
        Err(Fault::Unwritable(_) | Fault::Untrusting(_)) => None,
        // llama.cpp answers 503 while it loads its model.
        Ok(_)
        | Err(
            Fault::Refused
            | Fault::Connect(_)
            | Fault::Handshake(_)
            | Fault::Late(_)
            | Fault::Broken(_)
            | Fault::Large
            | Fault::Coded(_),
        ) => Some(Probe::Failed),
    }
}

fn not_found(paths: &[String]) -> String {
    format!(
        "there is no {}; start the server with its metrics on, or name their place in `metrics`",
        paths.join(" nor ")
    )
}

/// Turns one interval apart; one that was missed is left out. The first comes within a second: somebody waits for it.
fn rounds(every: Duration, phase: f64) -> tokio::time::Interval {
    let mut rounds = interval_at(Instant::now() + every.min(bounds::FIRST_LOOK_MS_MAX).mul_f64(phase), every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    rounds
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_no_such_path_is_alive_and_one_that_loads_its_model_is_not_well() {
        let of = |status| verdict(&Ok(StatusCode::from_u16(status).expect("a status")));
        assert_eq!([200, 204].map(of), [Some(Probe::Passed); 2]);
        assert_eq!([404, 401, 405, 301].map(of), [None; 4]);
        assert_eq!([500, 503].map(of), [Some(Probe::Failed); 2]);
        let late = Err(Fault::Late(bounds::PROBE_MS_MAX));
        assert_eq!([verdict(&Err(Fault::Refused)), verdict(&late)], [Some(Probe::Failed); 2]);
    }
}
