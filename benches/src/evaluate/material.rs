//! What arrives: rows of a trace with their prompts digested, and when each comes.
//!
//! Owns: finding and reading the traces, the one workload that has no trace, and the order of arrivals.
//! Must not: know endpoints or time scales of a fleet.
//! Read next: [`super::scenarios`], which says what is replayed at which rate.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringway_dataplane::admission::queue::Class;
use ringway_dataplane::balance::prefix::blocks::Key;
use ringway_dataplane::balance::prompt::Prompt;
use ringway_gpusim::prefix::Prefix;
use ringway_gpusim::random::Random;
use ringway_loadtest::trace::{BadTrace, Replay, Row, TRACE_BLOCK_TOKENS, Trace};

/// Where requests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Conversations with long prompts and some reuse.
    Conversation,
    /// Much reuse.
    Synthetic,
    /// Short prompts, long answers, no reuse.
    AzureConversation,
    /// Very short answers.
    AzureCode,
    /// No trace: 20 system prompts of 8,192 tokens with 1,000 own tokens each, at one request a second.
    SharedPrompts,
    /// No trace: equal requests of 2,000 tokens that share nothing, at one a second.
    Even,
    /// No trace: a thousand tiny requests, at one a second.
    Tiny,
}

impl Source {
    /// The file of a trace; none: it is made up.
    pub const fn file(self) -> Option<&'static str> {
        match self {
            Self::Conversation => Some("mooncake_conversation.jsonl"),
            Self::Synthetic => Some("mooncake_synthetic.jsonl"),
            Self::AzureConversation => Some("azure_llm_2023_conv.csv"),
            Self::AzureCode => Some("azure_llm_2023_code.csv"),
            Self::SharedPrompts | Self::Even | Self::Tiny => None,
        }
    }
}

/// The folder of the traces, by the environment.
pub const TRACES: &str = "RINGWAY_TRACES";

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub enum NoMaterial {
    /// Nobody said where the traces are.
    #[error("{TRACES} is not set: it names the folder with the public request traces, among them {0}")]
    Unset(&'static str),
    /// A trace is not there, or none.
    #[error(transparent)]
    Bad(#[from] BadTrace),
}

/// Rows in order of their arrival at scale 1, and their prompts as the gateway digests them.
pub struct Material {
    rows: Vec<Row>,
    prompts: RefCell<Vec<Prompt>>,
}

impl Material {
    fn new(rows: Vec<Row>) -> Self {
        let key = Key::public();
        let prompts = rows.iter().map(|row| digested(&key, row)).collect();
        Self { rows, prompts: RefCell::new(prompts) }
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What an engine knows the prompt of this row by, asked of this adapter: nothing that it knows of another.
    pub fn prefix(&self, row: u32, adapter: Option<u16>) -> Prefix {
        let row = &self.rows[row as usize];
        let Some(adapter) = adapter else { return row.prefix() };
        let apart = (u64::from(adapter) + 1) << ADAPTER_SHIFT;
        Row { ids: row.ids.iter().map(|id| id ^ apart).collect(), ..row.clone() }.prefix()
    }

    /// Lets `with` use the prompt of this row.
    pub fn with_prompt<T>(&self, row: u32, with: impl FnOnce(&mut Prompt) -> T) -> T {
        with(&mut self.prompts.borrow_mut()[row as usize])
    }
}

/// Above all ids of the traces, which number their blocks.
const ADAPTER_SHIFT: u32 = 48;

/// The prompt of a row as it would arrive in a body.
fn digested(key: &Key, row: &Row) -> Prompt {
    let mut prompt = Prompt::default();
    prompt.clear();
    prompt.feed(key, br#"{"model":"sim","messages":[{"role":"user","content":""#);
    prompt.feed(key, row.text().as_bytes());
    prompt.feed(key, br#""}],"stream":true}"#);
    prompt
}

/// One arrival.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// When it comes.
    pub at: Duration,
    /// Which row it is.
    pub row: u32,
    /// How urgent it is.
    pub class: Class,
    /// Whose it is; 0: everyone's.
    pub tenant: u32,
    /// The tenant's share.
    pub weight: u32,
    /// The caller leaves so long after it asked.
    pub leaves: Option<Duration>,
    /// The LoRA adapter that it asks for, by its number; none: the model itself.
    pub adapter: Option<u16>,
}

impl Ask {
    /// A request that nobody marked.
    pub const fn new(at: Duration, row: u32) -> Self {
        Self { at, row, class: Class::Default, tenant: 0, weight: 1, leaves: None, adapter: None }
    }
}

/// Arrivals in order, with what they are.
#[derive(Clone)]
pub struct Workload {
    /// The rows.
    pub material: Rc<Material>,
    /// The arrivals.
    pub asks: Vec<Ask>,
}

impl Workload {
    /// The first `rows` rows at `scale` times their rate; all of them without a count.
    pub fn replay(material: &Rc<Material>, scale: f64, rows: Option<usize>) -> Self {
        let count = rows.unwrap_or(usize::MAX).min(material.rows.len());
        let asks = (0..count as u32).map(|row| Ask::new(material.rows[row as usize].at.div_f64(scale), row));
        Self { material: Rc::clone(material), asks: asks.collect() }
    }

    /// Both, merged by time; of equal moments this one's first. They are about the same rows.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        self.asks.extend_from_slice(&other.asks);
        self.asks.sort_by_key(|ask| ask.at);
        self
    }

    /// The same with each arrival changed.
    #[must_use]
    pub fn each(mut self, change: impl FnMut(&mut Ask)) -> Self {
        self.asks.iter_mut().for_each(change);
        self
    }
}

/// The traces of one seed, each read and digested once.
pub struct Library {
    folder: Option<PathBuf>,
    seed: u64,
    rows: Option<usize>,
    read: HashMap<Source, Rc<Material>>,
}

impl Library {
    /// Traces in this folder, jittered by this seed; of each only the first `rows`.
    pub fn new(folder: Option<PathBuf>, seed: u64, rows: Option<usize>) -> Self {
        Self { folder, seed, rows, read: HashMap::new() }
    }

    /// Traces where the environment says.
    pub fn of_environment(seed: u64, rows: Option<usize>) -> Self {
        Self::new(std::env::var_os(TRACES).map(PathBuf::from), seed, rows)
    }

    /// The seed of everything.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether only the first rows are read.
    pub fn is_short(&self) -> bool {
        self.rows.is_some()
    }

    /// What this source has.
    ///
    /// # Errors
    /// Its trace cannot be read.
    pub fn material(&mut self, source: Source) -> Result<Rc<Material>, NoMaterial> {
        if let Some(known) = self.read.get(&source) {
            return Ok(Rc::clone(known));
        }
        let rows = match source.file() {
            Some(name) => self.trace(name)?,
            None if source == Source::Even => even(self.seed, self.rows.unwrap_or(EVEN_ROWS)),
            None if source == Source::Tiny => tiny(self.seed),
            None => shared_prompts(self.seed, self.rows.unwrap_or(SHARED_ROWS)),
        };
        let material = Rc::new(Material::new(rows));
        self.read.insert(source, Rc::clone(&material));
        Ok(material)
    }

    fn trace(&self, name: &'static str) -> Result<Vec<Row>, NoMaterial> {
        let folder = self.folder.as_deref().ok_or(NoMaterial::Unset(name))?;
        let trace = Trace::read(&Path::new(folder).join(name))?;
        let replay = Replay { rows: self.rows, seed: self.seed, ..Replay::default() };
        Ok(trace.replayed(&replay).rows().to_vec())
    }
}

const SHARED_ROWS: usize = 6_000;
const SHARED_PROMPTS: u64 = 20;
const SHARED_TOKENS: u32 = 8_192;
const OWN_TOKENS: u32 = 1_000;
const TINY_ROWS: usize = 1_000;
const EVEN_ROWS: usize = 45_000;
const EVEN_TOKENS: u32 = 2_000;
const EVEN_OUTPUT: u32 = 200;

/// Poisson arrivals, one a second.
struct Poisson {
    random: Random,
    at_s: f64,
}

impl Poisson {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), at_s: 0.0 }
    }

    fn next(&mut self) -> Duration {
        self.at_s -= (1.0 - self.random.unit()).ln();
        Duration::from_secs_f64(self.at_s)
    }
}

/// Ids that no other row has.
fn own_ids(row: usize, tokens: u32) -> impl Iterator<Item = u64> {
    (0..u64::from(tokens.div_ceil(TRACE_BLOCK_TOKENS))).map(move |block| (row as u64 + 1) << 16 | block)
}

fn shared_prompts(seed: u64, rows: usize) -> Vec<Row> {
    let mut arrivals = Poisson::new(seed);
    let mut row = |at_row: usize| {
        let at = arrivals.next();
        let system = arrivals.random.bits() % SHARED_PROMPTS;
        let output = 100 + (arrivals.random.bits() % 401) as u32;
        let shared = (0..u64::from(SHARED_TOKENS / TRACE_BLOCK_TOKENS)).map(|block| system << 8 | block);
        let ids = shared.chain(own_ids(at_row, OWN_TOKENS)).collect();
        Row { at, prompt: SHARED_TOKENS + OWN_TOKENS, output, ids, ..Row::default() }
    };
    (0..rows).map(&mut row).collect()
}

fn tiny(seed: u64) -> Vec<Row> {
    let mut arrivals = Poisson::new(seed);
    let mut row = |at_row: usize| {
        let (at, prompt) = (arrivals.next(), 32 + (arrivals.random.bits() % 512) as u32);
        let output = 1 + (arrivals.random.bits() % 8) as u32;
        Row { at, prompt, output, ids: own_ids(at_row, prompt).collect(), ..Row::default() }
    };
    (0..TINY_ROWS).map(&mut row).collect()
}

fn even(seed: u64, rows: usize) -> Vec<Row> {
    let mut arrivals = Poisson::new(seed);
    let mut row = |at_row: usize| Row {
        at: arrivals.next(),
        prompt: EVEN_TOKENS,
        output: EVEN_OUTPUT,
        ids: own_ids(at_row, EVEN_TOKENS).collect(),
        ..Row::default()
    };
    (0..rows).map(&mut row).collect()
}
