//! `balance: hash`: the same key goes to the same endpoint, unless that has too much to do already.
//!
//! Owns: the ring of points, and the walk along it (consistent hashing with bounded loads).
//! Must not: hash a request; it is handed the key's hash.
//! Read next: [`super`], which chooses by it.

use crate::bounds::{RING_POINTS_MAX, RING_POINTS_PER_ENDPOINT};

/// Points of endpoints on a circle of 64 bits. An endpoint that comes or goes moves its own share and no other.
#[derive(Debug, Default)]
pub struct Ring {
    points: Box<[Point]>,
    weight: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u64,
    endpoint: u32,
}

/// A request in flight more than this share of the mean is too many: 5/4.
const LOAD_BOUND: (u64, u64) = (5, 4);

impl Ring {
    /// A ring of these endpoints: a name each, which places its points, and a weight.
    pub fn new<'n>(endpoints: impl Iterator<Item = (&'n str, u32)> + Clone) -> Self {
        let weight: u64 = endpoints.clone().map(|(_, weight)| u64::from(weight)).sum();
        let count = endpoints.clone().count();
        let wanted = (count * RING_POINTS_PER_ENDPOINT).min(RING_POINTS_MAX) as u64;
        let points = endpoints.enumerate().flat_map(|(endpoint, (name, own))| {
            let share = (u64::from(own) * wanted).div_ceil(weight.max(1));
            (0..share).map(move |turn| Point { at: point(name, turn), endpoint: endpoint as u32 })
        });
        let mut points: Vec<Point> = points.collect();
        points.sort_unstable();
        Self { points: points.into(), weight }
    }

    /// The first endpoint behind the key that is open and below the bound; if all open ones are above it, the first that
    /// is open. `load` and `weight` tell of the endpoint at a place.
    pub fn choose(
        &self,
        key: u64,
        load: impl Fn(usize) -> u64,
        weight: impl Fn(usize) -> u32,
        total_load: u64,
        open: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let start = self.points.partition_point(|point| point.at < key);
        let around = self.points[start..].iter().chain(&self.points[..start]).map(|it| it.endpoint as usize);
        let mut first = None;
        for at in around.filter(|&at| open(at)) {
            if self.is_below(load(at), weight(at), total_load) {
                return Some(at);
            }
            first = first.or(Some(at));
        }
        first
    }

    /// Whether one more request stays within the bound of its share, rounded up.
    fn is_below(&self, load: u64, weight: u32, total_load: u64) -> bool {
        let share = u128::from(total_load + 1) * u128::from(LOAD_BOUND.0) * u128::from(weight);
        let whole = u128::from(self.weight.max(1)) * u128::from(LOAD_BOUND.1);
        u128::from(load) < share.div_ceil(whole)
    }
}

/// Where a name's point of this turn stands; the same in every process, so that gateways agree.
fn point(name: &str, turn: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["b/a:1", "b/b:1", "b/c:1", "b/d:1", "b/e:1"];

    fn ring(names: &[&str]) -> Ring {
        Ring::new(names.iter().map(|name| (*name, 1)))
    }

    fn key(at: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&at.to_le_bytes())
    }

    fn idle(ring: &Ring, key: u64) -> usize {
        ring.choose(key, |_| 0, |_| 1, 0, |_| true).expect("all are open")
    }

    #[test]
    fn the_same_key_goes_to_the_same_endpoint_in_every_process() {
        let (one, other) = (ring(&NAMES), ring(&NAMES));
        assert!((0..500).all(|at| idle(&one, key(at)) == idle(&other, key(at))));
    }

    #[test]
    fn keys_spread_by_weight() {
        let ring = Ring::new(NAMES.into_iter().zip([1, 1, 2, 4, 2]));
        let mut counts = [0_i32; 5];
        (0..20_000).for_each(|at| counts[idle(&ring, key(at))] += 1);
        for (count, weight) in counts.into_iter().zip([1, 1, 2, 4, 2]) {
            assert!((count - 2_000 * weight).abs() < 450 * weight, "{counts:?}");
        }
    }

    #[test]
    fn an_endpoint_that_goes_moves_its_own_keys_only() {
        let (before, after) = (ring(&NAMES), ring(&NAMES[..4]));
        for key in (0..2_000).map(key) {
            let was = idle(&before, key);
            assert!(was == 4 || was == idle(&after, key));
        }
    }

    #[test]
    fn a_closed_endpoint_hands_its_keys_to_those_behind_it() {
        let ring = ring(&NAMES);
        let mut counts = [0; 5];
        for at in 0..5_000 {
            counts[ring.choose(key(at), |_| 0, |_| 1, 0, |at| at != 2).expect("four are open")] += 1;
        }
        assert!(counts[2] == 0 && counts.iter().filter(|count| **count > 900).count() == 4, "{counts:?}");
        assert_eq!(ring.choose(1, |_| 0, |_| 1, 0, |_| false), None);
        assert_eq!(Ring::default().choose(1, |_| 0, |_| 1, 0, |_| true), None);
    }

    #[test]
    fn one_hot_key_loads_nobody_beyond_the_bound() {
        let ring = ring(&NAMES);
        let mut loads = [0_u64; 5];
        for total in 0..1_000 {
            let at = ring.choose(7, |at| loads[at], |_| 1, total, |_| true).expect("all are open");
            loads[at] += 1;
            let mean = (total + 1) as f64 / 5.0;
            assert!(loads[at] as f64 <= (mean * 1.25).ceil(), "{loads:?}");
        }
        assert_eq!(
            loads.iter().filter(|load| **load == 250).count(),
            4,
            "four at the bound take all: {loads:?}"
        );
    }
}
