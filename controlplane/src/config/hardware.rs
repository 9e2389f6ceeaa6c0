//! What an endpoint can do: presets, and what is written beside them.
//!
//! Owns: the figures of presets, and which of several words on the same figure holds.
//! Must not: guess. What nobody says stays unknown.
//! Read next: `resolve.rs`.

use ringway_contract::snapshot;
use serde::Deserialize;

use super::decode::Written;

/// A machine whose figures are known: from the step model of `ringload sim`, fitted to public measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Preset {
    H100,
    A100,
    Qwen32,
}

impl Preset {
    const fn figures(self) -> snapshot::Hardware {
        let (prefill_tokens_per_s, kv_tokens) = match self {
            Self::H100 => (35_711, 426_000),
            Self::A100 => (12_466, 426_000),
            Self::Qwen32 => (20_453, 307_328),
        };
        snapshot::Hardware { prefill_tokens_per_s: Some(prefill_tokens_per_s), kv_tokens: Some(kv_tokens) }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hardware {
    pub(super) preset: Option<Written<Preset>>,
    pub(super) prefill_tokens_per_s: Option<Written<u64>>,
    pub(super) kv_tokens: Option<Written<u64>>,
}

impl Hardware {
    /// The figures: a field goes before its preset, the endpoint's own word before that of its backend.
    pub(super) fn or(&self, backend: snapshot::Hardware) -> snapshot::Hardware {
        let preset = self.preset.as_ref().map_or(backend, |preset| preset.value.figures());
        let written = |field: &Option<Written<u64>>| field.as_ref().map(|field| field.value);
        snapshot::Hardware {
            prefill_tokens_per_s: written(&self.prefill_tokens_per_s).or(preset.prefill_tokens_per_s),
            kv_tokens: written(&self.kv_tokens).or(preset.kv_tokens),
        }
    }
}
