//! What a fleet consists of, server by server.
//!
//! Owns: the plan, its defaults, and what makes no sense in it.
//! Must not: start anything. Read next: `server.rs` (over sockets), `virtual_time.rs` (without).

use std::{io, net::SocketAddr, str::FromStr, time::Duration};

use crate::{
    bounds::{
        ADAPTERS_MAX, LORA_LOAD_DEFAULT, LORA_SLOTS_DEFAULT, LORA_SLOTS_MAX, MODEL_BYTES_MAX, REPLICAS_MAX,
        TIME_SCALE_RANGE, WAITING_MAX,
    },
    engine::EngineSpec,
    fault::{Fault, FaultKind, MetricsMode, Window},
    step::Preset,
};

/// A fleet of equal, healthy servers: the simple case of a [`Plan`].
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSpec {
    /// Hardware and model size of every engine.
    pub preset: Preset,
    /// The model name they serve; any other is answered 404.
    pub model: String,
    /// How many servers.
    pub replicas: usize,
    /// Where server 0 listens; server k listens on port + k. Port 0: a free port for each.
    pub listen: SocketAddr,
    /// All times are divided by this.
    pub time_scale: f64,
    /// Decides the ids of answers. Their text depends on the prompt only.
    pub seed: u64,
}

impl Default for FleetSpec {
    /// One H100 on a free loopback port, serving `demo` in real time.
    fn default() -> Self {
        Self {
            preset: Preset::H100,
            model: "demo".to_owned(),
            replicas: 1,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            time_scale: 1.0,
            seed: 1,
        }
    }
}

/// Any fleet: servers of different hardware and manners, adapters, faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The model name they serve.
    pub model: String,
    /// The adapters of it, each served as a model of its own name.
    pub adapters: Vec<String>,
    /// Where server 0 listens; server k listens on port + k. Port 0: a free port for each.
    pub listen: SocketAddr,
    /// All times are divided by this.
    pub time_scale: f64,
    /// Decides the ids of answers, noise, and which requests a fault hits.
    pub seed: u64,
    /// The servers, in order.
    pub units: Vec<Unit>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// One server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// Hardware and model size.
    pub preset: Preset,
    /// Tokens its cache holds, if not as many as the preset's.
    pub kv_tokens: Option<u32>,
    /// Whether prompts are looked up in the cache.
    pub prefix_cache: bool,
    /// Requests that may wait; one more is answered 503.
    pub queue_limit: usize,
    /// Sigma of the log-normal factor on each step; 0 for none.
    pub noise: f64,
    /// Steps take so many times as long.
    pub slow: f64,
    /// Adapters resident at the same time.
    pub lora_slots: usize,
    /// How much longer the step that loads an adapter is.
    pub lora_load: Duration,
    /// After so many generations, none goes on: no token comes any more, while `/health` stays 200.
    pub stuck_after: Option<u64>,
    /// After so many generations, the server is gone for good.
    pub crash_after: Option<u64>,
    /// When the head of a stream leaves.
    pub head: HeadAt,
    /// Whose names the metrics page uses.
    pub dialect: MetricsDialect,
    /// How the metrics page behaves.
    pub metrics: MetricsMode,
    /// Whether the metrics page has series that a careless reader falls for.
    pub metrics_traps: bool,
}

impl Unit {
    /// A healthy server with this hardware.
    pub const fn new(preset: Preset) -> Self {
        Self {
            preset,
            kv_tokens: None,
            prefix_cache: true,
            queue_limit: WAITING_MAX,
            noise: 0.0,
            slow: 1.0,
            lora_slots: LORA_SLOTS_DEFAULT,
            lora_load: LORA_LOAD_DEFAULT,
            stuck_after: None,
            crash_after: None,
            head: HeadAt::Early,
            dialect: MetricsDialect::Vllm,
            metrics: MetricsMode::On,
            metrics_traps: false,
        }
    }
}

/// When the head of a stream leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadAt {
    /// At admission, long before the first token, like the Python engines.
    #[default]
    Early,
    /// With the first token.
    Token,
}

/// Whose names a metrics page uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each is the engine of that name")]
pub enum MetricsDialect {
    #[default]
    Vllm,
    Sglang,
    Trtllm,
    Lmdeploy,
    Tgi,
    Llamacpp,
}

/// A name that stands for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not one of {known}")]
pub struct UnknownName {
    name: String,
    known: &'static str,
}

impl FromStr for HeadAt {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "early" => Ok(Self::Early),
            "token" => Ok(Self::Token),
            _ => Err(UnknownName { name: name.to_owned(), known: "early, token" }),
        }
    }
}

impl FromStr for MetricsDialect {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Ok(match name {
            "vllm" => Self::Vllm,
            "sglang" => Self::Sglang,
            "trtllm" => Self::Trtllm,
            "lmdeploy" => Self::Lmdeploy,
            "tgi" => Self::Tgi,
            "llamacpp" => Self::Llamacpp,
            _ => {
                let known = "vllm, sglang, trtllm, lmdeploy, tgi, llamacpp";
                return Err(UnknownName { name: name.to_owned(), known });
            }
        })
    }
}

impl From<FleetSpec> for Plan {
    fn from(spec: FleetSpec) -> Self {
        // One too many is as wrong as a billion, and cheaper to refuse.
        let units = vec![Unit::new(spec.preset); spec.replicas.min(REPLICAS_MAX + 1)];
        Self {
            model: spec.model,
            adapters: Vec::new(),
            listen: spec.listen,
            time_scale: spec.time_scale,
            seed: spec.seed,
            units,
            faults: Vec::new(),
        }
    }
}

impl Plan {
    /// Fails with `InvalidInput`, and says why, if no fleet can be like this.
    pub fn check(&self) -> io::Result<()> {
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let replicas = self.units.len();
        if replicas == 0 || replicas > REPLICAS_MAX {
            return wrong(format!("between 1 and {REPLICAS_MAX} replicas are possible"));
        }
        if self.listen.port() != 0 && usize::from(self.listen.port()) + replicas - 1 > usize::from(u16::MAX) {
            return wrong(format!("{replicas} ports from {} on do not exist", self.listen.port()));
        }
        if !TIME_SCALE_RANGE.contains(&self.time_scale) {
            return wrong(format!("a time scale of {} is out of range", self.time_scale));
        }
        if self.adapters.len() > ADAPTERS_MAX {
            return wrong(format!("at most {ADAPTERS_MAX} adapters are possible"));
        }
        for name in self.adapters.iter().chain([&self.model]) {
            if name.is_empty() || name.len() > MODEL_BYTES_MAX {
                return wrong(format!("a model name has 1 to {MODEL_BYTES_MAX} bytes"));
            }
        }
        if let Some(fault) = self.faults.iter().find(|fault| fault.replica.is_some_and(|k| k >= replicas)) {
            return wrong(format!("{fault:?} is for a replica that does not exist"));
        }
        self.units.iter().try_for_each(|unit| check_unit(unit).or_else(|what| wrong(what.to_owned())))
    }

    /// The engine of server `replica`, with the faults that are an engine's.
    pub fn engine(&self, replica: usize) -> EngineSpec {
        let unit = &self.units[replica];
        let mut model = unit.preset.model();
        model.kv_tokens = unit.kv_tokens.unwrap_or(model.kv_tokens);
        let mut spec = EngineSpec {
            model,
            time_scale: self.time_scale,
            prefix_cache: unit.prefix_cache,
            queue_limit: unit.queue_limit,
            noise: unit.noise,
            seed: self.seed.wrapping_add(replica as u64),
            lora_slots: unit.lora_slots,
            lora_load: unit.lora_load,
            stuck_after: unit.stuck_after,
            stalls: Vec::new(),
            slowdowns: Vec::new(),
        };
        if (unit.slow - 1.0).abs() > f64::EPSILON {
            spec.slowdowns.push((Window::ALWAYS, unit.slow));
        }
        for (kind, window) in self.faults_of(replica) {
            match kind {
                FaultKind::Stall => spec.stalls.push(window),
                FaultKind::Slow(factor) => spec.slowdowns.push((window, factor)),
                FaultKind::Crash | FaultKind::Errors(_) | FaultKind::Metrics(_) => {}
            }
        }
        spec
    }

    /// What goes wrong at server `replica`, on the clock of the fleet.
    pub fn faults_of(&self, replica: usize) -> impl Iterator<Item = (FaultKind, Window)> + '_ {
        let here = move |fault: &&Fault| fault.replica.is_none_or(|k| k == replica);
        self.faults.iter().filter(here).map(|fault| (fault.kind, fault.window.scaled(self.time_scale)))
    }
}

fn check_unit(unit: &Unit) -> Result<(), &'static str> {
    if unit.kv_tokens.is_some_and(|tokens| !(1_024..=1 << 26).contains(&tokens)) {
        return Err("a cache holds 1,024 to 67,108,864 tokens");
    }
    if !(0.0..=10.0).contains(&unit.noise) {
        return Err("noise lies between 0 and 10");
    }
    if !(0.001..=1e6).contains(&unit.slow) {
        return Err("a slowdown lies between 0.001 and 1,000,000");
    }
    if unit.lora_slots > LORA_SLOTS_MAX || unit.lora_load > Duration::from_hours(1) {
        return Err("at most 1,024 adapter slots, and an hour to load one, are possible");
    }
    Ok(())
}
