//! The command line: `run`, `replay`, `compare` and `sim`, and the verb that is still to come.
//!
//! Owns: flags to scenarios, results to exit codes. 0 all valid, 1 something was not, 2 bad usage.
//! Must not: ignore what it does not support; it refuses it by name.
//! Read next: `cli/replay.rs`, `cli/sim.rs`, `scenario.rs`.

mod replay;
mod sim;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    Progress, Summary, Watch,
    arrival::Arrival,
    bounds::{CONNECTIONS_DEFAULT, CONNECTIONS_MAX, PROMPT_TOKENS_MAX, RATE_MAX, REQUEST_BODY_BYTES_MAX},
    compare::Run,
    ended::Ended,
    lengths::Lengths,
    progress::Display,
    prompts::Prompts,
    scenario::{
        Ask, Expect, Generation, Load, Raw, Scenario, Slo, Target,
        file::{form, parse_duration},
    },
};

const EXAMPLES: &str = "\
Examples:
  ringload sim --listen 127.0.0.1:9000 --gpu h100 --model demo --replicas 2
  ringload run --url http://127.0.0.1:9000 --rate 100 --duration 30s --stream
  ringload run --url http://127.0.0.1:8080/index.html --raw --concurrency 64
  ringload replay mooncake_conversation.jsonl --url http://127.0.0.1:8080 --scale 2 --rows 3000
  ringload compare before/summary.json after/summary.json

Exit codes: 0 every answer was valid, 1 some were not, 2 bad usage.";

const RUN_EXAMPLES: &str = "\
Examples:
  ringload run --url http://127.0.0.1:8080 --rate 200 --duration 1m --stream --max-tokens 64
  ringload run --url http://127.0.0.1:8080/v1/completions --concurrency 32 --requests 1000 --json
  ringload run --url http://127.0.0.1:8080/file --raw --rate 5000 --arrival constant --expect-length 1024
  ringload run chat.yaml --out results
  ringload run --url http://127.0.0.1:8080 --rate 50 --goodput ttft:500ms,tpot:50ms --out results

An open loop (--rate) sends by an absolute schedule; latencies count from the intended time. Without a path, the
URL means /v1/chat/completions. A run whose p99 lateness is above 1 ms is reported as void.";

/// Load generator, judge and simulated GPU backends.
#[derive(Debug, Parser)]
#[command(name = "ringload", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send requests, validate every answer, report latencies
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Serve simulated GPU backends
    #[command(after_help = sim::EXAMPLES)]
    Sim(Box<sim::SimArgs>),
    /// Replay a request trace of Mooncake's or Azure's
    #[command(after_help = replay::EXAMPLES)]
    Replay(Box<replay::ReplayArgs>),
    /// Compare two runs, with confidence intervals
    #[command(after_help = "Example:\n  ringload compare before/summary.json after/summary.json")]
    Compare(CompareArgs),
    /// Gateway against other proxies in one run (not supported yet)
    #[command(after_help = "Example:\n  ringload bench-proxy --rounds 5")]
    BenchProxy(Later),
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// What one run has written as JSON
    a: PathBuf,
    /// What the other has
    b: PathBuf,
    /// Decides what is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Where results go.
#[derive(Debug, Default, Args)]
struct OutputArgs {
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Write summary.json and report.html into this folder
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write what became of each request into this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Show no progress
    #[arg(long)]
    no_progress: bool,
}

#[derive(Debug, Args)]
struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _args: Vec<String>,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct RunArgs {
    /// A scenario file in YAML; of the flags only --url and those for output go with it
    #[arg(conflicts_with_all = [
        "rate", "arrival", "concurrency", "duration", "requests", "stream", "no_stream", "model",
        "prompt_tokens", "max_tokens", "no_ignore_eos", "expect", "raw", "headers", "timeout",
        "connections", "seed", "goodput", "obey_retry_after",
    ])]
    scenario: Option<PathBuf>,
    /// Where requests go: http://host[:port][/path]
    #[arg(long)]
    url: Option<String>,
    /// Open loop: requests per second [default: 10]
    #[arg(long, conflicts_with = "concurrency")]
    rate: Option<f64>,
    /// How the arrivals of an open loop are spread: constant, poisson, or bursts:SIZE
    #[arg(long, default_value = "poisson", value_parser = parse_arrival)]
    arrival: Arrival,
    /// Closed loop: exchanges under way at any time
    #[arg(long)]
    concurrency: Option<usize>,
    /// How long requests are sent, like 30s or 2m [default: 30s, unless --requests is given]
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// How many requests are sent
    #[arg(long)]
    requests: Option<u64>,
    /// Ask for answers as events (the default)
    #[arg(long, overrides_with = "no_stream")]
    stream: bool,
    /// Ask for answers in one piece
    #[arg(long)]
    no_stream: bool,
    /// The model's name
    #[arg(long, default_value = "demo")]
    model: String,
    /// Length of each prompt, at four bytes per token
    #[arg(long, default_value_t = 16)]
    prompt_tokens: u32,
    /// Limit of each answer
    #[arg(long, default_value_t = 32)]
    max_tokens: u32,
    /// Do not ask inference servers to use up the limit (hosted APIs refuse `ignore_eos`)
    #[arg(long)]
    no_ignore_eos: bool,
    /// Whose text is expected: `auto` checks exact text where the answer says it is simulated
    #[arg(long, value_enum, default_value = "auto")]
    expect: ExpectArg,
    /// A plain HTTP target: check status, framing and length only
    #[arg(long)]
    raw: bool,
    /// Method of raw requests
    #[arg(long, default_value = "GET", requires = "raw")]
    method: String,
    /// Bytes of the body of raw requests
    #[arg(long, default_value_t = 0, requires = "raw")]
    body_bytes: usize,
    /// Length that raw answers must have
    #[arg(long, requires = "raw")]
    expect_length: Option<u64>,
    /// XXH3 (64 bits, hex) that raw answers must have
    #[arg(long, requires = "raw", value_parser = parse_hash)]
    expect_xxh3: Option<u64>,
    /// A further header field, `name:value`; may be repeated
    #[arg(long = "header", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Come back once, when `retry-after` says, where a request is refused with one
    #[arg(long)]
    obey_retry_after: bool,
    /// An exchange that takes longer has failed
    #[arg(long, default_value = "120s", value_parser = parse_duration)]
    timeout: Duration,
    /// Connections at most
    #[arg(long, default_value_t = CONNECTIONS_DEFAULT)]
    connections: usize,
    /// Decides arrival times and prompts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What an answer has to keep to be good, like ttft:2s,tpot:100ms,e2el:30s
    #[arg(long, value_parser = parse_slo)]
    goodput: Option<Slo>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExpectArg {
    Auto,
    Sim,
    Any,
}

/// Why a command ends without a result.
#[derive(Debug)]
enum Stop {
    /// Exit code 2.
    Usage(String),
    /// Exit code 1.
    Failed(String),
}

/// The way in; parses the process's arguments.
pub fn main() -> ExitCode {
    match perform(Cli::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Stop::Failed(why)) => {
            eprintln!("ringload: {why}");
            ExitCode::from(1)
        }
        Err(Stop::Usage(why)) => {
            eprintln!("ringload: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything was as it should be.
fn perform(verb: Verb) -> Result<bool, Stop> {
    let later = |verb: &str| Err(Stop::Usage(format!("`{verb}` is not supported yet")));
    match verb {
        Verb::Run(args) => run(*args),
        Verb::Sim(args) => sim::sim(*args),
        Verb::Replay(args) => replay::replay(&args),
        Verb::Compare(args) => compare(&args),
        Verb::BenchProxy(_) => later("bench-proxy"),
    }
}

fn run(args: RunArgs) -> Result<bool, Stop> {
    let mut args = args;
    let output = std::mem::take(&mut args.output);
    measure(&scenario(args)?, &output)
}

/// Makes a run, shows how far it is, and reports it.
fn measure(scenario: &Scenario, output: &OutputArgs) -> Result<bool, Stop> {
    allow_many_sockets();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first one ends the run and keeps its results; the second one ends the process.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop)).map_err(failed)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    let log = output.log.as_deref().map(Log::create).transpose()?;
    let mut watched = Watched { display: Display::new(scenario, !output.no_progress, stop), log };
    let summary = crate::run(scenario, &mut watched);
    watched.display.clear();
    let summary = summary.map_err(failed)?;
    watched.log.map_or(Ok(()), Log::finish)?;
    report(&summary, output)?;
    Ok(summary.is_good())
}

/// Shows a run, and writes down what became of its requests where that is wanted.
struct Watched {
    display: Display,
    log: Option<Log>,
}

impl Watch for Watched {
    fn tick(&mut self, progress: &Progress) -> bool {
        self.display.tick(progress)
    }

    fn wants_each(&self) -> bool {
        self.log.is_some()
    }

    fn ended(&mut self, ended: &Ended) {
        if let Some(log) = &mut self.log {
            log.add(ended);
        }
    }
}

/// A line for each request. The first error is kept for the end: what was measured is not lost by it.
struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    error: Option<io::Error>,
}

impl Log {
    fn create(path: &Path) -> Result<Self, Stop> {
        let file = File::create(path)
            .map_err(|error| Stop::Usage(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), error: None })
    }

    fn add(&mut self, ended: &Ended) {
        if self.error.is_none() {
            let line = serde_json::to_string(ended).expect("plain numbers and strings");
            self.error = writeln!(self.file, "{line}").err();
        }
    }

    fn finish(mut self) -> Result<(), Stop> {
        let flushed = self.file.flush().err();
        match self.error.or(flushed) {
            None => Ok(()),
            Some(error) => Err(Stop::Failed(format!("cannot write {}: {error}", self.path.display()))),
        }
    }
}

fn report(summary: &Summary, output: &OutputArgs) -> Result<(), Stop> {
    let document = serde_json::to_string(summary).expect("plain numbers and strings") + "\n";
    if let Some(folder) = &output.out {
        write_file(folder, "summary.json", &document)?;
        write_file(folder, "report.html", &summary.html())?;
    }
    let text = if output.json { document } else { summary.table() };
    print(&text);
    Ok(())
}

fn write_file(folder: &Path, name: &str, text: &str) -> Result<(), Stop> {
    let file = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(|error| Stop::Failed(format!("cannot write {}: {error}", file.display())))
}

/// To stdout. A reader that has left (`| head`) is no reason to panic.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn compare(args: &CompareArgs) -> Result<bool, Stop> {
    let read = |path: &Path| Run::read(path).map_err(|error| Stop::Usage(error.to_string()));
    let comparison = crate::compare::compare(&read(&args.a)?, &read(&args.b)?, args.seed);
    if args.json {
        print(&(serde_json::to_string(&comparison).expect("plain numbers and strings") + "\n"));
    } else {
        print(&comparison.table());
    }
    Ok(true)
}

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::Failed(error.to_string())
}

fn usage<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Usage(why.into()))
}

fn scenario(args: RunArgs) -> Result<Scenario, Stop> {
    if let Some(file) = &args.scenario {
        return Scenario::from_file(file, args.url.as_deref())
            .map_err(|error| Stop::Usage(error.to_string()));
    }
    let Some(url) = args.url.as_deref() else { return usage("--url is missing") };
    let mut target = Target::parse(url).map_err(|error| Stop::Usage(error.to_string()))?;
    let load = load(&args)?;
    let ask = if args.raw { raw(&args)? } else { generation(&args, &mut target)? };
    if !(1..=CONNECTIONS_MAX).contains(&args.connections) {
        return usage(format!("--connections must lie between 1 and {CONNECTIONS_MAX}"));
    }
    let duration = match (args.duration, args.requests) {
        (None, None) => Some(Duration::from_secs(30)),
        (duration, _) => duration,
    };
    let mut headers = args.headers;
    for (_, value) in headers.extract_if(.., |(name, _)| name.eq_ignore_ascii_case("host")) {
        target.authority = value;
    }
    Ok(Scenario {
        target,
        load,
        duration,
        requests: args.requests,
        ask,
        headers,
        obedient: args.obey_retry_after,
        timeout: args.timeout,
        connections: args.connections.max(args.concurrency.unwrap_or(0).min(CONNECTIONS_MAX)),
        seed: args.seed,
        slo: args.goodput.unwrap_or_default(),
    })
}

fn load(args: &RunArgs) -> Result<Load, Stop> {
    if let Some(concurrency) = args.concurrency {
        if !(1..=CONNECTIONS_MAX).contains(&concurrency) {
            return usage(format!("--concurrency must lie between 1 and {CONNECTIONS_MAX}"));
        }
        return Ok(Load::Closed { concurrency });
    }
    let rate = args.rate.unwrap_or(10.0);
    if !(rate > 0.0 && rate <= RATE_MAX) {
        return usage(format!("--rate must lie above 0 and at most at {RATE_MAX}"));
    }
    Ok(Load::Open { rate, arrival: args.arrival })
}

fn raw(args: &RunArgs) -> Result<Ask, Stop> {
    if args.method.is_empty() || !args.method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        return usage(format!("`{}` is not a method like GET or POST", args.method));
    }
    if args.body_bytes > REQUEST_BODY_BYTES_MAX {
        return usage(format!("--body-bytes is at most {REQUEST_BODY_BYTES_MAX}"));
    }
    Ok(Ask::Raw(Raw {
        method: args.method.clone(),
        body_bytes: args.body_bytes,
        expect_length: args.expect_length,
        expect_hash: args.expect_xxh3,
    }))
}

fn generation(args: &RunArgs, target: &mut Target) -> Result<Ask, Stop> {
    let form = form(target).map_err(|error| Stop::Usage(error.to_string()))?;
    if !(1..=PROMPT_TOKENS_MAX).contains(&args.prompt_tokens) || args.max_tokens == 0 {
        return usage(format!(
            "--prompt-tokens must lie between 1 and {PROMPT_TOKENS_MAX}, and --max-tokens above 0"
        ));
    }
    Ok(Ask::Tokens(Generation {
        form,
        model: args.model.clone(),
        stream: args.stream || !args.no_stream,
        prompts: Prompts::Unique { tokens: Lengths::Exactly(args.prompt_tokens) },
        output: Lengths::Exactly(args.max_tokens),
        ignore_eos: !args.no_ignore_eos,
        expect: match args.expect {
            ExpectArg::Auto => Expect::Auto,
            ExpectArg::Sim => Expect::Sim,
            ExpectArg::Any => Expect::Any,
        },
    }))
}

/// Thousands of connections need more descriptors than a shell usually allows. Best effort: where the limit
/// stays, connecting fails and is counted.
pub fn allow_many_sockets() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn parse_arrival(text: &str) -> Result<Arrival, String> {
    match text.split_once(':') {
        None if text == "constant" => Ok(Arrival::Constant),
        None if text == "poisson" => Ok(Arrival::Poisson),
        Some(("bursts", size)) => match size.parse() {
            Ok(size @ 1..) => Ok(Arrival::Bursts(size)),
            Ok(0) | Err(_) => Err(format!("`{size}` is no size of a burst")),
        },
        _ => Err(format!("`{text}` is not constant, poisson or bursts:SIZE")),
    }
}

fn parse_slo(text: &str) -> Result<Slo, String> {
    let mut slo = Slo::default();
    for part in text.split(',') {
        let limit = match part.split_once(':') {
            Some(("ttft", limit)) => (&mut slo.ttft, limit),
            Some(("tpot", limit)) => (&mut slo.tpot, limit),
            Some(("e2el", limit)) => (&mut slo.e2el, limit),
            Some(_) | None => {
                return Err(format!("`{part}` is not ttft, tpot or e2el with a limit, like ttft:2s"));
            }
        };
        *limit.0 = Some(parse_duration(limit.1)?);
    }
    Ok(slo)
}

fn parse_hash(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("`{text}` is not a 64-bit number in hex"))
}

/// Framing is the harness's own: those fields cannot be given.
pub(crate) fn parse_header(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("`{text}` is not a header field like name:value");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let value = value.trim();
    if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(wrong());
    }
    if ["content-length", "transfer-encoding", "expect"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("`{name}` is decided by the request itself"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Form;
    use clap::CommandFactory as _;

    fn scenario_of(line: &str) -> Result<Scenario, Stop> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| Stop::Usage(error.to_string()))?;
        match cli.verb {
            Verb::Run(args) => scenario(*args),
            verb => perform(verb).map(|_| panic!("`run` was given")),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_make_an_open_loop_of_streams_for_thirty_seconds() {
        let scenario = scenario_of("ringload run --url http://127.0.0.1:1").expect("enough");
        assert_eq!(scenario.target.path, "/v1/chat/completions");
        assert_eq!(scenario.duration, Some(Duration::from_secs(30)));
        assert_eq!(scenario.load, Load::Open { rate: 10.0, arrival: Arrival::Poisson });
        assert!(matches!(scenario.ask, Ask::Tokens(Generation { stream: true, form: Form::Chat, .. })));
        assert_eq!(scenario.slo, Slo::default());
    }

    #[test]
    fn flags_change_what_they_name() {
        let line = "ringload run --url http://127.0.0.1:1/v1/completions --concurrency 9000 --requests 5 \
                    --no-stream --header a:b --header host:example --timeout 1.5s --goodput ttft:1s,tpot:20ms";
        let scenario = scenario_of(line).expect("all known");
        assert_eq!((scenario.duration, scenario.requests), (None, Some(5)));
        assert_eq!(scenario.connections, 9_000, "as many as are under way");
        assert_eq!(scenario.headers, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(scenario.target.authority, "example");
        assert_eq!(scenario.timeout, Duration::from_millis(1_500));
        assert_eq!(scenario.slo.tpot, Some(Duration::from_millis(20)));
        assert!(matches!(
            scenario.ask,
            Ask::Tokens(Generation { stream: false, form: Form::Completion, .. })
        ));
    }

    #[test]
    fn what_is_not_there_yet_is_refused_by_name() {
        let Err(Stop::Usage(why)) = scenario_of("ringload bench-proxy --rounds 3") else {
            panic!("it was accepted")
        };
        assert!(why.contains("bench-proxy") && why.contains("not supported yet"), "{why}");
    }

    #[test]
    fn senseless_flags_are_bad_usage() {
        for line in [
            "ringload run",
            "ringload run --url http://127.0.0.1:1 --rate 0",
            "ringload run --url http://127.0.0.1:1 --rate 1 --concurrency 1",
            "ringload run --url http://127.0.0.1:1/index.html",
            "ringload run --url http://127.0.0.1:1 --header content-length:1",
            "ringload run --url http://127.0.0.1:1 --duration 5",
            "ringload run --url http://127.0.0.1:1 --max-tokens 0",
            "ringload run --url http://127.0.0.1:1 --arrival bursts:0",
            "ringload run --url http://127.0.0.1:1 --goodput speed:1s",
            "ringload run plan.yaml --rate 3",
            "ringload run no-such-plan.yaml",
            "ringload compare no-such-file.json no-such-file.json",
            "ringload replay no-such-trace --url http://127.0.0.1:1",
            "ringload sim --gpu tpu",
            "ringload sim --gpu h100:0",
            "ringload sim --gpu h100:2 --replicas 3",
            "ringload sim --fault nonsense",
            "ringload sim --metrics lies",
            "ringload sim --dialect cobol",
            "ringload sim --head late",
            "ringload sim --slow 0",
            "ringload sim --fault stall,replica=1",
        ] {
            assert!(matches!(scenario_of(line), Err(Stop::Usage(_))), "{line}");
        }
    }
}
