//! The verbs of `ringctl`.
//!
//! Owns: from arguments to an exit code. Errors go to standard error and name the mend.
//! Must not: know how either plane is spoken to; that is [`crate::client`].
//! Read next: `args.rs`, what can be typed; then the file of each verb.

mod args;
mod change;
mod diff;
mod explain;
mod file;
mod offline;
mod output;
mod run;
mod show;
mod top;
mod traced;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use ringway_contract::stats::Drain;

use self::args::{Cli, Color, Verb, Which};
use crate::client::{ClientError, Daemon, DataPlane, Peer};
use crate::config::Report;
use crate::daemon::ServeError;
use crate::daemon::store::StoreError;
use crate::paths;
use crate::supervise::{Size, SuperviseError};

/// Why a verb did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// Asked in a way that cannot be.
    Usage(String),
    /// A bad config, drawn.
    Config(Report),
    /// A socket.
    Client(ClientError),
    /// Anything else.
    Failed(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Client(ClientError::Invalid { .. }) => 2,
            // 503 is how the daemon says that it does not reach the data plane.
            Self::Client(ClientError::Refused { peer: Peer::Daemon, status: 503, .. }) => 3,
            Self::Client(error) if error.unheard() => 3,
            Self::Client(_) | Self::Failed(_) => 1,
        }
    }

    fn text(&self, color: bool) -> String {
        match self {
            Self::Usage(what) | Self::Failed(what) => format!("error: {what}\n"),
            Self::Client(error) => format!("error: {error}\n"),
            Self::Config(report) => report.render(color),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Config(report)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<SuperviseError> for Failure {
    fn from(error: SuperviseError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Config(report) => Self::Config(report),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Where the planes are, and how to speak to whoever reads.
struct Context {
    socket: Option<PathBuf>,
    control: Option<PathBuf>,
    color: Color,
}

impl Context {
    fn control(&self) -> PathBuf {
        self.control.clone().unwrap_or_else(paths::dataplane_socket)
    }

    fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(paths::daemon_socket)
    }

    fn dataplane(&self) -> DataPlane {
        DataPlane::at(self.control())
    }

    /// Asks the daemon. None: there is no daemon and nobody insisted on one with `--socket`, or somebody
    /// insisted on the data plane with `--control`.
    async fn if_daemon<T>(
        &self,
        ask: impl AsyncFnOnce(Daemon) -> Result<T, ClientError>,
    ) -> Result<Option<T>, Failure> {
        if self.control.is_some() && self.socket.is_none() {
            return Ok(None);
        }
        match ask(Daemon::at(self.socket())).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.nobody() && self.socket.is_none() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn data(data: &args::Data) -> PathBuf {
        data.data.clone().unwrap_or_else(paths::data_folder)
    }
}

/// Runs `ringctl`.
pub fn main() -> ExitCode {
    let Cli { socket, control, color, verb } = Cli::parse();
    let context = Context { socket, control, color };
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(dispatch(&context, verb)),
        Err(why) => Err(Failure::Failed(format!("cannot start the runtime: {why}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.text(output::colored_err(color)));
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(context: &Context, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Serve { config, data } => run::serve(context, &config, &data).await,
        Verb::Up { config, workers, no_pin, data } => {
            run::up(context, &config, Size { workers, no_pin }, &data).await
        }
        Verb::Validate { file, print } => file::validate(context, &file, print.output),
        Verb::Schema { output } => file::schema(output),
        Verb::Diff { file, print } => diff::diff(context, &file, print.output).await,
        Verb::Apply { file, message, data, canary } => match canary.given() {
            Some(option) => Err(later(&format!("apply {option}"))),
            None => change::apply(context, &file, message, &data).await,
        },
        Verb::Show { effective, output } => show::show(context, effective, output).await,
        Verb::History { print, data } => change::history(context, print.output, &data).await,
        Verb::Rollback { revision, message, data } => {
            change::rollback(context, revision, message, &data).await
        }
        Verb::Routes { print, which } => show::routes(context, which.unwrap_or(Which::List { print })).await,
        Verb::Backends { print, which } => {
            show::backends(context, which.unwrap_or(Which::List { print })).await
        }
        Verb::Explain { which, config, print } => {
            explain::explain(context, &which, config.as_deref(), print.output).await
        }
        Verb::Drain { endpoint } => drain(context, endpoint, false).await,
        Verb::Undrain { endpoint } => drain(context, Some(endpoint), true).await,
        Verb::Completions { shell } => completions(shell),
        Verb::Man { out } => man(out.as_deref()),
        Verb::Keys(_) => Err(later("keys")),
        Verb::Tenants(_) => Err(later("tenants")),
        Verb::Usage(_) => Err(later("usage")),
        Verb::Budgets(_) => Err(later("budgets")),
        Verb::Top { interval, once } => top::top(context, interval, once).await,
        Verb::Tap(_) => Err(later("tap")),
        Verb::Import(_) => Err(later("import")),
        Verb::Upgrade(_) => Err(later("upgrade")),
    }
}

fn later(what: &str) -> Failure {
    Failure::Usage(format!("`ringctl {what}` is not supported yet; `ringctl --help` lists what is"))
}

async fn drain(context: &Context, endpoint: Option<String>, undo: bool) -> Result<(), Failure> {
    if let Some(endpoint) = endpoint.as_ref().filter(|endpoint| !endpoint.contains('/')) {
        let what =
            format!("`{endpoint}` is no endpoint; name it BACKEND/HOST:PORT, see `ringctl backends list`");
        return Err(Failure::Usage(what));
    }
    match context.dataplane().drain(&Drain { endpoint: endpoint.clone(), undo }).await {
        Err(ClientError::Broken { .. }) if endpoint.is_none() => {} // it had nothing to finish and has ended
        outcome => outcome?,
    }
    output::print(&match (endpoint, undo) {
        (Some(endpoint), false) => {
            format!("{endpoint} takes no new requests; `ringctl undrain {endpoint}` puts it back\n")
        }
        (Some(endpoint), true) => format!("{endpoint} takes requests again\n"),
        (None, _) => "the data plane accepts nothing new and ends when its exchanges have\n".to_owned(),
    })
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ringctl", &mut text);
    output::print(&String::from_utf8_lossy(&text))
}

fn man(out: Option<&Path>) -> Result<(), Failure> {
    let command = Cli::command();
    if let Some(folder) = out {
        return clap_mangen::generate_to(command, folder).map_err(|why| {
            let folder = folder.display();
            Failure::Failed(format!("cannot write manual pages to {folder}: {why}; create the folder first"))
        });
    }
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(command).render(&mut page);
    written.map_err(|why| Failure::Failed(format!("cannot write the manual page: {why}")))?;
    output::print(&String::from_utf8_lossy(&page))
}

/// Something for eyes only. Nobody reading it is no error.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in Cli::command().get_subcommands().filter(|verb| verb.get_name() != "help") {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("ringctl {}", verb.get_name())), "{}", verb.get_name());
        }
    }
}
