//! `ringload sim`: simulated GPU servers until a signal comes.
//!
//! Owns: its flags, and how they become a fleet. Must not: know how a fleet works.
//! Read next: `ringway-gpusim`.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    time::Duration,
};

use clap::Args;
use ringway_gpusim::{
    Fleet, Plan, Preset, Unit,
    bounds::{LORA_SLOTS_DEFAULT, REPLICAS_MAX, WAITING_MAX},
    fault::{Fault, MetricsMode},
    plan::{HeadAt, MetricsDialect},
};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{Stop, allow_many_sockets, failed, usage};

pub(super) const EXAMPLES: &str = "\
Examples:
  ringload sim --listen 127.0.0.1:9000 --gpu h100 --model llama-3-8b --replicas 8 --time-scale 4
  ringload sim --gpu h100:4,a100:4 --fault crash,replica=2,at=300s,for=60s
  ringload sim --lora poet,lawyer --lora-slots 1 --metrics-traps

Replica k listens on port + k; with port 0 each takes a free one. Ends on SIGINT or SIGTERM.

A fault is KIND[=VALUE][,replica=K][,at=TIME][,for=TIME]: stall, crash, slow=FACTOR, errors=SHARE, or
metrics=off|404|empty|nan|zero|stale|slow|high. Its times are divided by the time scale, like all others.";

#[derive(Debug, Args)]
pub(super) struct SimArgs {
    /// Where replica 0 listens
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Hardware preset, a100, h100 or qwen32; or how many of each, like h100:4,a100:4
    #[arg(long, default_value = "h100", value_delimiter = ',', value_parser = parse_hardware)]
    gpu: Vec<Hardware>,
    /// The model they serve
    #[arg(long, default_value = "demo")]
    model: String,
    /// How many [default: 1, or as many as --gpu says]
    #[arg(long)]
    replicas: Option<usize>,
    /// Divide all times by this
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Decides the ids of answers, noise, and which requests get an error
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tokens each KV cache holds, if not as many as the preset's
    #[arg(long)]
    kv_tokens: Option<u32>,
    /// Never look prompts up in the cache
    #[arg(long)]
    no_prefix_cache: bool,
    /// Requests that may wait in front of each engine; one more is answered 503
    #[arg(long, default_value_t = WAITING_MAX, hide_default_value = true)]
    queue_limit: usize,
    /// Sigma of a log-normal factor on the length of each step
    #[arg(long, default_value_t = 0.0)]
    noise: f64,
    /// Steps take so many times as long
    #[arg(long, default_value_t = 1.0)]
    slow: f64,
    /// When the head of a stream leaves: early (at admission) or token
    #[arg(long, default_value = "early")]
    head: HeadAt,
    /// Adapters, each served as a model of its own name
    #[arg(long = "lora", value_delimiter = ',')]
    adapters: Vec<String>,
    /// Adapters each engine holds at the same time
    #[arg(long, default_value_t = LORA_SLOTS_DEFAULT)]
    lora_slots: usize,
    /// How much longer the step is that loads an adapter
    #[arg(long, default_value_t = 300)]
    lora_load_ms: u64,
    /// Whose names the metrics page uses: vllm, sglang, trtllm, lmdeploy, tgi or llamacpp
    #[arg(long, default_value = "vllm")]
    dialect: MetricsDialect,
    /// How the metrics page behaves: on, off, 404, empty, nan, zero, stale, slow or high
    #[arg(long, default_value = "on")]
    metrics: MetricsMode,
    /// Add to the metrics page what a careless reader falls for
    #[arg(long)]
    metrics_traps: bool,
    /// After so many generations none goes on, while /health stays well
    #[arg(long)]
    stuck_after: Option<u64>,
    /// After so many generations the server is gone
    #[arg(long)]
    crash_after: Option<u64>,
    /// What goes wrong, where and when; may be repeated
    #[arg(long = "fault")]
    faults: Vec<Fault>,
}

/// A preset, and how many of it if that was said.
#[derive(Debug, Clone, Copy)]
struct Hardware {
    preset: Preset,
    count: Option<usize>,
}

fn parse_hardware(text: &str) -> Result<Hardware, String> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let preset = name.parse().map_err(|error: ringway_gpusim::step::UnknownPreset| error.to_string())?;
    let wrong = || format!("`{text}` is not a preset and how many of it, like h100:4");
    let count = match count {
        Some(count) => {
            let possible = count.parse().ok().filter(|count| (1..=REPLICAS_MAX).contains(count));
            Some(possible.ok_or_else(wrong)?)
        }
        None => None,
    };
    Ok(Hardware { preset, count })
}

impl SimArgs {
    pub(super) fn plan(self) -> Result<Plan, Stop> {
        let presets = self.presets()?;
        let unit = |preset| Unit {
            preset,
            kv_tokens: self.kv_tokens,
            prefix_cache: !self.no_prefix_cache,
            queue_limit: self.queue_limit,
            noise: self.noise,
            slow: self.slow,
            lora_slots: self.lora_slots,
            lora_load: Duration::from_millis(self.lora_load_ms),
            stuck_after: self.stuck_after,
            crash_after: self.crash_after,
            head: self.head,
            dialect: self.dialect,
            metrics: self.metrics,
            metrics_traps: self.metrics_traps,
        };
        let plan = Plan {
            units: presets.into_iter().map(unit).collect(),
            model: self.model,
            adapters: self.adapters,
            listen: self.listen,
            time_scale: self.time_scale,
            seed: self.seed,
            faults: self.faults,
        };
        plan.check().map_err(|error| Stop::Usage(error.to_string()))?;
        Ok(plan)
    }

    /// The hardware of each replica, in order.
    fn presets(&self) -> Result<Vec<Preset>, Stop> {
        if let [Hardware { preset, count: None }] = self.gpu[..] {
            return Ok(vec![preset; self.replicas.unwrap_or(1).min(REPLICAS_MAX + 1)]);
        }
        let each = self.gpu.iter().map(|hardware| (hardware.preset, hardware.count.unwrap_or(1)));
        let all: Vec<_> = each.flat_map(|(preset, count)| std::iter::repeat_n(preset, count)).collect();
        match self.replicas {
            Some(replicas) if replicas != all.len() => {
                usage(format!("--gpu names {} replicas, --replicas {replicas}", all.len()))
            }
            Some(_) | None => Ok(all),
        }
    }
}

pub(super) fn sim(args: SimArgs) -> Result<bool, Stop> {
    let plan = args.plan()?;
    allow_many_sockets();
    let model = plan.model.clone();
    let presets: Vec<_> = plan.units.iter().map(|unit| unit.preset).collect();
    let (mut wait, signalled) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGINT, SIGTERM] {
        let end = signalled.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, end).map_err(failed)?;
    }
    let fleet = Fleet::start(plan).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    for (index, (address, preset)) in fleet.addresses().iter().zip(presets).enumerate() {
        let _ = writeln!(out, "replica {index}: {preset} serves {model} at http://{address}");
    }
    drop(out);
    // Blocks until a signal handler writes: no CPU while idle.
    let _ = wait.read(&mut [0; 1]);
    fleet.stop();
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SimArgs,
    }

    fn plan(line: &str) -> Plan {
        let Ok(plan) = Line::parse_from(line.split(' ')).args.plan() else { panic!("{line}") };
        plan
    }

    #[test]
    fn a_fleet_is_uniform_or_made_of_parts() {
        let names = |plan: Plan| plan.units.iter().map(|unit| unit.preset.name()).collect::<Vec<_>>();
        assert_eq!(names(plan("sim --gpu a100 --replicas 3")), ["a100"; 3]);
        assert_eq!(names(plan("sim --gpu h100:2,a100")), ["h100", "h100", "a100"]);
    }

    #[test]
    fn switches_reach_every_server_and_faults_the_plan() {
        let plan = plan(
            "sim --replicas 2 --metrics nan --metrics-traps --dialect sglang --head token --lora a,b \
             --stuck-after 5 --fault slow=2,replica=1 --fault stall,at=3s",
        );
        assert!(plan.units.iter().all(|unit| unit.metrics == MetricsMode::Nan && unit.metrics_traps));
        assert_eq!(plan.units[1].dialect, MetricsDialect::Sglang);
        assert_eq!((plan.adapters.len(), plan.faults.len()), (2, 2));
        assert_eq!(plan.engine(0).slowdowns.len() + 1, plan.engine(1).slowdowns.len());
    }
}
