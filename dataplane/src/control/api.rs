//! What the control socket and the admin address answer.
//!
//! Owns: the paths of both, and the shape of each answer.
//! Must not: decide anything about a change; [`super::pipeline`] does.
//! Read next: [`super::pipeline`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ringway_contract::stats::Drain;
use ringway_contract::trace::Traces;
use ringway_contract::{Generation, problem::Problems};

use super::bounds::{BODY_BYTES_MAX, RENDER_PAUSE, SNAPSHOT_BYTES_MAX};
use super::events::{Event, Events, Subscription};
use super::http::{Answer, Broken, Budget, Connection, Head};
use super::pipeline::{Condition, Pipeline, Refused};
use super::plane::Plane;
use super::secret;
use crate::bounds::TRACES_KEPT_MAX;
use crate::observe::exposition::{self, Page};
use crate::observe::{AccessLog, event_log};

/// Everything that answers.
pub struct Api {
    /// The workers.
    pub plane: Arc<dyn Plane>,
    /// The way of changes.
    pub pipeline: Pipeline,
    /// The access log.
    pub log: Arc<AccessLog>,
    /// Connections open now, on both surfaces.
    pub connections: AtomicUsize,
    events: Arc<Events>,
    budget: Budget,
    page: Mutex<Option<Rendered>>,
}

/// A page of metrics and when its rendering began.
struct Rendered {
    began: Instant,
    text: String,
}

/// An answer, or a stream of them.
pub enum Reply {
    /// One, whole.
    Whole(Answer),
    /// Events without end.
    Events(Subscription),
}

impl Api {
    /// Answers for `plane`.
    pub fn new(plane: Arc<dyn Plane>, pipeline: Pipeline, events: Arc<Events>, log: Arc<AccessLog>) -> Self {
        let (connections, budget) = (AtomicUsize::new(0), Budget::default());
        Self { plane, pipeline, log, connections, events, budget, page: Mutex::new(None) }
    }

    /// Answers one request on the admin address: health and metrics.
    pub fn admin(&self, head: &Head) -> Answer {
        if head.has_body() {
            return Answer::error(400, "a body has no meaning here");
        }
        match head.path.as_str() {
            "/healthz" | "/livez" | "/readyz" | "/metrics" => match head.method.as_str() {
                "GET" | "HEAD" => self.open(head),
                _ => not_allowed("GET, HEAD"),
            },
            _ => Answer::error(404, "here are /healthz, /livez, /readyz and /metrics"),
        }
    }

    /// Answers one request on the control socket; `who` asks.
    pub fn control(&self, head: &Head, from: &mut Connection, who: &str) -> Result<Reply, Broken> {
        let answer = match (head.path.as_str(), head.method.as_str()) {
            ("/healthz" | "/livez" | "/readyz" | "/metrics", _) => self.admin(head),
            ("/v1/snapshot", "GET" | "HEAD") => self.snapshot(head),
            ("/v1/snapshot", "PUT") => self.put_snapshot(head, from, who)?,
            ("/v1/stats", "GET" | "HEAD") => Answer::json(200, &self.plane.stats()),
            ("/v1/traces", "GET" | "HEAD") => self.traces(head),
            ("/v1/events", "GET") => return self.subscribe(),
            ("/v1/load", "POST") => self.load(head, from)?,
            ("/v1/explain", "POST") => self.explain(head, from)?,
            ("/v1/drain", "POST") => self.drain(head, from, who)?,
            ("/v1/snapshot", _) => not_allowed("GET, HEAD, PUT"),
            ("/v1/stats" | "/v1/traces", _) => not_allowed("GET, HEAD"),
            ("/v1/events", _) => not_allowed("GET"),
            ("/v1/load" | "/v1/explain" | "/v1/drain", _) => not_allowed("POST"),
            _ => Answer::error(404, "there is no such path on the control socket"),
        };
        Ok(Reply::Whole(answer))
    }

    /// What both surfaces answer, without calling anything but this process.
    fn open(&self, head: &Head) -> Answer {
        match head.path.as_str() {
            "/readyz" => match self.plane.ready() {
                Ok(()) => Answer::text(200, "ready\n"),
                Err(why) => Answer::text(503, format!("not ready: {why}\n")),
            },
            "/metrics" => Answer::text(200, self.metrics()).typed(exposition::CONTENT_TYPE),
            _ => Answer::text(200, "ok\n"),
        }
    }

    fn snapshot(&self, head: &Head) -> Answer {
        let Some(running) = self.plane.running() else {
            return Answer::error(404, "no snapshot runs yet: PUT one");
        };
        let tag = tag(running.generation);
        if head.field("if-none-match") == Some(&tag) {
            return Answer::text(304, "").with("etag", tag);
        }
        Answer::json(200, &secret::redacted(&running)).with("etag", tag)
    }

    fn put_snapshot(&self, head: &Head, from: &mut Connection, who: &str) -> Result<Answer, Broken> {
        let condition = match head.field("if-match") {
            Some(field) => Condition::parse(field),
            None if head.has("if-match") => None,
            None => Some(Condition::Unconditional),
        };
        let Some(condition) = condition else {
            return Ok(Answer::error(400, "If-Match must be a generation in quotes, or *"));
        };
        let document = from.body(head, SNAPSHOT_BYTES_MAX, &self.budget)?;
        Ok(match self.pipeline.put(&document, &condition, who) {
            Ok(applied) => Answer::json(200, &applied).with("etag", tag(applied.generation)),
            Err(Refused::Wrong(problems)) => Answer::json(422, &Problems { problems }),
            Err(refused @ Refused::Stale { running, .. }) => {
                Answer::error(409, refused.to_string()).with("etag", tag(running))
            }
            Err(refused @ Refused::NotTaken(_)) => Answer::error(503, refused.to_string()),
        })
    }

    fn explain(&self, head: &Head, from: &mut Connection) -> Result<Answer, Broken> {
        let body = from.body(head, BODY_BYTES_MAX, &self.budget)?;
        Ok(match serde_json::from_slice(&body) {
            Ok(question) => Answer::json(200, &self.plane.explain(&question)),
            Err(error) => Answer::error(400, format!("the question cannot be read: {error}")),
        })
    }

    /// `request=ID` and `last=N` narrow it down.
    fn traces(&self, head: &Head) -> Answer {
        let (mut request, mut count) = (None, TRACES_KEPT_MAX);
        for (name, value) in head.parameters() {
            match (name, value.parse()) {
                ("request", _) => request = Some(value),
                ("last", Ok(last)) => count = last,
                ("last", Err(_)) => return Answer::error(400, "`last` is how many: a whole number"),
                _ => return Answer::error(400, format!("`{name}` is not known; `request` and `last` are")),
            }
        }
        Answer::json(200, &Traces { traces: self.plane.traces(request, count) })
    }

    fn load(&self, head: &Head, from: &mut Connection) -> Result<Answer, Broken> {
        let body = from.body(head, BODY_BYTES_MAX, &self.budget)?;
        Ok(match serde_json::from_slice(&body) {
            Ok(report) => Answer::json(200, &self.plane.load(&report)),
            Err(error) => Answer::error(400, format!("the load report cannot be read: {error}")),
        })
    }

    /// Without a body: the whole process.
    fn drain(&self, head: &Head, from: &mut Connection, who: &str) -> Result<Answer, Broken> {
        let body = from.body(head, BODY_BYTES_MAX, &self.budget)?;
        let asked = if body.is_empty() { Ok(Drain::default()) } else { serde_json::from_slice(&body) };
        Ok(match asked {
            Err(error) => Answer::error(400, format!("the request cannot be read: {error}")),
            Ok(drain) if drain.undo && drain.endpoint.is_none() => {
                Answer::error(400, "the drain of the process cannot be undone; name an endpoint")
            }
            Ok(drain) => match self.pipeline.drain(&drain, who) {
                Ok(()) => Answer::json(200, &drain),
                Err(why) => Answer::error(404, why),
            },
        })
    }

    fn subscribe(&self) -> Result<Reply, Broken> {
        match self.events.subscribe() {
            Ok(Some(subscription)) => Ok(Reply::Events(subscription)),
            Ok(None) => Err(Answer::error(503, "too many subscribers").into()),
            Err(error) => Err(Answer::error(503, format!("cannot subscribe: {error}")).into()),
        }
    }

    /// What a new subscriber is told first: it need not ask, and cannot miss a change between asking and subscribing.
    pub fn first_event(&self) -> Option<Event> {
        self.plane.running().map(|running| Event::Generation(running.generation))
    }

    /// The page of metrics. However many ask, one rendering runs at a time, they begin at least [`RENDER_PAUSE`]
    /// apart, and nobody gets a page that is older than the question (CP-23).
    fn metrics(&self) -> String {
        let asked = Instant::now();
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rendered) = &*page {
            if rendered.began >= asked {
                return rendered.text.clone();
            }
            std::thread::sleep(RENDER_PAUSE.saturating_sub(rendered.began.elapsed()));
        }
        let began = Instant::now();
        let text = self.render();
        *page = Some(Rendered { began, text: text.clone() });
        text
    }

    fn render(&self) -> String {
        let mut text = String::with_capacity(32 * 1_024);
        self.plane.render_metrics(&mut text);
        let mut page = Page::new(&mut text);
        let running = self.plane.running().map_or(Generation::NONE, |running| running.generation);
        let mut gauge = |name, help, value| {
            page.gauge(name, help).sample(&[], value);
        };
        gauge("ringway_config_generation", "Generation of the running snapshot; 0: none.", running.get());
        let subscribers = self.events.count();
        let connected = u64::from(subscribers > 0);
        gauge(
            "ringway_control_connected",
            "1 while a control plane follows the events of this process.",
            connected,
        );
        gauge("ringway_event_subscribers", "Subscribers of events.", subscribers as u64);
        let connections = self.connections.load(Ordering::Relaxed) as u64;
        gauge(
            "ringway_control_connections",
            "Connections on the control socket and the admin address.",
            connections,
        );
        if let Some(age) = self.pipeline.age() {
            page.gauge("ringway_config_age_seconds", "Since the running snapshot was applied.")
                .sample(&[], age);
        }
        let counts = self.pipeline.counts();
        let mut counter = |name, help, value| {
            page.counter(name, help).sample(&[], value);
        };
        counter("ringway_config_applied_total", "Snapshots applied.", counts.applied());
        counter("ringway_config_refused_total", "Snapshots refused.", counts.refused());
        let help = "Snapshots that run and could not be stored: an alarm.";
        counter("ringway_config_store_failures_total", help, counts.not_stored());
        counter("ringway_access_log_lines_total", "Lines of the access log written.", self.log.written());
        let help = "Lines of the access log dropped because its writer was behind.";
        counter("ringway_access_log_dropped_total", help, self.log.dropped());
        let help = "Lines of the access log that could not be written: an alarm.";
        counter("ringway_access_log_lost_total", help, self.log.lost());
        let help = "Lines on standard error dropped because nobody read them.";
        counter("ringway_event_log_dropped_total", help, event_log::dropped());
        text
    }
}

fn tag(generation: Generation) -> String {
    format!("\"{generation}\"")
}

fn not_allowed(methods: &str) -> Answer {
    Answer::error(405, format!("this path knows {methods}")).with("allow", methods)
}
