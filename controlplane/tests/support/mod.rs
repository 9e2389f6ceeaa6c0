//! What the tests of the control plane stand on: a pretended data plane, and `ringctl` as a process.
//!
//! Owns: the pretence, written from the control socket's documentation and not from the data plane's code.
//! Must not: sleep for a fixed time; everything waits for a condition, with a deadline.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use ringway_contract::explain::{Explanation, Question, RouteVerdict};
use ringway_contract::load::{LoadReport, LoadTaken, Outlived};
use ringway_contract::problem::Problems;
use ringway_contract::stats::{
    Applied, ControlError, Drain, EndpointStats, Reported, Stats, Times, WorkerStats,
};
use ringway_contract::{Generation, Problem, Snapshot};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

/// Long enough for a loaded machine; nothing waits this long unless it fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub const WORKERS: u32 = 2;

/// Waits until `condition` gives something.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the pretended data plane holds and remembers.
#[derive(Default)]
pub struct Held {
    pub snapshot: Option<Snapshot>,
    pub pushes: Vec<(Instant, Snapshot)>,
    pub drains: Vec<Drain>,
    pub questions: Vec<Question>,
    pub loads: Vec<(Instant, LoadReport)>,
    /// Told with the answer to the next load report.
    pub outlived: Vec<Outlived>,
    /// Refuses the next pushes with 422 while a listener has this port.
    pub refuse_port: Option<u16>,
    /// Told to drain, it has ended before it has answered.
    pub nothing_to_finish: bool,
    /// Before the next push, somebody else pushes.
    pub race: bool,
    pub listeners: Vec<mpsc::UnboundedSender<Bytes>>,
}

impl Held {
    pub fn generation(&self) -> Generation {
        self.snapshot.as_ref().map_or(Generation::NONE, |snapshot| snapshot.generation)
    }

    fn install(&mut self, mut snapshot: Snapshot) -> Generation {
        snapshot.generation = self.generation().next();
        let generation = snapshot.generation;
        self.snapshot = Some(snapshot);
        let event = format!("event: generation\ndata: {{\"generation\":{generation}}}\n\n");
        self.listeners.retain(|listener| listener.send(event.clone().into()).is_ok());
        generation
    }
}

/// A pretended data plane at a socket.
pub struct DataPlane {
    pub path: PathBuf,
    pub held: Arc<Mutex<Held>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl DataPlane {
    pub fn start(path: &Path) -> Self {
        Self::start_with(path, Held::default())
    }

    pub fn start_with(path: &Path, held: Held) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = std::os::unix::net::UnixListener::bind(path).expect("binds");
        listener.set_nonblocking(true).expect("a socket");
        let held = Arc::new(Mutex::new(held));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&held);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).expect("a runtime is there");
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { path: path.to_owned(), held, stop: Some(stop), thread: Some(thread) }
    }

    /// Ends, connections and all, and leaves its socket file behind like a killed process.
    pub fn stop(mut self) -> Held {
        self.end();
        std::mem::take(&mut self.held.lock().expect("no test panicked holding it"))
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the pretended data plane does not panic");
        }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().expect("no test panicked holding it"))
    }

    pub fn pushes(&self) -> usize {
        self.with(|held| held.pushes.len())
    }

    /// The port of the first listener that runs: how these tests tell configs apart.
    pub fn port(&self) -> Option<u16> {
        self.with(|held| held.snapshot.as_ref().map(|snapshot| snapshot.listeners[0].address.port()))
    }

    pub fn until_port(&self, port: u16) {
        until(&format!("port {port} runs"), || (self.port() == Some(port)).then_some(()));
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(listener: UnixListener, held: Arc<Mutex<Held>>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let held = Arc::clone(&held);
        tokio::spawn(async move {
            let service = service_fn(|request| async { answer(request, &held).await.ok_or(Gone) });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<Either<Full<Bytes>, EventBody>>;

/// Ends a connection without an answer.
#[derive(Debug)]
struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gone")
    }
}

impl std::error::Error for Gone {}

/// None: it ends before it has answered.
async fn answer(request: Request<Incoming>, held: &Mutex<Held>) -> Option<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let mut held = held.lock().expect("no test panicked holding it");
    let expected = head.headers.get("if-match").map(|tag| tag.to_str().expect("ASCII").to_owned());
    Some(match (&head.method, head.uri.path()) {
        (&Method::GET, "/v1/snapshot") => match &held.snapshot {
            Some(snapshot) => {
                let mut answer = json(200, &ringway_controlplane::digest::redact(snapshot.clone()));
                let tag = format!("\"{}\"", snapshot.generation);
                answer.headers_mut().insert("etag", tag.parse().expect("a tag"));
                answer
            }
            None => json(404, &ControlError { error: "no snapshot yet".to_owned() }),
        },
        (&Method::PUT, "/v1/snapshot") => put(&mut held, expected, &body),
        (&Method::GET, "/v1/stats") => json(200, &stats(&held)),
        (&Method::GET, "/v1/events") => {
            let (sender, receiver) = mpsc::unbounded_channel();
            held.listeners.push(sender);
            Response::new(Either::Right(EventBody(receiver)))
        }
        (&Method::POST, "/v1/explain") => {
            held.questions.push(serde_json::from_slice(&body).expect("a question"));
            json(200, &explanation(held.generation()))
        }
        (&Method::POST, "/v1/load") => {
            let report: LoadReport = serde_json::from_slice(&body).expect("a load report");
            let taken = report.endpoints.len().try_into().expect("few");
            held.loads.push((Instant::now(), report));
            json(
                200,
                &LoadTaken { taken, outlived: std::mem::take(&mut held.outlived), ..LoadTaken::default() },
            )
        }
        (&Method::POST, "/v1/drain") => {
            let drain: Drain = serde_json::from_slice(&body).expect("a drain");
            let unknown = drain.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("nobody/"));
            if drain.endpoint.is_none() && held.nothing_to_finish {
                return None;
            }
            held.drains.push(drain.clone());
            if unknown {
                json(404, &ControlError { error: "there is no such endpoint".to_owned() })
            } else {
                json(200, &drain)
            }
        }
        _ => json(404, &ControlError { error: "no such path".to_owned() }),
    })
}

fn put(held: &mut Held, expected: Option<String>, body: &[u8]) -> Answer {
    let snapshot: Snapshot = serde_json::from_slice(body).expect("a snapshot");
    if std::mem::take(&mut held.race) {
        let mut other = snapshot.clone();
        other.listeners[0].address.set_port(1);
        held.install(other);
    }
    if expected.is_some_and(|expected| expected != format!("\"{}\"", held.generation())) {
        return json(409, &ControlError { error: format!("generation {} runs", held.generation()) });
    }
    if held.refuse_port == Some(snapshot.listeners[0].address.port()) {
        let problems = vec![Problem::new("listeners[0].address", "the address is taken")];
        return json(422, &Problems { problems });
    }
    held.pushes.push((Instant::now(), snapshot.clone()));
    let generation = held.install(snapshot);
    json(200, &Applied { generation, workers: WORKERS })
}

fn stats(held: &Held) -> Stats {
    let worker = |worker| WorkerStats {
        worker,
        io: "epoll".to_owned(),
        generation: held.generation(),
        connections: 3,
        exchanges: 1,
        exchanges_total: 5,
        upstream_idle: 0,
        upstream_active: 1,
    };
    let backends = held.snapshot.iter().flat_map(|snapshot| &snapshot.backends);
    let endpoints = backends.flat_map(|backend| {
        backend.endpoints.iter().map(|endpoint| EndpointStats {
            backend: backend.name.clone(),
            endpoint: endpoint.authority.clone(),
            addresses: endpoint.addresses.clone(),
            drained: endpoint.drained,
            in_flight: 7,
            attempts_total: 70,
            failures_total: 2,
            state: "ok".to_owned(),
            reported: Some(Reported {
                running: Some(4),
                waiting: Some(3),
                kv: Some(0.25),
                ..Reported::default()
            }),
            ..EndpointStats::default()
        })
    });
    Stats {
        load_underflow_total: 0,
        version: "0.1.0".to_owned(),
        generation: held.generation(),
        uptime_s: 61.0,
        draining: false,
        workers: (0..WORKERS).map(worker).collect(),
        endpoints: endpoints.collect(),
        queues: Vec::new(),
        credentials: Vec::new(),
        times: Times::default(),
    }
}

fn explanation(generation: Generation) -> Explanation {
    let verdict = RouteVerdict { route: "all".to_owned(), matched: true, why: None };
    Explanation {
        generation,
        routes: vec![verdict],
        route: Some("all".to_owned()),
        targets: Vec::new(),
        endpoints: Vec::new(),
        refusal: None,
    }
}

fn json<T: Serialize>(status: u16, value: &T) -> Answer {
    let body = serde_json::to_vec(value).expect("plain data");
    Response::builder().status(status).body(Either::Left(Full::from(body))).expect("an answer")
}

/// The event stream: what is sent into the channel, as it comes.
pub struct EventBody(mpsc::UnboundedReceiver<Bytes>);

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// A folder with a config, and where everything goes.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn control(&self) -> PathBuf {
        self.path("dataplane.sock")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("writes");
        path
    }

    /// Puts a config in place as editors do: written beside, then moved over.
    pub fn replace(&self, text: &str) {
        let beside = self.write("ringway.yaml.new", text);
        std::fs::rename(beside, self.path("ringway.yaml")).expect("moves");
    }

    /// `ringctl` with nothing of the caller's environment that could lead it elsewhere.
    pub fn ringctl(&self, arguments: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_ringctl")), arguments)
    }

    pub fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("RUNTIME_DIRECTORY", self.folder.path()).env("STATE_DIRECTORY", self.path("state"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.ringctl(arguments).output().expect("runs"))
    }

    pub fn serve(&self) -> Process {
        self.spawn(self.ringctl(&["serve", "--config", "ringway.yaml"]))
    }

    pub fn spawn(&self, mut command: Command) -> Process {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("opens");
        command.stdout(Stdio::null()).stderr(log);
        // A program that was just copied may still be open for writing in a child that another test is forking.
        let child = until("the program is free to start", || match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            started => Some(started.expect("starts")),
        });
        Process { child }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn until_log(&self, words: &str) {
        until(&format!("the log has {words:?}; it has:\n{}", self.log()), || {
            self.log().contains(words).then_some(())
        });
    }

    /// What `history` knows, newest first.
    pub fn history(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.run(&["history", "-o", "json"]).ok()).expect("a list")
    }
}

/// A process that ends with its test.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        send(signal, self.id());
    }

    pub fn kill(mut self) {
        self.child.kill().expect("lives");
        self.child.wait().expect("ends");
    }

    /// Waits for its end.
    pub fn code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        until("the process ends", || child.try_wait().expect("a child")).code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

pub fn send(signal: &str, pid: u32) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill is there");
    assert!(status.success(), "kill {signal} {pid}");
}

/// How a run of `ringctl` ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Its output, if it did well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Its error, if it ended with this code.
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.is_empty(), "an error says why");
        self.err
    }
}

/// A config that listens at this port and sends everything to one backend.
pub fn config(port: u16) -> String {
    with_endpoint(port, "http://127.0.0.1:9000")
}

pub fn with_endpoint(port: u16, endpoint: &str) -> String {
    format!(
        "version: 1\n\
         listeners:\n  - address: 127.0.0.1:{port}\n\
         backends:\n  origin:\n    engine: http\n    endpoints: [\"{endpoint}\"]\n\
         routes:\n  - name: all\n    match: {{path_prefix: /}}\n    targets: [{{backend: origin}}]\n"
    )
}

/// The same with a secret from the environment variable `ORIGIN_KEY`.
pub fn with_secret(port: u16) -> String {
    config(port).replace("engine: http\n", "engine: http\n    credential: {env: ORIGIN_KEY}\n")
}
