//! What a run is made of: engines, gateways, policy, admission, reports.
//!
//! Owns: the plan of the simulated fleet and the snapshot of the gateway in front of it, from one description.
//! Must not: run anything.
//! Read next: [`super::gateway`] and [`super::drive`], which are made from it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringway_contract::Millis;
use ringway_contract::snapshot::{self, Balance, FORMAT, Snapshot};
use ringway_gpusim::bounds::LORA_SLOTS_DEFAULT;
use ringway_gpusim::fault::Fault;
use ringway_gpusim::step::StepLoad;
use ringway_gpusim::{Plan, Preset, Unit};
use serde_json::json;

/// One backend and what stands in front of it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The engines.
    pub engines: Vec<Preset>,
    /// Engines that the gateways know of and that take nothing: they only make the pool larger.
    pub drained: usize,
    /// How the gateways choose.
    pub balance: Balance,
    /// The queue in front of the backend.
    pub admission: Option<snapshot::Admission>,
    /// Gateway processes that share the engines, each with cells and an index of its own.
    pub gateways: usize,
    /// How many of them each reckons with.
    pub reckoned: u32,
    /// Time between a choice and its lease: another thread may choose meanwhile.
    pub commits_after: Duration,
    /// What the engines say of themselves, and when it is heard.
    pub reports: Reporting,
    /// Refused callers come back once, when they are told to.
    pub obedient: bool,
    /// Requests may be repeated although they are POSTs (`idempotent` of the route).
    pub repeatable: bool,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// LoRA adapters that the engines may be asked for.
    pub adapters: u16,
    /// Where they are costs nothing: the weights are zero.
    pub blind_to_adapters: bool,
    /// Everything that is drawn.
    pub seed: u64,
}

/// How reports come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// Nothing is read.
    Never,
    /// Each engine once in this time, heard so much later.
    Every {
        /// Between two of one engine's.
        period: Duration,
        /// From being true to being heard.
        late: Duration,
    },
}

impl Reporting {
    /// Once a second; the push may take up to 50 ms.
    pub const USUAL: Self = Self::Every { period: Duration::from_secs(1), late: Duration::from_millis(50) };
}

impl Setup {
    /// So many engines of these kinds, one gateway, no admission.
    pub fn new(engines: &[(Preset, usize)], balance: Balance, seed: u64) -> Self {
        let each = engines.iter().flat_map(|(preset, count)| std::iter::repeat_n(*preset, *count));
        Self {
            engines: each.collect(),
            drained: 0,
            balance,
            admission: None,
            gateways: 1,
            reckoned: 1,
            commits_after: Duration::ZERO,
            reports: Reporting::USUAL,
            obedient: false,
            repeatable: false,
            faults: Vec::new(),
            adapters: 0,
            blind_to_adapters: false,
            seed,
        }
    }

    /// The simulated fleet.
    pub fn plan(&self) -> Plan {
        Plan {
            model: MODEL.to_owned(),
            adapters: self.adapter_names(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            time_scale: 1.0,
            seed: self.seed,
            units: self.engines.iter().map(|preset| Unit::new(*preset)).collect(),
            faults: self.faults.clone(),
        }
    }

    /// What the adapters are called.
    pub fn adapter_names(&self) -> Vec<String> {
        (0..self.adapters).map(|number| format!("adapter-{number}")).collect()
    }

    /// What each gateway runs.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot: Snapshot = serde_json::from_value(json!({
            "format": FORMAT,
            "generation": 1,
            "listeners": [{"address": "127.0.0.1:8080"}],
            "backends": [{"name": BACKEND, "engine": "vllm", "dialect": "openai-chat", "endpoints": []}],
            "routes": [{"name": "all", "match": {"path_prefix": "/"}, "targets": [{"backend": BACKEND}]}],
        }))
        .expect("the format of this version");
        let backend = &mut snapshot.backends[0];
        backend.endpoints = (0..self.engines.len() + self.drained).map(|at| self.endpoint(at)).collect();
        backend.balance = self.balance;
        backend.score.gateways = self.reckoned;
        backend.admission = self.admission;
        if self.adapters > 0 {
            let slots = Some(LORA_SLOTS_DEFAULT as u32);
            backend.lora = Some(snapshot::Lora { adapters: self.adapter_names(), slots });
        }
        if self.blind_to_adapters {
            (backend.score.adapter_load_ms, backend.score.adapter_evict_ms) =
                (Millis::new(0), Millis::new(0));
        }
        snapshot.routes[0].idempotent = self.repeatable;
        snapshot
    }

    fn endpoint(&self, at: usize) -> snapshot::Endpoint {
        let preset = self.engines.get(at).copied().unwrap_or_default();
        serde_json::from_value(json!({
            "authority": format!("engine-{at}:8000"),
            "addresses": ["127.0.0.1:8000"],
            "drained": at >= self.engines.len(),
            "hardware": {
                "prefill_tokens_per_s": prefill_tokens_per_s(preset) as u64,
                "kv_tokens": preset.model().kv_tokens,
            },
        }))
        .expect("the format of this version")
    }

    /// Seconds until the first token of a prompt on the fastest of the engines, were it alone and its cache empty.
    pub fn cold_ttft_s(&self, prompt: u32) -> f64 {
        self.engines.iter().map(|preset| cold_ttft_s(*preset, prompt)).fold(f64::INFINITY, f64::min)
    }
}

/// The name of the backend.
pub const BACKEND: &str = "fleet";
/// The model that everybody asks for.
pub const MODEL: &str = "sim";

/// Tokens of one step of an engine.
const STEP_TOKENS: u32 = 8_192;

fn cold_ttft_s(preset: Preset, prompt: u32) -> f64 {
    let chunks = (0..prompt).step_by(STEP_TOKENS as usize).map(|done| {
        let mut load = StepLoad::default();
        load.chunk((prompt - done).min(STEP_TOKENS), done);
        preset.model().duration_ms(&load)
    });
    chunks.sum::<f64>() / 1e3
}

/// The prefill rate that the gateway is told (routing section 1, R).
pub fn prefill_tokens_per_s(preset: Preset) -> f64 {
    f64::from(STEP_TOKENS) / cold_ttft_s(preset, STEP_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_of_the_presets_are_those_of_the_specification() {
        let rates = [Preset::A100, Preset::H100, Preset::Qwen32].map(prefill_tokens_per_s);
        assert_eq!(rates.map(|rate| rate.round() as u64), [12_466, 35_711, 20_453]);
    }
}
