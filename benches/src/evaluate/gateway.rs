//! One gateway process without sockets: its table, its cells, and the verdicts of its queue.
//!
//! Owns: the calls that an exchange makes of balancing, admission and health, with a moment that is handed in.
//! Must not: decide anything itself; each answer is the data plane's.
//! Read next: `dataplane/src/dispatch.rs`, which makes the same calls over sockets; [`super::drive`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use ringway_contract::load::{EndpointLoad, LoadReport};
use ringway_dataplane::admission::line::{Admission, No, Post, Verdict, Waiter};
use ringway_dataplane::admission::queue::{Join, Ticket, Want};
use ringway_dataplane::balance::prefix::blocks::Key;
use ringway_dataplane::balance::prompt::Prompt;
use ringway_dataplane::balance::{self, Pick, Tried, Wish};
use ringway_dataplane::bounds::BYTES_PER_TOKEN;
use ringway_dataplane::cells::{Cells, Lease, Load};
use ringway_dataplane::clock::Moment;
use ringway_dataplane::health::{Passive, to_readmit};
use ringway_dataplane::load::{self, Now};
use ringway_dataplane::outcome::{AttemptError, Retry};
use ringway_dataplane::retry::{RetryBudget, Standing, may_retry};
use ringway_dataplane::table::{Backend, Endpoint, Route, Table};

use super::setup::{BACKEND, MODEL, Setup};

/// A gateway.
pub struct Gateway {
    table: Table,
    rng: RefCell<fastrand::Rng>,
    letters: Letters,
    retries: RefCell<RetryBudget>,
    adapters: Vec<String>,
}

/// Verdicts that nobody has read yet.
struct Letters {
    unread: RefCell<VecDeque<(u32, Verdict)>>,
    rng: RefCell<fastrand::Rng>,
}

impl Post for Letters {
    fn tell(&self, waiter: Waiter, verdict: Verdict) -> bool {
        self.unread.borrow_mut().push_back((waiter.place, verdict));
        true
    }

    fn chance(&self) -> f64 {
        self.rng.borrow_mut().f64()
    }
}

impl Gateway {
    /// The `number`th gateway in front of this fleet.
    pub fn new(setup: &Setup, number: u64) -> Self {
        let cells = Cells::with_prompt_key(Key::public());
        let table = Table::compile(&setup.snapshot(), &cells)
            .unwrap_or_else(|problems| panic!("the snapshot is ours: {problems:?}"));
        let mut seeds = fastrand::Rng::with_seed(setup.seed ^ (number << 32));
        let mut rng = || RefCell::new(seeds.fork());
        let letters = Letters { unread: RefCell::default(), rng: rng() };
        Self { table, rng: rng(), letters, retries: RefCell::default(), adapters: setup.adapter_names() }
    }

    fn route(&self) -> &Route {
        &self.table.routes()[0]
    }

    /// The backend in front of which it stands.
    pub fn backend(&self) -> &Backend {
        &self.route().targets.list[0].backend
    }

    /// Its endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.backend().endpoints
    }

    /// Its queue.
    pub fn admission(&self) -> Option<&Admission> {
        self.backend().admission.as_ref()
    }

    /// An endpoint for this prompt; of those that `near` lets be chosen, if it is given.
    pub fn pick(
        &self,
        (prompt, adapter): (&mut Prompt, Option<u16>),
        tried: &Tried,
        near: Option<&dyn Fn(usize) -> bool>,
        now: Moment,
    ) -> Option<Pick<'_>> {
        let (route, mut rng) = (self.route(), self.rng.borrow_mut());
        let mut wish = Wish {
            prompt: Some(prompt).filter(|_| route.prompt_key.is_some()),
            key: route.prompt_key.as_deref(),
            model: adapter.map_or(MODEL, |number| &self.adapters[usize::from(number)]).as_bytes(),
            globs: &[],
            session: None,
            path: b"/v1/chat/completions",
            now,
            near,
            unfit: 0,
        };
        match near {
            None => balance::pick_for(route, tried, &mut rng, &mut wish),
            Some(_) => balance::pick_of(&route.targets.list[0], tried, &mut rng, &mut wish),
        }
    }

    /// Tokens of a request that goes there: as the policy reckoned, else by the length of its prompt.
    pub fn estimated(&self, pick: &Pick<'_>, prompt: &Prompt) -> Load {
        if self.backend().gpu.is_some() {
            return pick.load;
        }
        let tokens = ((prompt.bytes() as f32 / BYTES_PER_TOKEN) as u64).max(1);
        Load { prompt: tokens, miss: tokens }
    }

    /// Counts an attempt on its endpoint.
    pub fn dispatch(&self, pick: &Pick<'_>, prompt: &Prompt, adapter: Option<u16>, now: Moment) -> Lease {
        let counts = self.backend().pool().is_some();
        let load = if counts { self.estimated(pick, prompt) } else { pick.load };
        if let Some(gpu) = &self.backend().gpu {
            gpu.dispatched(pick.at, prompt);
            if let Some(number) = adapter {
                gpu.sent(pick.at, self.adapters[usize::from(number)].as_bytes(), now);
            }
        }
        Lease::dispatch(&pick.endpoint.cell, load)
    }

    /// What the usage of an answer teaches.
    pub fn learn(&self, prompt: &Prompt, at: usize, sent: Load, tokens: u64, cached: u64) {
        if let Some(gpu) = &self.backend().gpu {
            gpu.learn(prompt, at, sent, tokens, Some(cached));
        }
    }

    /// Puts a request into the queue; the verdict comes by letter.
    ///
    /// # Errors
    /// It is refused at once.
    pub fn join(
        &self,
        admission: &Admission,
        (join, want, place): (Join, Want, u32),
        now: Moment,
    ) -> Result<Ticket, No> {
        let waiter = Waiter { worker: 0, place, generation: 0 };
        admission.join(self.endpoints(), (join, want, waiter), now, &self.letters)
    }

    /// Lets those go who may, and tells those whose time is over, if anybody waits.
    pub fn kick(&self, now: Moment) {
        if let Some(admission) = self.admission().filter(|admission| admission.is_backlogged()) {
            admission.serve(self.endpoints(), now, &self.letters);
        }
    }

    /// The next verdict that nobody has read.
    pub fn letter(&self) -> Option<(u32, Verdict)> {
        self.letters.unread.borrow_mut().pop_front()
    }

    /// Notes how a request on this endpoint went; if too many circuits are open by it, takes the oldest back.
    pub fn note(&self, at: usize, outcome: Passive, now: Moment) {
        let now_ms = now.us() / 1_000;
        if !self.endpoints()[at].health.passive(now_ms, outcome) {
            return;
        }
        let open = self.endpoints().iter().map(|endpoint| endpoint.health.open_by_requests_since());
        if let Some(at) = to_readmit(open) {
            self.endpoints()[at].health.readmit(now_ms);
        }
    }

    /// Counts a request for the budget of retries.
    pub fn count_request(&self, now: Moment) {
        self.retries.borrow_mut().count_request(now.us() / 1_000);
    }

    /// Whether a request whose attempt failed so may have another one; takes it from the budget.
    pub fn may_try_again(&self, error: &AttemptError, attempts: u32, now: Moment) -> bool {
        let route = self.route();
        let standing = Standing {
            idempotent: route.idempotent,
            uncommitted: true,
            replayable: true,
            attempts,
            attempts_max: route.attempts_max,
            in_time: true,
        };
        let spends = || self.retries.borrow_mut().take(now.us() / 1_000, route.retry_percent);
        may_retry(error, &standing) && (error.retry == Retry::Safe || spends())
    }

    /// Lets time pass for the health of its endpoints.
    pub fn tick(&self, now: Moment) {
        for endpoint in self.endpoints() {
            endpoint.health.tick(now.us() / 1_000);
        }
    }

    /// Hears a report on the endpoint at this place.
    pub fn hear(&self, report: EndpointLoad, now: Duration) {
        let now = Now { monotonic_ns: now.as_nanos() as u64, us: now.as_micros() as u64 };
        load::take_in(&self.table, &LoadReport { endpoints: vec![report] }, now);
    }

    /// What is counted on its cells and not given back, and how often more was given back than taken.
    pub fn left(&self) -> Left {
        let cells = self.endpoints().iter().map(|endpoint| &endpoint.cell);
        cells.fold(Left::default(), |left, cell| {
            let counts = cell.counts_of_all_lives();
            Left {
                in_flight: left.in_flight + u64::from(counts.in_flight),
                tokens: left.tokens + counts.uncached + counts.prompt + counts.missed + counts.generated,
                underflows: left.underflows + cell.underflows_total(),
            }
        })
    }
}

/// What a gateway still counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Attempts.
    pub in_flight: u64,
    /// Tokens of all kinds.
    pub tokens: u64,
    /// Released without being taken.
    pub underflows: u64,
}

/// The name of the endpoint at this place, as reports have it.
pub fn endpoint_name(at: usize) -> String {
    format!("{BACKEND}/engine-{at}:8000")
}
