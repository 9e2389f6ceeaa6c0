//! Servers that have nothing to do but to tell their load.
//!
//! Owns: a page in the proportions of vLLM's, of exactly the size that is asked for, and a listener for each server.
//! Must not: speak more HTTP than one client's kept connection needs.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// The model that they all serve.
pub const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";
/// Bytes of a request; ringctl's have some 60.
const REQUEST_BYTES_MAX: usize = 4_096;
/// What a thread that copies a page needs.
const STACK_BYTES: usize = 128 << 10;

/// So many servers, for as long as the process lives.
pub struct Servers {
    addresses: Vec<SocketAddr>,
    served: Arc<AtomicU64>,
}

impl Servers {
    /// All with the same page of so many bytes.
    pub fn start(count: usize, bytes: usize) -> io::Result<Self> {
        let text = page(bytes);
        let head = format!(
            "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {bytes}\r\n\r\n"
        );
        let answer: Arc<[u8]> = (head + &text).into_bytes().into();
        let served = Arc::new(AtomicU64::new(0));
        let start = |_| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            let (answer, served) = (Arc::clone(&answer), Arc::clone(&served));
            spawn(move || accept(&listener, &answer, &served))?;
            Ok(address)
        };
        let addresses: io::Result<_> = (0..count).map(start).collect();
        Ok(Self { addresses: addresses?, served })
    }

    /// Where they listen.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Pages that were sent so far.
    pub fn served(&self) -> u64 {
        self.served.load(Relaxed)
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(work).map(drop)
}

fn accept(listener: &TcpListener, answer: &Arc<[u8]>, served: &Arc<AtomicU64>) {
    for stream in listener.incoming().flatten() {
        let (answer, served) = (Arc::clone(answer), Arc::clone(served));
        let _ = spawn(move || drop(serve(stream, &answer, &served))); // whoever comes again is answered again
    }
}

fn serve(mut stream: TcpStream, page: &[u8], served: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = [0; REQUEST_BYTES_MAX];
    let mut have = 0;
    loop {
        have += match stream.read(&mut request[have..])? {
            0 => return Ok(()),
            count => count,
        };
        if !request[..have].ends_with(b"\r\n\r\n") {
            continue;
        }
        if request.starts_with(b"GET /metrics ") {
            stream.write_all(page)?;
            served.fetch_add(1, Relaxed);
        } else {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        }
        have = 0;
    }
}

/// A page of exactly so many bytes: the series that are read, then histograms, as most of a real one is, and a comment.
fn page(bytes: usize) -> String {
    let labels = format!("engine=\"0\",model_name=\"{MODEL}\"");
    let mut page = String::with_capacity(bytes);
    let mut one = |kind: &str, name: &str, more: &str, value: &str| {
        let _ = writeln!(
            page, // a String takes all
            "# HELP vllm:{name} What vLLM says of it.\n# TYPE vllm:{name} {kind}\nvllm:{name}{{{labels}{more}}} {value}"
        );
    };
    one("gauge", "num_requests_running", "", "0.0");
    one("gauge", "num_requests_waiting", "", "0.0");
    one("gauge", "kv_cache_usage_perc", "", "0.0");
    one("gauge", "cache_config_info", ",block_size=\"16\",num_gpu_blocks=\"26625\"", "1.0");
    one("counter", "prompt_tokens_total", "", "812345.0");
    one("counter", "generation_tokens_total", "", "412345.0");
    page.push_str("process_start_time_seconds 1.7512e+09\n");
    let mut bucket = 0;
    loop {
        let (family, le) = (bucket / 24, bucket % 24);
        let line = format!("vllm:histogram_{family}_seconds_bucket{{{labels},le=\"{le}.0\"}} {bucket}.0\n");
        if page.len() + line.len() + 2 > bytes {
            break;
        }
        page.push_str(&line);
        bucket += 1;
    }
    let rest = bytes.saturating_sub(page.len() + 2);
    let _ = writeln!(page, "#{}", "-".repeat(rest));
    page
}
