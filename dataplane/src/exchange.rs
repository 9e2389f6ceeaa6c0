//! One exchange: a request and all that is done to answer it, in the order it happens.
//!
//! Owns: the sequence, the record of what happened, and the answers that are our own.
//! Must not: hold a detail of any step. Read [`handle`]; each step is in the room it is called from.
//! Read next: `intake.rs` (the request), `attempt.rs` (one try), `relay.rs` (the answer).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringway_contract::snapshot::{Dialect, Listener};
use ringway_dialect::dialect;
use ringway_dialect::surface::{Grammar, front_of, path_model, surface};
use ringway_wire::http1::{Known, Method, RequestHead, Scheme, Version, sane_request_id, write_chunk_head};
use ringway_wire::json;

use crate::attempt::{Aim, Answer, Failed, attempt, verdict_on};
use crate::balance::gpu::Gpu;
use crate::balance::score::Reports;
use crate::balance::{self, Pick, Tried, Wish};
use crate::bounds::{MODEL_BYTES_MAX, PROMPT_BODY_BYTES_MAX};
use crate::cells::Lease;
use crate::cells::unary::Dispatched;
use crate::coding::Coding;
use crate::deadline::Wait;
use crate::dispatch::{self, Bound, Search, Taken};
use crate::downstream::Downstream;
use crate::fit::{self, Demand, Unfit};
use crate::heartbeat::{self, Beat};
use crate::hedge;
use crate::intake::{Cut, Intake, Pumped};
use crate::observe::{Counter, Micros, Record, Slots};
use crate::outcome::{AttemptError, Blame, Outcome, Reason, Retry};
use crate::refusal::Refusal;
use crate::relay;
use crate::reply;
use crate::retry::{Standing, is_idempotent, may_retry};
use crate::ring::Buffer;
use crate::session;
use crate::settle;
use crate::table::{Ask, ModelSeen, Route, Table, Target, Verdict};
use crate::trace::{self, Trail};
use crate::translate::{self, Speaks, Translation};
use crate::worker::{Live, Scratch, Worker};

/// What becomes of the caller's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It may ask again.
    KeepAlive,
    /// We have said our last; it may still be taking it.
    Linger,
    /// It goes at once.
    Close,
    /// It goes at once, and in a way that cannot be taken for a clean end.
    Reset,
}

/// One exchange while it runs.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one exchange, not a state")]
pub struct Exchange<'a> {
    /// Who serves it.
    pub worker: &'a Rc<Worker>,
    /// Whom it is for.
    pub down: &'a mut Downstream,
    /// Heads, buffers and observers at hand.
    pub scratch: &'a mut Scratch,
    /// What happened so far. It stays where it is: most of it is room for names, and is neither moved nor cleared.
    pub record: &'a mut Record,
    /// The caller's connection may serve again.
    pub keep_alive: bool,
    /// The caller said that this is its last request.
    pub caller_closes: bool,
    /// The caller is a proxy whose word on forwarding is believed.
    pub trusted: bool,
    /// Bytes of the body are still to come: they must never be taken for a request (H1-FR-09).
    pub unread: bool,
    /// The connection must end in a reset.
    pub reset: bool,
    /// What the caller speaks.
    pub speaks: Speaks,
    /// The request in the words of the backend at hand, if that speaks another dialect.
    pub translation: Option<Box<Translation>>,
    /// Destinations of its route that cannot do what it asks for.
    pub unfit: Unfit,
    /// What the backend of a translated answer calls the exchange.
    pub upstream_id: Option<Box<str>>,
    /// Its body came compressed and goes on without.
    pub decoded: bool,
    /// Usage was asked for in the caller's name: it is not to see it.
    pub hides_usage: bool,
    own_id: [u8; 32],
    grammar: Grammar,
    failed: Option<Reason>,
    failed_unsent: bool,
    upstream_us: u64,
    caller_us: u64,
    queue_us: u64,
    /// The retry budget was spent: whoever is told of the failure is not to try again either.
    pub retries_spent: bool,
    route: Option<u32>,
    /// How it is routed, where that is kept.
    pub trace: Option<Box<Trail>>,
    /// Watches for silence, where the route wants that.
    pub beat: Option<Box<Beat>>,
}

/// What clients hear that only ask whether anybody is there.
const PROBED: &[u8] = br#"{"status":"ok"}"#;

/// Why an exchange ends before an endpoint's answer is passed on.
pub enum Stop {
    /// The caller is told why it gets none.
    Refused(Refusal),
    /// The caller is told something of our own, in JSON.
    Told(Box<[u8]>),
    /// The caller left.
    Gone(Reason),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Runs one exchange, writes what is ours to say, and accounts for the outcome. The buffer begins with the request's head;
/// it is lent and not given, since each future on the way to where it is taken would keep room for it.
pub async fn run(
    worker: &Rc<Worker>,
    down: &mut Downstream,
    scratch: &mut Scratch,
    record: &mut Record,
    buffer: &mut Option<Buffer>,
) -> After {
    let mut x = Exchange::begin(worker, down, scratch, record, buffer.as_ref().map_or(&[], Buffer::bytes));
    let table = worker.table();
    let outcome = match handle(&mut x, &table, buffer).await {
        Ok(outcome) => outcome,
        Err(Stop::Gone(reason)) => Outcome::Gone(reason),
        // Boxed: what is seldom should not make all larger.
        Err(Stop::Refused(refusal)) => Box::pin(x.refuse(&refusal)).await,
        Err(Stop::Told(json)) => Box::pin(x.answer_json(&json)).await,
    };
    x.account(outcome)
}

/// Answers a head that could not be parsed, and closes: nothing behind it can be trusted (H1-CO, section 0).
pub async fn refuse_head(
    worker: &Rc<Worker>,
    down: &mut Downstream,
    scratch: &mut Scratch,
    record: &mut Record,
    (refusal, buffer): (Refusal, &Buffer),
) -> After {
    let mut x = Exchange::begin_unparsed(worker, down, scratch, record, buffer.bytes());
    let outcome = x.refuse(&refusal).await;
    x.account(outcome)
}

/// The way of a request: to an answer, of which the caller sees nothing yet, and then all of it to the caller; after its
/// first byte nothing is tried again.
async fn handle(x: &mut Exchange<'_>, table: &Table, buffer: &mut Option<Buffer>) -> Result<Outcome, Stop> {
    let won = first_answer(x, table, buffer).await?;
    pass_on(x, won).await
}

/// An answer that goes to the caller, and what is held for it to its last byte.
struct Won<'t> {
    taken: Taken<'t>,
    admitted: Live,
    aim: Aim<'t>,
    answer: Answer,
}

/// Passes an answer on, in the caller's words.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold `won` twice, as in `relay::live`")]
fn pass_on<'x, 'e>(
    x: &'x mut Exchange<'e>,
    mut won: Won<'x>,
) -> impl Future<Output = Result<Outcome, Stop>> + use<'x, 'e> {
    async move {
        let _ = &won; // held as one, and so dropped in its order if the exchange is given up
        let outcome = if x.needs_words() || heartbeat::is_stranded(x) {
            Box::pin(translate::live(x, won.aim, won.answer, &mut won.taken.held)).await
        } else {
            Ok(relay::live(x, won.aim, won.answer, &mut won.taken.held).await)
        };
        won.taken.permit.generated(won.taken.held.lease.generated());
        dispatch::note_end(x.worker, won.aim, &outcome);
        x.learn(&won.taken.pick);
        x.settle(won.aim);
        drop((won.taken, won.admitted));
        Ok(outcome?)
    }
}

/// The way to an answer. All that only this takes, the request itself first of all, is let go with it: a stream may last.
async fn first_answer<'t>(
    x: &mut Exchange<'_>,
    table: &'t Table,
    buffer: &mut Option<Buffer>,
) -> Result<Won<'t>, Stop> {
    let mut intake = Some(x.begin_intake(table, buffer)?);
    let route = find_route(x, table, &mut intake).await?;
    let admitted = x.worker.admit().ok_or(Refusal::TooManyConnections)?;
    x.begin_route(route);
    x.scratch.claim = session::of(x, route, intake.as_ref());
    x.trace = trace::begin(x, table, route, intake.as_ref());
    x.read_first(route, intake.as_mut()).await?;
    x.beat = heartbeat::begin(x, route, intake.as_ref());
    x.unfit = x.judge(route, intake.as_ref())?;
    let mut search = Search::new(route);
    loop {
        let Bound { pick, mut permit, trial } = search.next(x, intake.as_ref()).await?;
        let aim = x.aim(route, &pick, intake.as_ref());
        x.translate(aim, intake.as_mut()).await?;
        let held = x.dispatch(route, &pick, intake.as_ref());
        permit.land();
        let mut taken = Taken { held, permit, trial, pick };
        let mut bet = hedge::bet(x, &search, (aim, &taken.pick), intake.as_ref());
        let ended = attempt(x, aim, &mut intake, &mut bet).await;
        let aim = hedge::settle(bet, &mut search, &mut taken, aim);
        match ended {
            Ok(answer) => match x.weigh(aim, &answer, &search, intake.as_ref(), &mut taken.held)? {
                Some(declined) => search.last = declined,
                None => return Ok(Won { taken, admitted, aim, answer }),
            },
            Err(Failed::Attempt(error)) => {
                search.last = x.note_failure(aim, error, intake.is_some(), &taken.held)?;
            }
            Err(Failed::Refused(refusal)) => return Err(refusal.into()),
            Err(Failed::Gone(reason)) => return Err(Stop::Gone(reason)),
        }
    }
}

/// Asks the table, reading as much of the body as its answer depends on.
async fn find_route<'t>(
    x: &mut Exchange<'_>,
    table: &'t Table,
    intake: &mut Option<Intake>,
) -> Result<&'t Route, Stop> {
    let held = intake.as_mut().expect("nothing was sent yet");
    if held.is_complete() {
        held.give_ahead(x.worker, x.down);
    }
    let mut read = false;
    let route = loop {
        match x.ask(table, held, read) {
            Verdict::Route(route) if x.wants_model(route) && !read && held.has_body() => {}
            Verdict::Route(route) => break route,
            Verdict::ReadModel => {}
            Verdict::Models => return Err(x.list_models(table, held)),
            Verdict::Probe => return Err(Stop::Told(PROBED.into())),
            // A base URL that was joined carelessly.
            Verdict::Refused(Refusal::NoRoute) if x.straighten(held) => continue,
            Verdict::Refused(refusal) => return Err(refusal.into()),
        }
        read = true;
        if held.has_body() {
            x.invite(held).await?;
            if x.has_coded_body(held) {
                Box::pin(x.decode(table, held)).await?;
            }
            let began_us = x.worker.clock.now_us();
            let read = held.read_model(x.worker, x.down.read_side()).await;
            x.caller_us += x.worker.clock.now_us() - began_us;
            read?;
            x.unread = !held.is_complete();
        }
    };
    if !route.raw {
        x.straighten(held);
    }
    x.route = Some(route.order);
    x.record.route = route.name.as_str();
    if held.is_complete() {
        x.record.bytes_in += held.payload_bytes(); // else whoever pumps the rest counts it all
    }
    if let Some(model) = x.named_model(held) {
        x.record.model.set(&model);
    }
    Ok(route)
}

impl From<Cut> for Stop {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Refused(refusal) => Self::Refused(refusal),
            Cut::Gone => Self::Gone(Reason::ClientGoneBody),
        }
    }
}

impl<'a> Exchange<'a> {
    fn begin(
        worker: &'a Rc<Worker>,
        down: &'a mut Downstream,
        scratch: &'a mut Scratch,
        record: &'a mut Record,
        buf: &[u8],
    ) -> Self {
        let mut x = Self::blank(worker, down, scratch, record, Grammar::Plain);
        let head = &x.scratch.head;
        let has = |name: &str| head.find(buf, name).is_some();
        let target = head.target().of(buf);
        let surface = surface(target);
        x.grammar = Grammar::of_surface(surface, target, has);
        x.speaks = Speaks::of(target, surface, head.method() == Method::Post);
        x.keep_alive = head.keep_alive();
        x.caller_closes = !x.keep_alive;
        x.record.method.set(head.method_bytes(buf));
        x.record.host.set(head.host().of(buf));
        x.record.path.set_path(target);
        x.record.bytes_in = head.len() as u64;
        x.record.client = client_of(head, buf, &x.down.listener, x.down.peer);
        if let Some(id) = head.find_known(buf, Known::XRequestId).filter(|id| sane_request_id(id)) {
            x.record.request_id.set(id);
        }
        x
    }

    /// An exchange about a head that is no request: it is answered as well as can be, and nothing follows.
    fn begin_unparsed(
        worker: &'a Rc<Worker>,
        down: &'a mut Downstream,
        scratch: &'a mut Scratch,
        record: &'a mut Record,
        garbage: &[u8],
    ) -> Self {
        let x = Self::blank(worker, down, scratch, record, Grammar::of(garbage_target(garbage), |_| false));
        x.record.bytes_in = garbage.len() as u64;
        x
    }

    /// An exchange about whose request nothing is known yet.
    fn blank(
        worker: &'a Rc<Worker>,
        down: &'a mut Downstream,
        scratch: &'a mut Scratch,
        record: &'a mut Record,
        grammar: Grammar,
    ) -> Self {
        let own_id = new_id(&mut worker.rng.borrow_mut());
        record.begin(worker.clock.unix_ms_at(down.head_began_us), worker.id, down.peer);
        record.request_id.set(&own_id);
        let trusted = is_trusted(&down.listener, down.peer.ip());
        let _ = down.deadline.elapsed(); // of the last exchange
        Self {
            worker,
            down,
            scratch,
            record,
            keep_alive: false,
            caller_closes: false,
            trusted,
            unread: false,
            reset: false,
            speaks: Speaks::Anything,
            translation: None,
            unfit: Unfit::default(),
            upstream_id: None,
            decoded: false,
            hides_usage: false,
            own_id,
            grammar,
            failed: None,
            failed_unsent: false,
            upstream_us: 0,
            caller_us: 0,
            queue_us: 0,
            retries_spent: false,
            route: None,
            trace: None,
            beat: None,
        }
    }

    fn begin_intake(&mut self, table: &Table, buffer: &mut Option<Buffer>) -> Result<Intake, Refusal> {
        let buffer = buffer.take().expect("a head was read");
        let scheme = if self.down.listener.tls.is_some() { Scheme::Https } else { Scheme::Http };
        self.scratch.head.check_scheme(scheme).map_err(|fault| Refusal::of_fault(fault, 0))?;
        let body_max = table.limits().request_body.get();
        let intake = Intake::begin(self.worker, buffer, &self.scratch.head, body_max)?;
        self.unread = !intake.is_complete();
        Ok(intake)
    }

    fn begin_route(&mut self, route: &Route) {
        let now_ms = self.worker.clock.coarse_ms();
        self.worker.retries.borrow_mut().count_request(now_ms);
        self.down.deadline.begin_total(now_ms, route.timeouts.total_ms);
    }

    fn ask<'t>(&self, table: &'t Table, intake: &Intake, read: bool) -> Verdict<'t> {
        let (head, buf) = (&self.scratch.head, intake.head());
        let model = match intake.model() {
            Some(ref model) => ModelSeen::Is(model.value.as_bytes()),
            None if read || !intake.has_body() => ModelSeen::Absent,
            None => ModelSeen::Unread,
        };
        table.route(&Ask {
            method: head.method_bytes(buf),
            host: head.host().of(buf),
            path: head.target().of(buf),
            header: &|name| head.find(buf, name),
            client: self.record.client.ip(),
            model,
        })
    }

    /// Reads of the body what has to be known before an endpoint is chosen.
    async fn read_first(&mut self, route: &Route, intake: Option<&mut Intake>) -> Result<(), Stop> {
        let Some(intake) = intake else { return Ok(()) };
        self.invite(intake).await?;
        let needed = self.needed_first(route, &self.asked_model(Some(intake)));
        if needed > 0 && !intake.is_complete() {
            Box::pin(self.read_rest(intake, needed)).await?;
        }
        if let Some(key) = &route.prompt_key {
            let prompt = self.scratch.prompt.get_or_insert_default();
            prompt.clear();
            for piece in intake.pieces() {
                prompt.feed(key, piece);
            }
        }
        Ok(())
    }

    /// Whether the route leads to backends of the caller's dialect and of others.
    fn is_mixed(&self, route: &Route) -> bool {
        self.speaks.is_mixed(route.destinations().map(|target| target.backend.dialect))
    }

    /// Whether its stream is to tell usage whatever its caller says.
    fn forces_usage(&self, route: &Route) -> bool {
        route.force_usage && self.speaks == Speaks::Calls(dialect::Dialect::OpenAiChat)
    }

    /// How much of the body: all of one that may bring home state of another provider, or ask for what some model cannot do;
    /// all of one that may wait for a backend of another dialect, for once it may go it has to, for those behind it; and all of
    /// a prompt that an endpoint is chosen by, unless it is very long.
    fn needed_first(&self, route: &Route, model: &[u8]) -> u64 {
        let foreign = |target: &Target| {
            let worded =
                self.speaks.is_foreign_to(target.backend.dialect) || target.backend.hosting.is_some();
            target.backend.admission.is_some() && worded
        };
        match route.prompt_key {
            _ if route.queues && route.destinations().any(foreign) => u64::MAX,
            _ if self.is_mixed(route)
                || fit::is_choosy(self.speaks, route, model)
                || self.forces_usage(route) =>
            {
                u64::MAX
            }
            Some(_) => PROMPT_BODY_BYTES_MAX,
            // Whether it wants a stream must be known before it is told that one has begun; and what is sent twice is held.
            None if route.pulse.is_some_and(|pulse| pulse.commit_after_ms.is_some()) => PROMPT_BODY_BYTES_MAX,
            None if route.hedge.is_some() => PROMPT_BODY_BYTES_MAX,
            None => 0,
        }
    }

    /// Which destinations are passed over, for they have no answer to it.
    fn judge(&self, route: &Route, intake: Option<&Intake>) -> Result<Unfit, Refusal> {
        let body = || {
            let intake = intake.filter(|intake| !self.has_coded_body(intake))?;
            Some(intake.pieces().collect::<Vec<_>>().concat())
        };
        Demand::new(self.speaks, &self.asked_model(intake), route, body).judge(route)
    }

    /// Reads on until the body is held whole, or so much of it.
    pub async fn read_rest(&mut self, intake: &mut Intake, bytes_max: u64) -> Result<(), Stop> {
        if intake.is_complete() {
            return Ok(());
        }
        let began_us = self.worker.clock.now_us();
        let read = intake.read_up_to(self.worker, self.down.read_side(), bytes_max).await;
        self.caller_us += self.worker.clock.now_us() - began_us;
        read?;
        self.unread = !intake.is_complete();
        if intake.is_complete() {
            self.record.bytes_in += intake.payload_bytes(); // else whoever pumps the rest counts it all
        }
        Ok(())
    }

    /// Puts the request into the words of a backend that speaks another dialect; nothing to do for all others.
    async fn translate(&mut self, aim: Aim<'_>, intake: Option<&mut Intake>) -> Result<(), Stop> {
        self.translation = None;
        let foreign = self.speaks.is_foreign_to(aim.backend.dialect);
        let (mixed, forces_usage) = (self.is_mixed(aim.route), self.forces_usage(aim.route));
        let hosted = aim.backend.hosting.is_some() && self.speaks.verb(false).is_some();
        if !foreign && !mixed && !forces_usage && !hosted {
            return Ok(());
        }
        let intake = intake.expect("a body that was pumped is not tried again");
        if foreign {
            return Box::pin(translate::prepare(self, aim, intake)).await;
        }
        if mixed {
            translate::come_home(self, intake)?;
        }
        if forces_usage {
            translate::ask_usage(self, intake)?;
        }
        if hosted {
            return Box::pin(translate::prepare_hosted(self, aim, intake)).await;
        }
        Ok(())
    }

    /// Whether the answer has to be put into words of the caller's.
    fn needs_words(&self) -> bool {
        self.translation.as_ref().is_some_and(|it| !it.is_native())
    }

    /// The id of this exchange that nobody else has.
    pub fn own_id(&self) -> &[u8] {
        &self.own_id
    }

    /// An endpoint of the route's targets, or at a later stage of its fallbacks.
    pub fn pick<'t>(
        &mut self,
        route: &'t Route,
        stage: usize,
        tried: &Tried,
        intake: Option<&Intake>,
    ) -> Option<Pick<'t>> {
        if stage > 0 && self.unfit.has_fallback(stage - 1) {
            return None;
        }
        if !route.wishes && stage == 0 && self.unfit.targets() == 0 {
            return balance::pick(route, tried, &mut self.worker.rng.borrow_mut());
        }
        self.wishing(route, intake, None, |rng, wish| match stage {
            0 => balance::pick_for(route, tried, rng, wish),
            later => balance::pick_of(&route.fallback[later - 1], tried, rng, wish),
        })
    }

    /// An endpoint of this target that `near` lets be chosen.
    pub fn pick_near<'t>(
        &mut self,
        route: &'t Route,
        target: &'t Target,
        tried: &Tried,
        intake: Option<&Intake>,
        near: &dyn Fn(usize) -> bool,
    ) -> Option<Pick<'t>> {
        self.wishing(route, intake, Some(near), |rng, wish| balance::pick_of(target, tried, rng, wish))
    }

    /// Chooses with what a policy may look at in the request.
    pub fn wishing<T>(
        &mut self,
        route: &Route,
        intake: Option<&Intake>,
        near: Option<&dyn Fn(usize) -> bool>,
        choose: impl FnOnce(&mut fastrand::Rng, &mut Wish<'_>) -> T,
    ) -> T {
        let Self { scratch, worker, unfit, speaks, .. } = self;
        let Scratch { head, prompt, claim, .. } = &mut **scratch;
        let model = intake.and_then(Intake::model);
        let in_path = intake.filter(|_| model.is_none() && speaks.is_geminis());
        let in_path = in_path.and_then(|intake| path_model(head.target().of(intake.head())));
        let mut wish = Wish {
            prompt: prompt.as_deref_mut().filter(|_| route.prompt_key.is_some()),
            key: route.prompt_key.as_deref(),
            model: match (&model, &in_path) {
                (Some(model), _) => model.value.as_bytes(),
                (None, in_path) => in_path.as_deref().unwrap_or_default(),
            },
            globs: &route.conditions.models,
            session: *claim,
            path: intake.map_or(b"", |intake| head.target().of(intake.head())),
            now: worker.clock.now(),
            near,
            unfit: unfit.targets(),
        };
        choose(&mut worker.rng.borrow_mut(), &mut wish)
    }

    /// Counts the attempt on its endpoint, before anything else is chosen.
    pub fn dispatch(&mut self, route: &Route, pick: &Pick<'_>, intake: Option<&Intake>) -> Dispatched {
        let backend = &pick.target.backend;
        let counts = backend.gpu.is_some() || backend.admission.is_some();
        let load = if counts { dispatch::estimated(pick, intake) } else { pick.load };
        let mut lease = Lease::dispatch(&pick.endpoint.cell, load);
        let Some(pool) = backend.pool() else { return Dispatched { lease, watched: None } };
        if let (Some(gpu), Some(prompt)) = (&backend.gpu, &self.scratch.prompt) {
            gpu.dispatched(pick.at, prompt);
        }
        if let Some(gpu) = backend.gpu.as_ref().filter(|gpu| gpu.adapters().is_some()) {
            self.note_adapter(gpu, route, pick, intake);
        }
        let streams = intake.and_then(Intake::scanner).and_then(json::Scanner::stream) == Some(true);
        let share = if streams { None } else { lease.split_prefill() };
        let watched = share.map(|share| {
            let now = self.worker.clock.now();
            let waits_s = pool.pressure(pick.at, Reports::LeftOut, now).uncached_s; // its own is in it
            self.worker.prefills.watch(share, now.plus_us((2e6 * waits_s) as u64))
        });
        Dispatched { lease, watched }
    }

    /// The endpoint will have the adapter that it is asked for.
    #[inline(never)]
    fn note_adapter(&self, gpu: &Gpu, route: &Route, pick: &Pick<'_>, intake: Option<&Intake>) {
        let (asked, mut room) = (self.asked_model(intake), [0; MODEL_BYTES_MAX]);
        let there = pick.target.model_written(&asked, &route.conditions.models, &mut room);
        gpu.sent(pick.at, there.unwrap_or_default(), self.worker.clock.now());
    }

    /// What the endpoint counted teaches how long prompts are.
    fn learn(&self, pick: &Pick<'_>) {
        let backend = &pick.target.backend;
        let (Some(gpu), Some(prompt)) = (&backend.gpu, &self.scratch.prompt) else { return };
        let (Some(input), cached) = (self.record.tokens_in, self.record.tokens_cached) else { return };
        let apart = backend.dialect == Dialect::AnthropicMessages;
        gpu.learn(prompt, pick.at, pick.load, input + cached.filter(|_| apart).unwrap_or(0), cached);
    }

    /// Takes off what stands in front of a model path: `/openai`, or a `/v1` too many. Whether there was something.
    fn straighten(&mut self, intake: &Intake) -> bool {
        let front = front_of(self.scratch.head.target().of(intake.head()));
        self.scratch.head.skip_front(front);
        front > 0
    }

    /// Whether the model has to be known on this route: to match, to be replaced, or because something is known of it.
    fn wants_model(&self, route: &Route) -> bool {
        route.reads_body
            || (route.catalogue.is_some() && self.speaks.is_metered())
            || (route.hosted && self.speaks.verb(false).is_some())
    }

    /// The model that this request names, by its body or else its path.
    fn named_model<'i>(&self, intake: &'i Intake) -> Option<Cow<'i, [u8]>> {
        match intake.model() {
            Some(model) => Some(Cow::Borrowed(model.value.as_bytes())),
            None if self.speaks.is_geminis() => path_model(self.scratch.head.target().of(intake.head())),
            None => None,
        }
    }

    /// The model that is asked for, in full: the record keeps as much of a name as a log line has room for.
    fn asked_model<'i>(&'i self, intake: Option<&'i Intake>) -> Cow<'i, [u8]> {
        let whole = intake.filter(|_| self.record.model.is_cut()).and_then(|intake| self.named_model(intake));
        whole.unwrap_or(Cow::Borrowed(self.record.model.as_bytes()))
    }

    /// Completes the books of a call: what nobody counted, and what it cost.
    fn settle(&mut self, aim: Aim<'_>) {
        if self.speaks.is_metered() && !aim.route.raw {
            let prompt_bytes = self.record.bytes_in.saturating_sub(self.scratch.head.len() as u64);
            settle::settle(self.record, prompt_bytes, aim.backend.dialect, aim.known);
        }
    }

    fn aim<'t>(&mut self, route: &'t Route, pick: &Pick<'t>, intake: Option<&Intake>) -> Aim<'t> {
        self.record.attempts += 1;
        self.record.backend = pick.target.backend.name.as_str();
        self.record.endpoint = pick.endpoint.name.as_str();
        self.worker.shard.count(Counter::Attempts);
        Aim {
            route,
            backend: &pick.target.backend,
            endpoint: pick.endpoint,
            target: pick.target,
            known: fit::known(route, pick.target, &self.asked_model(intake)),
        }
    }

    /// True if the request may be repeated without asking its author.
    pub fn is_idempotent(&self, route: &Route) -> bool {
        route.idempotent || is_idempotent(self.record.method.as_bytes())
    }

    /// Whether another attempt may follow this failure, leaving aside whether there is an endpoint for it.
    fn may_try_again(&mut self, error: AttemptError, route: &Route, replayable: bool) -> bool {
        let standing = Standing {
            idempotent: self.is_idempotent(route),
            uncommitted: true,
            replayable,
            attempts: u32::from(self.record.attempts),
            attempts_max: route.attempts_max,
            in_time: true, // the total deadline refuses by itself
        };
        self.failed_unsent = error.retry == Retry::Safe;
        self.failed = Some(error.reason);
        may_retry(&error, &standing)
    }

    /// Whether what an endpoint declined goes to another one. Asked for before its answer is let go: if nobody else may
    /// have it, the answer is passed on as it is.
    fn may_fail_over(&mut self, error: AttemptError, search: &Search<'_>, intake: Option<&Intake>) -> bool {
        let route = search.route();
        if !self.may_try_again(error, route, intake.is_some()) || !search.has_another(self, intake) {
            self.failed = None; // the answer goes to the caller, and with it what happened
            return false;
        }
        if !self.may_spend_retry(route) {
            self.failed = None;
            self.retries_spent = true;
            return false;
        }
        self.failed_unsent = true; // paid for
        true
    }

    /// Whether this answer is passed on. If it goes to another endpoint instead: what the caller is told should nobody
    /// take it.
    fn weigh(
        &mut self,
        aim: Aim<'_>,
        answer: &Answer,
        search: &Search<'_>,
        intake: Option<&Intake>,
        held: &mut Dispatched,
    ) -> Result<Option<Refusal>, Refusal> {
        if self.credential_refused(aim) {
            self.unfit.add(aim.route, aim.backend); // all its endpoints are sent the same
            let error = AttemptError::new(Reason::UpAuth, Retry::Declined);
            let elsewhere = self.may_fail_over(error, search, intake);
            return if elsewhere { Ok(Some(Refusal::UpstreamAuth)) } else { Err(Refusal::UpstreamAuth) };
        }
        let head = answer.buffer.bytes();
        match dispatch::note_answer(self, aim, head, held) {
            Some(error) if self.may_fail_over(error, search, intake) => {
                let wait = self.scratch.answer.find(head, "retry-after").and_then(dispatch::retry_after_ms);
                Ok(Some(dispatch::declined(self.scratch.answer.status(), wait)))
            }
            _ => Ok(None),
        }
    }

    /// Books a failed attempt; an error if it is the exchange's last.
    fn note_failure(
        &mut self,
        aim: Aim<'_>,
        error: AttemptError,
        replayable: bool,
        held: &Dispatched,
    ) -> Result<Refusal, Refusal> {
        if error.blame == Blame::Upstream {
            held.lease.cell().count_failure();
        }
        dispatch::note_failure(self.worker, aim, &error);
        let told = Refusal::from(error);
        if self.may_try_again(error, aim.route, replayable) { Ok(told) } else { Err(told) }
    }

    /// Notes how long it waited in a queue.
    pub fn queued(&mut self, us: u64) {
        self.queue_us += us;
        self.record.queued = Micros::new(self.queue_us);
    }

    /// Takes what a further attempt costs from the retry budget. One that follows an attempt of which nothing reached
    /// a server is free: the budget is there to keep retries from multiplying load.
    pub fn may_spend_attempt(&mut self, route: &Route) -> bool {
        let Some(reason) = self.failed.take() else { return true };
        if !self.failed_unsent && !self.may_spend_retry(route) {
            return false;
        }
        // The failure is not the exchange's last word, so nobody else will count it.
        self.worker.count_reason(reason);
        self.worker.shard.count(Counter::Retries);
        true
    }

    /// Takes a retry from the budget; one that it does not have is counted.
    fn may_spend_retry(&self, route: &Route) -> bool {
        let now_ms = self.worker.clock.coarse_ms();
        let taken = self.worker.retries.borrow_mut().take(now_ms, route.retry_percent);
        if !taken {
            self.worker.shard.count(Counter::RetriesRefused);
        }
        taken
    }

    /// The endpoint refused our own credential: that is not the caller's doing, and none of its business (UF-36).
    fn credential_refused(&self, aim: Aim<'_>) -> bool {
        aim.backend.is_ours() && matches!(self.scratch.answer.status(), 401 | 403)
    }

    /// Whether the body is compressed.
    pub fn has_coded_body(&self, intake: &Intake) -> bool {
        let coded = |value: &[u8]| !self.decoded && !value.eq_ignore_ascii_case(b"identity");
        let buf = intake.head();
        let fields = self.scratch.head.fields();
        fields.iter().any(|field| field.known == Known::ContentEncoding && coded(field.value.of(buf)))
    }

    /// Undoes the coding of a body that must be read; upstream it goes without.
    async fn decode(&mut self, table: &Table, intake: &mut Intake) -> Result<(), Stop> {
        let coding = self.scratch.head.find(intake.head(), "content-encoding").and_then(Coding::of);
        let coding = coding.ok_or(Refusal::EncodedBody)?;
        self.read_rest(intake, u64::MAX).await?;
        let coded: Vec<u8> = intake.pieces().collect::<Vec<_>>().concat();
        let body = coding.undo(&coded, table.limits().request_body.get())?;
        intake.replace_coded(self.worker, &body)?;
        self.decoded = true;
        Ok(())
    }

    fn list_models(&self, table: &Table, intake: &Intake) -> Stop {
        let buf = intake.head();
        let head = &self.scratch.head;
        let listed = table.models_answer(&Ask {
            method: head.method_bytes(buf),
            host: head.host().of(buf),
            path: head.target().of(buf),
            header: &|name| head.find(buf, name),
            client: self.record.client.ip(),
            model: ModelSeen::Absent,
        });
        listed.map_or_else(Stop::Refused, |json| Stop::Told(json.into()))
    }

    /// Says 100 Continue if the caller waits for it before it sends its body (H1-CO-07).
    async fn invite(&mut self, intake: &Intake) -> Result<(), Stop> {
        let waits = self.scratch.head.expect_continue() && !intake.is_complete() && !intake.has_begun();
        if !waits || self.scratch.invited {
            return Ok(());
        }
        self.scratch.invited = true;
        self.scratch.out.clear();
        self.scratch.out.bytes.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        Box::pin(self.send_own()).await.map_err(Stop::Gone)
    }

    /// Starts the wait for the answer's head.
    pub fn wait_for_first_byte(&self, route: &Route) {
        self.down.deadline.wait(Wait::FirstByte, self.worker.clock.coarse_ms(), route.timeouts.first_byte_ms);
    }

    /// Takes the receiving side back from a pump that ended; says whether the whole body went up.
    pub fn settle_pump(&mut self, pumped: Pumped) -> Result<bool, Failed> {
        self.record.bytes_in += pumped.payload_bytes;
        self.down.read = Some(pumped.read);
        let whole = verdict_on(pumped.end);
        self.unread = !matches!(whole, Ok(true));
        whole
    }

    /// Microseconds since the head was read.
    pub fn elapsed_us(&self) -> u64 {
        self.worker.clock.now_us() - self.down.head_began_us
    }

    /// Notes how long the upstream took, for what is our own.
    pub fn upstream_took(&mut self, us: u64) {
        self.upstream_us += us;
    }

    /// The `server-timing` value: where the time to the first byte went.
    pub fn server_timing(&self, first_byte_us: u64) -> String {
        let own_us = first_byte_us.saturating_sub(self.upstream_us + self.caller_us + self.queue_us);
        let ms = |us: u64| us as f64 / 1_000.0;
        let (queue, upstream, own) = (ms(self.queue_us), ms(self.upstream_us), ms(own_us));
        format!("queue;dur={queue:.3}, upstream;dur={upstream:.3}, own;dur={own:.3}")
    }

    /// An answer that went out whole: what is there to remark?
    pub fn end_of_answer(&mut self, excess: bool, sent_whole: bool) -> Outcome {
        let stream_end = self.scratch.observer.finish(self.record);
        let remark = if excess {
            Some(Reason::UpExcess)
        } else if !sent_whole {
            Some(Reason::UpEarlyFinal)
        } else if self.record.status == 429 || self.record.status >= 500 {
            Some(Reason::UpStatus)
        } else {
            stream_end
        };
        remark.map_or(Outcome::Complete, Outcome::Remarked)
    }

    /// An answer that broke off.
    pub fn broken_answer(&mut self, reason: Reason) -> Outcome {
        let _ = self.scratch.observer.finish(self.record);
        match reason.blame() {
            Blame::Client => Outcome::Gone(reason),
            Blame::Upstream | Blame::Gateway | Blame::Config => Outcome::Aborted(reason),
        }
    }

    /// Writes the refusal as the error event of a stream, in a coded chunk behind `between`.
    pub fn write_error_chunk(&mut self, refusal: &Refusal, dialect: Dialect, between: &[u8]) {
        let mut event = vec![b'\n']; // ends a line, or an event, that was left open
        reply::event(&mut event, refusal, dialect == Dialect::OpenaiResponses, &self.to(true));
        let out = &mut self.scratch.out;
        out.clear();
        out.bytes.extend_from_slice(between);
        write_chunk_head(&mut out.bytes, event.len());
        out.bytes.extend_from_slice(&event);
        out.bytes.extend_from_slice(b"\r\n");
    }

    async fn refuse(&mut self, refusal: &Refusal) -> Outcome {
        let reason = refusal.verdict().reason;
        self.record.rule = refusal.rule().unwrap_or(self.record.rule);
        if heartbeat::is_committed(self) {
            return heartbeat::refuse(self, refusal).await;
        }
        self.reply(|out, to| reply::refusal(out, refusal, to), Outcome::Refused(reason)).await
    }

    async fn answer_json(&mut self, body: &[u8]) -> Outcome {
        self.reply(|out, to| reply::json(out, body, to), Outcome::Complete).await
    }

    /// Writes and sends an answer of our own; `said` is the outcome if it arrives.
    pub async fn reply(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>, &reply::To<'_>) -> reply::Written,
        said: Outcome,
    ) -> Outcome {
        let close = !self.keep_alive || self.unread || self.down.read.is_none() || self.worker.is_draining();
        let mut out = std::mem::take(&mut self.scratch.out.bytes);
        out.clear();
        let written = write(&mut out, &self.to(close));
        self.scratch.out.clear();
        self.scratch.out.bytes = out;
        self.record.status = written.status;
        self.keep_alive = !written.close;
        match self.send_own().await {
            Ok(()) => said,
            Err(gone) => Outcome::Gone(gone),
        }
    }

    /// Whom an answer of our own is for.
    pub fn to(&self, close: bool) -> reply::To<'_> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        reply::To {
            grammar: self.grammar,
            request_id: text(self.record.request_id.as_bytes()),
            ringway_id: text(&self.own_id),
            date: self.worker.clock.date(),
            head: self.scratch.head.method() == Method::Head,
            http10: self.scratch.head.version() == Version::Http10,
            close,
            retries_spent: self.retries_spent || self.record.attempts > 1,
        }
    }

    /// Sends what is in the send buffer, all of it our own words.
    pub async fn send_own(&mut self) -> Result<(), Reason> {
        let stall_ms = self.down.listener.timeouts.write_stall_ms.get();
        self.down.deadline.wait(Wait::Write, self.worker.clock.coarse_ms(), stall_ms);
        let whole = self.scratch.out.len();
        let sent = self.down.socket.send_out(&mut self.scratch.out).await;
        self.record.bytes_out += (whole - self.scratch.out.len()) as u64;
        let elapsed = self.down.deadline.elapsed();
        self.down.deadline.rest();
        if self.record.first_byte == Micros::NONE {
            self.record.first_byte = Micros::new(self.elapsed_us());
        }
        match (sent, elapsed) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(_)) => Err(Reason::ClientWriteStall),
            (Err(_), None) => Err(Reason::ClientGoneWait),
        }
    }

    /// Books the exchange: counters, log line, and what becomes of the connection.
    fn account(mut self, outcome: Outcome) -> After {
        self.down.deadline.rest();
        self.down.deadline.end_total();
        self.down.deadline.set_upstream(None);
        self.worker.take_back(&mut self.scratch.out);
        self.scratch.invited = false;
        if self.record.total == Micros::NONE {
            self.record.total = Micros::new(self.elapsed_us());
        }
        if let Some(first_byte_us) = self.record.first_byte.get() {
            let others_us = self.upstream_us + self.caller_us + self.queue_us;
            self.record.own = Micros::new(first_byte_us.saturating_sub(others_us));
        }
        self.record.outcome = outcome.label();
        self.record.reason = outcome.reason().map_or("", Reason::label);
        let slots = Slots {
            route: self.worker.route_id(self.route),
            reason: outcome.reason().map(|reason| reason as usize),
            rule: self.worker.shared.rule_index(self.record.rule),
        };
        self.worker.shard.exchange(self.record, slots);
        self.worker.log.push(self.record);
        if let Some(trail) = self.trace.take() {
            self.worker.shared.traces.put(trail.end(self.record));
        }
        match outcome {
            Outcome::Aborted(_) | Outcome::Gone(_) if self.reset => After::Reset,
            Outcome::Aborted(_) | Outcome::Gone(_) => After::Close,
            Outcome::Complete | Outcome::Remarked(_) | Outcome::Refused(_) => {
                let whole = !self.unread && self.down.read.is_some();
                match (whole, self.keep_alive, self.caller_closes) {
                    (true, true, _) => After::KeepAlive,
                    // It asked us to close and sent nothing behind: a plain close cannot reset what it has not read.
                    (true, false, true) if self.down.read_side().ahead.is_none() => After::Close,
                    _ => After::Linger,
                }
            }
        }
    }
}

fn is_trusted(listener: &Listener, peer: IpAddr) -> bool {
    listener.trusted_proxies.iter().any(|net| net.contains(&peer))
}

/// Whom the request is from: the peer, or behind trusted proxies the last address that is not one of them.
fn client_of(head: &RequestHead, buf: &[u8], listener: &Listener, peer: SocketAddr) -> SocketAddr {
    if !is_trusted(listener, peer.ip()) {
        return peer;
    }
    let fields = head.fields().iter().filter(|field| field.known == Known::XForwardedFor);
    let hops = fields.rev().flat_map(|field| field.value.of(buf).rsplit(|&byte| byte == b','));
    for hop in hops {
        let Some(ip) = std::str::from_utf8(hop).ok().and_then(|hop| hop.trim().parse().ok()) else { break };
        if !is_trusted(listener, ip) {
            return SocketAddr::new(ip, 0); // nobody tells the port
        }
    }
    peer
}

/// The target of a request line that may be anything, to guess the caller's grammar from.
fn garbage_target(garbage: &[u8]) -> &[u8] {
    garbage.split(|&byte| byte == b' ' || byte == b'\r' || byte == b'\n').nth(1).unwrap_or_default()
}

/// An id of our own for an exchange: 128 random bits in hex.
pub fn new_id(rng: &mut fastrand::Rng) -> [u8; 32] {
    let [first, second, third, fourth] = std::array::from_fn(|_| hex(rng.u32(..)));
    let mut id = [0; 32];
    for (room, digits) in id.as_chunks_mut::<8>().0.iter_mut().zip([first, second, third, fourth]) {
        *room = digits;
    }
    id
}

/// Eight hexadecimal digits, made side by side in one word: an id is written for every exchange.
fn hex(bits: u32) -> [u8; 8] {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let halves = (u64::from(bits) | u64::from(bits) << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes | bytes << 4) & (ONES * 0x0f);
    let above_nine = (nibbles + ONES * 6) >> 4 & ONES;
    (nibbles + ONES * u64::from(b'0') + above_nine * u64::from(b'a' - b'9' - 1)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_byte_becomes_its_digit() {
        assert_eq!((&hex(0x7654_3210), &hex(0xfedc_ba98)), (b"01234567", b"89abcdef"));
    }
}
