//! Names to addresses, so that no worker of the data plane ever asks a name server.
//!
//! Owns: what each name resolved to last, when to ask again, and the lookups under way.
//! Must not: forget a good answer because the next one failed; or ask anybody about a literal address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::bounds::running as bounds;
use crate::daemon::api::NameStatus;
use crate::log;

/// What is known of every name in use.
#[derive(Default)]
pub struct Names {
    known: BTreeMap<String, Known>,
    lookups: JoinSet<(String, Result<Answer, String>)>,
}

#[derive(Default)]
struct Known {
    /// Sorted, so that an answer in another order is no change.
    addresses: Vec<IpAddr>,
    /// When to ask again; none: a lookup is under way, or waits for its turn.
    due: Option<Instant>,
    asking: bool,
    /// Whether any lookup has ended, well or not.
    settled: bool,
    error: Option<String>,
}

struct Answer {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

impl Names {
    /// Keeps to these names: new ones are looked up, those no longer used are forgotten.
    pub fn want(&mut self, names: &[(String, u16)]) {
        let wanted = |host: &String| names.iter().any(|(name, _)| name == host);
        self.known.retain(|host, _| wanted(host));
        for (host, _) in names {
            if literal(host).is_none() {
                self.known.entry(host.clone()).or_default();
            }
        }
        self.start_due();
    }

    /// Waits until each wanted name has been asked for at least once.
    pub async fn settle(&mut self) {
        while self.known.values().any(|known| !known.settled) {
            self.start_due();
            self.changed().await;
        }
    }

    /// Waits for the next answer that changes addresses. Never comes back while nothing is due; safe to drop.
    pub async fn changed(&mut self) {
        loop {
            self.start_due();
            let due = self.next_due();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.lookups.join_next() => {
                    if let Ok((host, answer)) = ended && self.take(&host, answer) {
                        return;
                    }
                }
                () = wait => {}
            }
        }
    }

    /// Where a host is now, with this port. Empty: not known.
    pub fn lookup(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        if let Some(address) = literal(host) {
            return vec![SocketAddr::new(address, port)];
        }
        let known = self.known.get(host).map(|known| known.addresses.as_slice()).unwrap_or_default();
        known.iter().map(|address| SocketAddr::new(*address, port)).collect()
    }

    /// All names, for `GET /v1/status`.
    pub fn status(&self) -> Vec<NameStatus> {
        let line = |(name, known): (&String, &Known)| NameStatus {
            name: name.clone(),
            addresses: known.addresses.clone(),
            error: known.error.clone(),
        };
        self.known.iter().map(line).collect()
    }

    fn next_due(&self) -> Option<Instant> {
        if self.lookups.len() >= bounds::LOOKUPS_MAX {
            return None; // the next answer makes room
        }
        self.known.values().filter_map(|known| known.due).min()
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let mut resolver = None;
        for (host, known) in &mut self.known {
            let due = !known.asking && known.due.is_none_or(|due| due <= now);
            if !due || self.lookups.len() >= bounds::LOOKUPS_MAX {
                continue;
            }
            // Read anew each round: `resolv.conf` and `hosts` change under a daemon that runs for months.
            let asked = resolver.get_or_insert_with(System::read).clone();
            let host = host.clone();
            (known.asking, known.due) = (true, None);
            self.lookups.spawn(async move {
                let answer = timeout(bounds::LOOKUP_MS_MAX, asked.ask(&host)).await;
                let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
                (host, answer)
            });
        }
    }

    /// Takes an answer in; true if it changes what the name stands for, or is the first.
    fn take(&mut self, host: &str, answer: Result<Answer, String>) -> bool {
        let Some(known) = self.known.get_mut(host) else { return false };
        let first = !std::mem::replace(&mut known.settled, true);
        known.asking = false;
        match answer {
            Ok(Answer { mut addresses, ttl }) => {
                addresses.sort_unstable();
                addresses.dedup();
                known.due = Some(Instant::now() + ttl.clamp(bounds::TTL_MS_MIN, bounds::TTL_MS_MAX));
                if known.error.take().is_some() {
                    log::info("a name resolves again", &[("name", &host)]);
                }
                let changed = known.addresses != addresses;
                known.addresses = addresses;
                changed || first
            }
            Err(error) => {
                known.due = Some(Instant::now() + bounds::TTL_MS_MIN);
                if known.error.is_none() {
                    let kept = known.addresses.len();
                    log::warn(
                        "a name does not resolve",
                        &[("name", &host), ("why", &error), ("kept", &kept)],
                    );
                }
                known.error = Some(error);
                first
            }
        }
    }
}

/// An address written as such, IPv6 with or without brackets.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// The system's hosts file and name servers, as they are now.
#[derive(Clone)]
struct System {
    hosts: std::sync::Arc<Hosts>,
    resolver: Result<TokioResolver, String>,
}

impl System {
    fn read() -> Self {
        Self { hosts: std::sync::Arc::new(Hosts::from_system().unwrap_or_default()), resolver: resolver() }
    }

    async fn ask(&self, host: &str) -> Result<Answer, String> {
        // The hosts file is read first and alone decides, so that its names work where no name server
        // answers.
        let listed = self.listed(host)?;
        if !listed.is_empty() {
            return Ok(Answer { addresses: listed, ttl: bounds::TTL_MS_MAX });
        }
        if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            let addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]; // RFC 6761 section 6.3
            return Ok(Answer { addresses, ttl: bounds::TTL_MS_MAX });
        }
        let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
        let found = resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
        let ttl = found.valid_until().saturating_duration_since(std::time::Instant::now());
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(Answer { addresses, ttl }) }
    }

    fn listed(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let name = Name::from_utf8(host).map_err(|error| error.to_string())?;
        let types = [RecordType::A, RecordType::AAAA];
        let found = types.map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        let addresses = |lookup: &hickory_resolver::lookup::Lookup| {
            lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
        };
        Ok(found.iter().flatten().flat_map(addresses).collect())
    }
}

fn resolver() -> Result<TokioResolver, String> {
    let mut builder = match TokioResolver::builder_tokio() {
        Ok(builder) => builder,
        Err(error) => {
            log::warn("no name servers: only the hosts file is used", &[("why", &error)]);
            let none = ResolverConfig::from_name_servers(Vec::new());
            Resolver::builder_with_config(none, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never; // asked before, see `System::ask`
    options.timeout = bounds::LOOKUP_MS_MAX / 3; // so that a dead name server leaves time for the next
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(hosts: &[&str]) -> Names {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut names = Names::default();
            let wanted: Vec<_> = hosts.iter().map(|host| ((*host).to_owned(), 80)).collect();
            names.want(&wanted);
            names.settle().await;
            names
        })
    }

    #[test]
    fn a_literal_address_touches_no_resolver() {
        let mut names = Names::default();
        let hosts = ["127.0.0.1", "::1", "[::1]"];
        // Outside a runtime: starting any lookup would panic.
        names.want(&hosts.map(|host| (host.to_owned(), 80)));
        assert!(names.known.is_empty());
        let found = hosts.map(|host| names.lookup(host, 80)[0].to_string());
        assert_eq!(found, ["127.0.0.1:80", "[::1]:80", "[::1]:80"]);
    }

    #[test]
    fn localhost_resolves_without_a_name_server() {
        let found = resolve(&["localhost"]).lookup("localhost", 8000);
        assert!(found.contains(&SocketAddr::from(([127, 0, 0, 1], 8000))), "{found:?}");
    }

    #[test]
    fn a_failed_lookup_keeps_the_last_good_addresses() {
        let mut names = Names::default();
        names.known.insert("x".to_owned(), Known::default());
        let address: IpAddr = "10.0.0.1".parse().expect("an address");
        assert!(names.take("x", Ok(Answer { addresses: vec![address], ttl: Duration::ZERO })));
        assert!(!names.take("x", Err("away".to_owned())), "no change");
        assert_eq!(names.lookup("x", 1), [SocketAddr::new(address, 1)]);
        assert_eq!(names.status()[0].error.as_deref(), Some("away"));
    }

    #[test]
    fn the_order_of_an_answer_is_no_change() {
        let mut names = Names::default();
        names.known.insert("x".to_owned(), Known::default());
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let answer =
            |order: [u8; 2]| Ok(Answer { addresses: order.map(address).to_vec(), ttl: Duration::ZERO });
        assert!(names.take("x", answer([1, 2])));
        assert!(!names.take("x", answer([2, 1])));
        assert!(names.take("x", answer([2, 3])));
    }

    #[test]
    fn times_to_live_are_kept_between_five_seconds_and_a_minute() {
        let mut names = Names::default();
        for (ttl, kept) in [(0, 5), (30, 30), (86_400, 60)] {
            names.known.insert("x".to_owned(), Known::default());
            let now = Instant::now();
            names.take("x", Ok(Answer { addresses: Vec::new(), ttl: Duration::from_secs(ttl) }));
            let due = names.known["x"].due.expect("asked again").duration_since(now);
            assert_eq!(due.as_secs(), kept);
        }
    }
}
