//! How long one step of a simulated engine takes.
//!
//! Owns: the formula and the hardware presets. Must not: know requests, a clock, or what a step is for.
//! Read next: `engine.rs`, which decides what each step carries.

use std::{fmt, str::FromStr};

/// Constants of one model on one kind of hardware. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepModel {
    /// Time to read the weights once: the floor of every step.
    pub weights_ms: f64,
    /// Compute per token of the step.
    pub linear_ms: f64,
    /// How sharply the step turns from memory-bound to compute-bound.
    pub blend: f64,
    /// Time per KV token that the decodes read.
    pub kv_ms: f64,
    /// Attention of a prefill chunk, per token squared.
    pub attention_ms: f64,
    /// Tokens the KV cache holds.
    pub kv_tokens: u32,
}

/// Time per sequence in the step: sampling and bookkeeping.
const PER_SEQUENCE_MS: f64 = 0.0044;
/// Time per step whatever it carries.
const PER_STEP_MS: f64 = 0.5;

/// What one step carries, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepLoad {
    tokens: u32,
    decode_kv: u64,
    attention: f64,
    sequences: u32,
}

impl StepLoad {
    /// Adds one decode that reads `kv` cached tokens.
    pub fn decode(&mut self, kv: u32) {
        self.tokens += 1;
        self.decode_kv += u64::from(kv);
        self.sequences += 1;
    }

    /// Adds a prefill chunk of `tokens` placed behind `after` tokens that are cached already.
    pub fn chunk(&mut self, tokens: u32, after: u32) {
        self.tokens += tokens;
        self.attention += f64::from(tokens) * (f64::from(after) + f64::from(tokens) / 2.0);
        self.sequences += 1;
    }

    /// Tokens in the step. A step of none does not exist: the engine sleeps.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }
}

impl StepModel {
    /// Length of the step in milliseconds.
    pub fn duration_ms(&self, load: &StepLoad) -> f64 {
        let compute = self.linear_ms * f64::from(load.tokens);
        let blended = (self.weights_ms.powf(self.blend) + compute.powf(self.blend)).powf(1.0 / self.blend);
        blended
            + self.kv_ms * load.decode_kv as f64
            + self.attention_ms * load.attention
            + PER_SEQUENCE_MS * f64::from(load.sequences)
            + PER_STEP_MS
    }
}

/// A model on hardware, fitted to public measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Llama-3-8B on one A100.
    A100,
    /// Llama-3-8B on one H100.
    #[default]
    H100,
    /// Qwen3-32B on two H100.
    Qwen32,
}

impl Preset {
    /// All of them, in the order they are listed to users.
    pub const ALL: [Self; 3] = [Self::A100, Self::H100, Self::Qwen32];

    /// The name used on the command line and in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A100 => "a100",
            Self::H100 => "h100",
            Self::Qwen32 => "qwen32",
        }
    }

    /// The constants.
    pub const fn model(self) -> StepModel {
        match self {
            Self::A100 => StepModel {
                weights_ms: 9.7,
                linear_ms: 0.0695,
                blend: 2.0,
                kv_ms: 1.25e-4,
                attention_ms: 2.6e-6,
                kv_tokens: 426_000,
            },
            Self::H100 => StepModel {
                weights_ms: 6.6,
                linear_ms: 0.0235,
                blend: 1.5,
                kv_ms: 7.6e-5,
                attention_ms: 1.06e-6,
                kv_tokens: 426_000,
            },
            Self::Qwen32 => StepModel {
                weights_ms: 13.8,
                linear_ms: 0.040,
                blend: 1.5,
                kv_ms: 7.6e-5,
                attention_ms: 2.1e-6,
                kv_tokens: 307_328,
            },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a preset that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no hardware preset named `{0}`; there are a100, h100 and qwen32")]
pub struct UnknownPreset(String);

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes, their KV tokens together, and prefill chunks as (tokens, after).
    fn load(decodes: u32, kv: u32, chunks: &[(u32, u32)]) -> StepLoad {
        let mut load = StepLoad::default();
        for index in 0..decodes {
            load.decode(if index == 0 { kv } else { 0 });
        }
        for &(tokens, after) in chunks {
            load.chunk(tokens, after);
        }
        load
    }

    #[test]
    fn step_times_match_the_check_values_of_every_preset() {
        // (load, h100, a100, qwen32, tolerance): some check values are given to one decimal only.
        let rows = [
            (load(1, 2_048, &[]), 7.261, 10.461, 14.461, 0.000_6),
            (load(64, 65_536, &[]), 12.8, 19.6, 20.3, 0.06),
            (load(256, 256_000, &[]), 31.101, 53.891, 40.268, 0.000_6),
            (load(0, 0, &[(512, 0)]), 15.746, 37.728, 28.246, 0.000_6),
            (load(0, 0, &[(2_048, 0)]), 52.5, 148.6, 90.6, 0.06),
            (load(0, 0, &[(8_192, 0)]), 229.398, 657.173, 400.534, 0.000_6),
            (load(0, 0, &[(8_192, 8_192)]), 300.533, 831.656, 541.463, 0.000_6),
            (load(32, 128_000, &[(8_160, 0)]), 238.989, 672.633, 409.853, 0.000_6),
        ];
        for (load, h100, a100, qwen32, tolerance) in rows {
            for (preset, want) in [(Preset::H100, h100), (Preset::A100, a100), (Preset::Qwen32, qwen32)] {
                let got = preset.model().duration_ms(&load);
                assert!((got - want).abs() < tolerance, "{preset} {load:?}: got {got}, want {want}");
            }
        }
    }

    #[test]
    fn a_preset_is_found_by_its_name_and_by_no_other() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse(), Ok(preset));
        }
        assert!("H100".parse::<Preset>().is_err());
    }
}
