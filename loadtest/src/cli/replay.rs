//! `ringload replay`: a trace as load.
//!
//! Owns: its flags, and how a trace becomes a scenario. Must not: read the formats.
//! Read next: `../trace.rs`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;

use super::{OutputArgs, Stop, measure, parse_header, parse_slo, usage};
use crate::{
    bounds::CONNECTIONS_DEFAULT,
    lengths::Lengths,
    prompts::Prompts,
    scenario::{
        Ask, Expect, Generation, Load, Scenario, Slo, Target,
        file::{form, parse_duration},
    },
    trace::{Replay, Trace},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  ringload replay mooncake_conversation.jsonl --url http://127.0.0.1:8080 --scale 2 --rows 3000
  ringload replay azure_llm_2023_conv.csv --url http://127.0.0.1:8080 --scale 20 --out results

With --time-scale everything that is measured is so many times as short as it would be; the objective is divided
alike. Give the simulated servers the same factor. Prompts are four bytes per token, equal where the trace's blocks
are; the conversation trace, stamped in steps of 3 s, is spread over them at random. A row of JSON may also have a
`model`, `headers` (an object) and `leave_after`, the milliseconds after which its caller hangs up.";

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The trace: Mooncake's JSON lines or Azure's CSV
    trace: PathBuf,
    /// Where requests go: http://host[:port][/path]
    #[arg(long)]
    url: String,
    /// Times the arrival rate of the trace
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Times the speed of everything, as of the simulated servers
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Only the first so many rows
    #[arg(long)]
    rows: Option<usize>,
    /// Decides how coarse stamps are spread
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave coarse stamps as they are
    #[arg(long)]
    no_jitter: bool,
    /// The model's name
    #[arg(long, default_value = "demo")]
    model: String,
    /// What an answer has to keep to be good, before it is divided by the time scale
    #[arg(long, value_parser = parse_slo, default_value = "ttft:2s,tpot:100ms")]
    goodput: Slo,
    /// Do not ask inference servers to use up the limit (hosted APIs refuse `ignore_eos`)
    #[arg(long)]
    no_ignore_eos: bool,
    /// A further header field, `name:value`; may be repeated
    #[arg(long = "header", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Come back once, when `retry-after` says, where a request is refused with one
    #[arg(long)]
    obey_retry_after: bool,
    /// An exchange that takes longer has failed
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn replay(args: &ReplayArgs) -> Result<bool, Stop> {
    let scenario = scenario(args)?;
    measure(&scenario, &args.output)
}

fn scenario(args: &ReplayArgs) -> Result<Scenario, Stop> {
    let positive = |factor: f64| factor.is_finite() && factor > 0.0;
    if !positive(args.scale) || !positive(args.time_scale) || args.rows == Some(0) {
        return usage("--scale, --time-scale and --rows must lie above 0");
    }
    let bad = |error: &dyn std::fmt::Display| Stop::Usage(error.to_string());
    let replay = Replay {
        scale: args.scale,
        time_scale: args.time_scale,
        rows: args.rows,
        seed: args.seed,
        jitter: !args.no_jitter,
    };
    let trace = Trace::read(&args.trace).map_err(|error| bad(&error))?.replayed(&replay);
    let mut target = Target::parse(&args.url).map_err(|error| bad(&error))?;
    let form = form(&mut target).map_err(|error| bad(&error))?;
    let faster = |limit: Option<Duration>| limit.map(|limit| limit.div_f64(args.time_scale));
    let Slo { ttft, tpot, e2el } = args.goodput;
    let times: Arc<[Duration]> = trace.rows().iter().map(|row| row.at).collect();
    Ok(Scenario {
        target,
        requests: Some(times.len() as u64),
        load: Load::Given(times),
        duration: None,
        ask: Ask::Tokens(Generation {
            form,
            model: args.model.clone(),
            stream: true,
            prompts: Prompts::Trace(Arc::new(trace)),
            output: Lengths::Exactly(1), // every row brings its own
            ignore_eos: !args.no_ignore_eos,
            expect: Expect::Auto,
        }),
        headers: args.headers.clone(),
        obedient: args.obey_retry_after,
        timeout: args.timeout,
        connections: CONNECTIONS_DEFAULT,
        seed: args.seed,
        slo: Slo { ttft: faster(ttft), tpot: faster(tpot), e2el: faster(e2el) },
    })
}
