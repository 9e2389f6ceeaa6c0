//! The command line as it is typed.
//!
//! Owns: verbs, options, help texts with an example each. Must not: do anything.
//! Read next: `mod.rs`, which does it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 bad usage or invalid config, 3 could not reach the daemon or the data plane.

Try it:
  ringctl up --config ringway.yaml    both planes, in the foreground
  ringctl apply ringway.yaml          push a change; back when every worker runs it
  ringctl show                        what runs";

/// The control plane of ringway: its daemon and its command line
#[derive(Debug, Parser)]
#[command(name = "ringctl", version, after_help = EXIT_CODES, max_term_width = 100, subcommand_required = true)]
pub struct Cli {
    /// The daemon's socket [default: $RUNTIME_DIRECTORY/daemon.sock, else
    /// $XDG_RUNTIME_DIR/ringway/daemon.sock, else /run/ringway/daemon.sock]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Where")]
    pub socket: Option<PathBuf>,
    /// The data plane's socket [default: dataplane.sock in the same folder]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Where")]
    pub control: Option<PathBuf>,
    /// Whether to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Where")]
    pub color: Color,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Yes
    Always,
    /// No
    Never,
}

/// How a read verb prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For eyes
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// `-o`, where the table is what one wants to see first.
#[derive(Clone, Copy, Debug, Args)]
pub struct Print {
    /// How to print
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// Where revisions are.
#[derive(Clone, Debug, Args)]
pub struct Data {
    /// Folder of revisions [default: $STATE_DIRECTORY, else $XDG_STATE_HOME/ringway, else
    /// ~/.local/state/ringway, for root /var/lib/ringway]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon: watch the config, resolve names, push what changed, keep revisions
    #[command(after_help = "Example:\n  ringctl serve --config /etc/ringway/ringway.yaml\n\n\
        SIGHUP reads the file and its secrets again; SIGTERM stops the daemon, not the data plane.")]
    Serve {
        /// The config file to watch
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Run the daemon and a supervised `ringway` beside it
    #[command(after_help = "Example:\n  ringctl up --config ringway.yaml --workers 4\n\n\
        Ctrl-C or SIGTERM drains the data plane and ends with it; the second ends it at once.")]
    Up {
        /// The config file to watch
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
        /// How many workers, or `auto` [default: what `ringway` chooses]
        #[arg(long, value_name = "N")]
        workers: Option<String>,
        /// Leave the workers' cores to the scheduler: several gateways on one host, or a CPU quota
        #[arg(long)]
        no_pin: bool,
        #[command(flatten)]
        data: Data,
    },
    /// Check a config file; nothing needs to run
    #[command(after_help = "Example:\n  ringctl validate ringway.yaml\n\n\
        A secret that is not at hand here is a warning: the daemon may have it.")]
    Validate {
        /// The config file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        print: Print,
    },
    /// Print the JSON Schema of the config file
    #[command(after_help = "Example:\n  ringctl schema > ringway.schema.json")]
    Schema {
        /// How to print
        #[arg(short = 'o', long, value_name = "FORMAT", default_value = "json")]
        output: Output,
    },
    /// Show what a config file would change against what runs
    #[command(after_help = "Example:\n  ringctl diff ringway.yaml\n\n\
        The exit code is 0 whether or not there is a difference; `-o json` lists changes by path.\n\
        Addresses of names are not compared, credentials only by digest.")]
    Diff {
        /// The config file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        print: Print,
    },
    /// Validate a config file, push it, and wait until every worker runs it
    #[command(after_help = "Example:\n  ringctl apply ringway.yaml --message 'drop the old GPUs'\n\n\
        Through the daemon if one answers, else straight to the data plane. With --control and no --socket\n\
        it always goes straight.")]
    Apply {
        /// The config file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Kept with the revision
        #[arg(short, long, value_name = "TEXT")]
        message: Option<String>,
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        canary: Canary,
    },
    /// Show what runs
    #[command(after_help = "Example:\n  ringctl show --effective -o json\n\n\
        Without --effective: the config as it was written, which the daemon knows; without a daemon there is\n\
        only the effective one. Credentials are shown by digest.")]
    Show {
        /// Every default filled and every name resolved, from the data plane
        #[arg(long)]
        effective: bool,
        /// How to print: `table` is an overview of both planes
        #[arg(short = 'o', long, value_name = "FORMAT", default_value = "yaml")]
        output: Output,
    },
    /// List what ran
    #[command(after_help = "Example:\n  ringctl history -o json")]
    History {
        #[command(flatten)]
        print: Print,
        #[command(flatten)]
        data: Data,
    },
    /// Go back to an earlier revision; this makes a new one of it
    #[command(after_help = "Example:\n  ringctl rollback 7\n\n\
        The daemon stays on it until the config file changes again. Secrets are read anew.")]
    Rollback {
        /// Which [default: the latest whose text differs from what runs]
        revision: Option<u64>,
        /// Kept with the new revision
        #[arg(short, long, value_name = "TEXT")]
        message: Option<String>,
        #[command(flatten)]
        data: Data,
    },
    /// Look at the routes that run
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Example:\n  ringctl routes get chat -o yaml\n\nWithout a verb all of them are listed."
    )]
    Routes {
        #[command(flatten)]
        print: Print,
        /// One or all
        #[command(subcommand)]
        which: Option<Which>,
    },
    /// Look at the backends that run and the load of their endpoints
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Example:\n  ringctl backends\n\nWithout a verb all of them are listed."
    )]
    Backends {
        #[command(flatten)]
        print: Print,
        /// One or all
        #[command(subcommand)]
        which: Option<Which>,
    },
    /// Tell which route, target and endpoint a request would get, or which one got, and why
    #[command(after_help = "Example:\n  \
        echo '{\"path\": \"/v1/chat/completions\", \"body\": {\"model\": \"demo\"}}' | ringctl explain -\n\n\
        Fields of the request: method, path, host, headers, client, body. Nothing is sent. The body of a call\n\
        may stand alone: what it is for then shows in its fields.\n\
        With --config the routes of that file are asked, which need not run; endpoints then have no load.\n\n  \
        ringctl explain --last 20\n  ringctl explain --request 5f0c6d1e -o yaml\n\n\
        These tell of requests that were served, as far as they were traced: the route draws them\n\
        (`trace: {sample: 1%}`), or their callers ask for it (`x-ringway-trace: 1`, with `expose: true`).")]
    Explain {
        #[command(flatten)]
        which: Explained,
        /// Ask this config instead of what runs
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "file")]
        config: Option<PathBuf>,
        #[command(flatten)]
        print: Print,
    },
    /// Take an endpoint out, or without one the whole data plane
    #[command(after_help = "Example:\n  ringctl drain llama/10.0.0.1:8000\n\n\
        An endpoint takes no new requests until `ringctl undrain`. A drained data plane ends when its\n\
        exchanges have.")]
    Drain {
        /// `BACKEND/HOST:PORT`, as `ringctl backends list` names it
        endpoint: Option<String>,
    },
    /// Put a drained endpoint back
    #[command(after_help = "Example:\n  ringctl undrain llama/10.0.0.1:8000")]
    Undrain {
        /// `BACKEND/HOST:PORT`, as `ringctl backends list` names it
        endpoint: String,
    },
    /// Print shell completions
    #[command(after_help = "Example:\n  ringctl completions bash > /etc/bash_completion.d/ringctl")]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all verbs
    #[command(after_help = "Example:\n  ringctl man | man -l -\n  ringctl man --out /usr/share/man/man1")]
    Man {
        /// Write the pages of all verbs here
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
    /// Keys of tenants (not supported yet)
    #[command(after_help = "Example:\n  ringctl keys list")]
    Keys(Later),
    /// Tenants (not supported yet)
    #[command(after_help = "Example:\n  ringctl tenants list")]
    Tenants(Later),
    /// What was used (not supported yet)
    #[command(after_help = "Example:\n  ringctl usage list")]
    Usage(Later),
    /// What may be spent (not supported yet)
    #[command(after_help = "Example:\n  ringctl budgets list")]
    Budgets(Later),
    /// Watch requests, tokens and the load of each endpoint move
    #[command(after_help = "Example:\n  ringctl top --interval 2\n\n\
        Keys: q ends, s sorts by the next column, p pauses. The second line says where the time goes: into\n\
        the gateway, or into the servers. With --once it looks for one interval, prints, and ends.")]
    Top {
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
        interval: f64,
        /// Print one view as text; needs no terminal
        #[arg(long)]
        once: bool,
    },
    /// Follow requests as they happen (not supported yet)
    #[command(after_help = "Example:\n  ringctl tap")]
    Tap(Later),
    /// Turn another proxy's config into one of ours (not supported yet)
    #[command(after_help = "Example:\n  ringctl import litellm config.yaml")]
    Import(Later),
    /// Replace the running binary without losing a stream (not supported yet)
    #[command(after_help = "Example:\n  ringctl upgrade")]
    Upgrade(Later),
}

/// Which request is explained.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Explained {
    /// A request as JSON that is not sent; `-` reads it from standard input
    #[arg(value_name = "REQUEST.json", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The traced request that was answered with this `x-request-id`, in full
    #[arg(long, value_name = "ID")]
    pub request: Option<String>,
    /// The last traced requests, a line each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub last: Option<u32>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=60.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.1 to 60".to_owned()) }
}

/// One or all.
#[derive(Debug, Subcommand)]
pub enum Which {
    /// All of them
    #[command(after_help = "Example:\n  ringctl backends list -o json")]
    List {
        #[command(flatten)]
        print: Print,
    },
    /// One of them, in full
    #[command(after_help = "Example:\n  ringctl backends get llama -o yaml")]
    Get {
        /// Its name
        name: String,
        #[command(flatten)]
        print: Print,
    },
}

/// Options of a canary; known so that they are refused by name and not as a typing error.
#[derive(Clone, Debug, Args)]
pub struct Canary {
    /// Not supported yet
    #[arg(long = "canary", value_name = "SHARE", hide = true)]
    pub share: Option<String>,
    /// Not supported yet
    #[arg(long = "for", value_name = "TIME", hide = true)]
    pub hold: Option<String>,
    /// Not supported yet
    #[arg(long, value_name = "CONDITION", hide = true)]
    pub abort_if: Option<String>,
}

impl Canary {
    /// The first of its options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [("--canary", &self.share), ("--for", &self.hold), ("--abort-if", &self.abort_if)];
        options.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name)
    }
}

/// A verb that comes later takes anything and refuses it by name.
#[derive(Clone, Debug, Args)]
pub struct Later {
    /// Whatever it will take
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<String>,
}
