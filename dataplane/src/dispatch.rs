//! Binds an exchange to an endpoint, as late as possible: target, queue, endpoint, circuit.
//!
//! Owns: where the next attempt of one exchange goes, what it holds of it, and what each end tells of the endpoint.
//! Must not: send anything upstream, or decide whether a failed attempt may be repeated ([`crate::retry`]).
//! Read next: [`crate::admission`], where it may wait; [`crate::balance`], which chooses.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::admission::line::{Admission, No, Verdict, Waiter};
use crate::admission::open::{Need, Whose};
use crate::admission::promise::Mark;
use crate::admission::queue::{Class, Join, TenantId, Ticket, Want, Why};
use crate::admission::tenants::Account;
use crate::admission::wait::{Letters, beat};
use crate::attempt::Aim;
use crate::balance::{Pick, Tried};
use crate::bounds::{ATTEMPTS_MAX, BYTES_PER_TOKEN, GRANTS_MAX};
use crate::cells::Load;
use crate::cells::unary::Dispatched;
use crate::exchange::{Exchange, Stop};
use crate::fit::Unfit;
use crate::health::{Passive, Trial, to_readmit};
use crate::heartbeat;
use crate::intake::Intake;
use crate::outcome::{AttemptError, Blame, Outcome, Reason, Retry};
use crate::refusal::{Refusal, SOON_MS};
use crate::table::{Backend, Endpoint, Route};
use crate::trace::{self, Considered};
use crate::worker::Worker;

/// Where an exchange has been, and where it may still go.
pub struct Search<'t> {
    route: &'t Route,
    /// 0: the route's targets; then its fallbacks, one after another.
    stage: usize,
    tried: Tried,
    /// What the caller is told if there is nowhere left.
    pub last: Refusal,
    arrived_us: Option<u64>,
}

/// An endpoint for one attempt, and what was taken for it.
pub struct Bound<'t> {
    /// Where it goes.
    pub pick: Pick<'t>,
    /// Its place past admission: given back behind the last byte.
    pub permit: Permit<'t>,
    /// Its place in a half-open circuit.
    pub trial: Option<Trial<'t>>,
}

/// What is held for an attempt until its answer's last byte. Dropped in this order: whoever waits for the permit is to
/// see the lease gone.
pub struct Taken<'t> {
    /// Its load on its endpoint.
    pub held: Dispatched,
    /// Its place past admission.
    pub permit: Permit<'t>,
    /// Its place in a half-open circuit.
    pub trial: Option<Trial<'t>>,
    /// Where it went.
    pub pick: Pick<'t>,
}

impl<'t> Search<'t> {
    /// On this route, nothing tried yet.
    pub fn new(route: &'t Route) -> Self {
        Self { route, stage: 0, tried: Tried::none(), last: nowhere(route), arrived_us: None }
    }

    /// The endpoint of the next attempt. Waits in the queue of its backend if that is not open.
    ///
    /// # Errors
    /// Nothing takes the request, or the caller left while it waited.
    pub async fn next(&mut self, x: &mut Exchange<'_>, intake: Option<&Intake>) -> Result<Bound<'t>, Stop> {
        // Each turn but the last leaves a stage or adds an endpoint to those that were tried.
        for _ in 0..=(self.route.fallback.len() + ATTEMPTS_MAX) {
            let Some(pick) = x.pick(self.route, self.stage, &self.tried, intake) else {
                trace::choice(x, &self.considered(x.unfit, None), intake);
                if self.fall_back() {
                    continue;
                }
                break;
            };
            if !x.may_spend_attempt(self.route) {
                break;
            }
            let (pick, permit) = match self.admit(x, pick, intake).await {
                Ok(admitted) => admitted,
                Err(Stop::Refused(refusal)) => {
                    self.last = refusal;
                    if self.fall_back() {
                        continue;
                    }
                    break;
                }
                Err(stop) => return Err(stop),
            };
            trace::choice(x, &self.considered(x.unfit, Some(&pick)), intake);
            self.tried.add(pick.endpoint);
            let Ok(trial) = pick.endpoint.health.take() else { continue }; // another thread was faster
            return Ok(Bound { pick, permit, trial });
        }
        Err(Stop::Refused(self.last.clone()))
    }

    /// Whether there is another endpoint that could take it, now or after a wait.
    pub fn has_another(&self, x: &mut Exchange<'_>, intake: Option<&Intake>) -> bool {
        (self.stage..=self.route.fallback.len())
            .any(|stage| x.pick(self.route, stage, &self.tried, intake).is_some())
    }

    /// What was tried so far.
    pub fn tried(&self) -> Tried {
        self.tried
    }

    /// Notes what else was tried.
    pub fn set_tried(&mut self, tried: Tried) {
        self.tried = tried;
    }

    /// The route it is on.
    pub fn route(&self) -> &'t Route {
        self.route
    }

    fn considered<'c>(&'c self, unfit: Unfit, pick: Option<&'c Pick<'t>>) -> Considered<'c, 't> {
        Considered { route: self.route, stage: self.stage, tried: &self.tried, unfit, pick }
    }

    /// Goes on to the next fallback, if there is one.
    fn fall_back(&mut self) -> bool {
        let more = self.stage < self.route.fallback.len();
        self.stage += usize::from(more);
        more
    }

    async fn admit(
        &mut self,
        x: &mut Exchange<'_>,
        pick: Pick<'t>,
        intake: Option<&Intake>,
    ) -> Result<(Pick<'t>, Permit<'t>), Stop> {
        let backend = &pick.target.backend;
        let Some(admission) = &backend.admission else { return Ok((pick, Permit::none())) };
        let need = need(&pick, intake);
        if admission.is_open(&backend.endpoints, pick.at, need, x.worker.clock.now())
            && let Some(pick) = self.among_open(x, &pick, admission, (Whose::Anyone, need), intake)
        {
            let owner = (self.route.class, account(x, backend, intake).tenant);
            return Ok((pick, Permit::new(x.worker, backend, owner, None)));
        }
        Box::pin(self.queue(x, pick, admission, need, intake)).await // boxed: most never wait
    }

    /// Waits until the backend is open, and then chooses.
    async fn queue(
        &mut self,
        x: &mut Exchange<'_>,
        pick: Pick<'t>,
        admission: &'t Admission,
        need: Need,
        intake: Option<&Intake>,
    ) -> Result<(Pick<'t>, Permit<'t>), Stop> {
        let backend = &pick.target.backend;
        let now = x.worker.clock.now();
        if !Admission::has_endpoint(&backend.endpoints) {
            return Err(Stop::Refused(Refusal::NoEndpoint { retry_after_ms: SOON_MS }));
        }
        let arrived_us = *self.arrived_us.get_or_insert(now.us());
        let again = |whose| Join::Again { arrived_us, whose };
        let mut join = if x.record.attempts == 0 { Join::InTurn } else { again(Whose::Anyone) };
        let mark = intake.and_then(|intake| mark(x, intake));
        let Account { tenant, weight } = account(x, backend, intake);
        // Woken in vain (what was open is shut again, or was tried), it waits on in front.
        for _ in 0..GRANTS_MAX {
            let want = Want {
                tenant,
                weight,
                class: self.route.class,
                need,
                prefill_us: (1e6 * admission.pool().prefill_s(pick.at, need.miss as f32)) as u64,
                bytes: intake.map_or(0, Intake::held_bytes),
                wait_us_max: Some((self.route.timeouts.total_ms * 1_000).saturating_sub(x.elapsed_us())),
                mark,
            };
            let began_us = x.worker.clock.now_us();
            let waited = wait(x, backend, admission, join, want, intake).await;
            trace::waited(x, backend, began_us, &waited);
            let ticket = waited?;
            let owner = (self.route.class, tenant);
            let permit = Permit::new(x.worker, backend, owner, Some(ticket));
            if let Some(pick) = self.among_open(x, &pick, admission, (ticket.whose(), need), intake) {
                return Ok((pick, permit));
            }
            drop(permit);
            join = again(ticket.whose());
        }
        Err(Stop::Refused(Refusal::NoEndpoint { retry_after_ms: SOON_MS }))
    }

    /// The endpoint to go to now that the backend is open: any that is not far from open.
    fn among_open(
        &self,
        x: &mut Exchange<'_>,
        pick: &Pick<'t>,
        admission: &Admission,
        need: (Whose, Need),
        intake: Option<&Intake>,
    ) -> Option<Pick<'t>> {
        let endpoints = &pick.target.backend.endpoints;
        let now = x.worker.clock.now();
        let takes = |at: usize| admission.takes(endpoints, at, need, now);
        x.pick_near(self.route, pick.target, &self.tried, intake, &takes)
    }
}

/// Why no endpoint of the route may be chosen, before any was tried.
fn nowhere(route: &Route) -> Refusal {
    let named = route.targets.list.iter().filter(|target| !target.backend.awaits_token());
    let mut endpoints = named.flat_map(|target| &target.backend.endpoints);
    if endpoints.any(|endpoint| endpoint.addresses.is_empty() && !endpoint.is_drained()) {
        return Refusal::NameUnresolved;
    }
    Refusal::NoEndpoint { retry_after_ms: SOON_MS }
}

/// The tokens of a request: as the policy reckoned, else by the length of its body.
pub fn estimated(pick: &Pick<'_>, intake: Option<&Intake>) -> Load {
    if pick.target.backend.gpu.is_some() {
        return pick.load;
    }
    let tokens = intake.map_or(0, |intake| (intake.body_bytes() as f32 / BYTES_PER_TOKEN) as u64).max(1);
    Load { prompt: tokens, miss: tokens }
}

/// What it needs of a server that admission looks at.
pub fn need(pick: &Pick<'_>, intake: Option<&Intake>) -> Need {
    let load = estimated(pick, intake);
    Need { prompt: load.prompt as u32, miss: load.miss as u32 }
}

/// On whose account it waits here and is served.
pub fn account(x: &Exchange<'_>, backend: &Backend, intake: Option<&Intake>) -> Account {
    match (&backend.tenants, intake) {
        (Some(tenants), Some(intake)) => {
            tenants.account(x.scratch.head.find(intake.head(), tenants.header()))
        }
        (None, _) | (_, None) => Account::EVERYONE,
    }
}

/// What a request is known by if its caller is sent away and comes again: everything that makes it this one. None while
/// parts of its body are still to come.
fn mark(x: &Exchange<'_>, intake: &Intake) -> Option<Mark> {
    if !intake.is_complete() {
        return None;
    }
    Some(Mark(x.worker.shared.cells.prompt_key().whole(intake.pieces())))
}

/// A place past admission, held to the last byte. Dropping it lets the next one look.
#[must_use = "a permit dropped at once admits nobody"]
pub struct Permit<'t> {
    of: Option<(Rc<Worker>, &'t Backend)>,
    /// The place in the queue that it was granted from, until the attempt's load is counted.
    ticket: Option<Ticket>,
    /// For whom what it generates is booked.
    owner: (Class, TenantId),
    generated: u64,
    since_ms: u64,
}

impl<'t> Permit<'t> {
    fn none() -> Self {
        let owner = (Class::Default, TenantId::EVERYONE);
        Self { of: None, ticket: None, owner, generated: 0, since_ms: 0 }
    }

    fn new(
        worker: &Rc<Worker>,
        backend: &'t Backend,
        owner: (Class, TenantId),
        ticket: Option<Ticket>,
    ) -> Self {
        let since_ms = worker.clock.coarse_ms();
        Self { of: Some((Rc::clone(worker), backend)), ticket, owner, generated: 0, since_ms }
    }

    /// For an attempt beside one that was admitted.
    pub fn beside(worker: &Rc<Worker>, backend: &'t Backend, owner: (Class, TenantId)) -> Self {
        match &backend.admission {
            Some(_) => Self::new(worker, backend, owner, None),
            None => Self::none(),
        }
    }

    /// The attempt's load is counted: the place in the queue is free.
    pub fn land(&mut self) {
        if self.ticket.is_some() {
            self.give_back();
            self.kick();
        }
    }

    fn admission(&self) -> Option<&'t Admission> {
        self.of.as_ref()?.1.admission.as_ref()
    }

    fn give_back(&mut self) {
        let ticket = self.ticket.take();
        if let (Some(admission), Some(ticket)) = (self.admission(), ticket) {
            admission.leave(ticket);
        }
    }

    /// Notes tokens that were generated under it, for fairness between tenants.
    pub fn generated(&mut self, tokens: u64) {
        self.generated += tokens;
    }

    /// Something became free: whoever waits may go.
    fn kick(&self) {
        if let Some((worker, backend)) = &self.of {
            kick(worker, backend);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.give_back();
        if let (Some((worker, _)), Some(admission)) = (&self.of, self.admission()) {
            let stayed_ms = worker.clock.coarse_ms() - self.since_ms;
            let (class, tenant) = self.owner;
            admission.ended(class, tenant, self.generated, stayed_ms);
        }
        self.kick();
    }
}

/// Lets those go who wait for this backend, if anybody does.
pub fn kick(worker: &Worker, backend: &Backend) {
    if let Some(admission) = backend.admission.as_ref().filter(|it| it.is_backlogged()) {
        admission.serve(&backend.endpoints, worker.clock.now(), &Letters(worker));
    }
}

/// A place in a queue while it is waited in; given back whatever ends the wait.
struct Standing<'w> {
    worker: &'w Worker,
    waiter: Waiter,
    admission: &'w Admission,
    ticket: Option<Ticket>,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.worker.waits.leave(self.waiter);
        if let Some(ticket) = self.ticket.take() {
            self.admission.leave(ticket);
        }
    }
}

/// Waits in the queue; the ticket of the grant.
async fn wait(
    x: &mut Exchange<'_>,
    backend: &Arc<Backend>,
    admission: &Admission,
    join: Join,
    want: Want,
    intake: Option<&Intake>,
) -> Result<Ticket, Stop> {
    let worker = Rc::clone(x.worker);
    let began_us = worker.clock.now_us();
    let waiter = worker.waits.enter(worker.id, backend);
    let mut standing = Standing { worker: &worker, waiter, admission, ticket: None };
    let joined =
        admission.join(&backend.endpoints, (join, want, waiter), worker.clock.now(), &Letters(&worker));
    standing.ticket = Some(joined.map_err(|no| Stop::Refused(refusal(no)))?);
    beat(&worker);
    let verdict = verdict(x, waiter, intake).await;
    x.queued(worker.clock.now_us() - began_us);
    match verdict? {
        Verdict::Go => Ok(standing.ticket.take().expect("it stands in the queue")),
        Verdict::No(no) => Err(Stop::Refused(refusal(no))),
        Verdict::NoEndpoint => Err(Stop::Refused(Refusal::NoEndpoint { retry_after_ms: SOON_MS })),
        Verdict::Draining => Err(Stop::Refused(Refusal::Draining)),
    }
}

/// Waits for what the queue says; the caller may leave meanwhile.
async fn verdict(x: &mut Exchange<'_>, waiter: Waiter, intake: Option<&Intake>) -> Result<Verdict, Stop> {
    let worker = Rc::clone(x.worker);
    let watch = intake.is_none_or(Intake::is_complete); // else what it sends is body, and says nothing of leaving
    loop {
        let verdict = poll_fn(|cx| {
            if let Poll::Ready(verdict) = worker.waits.poll(waiter, cx) {
                return Poll::Ready(Ok(Some(verdict)));
            }
            if watch && x.down.poll_gone(&worker, cx).is_ready() {
                return Poll::Ready(Err(Stop::Gone(Reason::ClientGoneQueued)));
            }
            heartbeat::poll(&mut x.beat, worker.clock.coarse_ms(), cx).map(|()| Ok(None))
        })
        .await?;
        match verdict {
            Some(verdict) => return Ok(verdict),
            None => heartbeat::wait_on(x).await.map_err(Stop::Gone)?,
        }
    }
}

fn refusal(no: No) -> Refusal {
    Refusal::Crowded { why: no.why, retry_after_ms: no.retry_after_ms }
}

/// Notes how a request on an endpoint ended. If that opened its circuit and too many of the backend are open, the one
/// that has been open the longest is taken back.
pub fn note(worker: &Worker, backend: &Backend, endpoint: &Endpoint, outcome: Passive) {
    if endpoint.health.passive(worker.clock.coarse_ms(), outcome) {
        panic_mode(worker, backend);
    }
}

fn panic_mode(worker: &Worker, backend: &Backend) {
    let open = backend.endpoints.iter().map(|endpoint| endpoint.health.open_by_requests_since());
    if let Some(at) = to_readmit(open) {
        backend.endpoints[at].health.readmit(worker.clock.coarse_ms());
    }
}

/// Notes what a failed attempt tells of its endpoint.
pub fn note_failure(worker: &Worker, aim: Aim<'_>, error: &AttemptError) {
    if error.blame != Blame::Upstream {
        return;
    }
    let (health, now_ms) = (&aim.endpoint.health, worker.clock.coarse_ms());
    let opened = if error.reason == Reason::UpHeadTimeout {
        health.silent(now_ms)
    } else {
        health.passive(now_ms, Passive::Bad)
    };
    if opened {
        panic_mode(worker, aim.backend);
    }
}

/// Notes what the end of an answer tells of its endpoint; that it began was noted at its head.
pub fn note_end(worker: &Worker, aim: Aim<'_>, outcome: &Result<Outcome, Refusal>) {
    let broken = match outcome {
        Ok(Outcome::Aborted(reason)) => Some(*reason),
        Ok(Outcome::Complete | Outcome::Remarked(_)) => {
            return note(worker, aim.backend, aim.endpoint, Passive::Whole);
        }
        Ok(Outcome::Refused(_) | Outcome::Gone(_)) => None,
        Err(refusal) => Some(refusal.verdict().reason),
    };
    if let Some(reason) = broken
        && reason.blame() == Blame::Upstream
        // Some engines leave the last event out as a habit, and a deadline is the operator's.
        && !matches!(reason, Reason::Deadline | Reason::UpNoTerminal)
    {
        aim.endpoint.cell.count_failure();
        note(worker, aim.backend, aim.endpoint, Passive::Broken);
    }
}

/// Notes what the head of an answer tells of its endpoint, and says how it may be failed over from, if at all.
pub fn note_answer(
    x: &Exchange<'_>,
    aim: Aim<'_>,
    head: &[u8],
    held: &mut Dispatched,
) -> Option<AttemptError> {
    let answer = &x.scratch.answer;
    let status = answer.status();
    let (worker, health) = (x.worker, &aim.endpoint.health);
    let failed = status >= 500 && status != 501;
    note(worker, aim.backend, aim.endpoint, if failed { Passive::Bad } else { Passive::Good });
    if status != 429 && status != 502 && status != 503 && status != 504 {
        return None;
    }
    let now_ms = worker.clock.coarse_ms();
    let wait_ms = answer.find(head, "retry-after").and_then(retry_after_ms);
    match (status, wait_ms) {
        // It finishes what it has and goes: the wait that it names is the time it needs to come back.
        (503, Some(ms)) if !answer.keep_alive() => health.drain(now_ms, ms),
        (429 | 503, Some(ms)) => health.rest(now_ms, ms),
        (429, None) => health.rest(now_ms, SOON_MS),
        _ => {}
    }
    if status == 429 {
        // It is full, whatever our counts say: for a second they say so too.
        if let Some(share) = held.lease.split_prefill() {
            worker.prefills.leave_until(share, worker.clock.now().plus_us(SOON_MS * 1_000));
        }
    }
    let never = answer.find(head, "x-should-retry").is_some_and(|value| value.eq_ignore_ascii_case(b"false"));
    let retry = match status {
        _ if never => Retry::Never,
        429 | 503 => Retry::Declined,
        _ => Retry::Idempotent,
    };
    Some(AttemptError::new(Reason::UpStatus, retry))
}

/// What the caller is told if nobody else takes what an endpoint answered with this status.
pub fn declined(status: u16, head: Option<u64>) -> Refusal {
    let retry_after_ms = head.unwrap_or(SOON_MS);
    match status {
        429 => Refusal::Crowded { why: Why::Full, retry_after_ms },
        503 => Refusal::NoEndpoint { retry_after_ms },
        504 => Refusal::UpstreamHeadTimeout,
        _ => Refusal::BadAnswer { reason: Reason::UpStatus },
    }
}

/// A `retry-after` in seconds. Its other form, a date, is of a clock that nobody compared with ours.
pub fn retry_after_ms(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let digits = !text.is_empty() && text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse::<u64>().ok()).flatten().map(|seconds| seconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_in_seconds_and_a_date_is_none() {
        for (value, expected) in [
            (&b"7"[..], Some(7_000)),
            (b" 0 ", Some(0)),
            (b"-1", None),
            (b"", None),
            (b"1.5", None),
            (b"99999999999", None),
            (b"Sun, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(retry_after_ms(value), expected, "{value:?}");
        }
    }
}
