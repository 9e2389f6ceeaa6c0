//! How an exchange was routed, step by step, for those that ask and those that are drawn.
//!
//! Owns: whether an exchange is traced, what is noted of it, and how much at most.
//! Must not: choose anything, or cost an exchange that is not traced more than a branch.
//! Read next: `trace/lost.rs`, why the others lost; `trace/kept.rs`, where traces are read.

pub mod kept;
mod lost;

use ringway_contract::Generation;
use ringway_contract::trace::{Attempt, Choice, End, Queue, Step, Trace, Why};

use crate::attempt::{Aim, Failed};
use crate::balance::{Pick, Tried};
use crate::bounds::{TRACE_CANDIDATES_MAX, TRACE_STEPS_MAX};
use crate::exchange::{Exchange, Stop};
use crate::fit::Unfit;
use crate::intake::Intake;
use crate::observe::{Micros, Record};
use crate::table::{Backend, Route, Table};

/// What is noted of one exchange while it runs.
pub struct Trail {
    why: Why,
    generation: Generation,
    steps: Vec<Step>,
    left_out: u32,
    /// Candidates that may still be noted.
    room: usize,
}

/// What a choice was made among, and what came of it.
#[derive(Clone, Copy)]
pub struct Considered<'c, 't> {
    /// On this route.
    pub route: &'t Route,
    /// 0: its targets; else the fallback of this number.
    pub stage: usize,
    /// What had been tried before.
    pub tried: &'c Tried,
    /// Who has no answer to it.
    pub unfit: Unfit,
    /// Who was chosen; none: nobody could be.
    pub pick: Option<&'c Pick<'t>>,
}

/// Begins to note, if the route lets its callers ask for it and this one does, or if it is drawn.
pub fn begin(x: &Exchange<'_>, table: &Table, route: &Route, intake: Option<&Intake>) -> Option<Box<Trail>> {
    if !route.may_trace {
        return None;
    }
    let why = reason(x, route, intake)?;
    let generation = table.generation();
    Some(Box::new(Trail { why, generation, steps: Vec::new(), left_out: 0, room: TRACE_CANDIDATES_MAX }))
}

fn reason(x: &Exchange<'_>, route: &Route, intake: Option<&Intake>) -> Option<Why> {
    let asks = |intake: &Intake| x.scratch.head.find(intake.head(), "x-ringway-trace") == Some(b"1");
    if route.expose && intake.is_some_and(asks) {
        return Some(Why::Asked);
    }
    let drawn = route.sample_percent > 0 && x.worker.rng.borrow_mut().u32(..100) < route.sample_percent;
    drawn.then_some(Why::Sampled)
}

/// Notes a choice. Called before the load of what was chosen is counted: the terms are those it was made by.
pub fn choice(x: &mut Exchange<'_>, considered: &Considered<'_, '_>, intake: Option<&Intake>) {
    if let Some(mut trail) = x.trace.take() {
        note_choice(x, &mut trail, considered, intake);
        x.trace = Some(trail);
    }
}

#[cold]
fn note_choice(
    x: &mut Exchange<'_>,
    trail: &mut Trail,
    considered: &Considered<'_, '_>,
    intake: Option<&Intake>,
) {
    let need = considered.pick.map(|pick| crate::dispatch::need(pick, intake));
    let room = trail.room;
    let (endpoints, left_out) = x.wishing(considered.route, intake, None, |_, wish| {
        lost::candidates(considered, need.unwrap_or_default(), wish, room)
    });
    trail.room -= endpoints.len();
    trail.add(Step::Choice(Choice {
        at_ms: ms(x.elapsed_us()),
        stage: considered.stage as u32,
        chosen: considered.pick.map(|pick| pick.endpoint.name.as_str().to_owned()),
        endpoints,
        left_out: left_out as u32,
    }));
}

/// Notes a wait in the queue of a backend that began then.
pub fn waited<T>(x: &mut Exchange<'_>, backend: &Backend, began_us: u64, ended: &Result<T, Stop>) {
    let waited_us = x.worker.clock.now_us() - began_us;
    let at_us = x.elapsed_us() - waited_us;
    let Some(trail) = &mut x.trace else { return };
    trail.add(Step::Queue(Queue {
        at_ms: ms(at_us),
        backend: backend.name.as_str().to_owned(),
        waited_ms: ms(waited_us),
        refused: match ended {
            Ok(_) | Err(Stop::Told(_)) => None,
            Err(Stop::Refused(refusal)) => Some(refusal.verdict().reason.label().to_owned()),
            Err(Stop::Gone(reason)) => Some(reason.label().to_owned()),
        },
    }));
}

/// Notes an attempt that began then.
pub fn attempted<T>(x: &mut Exchange<'_>, aim: Aim<'_>, began_us: u64, ended: &Result<T, Failed>) {
    if x.trace.is_none() {
        return; // before the clock is asked
    }
    let took_us = x.worker.clock.now_us() - began_us;
    let at_us = x.elapsed_us() - took_us;
    let Exchange { trace: Some(trail), scratch, record, .. } = x else { return };
    trail.add(Step::Attempt(Attempt {
        at_ms: ms(at_us),
        endpoint: aim.endpoint.name.as_str().to_owned(),
        took_ms: ms(took_us),
        reused: record.reused,
        status: ended.is_ok().then(|| scratch.answer.status()),
        failed: match ended {
            Ok(_) => None,
            Err(Failed::Attempt(error)) => Some(error.reason.label().to_owned()),
            Err(Failed::Refused(refusal)) => Some(refusal.verdict().reason.label().to_owned()),
            Err(Failed::Gone(reason)) => Some(reason.label().to_owned()),
        },
    }));
}

/// Notes that an attempt that began then was given up because another was answered first.
pub fn outrun(x: &mut Exchange<'_>, aim: Aim<'_>, began_us: u64) {
    let took_us = x.worker.clock.now_us() - began_us;
    let at_us = x.elapsed_us() - took_us;
    let Some(trail) = &mut x.trace else { return };
    trail.add(Step::Attempt(Attempt {
        at_ms: ms(at_us),
        endpoint: aim.endpoint.name.as_str().to_owned(),
        took_ms: ms(took_us),
        reused: false,
        status: None,
        failed: None,
    }));
}

impl Trail {
    fn add(&mut self, step: Step) {
        if self.steps.len() < TRACE_STEPS_MAX {
            self.steps.push(step);
        } else {
            self.left_out += 1;
        }
    }

    /// The whole of it, now that the exchange is over.
    #[cold]
    pub fn end(self, record: &Record) -> Trace {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let span = |span: Micros| span.get().map(ms);
        Trace {
            request_id: text(record.request_id.as_bytes()),
            unix_ms: record.unix_ms,
            why: self.why,
            generation: self.generation,
            worker: record.worker.into(),
            route: record.route.to_owned(),
            method: text(record.method.as_bytes()),
            path: text(record.path.as_bytes()),
            model: named(&text(record.model.as_bytes())),
            steps: self.steps,
            steps_left_out: self.left_out,
            end: End {
                status: record.status,
                outcome: record.outcome.to_owned(),
                reason: named(record.reason),
                attempts: record.attempts.into(),
                queued_ms: span(record.queued),
                first_byte_ms: span(record.first_byte),
                first_token_ms: span(record.first_token),
                own_ms: span(record.own),
                total_ms: span(record.total).unwrap_or_default(),
            },
        }
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}
