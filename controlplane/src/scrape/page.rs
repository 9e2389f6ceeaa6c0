//! From a page of metrics to a [`Reading`], in one pass.
//!
//! Owns: which series count (whole names, chosen labels, our models), and how several of one quantity become one number:
//! series that tell the same part twice (processes of one front end, ranks of one engine) count once, by the largest;
//! parts add up; shares are averaged over the parts.
//! Must not: allocate per line, do I/O, or fail.
//! Read next: `engine.rs`, the names; `text.rs`, the lines.

use std::cmp::Ordering;

use super::engine::{Dialect, Series, What};
use super::json;
use super::reading::{self, Adapters, Reading};
use super::text::{self, Labels, Value};
use crate::bounds::running as bounds;

/// What is kept between pages, so that reading one allocates nothing once warm.
#[derive(Debug, Default)]
pub struct Scratch {
    told: Vec<Told>,
}

/// One part's value of one series.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// Its place in the table.
    series: usize,
    /// Which part of which model: a hash of the labels that tell them apart.
    part: u64,
    model: Whose,
    version: u64,
    value: f64,
}

/// Whose series it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Nobodys,
    Ours,
    Anothers,
}

/// Reads a page. `models` are those the backend serves: where the page names one of them, others do not count.
pub fn read(page: &[u8], dialect: &Dialect, models: &[String], scratch: &mut Scratch) -> Reading {
    match page.trim_ascii_start().first() {
        Some(b'{') => json::loads(page),
        Some(b'[') => json::iterations(page),
        _ => read_text(page, dialect, models, scratch),
    }
}

fn read_text(page: &[u8], dialect: &Dialect, models: &[String], scratch: &mut Scratch) -> Reading {
    scratch.told.clear();
    let mut newest: Option<(f64, Labels<'_>)> = None;
    for sample in text::samples(page) {
        let mut parts = None; // read once, and only of lines that somebody wants
        for (place, series) in dialect.series.iter().enumerate() {
            if series.name.as_bytes() != sample.name {
                continue;
            }
            let Some((labels, value)) = *parts.get_or_insert_with(|| sample.parts()) else { break };
            if series.only.is_some_and(|(label, wanted)| !labels.get(label).is_some_and(|it| it.is(wanted))) {
                continue;
            }
            match series.what {
                What::Adapters => {
                    let newer = newest.is_none_or(|(time, _)| value >= time);
                    if newer && reading::sane(value).is_some() {
                        newest = Some((value, labels));
                    }
                }
                What::CacheConfig => {
                    if let Some(tokens) = configured_tokens(labels) {
                        scratch.tell(dialect, models, place, labels, tokens);
                    }
                }
                What::Kv => {
                    if let Some(share) = reading::share(value) {
                        scratch.tell(dialect, models, place, labels, share);
                    }
                }
                What::Running
                | What::Waiting
                | What::KvUsed
                | What::KvOf
                | What::Capacity
                | What::Blocks
                | What::BlockTokens
                | What::Work
                | What::Started => {
                    if let Some(value) = reading::sane(value) {
                        scratch.tell(dialect, models, place, labels, value);
                    }
                }
            }
        }
    }
    let adapters = newest.map(|(_, labels)| adapters(labels));
    Sums { told: &scratch.told, series: dialect.series, ours: scratch.names_ours() }.reading(adapters)
}

impl Scratch {
    /// Takes a value in. The same part told again counts once, by the larger value: of two front-end processes one
    /// may know nothing.
    fn tell(&mut self, dialect: &Dialect, models: &[String], series: usize, labels: Labels<'_>, value: f64) {
        let model = labels.get(dialect.model);
        let version = dialect.version.and_then(|label| labels.get(label)?.whole()).unwrap_or(0);
        let mut part = Hash::new(model);
        for label in dialect.parts {
            part.add(labels.get(label));
        }
        let part = part.0;
        let same = |told: &Told| told.series == series && told.part == part;
        if let Some(known) = self.told.iter().rposition(same) {
            let told = &mut self.told[known];
            match version.cmp(&told.version) {
                Ordering::Greater => (told.version, told.value) = (version, value),
                Ordering::Equal => told.value = told.value.max(value),
                Ordering::Less => {}
            }
            return;
        }
        if self.told.len() >= bounds::TOLD_MAX {
            return; // more parts than any engine has
        }
        let model = match model {
            None => Whose::Nobodys,
            Some(name) if models.iter().any(|model| name.is(model)) => Whose::Ours,
            Some(_) => Whose::Anothers,
        };
        self.told.push(Told { series, part, model, version, value });
    }

    fn names_ours(&self) -> bool {
        self.told.iter().any(|told| told.model == Whose::Ours)
    }
}

/// FNV-1a over values of labels, each ended, so that "a", "bc" and "ab", "c" differ.
struct Hash(u64);

impl Hash {
    fn new(first: Option<Value<'_>>) -> Self {
        let mut hash = Self(0xcbf2_9ce4_8422_2325);
        hash.add(first);
        hash
    }

    fn add(&mut self, value: Option<Value<'_>>) {
        let mut byte = |byte: u8| self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        if let Some(value) = value {
            value.0.iter().copied().for_each(&mut byte);
            byte(b'"'); // stands in no value without an escape
        }
        byte(0);
    }
}

/// The values of a page, to be summed up.
struct Sums<'s> {
    told: &'s [Told],
    series: &'static [Series],
    /// The page names one of our models, so others do not count.
    ours: bool,
}

impl Sums<'_> {
    fn reading(&self, adapters: Option<Adapters>) -> Reading {
        let capacity = self.capacity();
        if capacity == Some(0) {
            return Reading::default(); // before its first forward pass SGLang writes zeros everywhere
        }
        Reading {
            running: self.sum(What::Running).and_then(reading::count),
            waiting: self.sum(What::Waiting).and_then(reading::count),
            kv: self.kv(),
            uncached_waiting: None,
            capacity,
            adapters,
            process_start: self.values(What::Started).reduce(f64::max),
            work: self.sum(What::Work),
        }
    }

    fn kv(&self) -> Option<f64> {
        let of_series = |place: usize| {
            let (mut sum, mut count) = (0.0, 0u32);
            for value in self.of(place) {
                (sum, count) = (sum + value, count + 1);
            }
            (count > 0).then(|| sum / f64::from(count))
        };
        let direct = self.places(What::Kv).find_map(of_series);
        direct.or_else(|| {
            let of = self.sum(What::KvOf).filter(|of| *of > 0.0)?;
            reading::share((self.sum(What::KvUsed)? / of).min(1.0))
        })
    }

    fn capacity(&self) -> Option<u64> {
        let direct = self.sum(What::Capacity).or_else(|| self.sum(What::CacheConfig));
        let product = || Some(self.sum(What::Blocks)? * self.values(What::BlockTokens).reduce(f64::max)?);
        direct.or_else(product).and_then(reading::tokens)
    }

    /// All values of a quantity added up; none if there is none.
    fn sum(&self, what: What) -> Option<f64> {
        self.values(what).reduce(|sum, value| sum + value)
    }

    fn values(&self, what: What) -> impl Iterator<Item = f64> {
        self.places(what).flat_map(|place| self.of(place))
    }

    fn places(&self, what: What) -> impl Iterator<Item = usize> {
        (0..self.series.len()).filter(move |place| self.series[*place].what == what)
    }

    fn of(&self, place: usize) -> impl Iterator<Item = f64> {
        let counts =
            move |told: &&Told| told.series == place && !(self.ours && told.model == Whose::Anothers);
        self.told.iter().filter(counts).map(|told| told.value)
    }
}

/// Tokens of a KV cache, from the labels of an info series.
fn configured_tokens(labels: Labels<'_>) -> Option<f64> {
    let whole = |label: &str| labels.get(label)?.whole().filter(|count| *count > 0);
    let product = |count: &str, size: &str| whole(count)?.checked_mul(whole(size)?);
    let tokens = whole("kv_cache_size_tokens")
        .or_else(|| product("num_gpu_blocks", "block_size"))
        .or_else(|| product("num_pages", "page_size"))?;
    Some(tokens as f64)
}

fn adapters(labels: Labels<'_>) -> Adapters {
    let mut named: Vec<String> = Vec::new();
    for label in ["running_lora_adapters", "waiting_lora_adapters"] {
        let Some(value) = labels.get(label) else { continue };
        let text: Vec<u8> = value.bytes().collect();
        for name in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let name = String::from_utf8_lossy(name);
            let new = !name.is_empty() && !named.iter().any(|known| *known == name);
            if new && named.len() < bounds::ADAPTERS_MAX && name.len() <= bounds::ADAPTER_BYTES_MAX {
                named.push(name.into_owned());
            }
        }
    }
    let slots = labels.get("max_lora").and_then(|value| value.whole()?.try_into().ok());
    Adapters { named, slots }
}
