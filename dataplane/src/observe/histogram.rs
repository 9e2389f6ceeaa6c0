//! Times of one worker, in cells.
//!
//! Owns: [`Cells`], counts by size, written by one worker with plain loads and stores, read by anybody at any time.
//! Must not: lock, allocate or wait when a time is recorded.
//! Read next: [`super::metrics`].
//!
//! Why not `hdrhistogram`'s own recorder: its reader waits until every writer has recorded once more, and an idle
//! worker never does; a lock that the worker only tries would need a second histogram for when it fails. The cells
//! are laid out as that crate lays out its own (by powers of two, each split evenly), and are poured into one of its
//! histograms when somebody asks: there the workers are merged.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

/// Each power of two is split into this many cells (as a power of two): a time is known to 1/32, 3 %.
const SPLIT_BITS: u32 = 5;
const SPLIT: usize = 1 << SPLIT_BITS;
/// Times above 2^32 µs, over an hour, count as that.
const VALUE_BITS: u32 = 32;
const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;
const CELLS: usize = (VALUE_BITS - SPLIT_BITS + 1) as usize * SPLIT;

/// Counts by size.
pub struct Cells {
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Default for Cells {
    fn default() -> Self {
        Self { counts: (0..CELLS).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }
}

impl Cells {
    /// Counts one value. Only the owner may call it: two writers would lose counts.
    pub fn record(&self, value: u64) {
        let value = value.min(VALUE_MAX);
        bump(&self.counts[cell(value)], 1);
        bump(&self.sum, value);
    }

    /// Adds all counts to `merged`, each at the top of its cell: a time is never told shorter than it was.
    pub fn pour(&self, merged: &mut Merged) {
        for (index, count) in self.counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                merged.histogram.saturating_record_n(top(index), count);
            }
        }
        merged.sum = merged.sum.saturating_add(self.sum.load(Ordering::Relaxed));
    }
}

/// The cells of all workers.
pub struct Merged {
    histogram: Histogram<u64>,
    sum: u64,
}

impl Default for Merged {
    fn default() -> Self {
        const DIGITS: u8 = 2; // four times finer than a cell: merging adds no error of its own
        let histogram =
            Histogram::new_with_bounds(1, VALUE_MAX, DIGITS).expect("constants that the crate accepts");
        Self { histogram, sum: 0 }
    }
}

impl Merged {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Their exact sum.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// How many were at most each of `bounds`, which grow.
    pub fn at_most(&self, bounds: &[u64]) -> Vec<u64> {
        let mut steps = self.histogram.iter_recorded().peekable();
        let mut count = 0;
        let upto = |bound: &u64| {
            while let Some(step) = steps.next_if(|step| step.value_iterated_to() <= *bound) {
                count += step.count_at_value();
            }
            count
        };
        bounds.iter().map(upto).collect()
    }

    /// The value that a share of `quantile` (0 to 1) does not exceed.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }
}

/// Adds without a locked instruction: right only where one thread writes.
pub fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// The cell that counts `value`: small ones have a cell each, larger ones share it with their neighbours.
const fn cell(value: u64) -> usize {
    if value < SPLIT as u64 {
        return value as usize;
    }
    let power = value.ilog2(); // SPLIT_BITS or more
    let shift = power - SPLIT_BITS;
    let within = (value >> shift) as usize - SPLIT; // the bits behind the leading one
    (shift as usize + 1) * SPLIT + within
}

/// The largest value that `cell` counts.
const fn top(cell: usize) -> u64 {
    if cell < SPLIT {
        return cell as u64;
    }
    let shift = cell / SPLIT - 1;
    let first = ((cell % SPLIT + SPLIT) as u64) << shift;
    first + (1 << shift) - 1
}

const _: () = assert!(cell(VALUE_MAX) == CELLS - 1, "the last cell counts the largest value");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_follow_each_other_without_gap_or_overlap() {
        for index in 0..CELLS - 1 {
            assert_eq!(cell(top(index)), index);
            assert_eq!(cell(top(index) + 1), index + 1);
        }
    }

    #[test]
    fn workers_are_merged() {
        let (one, two) = (Cells::default(), Cells::default());
        one.record(10);
        one.record(1_000);
        two.record(5_000_000);
        let mut merged = Merged::default();
        one.pour(&mut merged);
        two.pour(&mut merged);
        assert_eq!((merged.count(), merged.sum()), (3, 5_001_010));
        assert_eq!(merged.at_most(&[9, 10, 2_000, u64::MAX]), [0, 1, 2, 3]);
    }

    #[test]
    fn times_beyond_the_last_cell_count_there() {
        let cells = Cells::default();
        cells.record(u64::MAX);
        let mut merged = Merged::default();
        cells.pour(&mut merged);
        assert_eq!((merged.count(), merged.sum()), (1, VALUE_MAX));
    }

    proptest! {
        #[test]
        fn a_value_is_told_at_most_a_twentieth_too_long_and_never_shorter(value in 0..VALUE_MAX) {
            let told = top(cell(value));
            prop_assert!(told >= value);
            prop_assert!(told - value <= value / 20);
        }

        #[test]
        fn a_quantile_is_near_the_exact_one(mut values in prop::collection::vec(1..10_000_000_u64, 1..300)) {
            let cells = Cells::default();
            values.iter().for_each(|value| cells.record(*value));
            values.sort_unstable();
            let mut merged = Merged::default();
            cells.pour(&mut merged);
            let exact = values[(values.len() - 1) / 2];
            let told = merged.quantile(0.5);
            prop_assert!(told >= exact && told <= exact + exact / 20 + 1, "{told} for {exact}");
        }
    }
}
