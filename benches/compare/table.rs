//! Figures out of measurements: medians, spreads, ratios, and the bars they are held against.
//!
//! Owns: the arithmetic and the numbers to hold.
//! Must not: read the machine or write a report.
//! Read next: `report.rs`.

use serde::Serialize;

use crate::proxies::Subject;
use crate::rounds::Sample;
use crate::workload::Workload;

/// A median with the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// Of how many.
    pub count: usize,
}

/// The spread of these; none of nothing.
pub fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
    Some(Spread { median, low, high, count })
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// CPU of the proxy per unit.
    Cpu,
    /// Delay of an event, median.
    Delay,
    /// Latency of a request, median.
    Latency,
    /// Resident memory per connection.
    Memory,
}

impl Figure {
    /// The figure of one measurement.
    pub fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Cpu => Some(sample.cpu_us),
            Self::Delay => sample.delay_us.map(|it| it.p50),
            Self::Latency => sample.latency_us.map(|it| it.p50),
            Self::Memory => Some(sample.rss_per_connection),
        }
    }
}

/// A number to hold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bar {
    /// On which workload.
    pub workload: &'static str,
    /// By which of ours.
    #[serde(skip)]
    pub subject: Subject,
    /// Which figure.
    pub figure: Figure,
    /// What it says.
    pub title: &'static str,
    /// Not above this: a ratio to the better of haproxy and nginx, or for memory, KiB.
    pub most: f64,
    /// Better still.
    pub stretch: Option<f64>,
}

/// The numbers to hold, in the order of the design.
pub const BARS: [Bar; 11] = [
    cpu("small", Subject::Ringway, "1 KB JSON, 64 keep-alive connections, closed loop", 0.80, Some(0.72)),
    cpu("small", Subject::RingwayModel, "the same on an AI route", 0.88, Some(0.80)),
    cpu("open", Subject::Ringway, "the same at 5,000 req/s, open loop", 0.85, Some(0.75)),
    cpu("sse_even", Subject::Ringway, "SSE, 500 streams, 25k events/s, even", 0.95, Some(0.88)),
    cpu("sse_bunched", Subject::Ringway, "the same, bunched", 0.95, Some(0.88)),
    cpu("large_in", Subject::Ringway, "256 KB request, small answer", 0.95, Some(0.85)),
    cpu("large_both", Subject::Ringway, "256 KB both ways", 0.80, Some(0.65)),
    cpu("churn", Subject::Ringway, "one connection per request", 1.00, Some(0.90)),
    Bar {
        workload: "sse_even",
        subject: Subject::Ringway,
        figure: Figure::Delay,
        title: "delay per event, p50, even",
        most: 1.00,
        stretch: None,
    },
    Bar {
        workload: "one",
        subject: Subject::Ringway,
        figure: Figure::Latency,
        title: "latency of one connection, p50",
        most: 1.00,
        stretch: None,
    },
    Bar {
        workload: "live",
        subject: Subject::Ringway,
        figure: Figure::Memory,
        title: "memory per live stream at 5,000 streams, KiB",
        most: 8.0,
        stretch: Some(4.0),
    },
];

const fn cpu(
    workload: &'static str,
    subject: Subject,
    title: &'static str,
    most: f64,
    stretch: Option<f64>,
) -> Bar {
    Bar { workload, subject, figure: Figure::Cpu, title, most, stretch }
}

/// The measurements of one workload, of which only some count.
pub struct Results<'a> {
    /// What was asked.
    pub workload: &'a Workload,
    /// All, void ones included.
    pub samples: &'a [Sample],
    /// Void ones count too.
    pub accept_void: bool,
}

impl Results<'_> {
    /// The measurements of this subject that count.
    pub fn counted(&self, subject: Subject) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |it| it.subject == subject.name() && (self.accept_void || it.void.is_none()))
    }

    /// How many measurements of this subject were void.
    pub fn void(&self, subject: Subject) -> usize {
        self.samples.iter().filter(|it| it.subject == subject.name() && it.void.is_some()).count()
    }

    /// A figure over all measurements.
    pub fn figure(&self, subject: Subject, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        spread(self.counted(subject).filter_map(figure))
    }

    /// A figure as a ratio to the better of the peers, taken round by round: what the machine does to one round it
    /// does to all in it.
    pub fn ratio(&self, subject: Subject, figure: Figure) -> Option<Spread> {
        let rounds = self.samples.iter().map(|it| it.round + 1).max()?;
        spread((0..rounds).filter_map(|round| {
            let own = self.in_round(subject, figure, round)?;
            let peers = Subject::ALL.into_iter().filter(|it| it.is_peer());
            let best = peers.filter_map(|peer| self.in_round(peer, figure, round)).min_by(f64::total_cmp)?;
            (best > 0.0).then_some(own / best)
        }))
    }

    fn in_round(&self, subject: Subject, figure: Figure, round: usize) -> Option<f64> {
        let of_round = self.counted(subject).filter(|it| it.round == round);
        let values: Vec<f64> = of_round.filter_map(|it| figure.of(it)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// What a bar is compared with: a ratio, or for memory, KiB.
    pub fn against(&self, bar: &Bar) -> Option<Spread> {
        match bar.figure {
            Figure::Cpu | Figure::Delay | Figure::Latency => self.ratio(bar.subject, bar.figure),
            Figure::Memory => self.figure(bar.subject, |it| Some(it.rss_per_connection / 1_024.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::Void;

    fn sample(subject: Subject, round: usize, cpu_us: f64, void: Option<Void>) -> Sample {
        Sample {
            workload: "small",
            subject: subject.name(),
            round,
            cpu_us,
            per_s: 0.0,
            latency_us: None,
            delay_us: None,
            late_us: None,
            switches: 0.0,
            rss_bytes: 0,
            rss_per_connection: 0.0,
            others: 0.0,
            waited: 0.0,
            load: 1.0,
            load_busy: 0.5,
            void,
        }
    }

    #[test]
    fn a_ratio_is_to_the_better_peer_of_the_same_round_and_void_ones_do_not_count() {
        let samples = [
            sample(Subject::Ringway, 0, 8.0, None),
            sample(Subject::Ringway, 0, 800.0, Some(Void::Others)),
            sample(Subject::Haproxy, 0, 20.0, None),
            sample(Subject::Nginx, 0, 10.0, None),
            sample(Subject::Ringway, 1, 30.0, None),
            sample(Subject::Haproxy, 1, 40.0, None),
            sample(Subject::Nginx, 1, 50.0, None),
            sample(Subject::Ringway, 2, 30.0, None),
        ];
        let workload = crate::workload::all().remove(0);
        let results = Results { workload: &workload, samples: &samples, accept_void: false };
        let ratio = results.ratio(Subject::Ringway, Figure::Cpu).expect("two rounds have it");
        assert_eq!((ratio.low, ratio.high, ratio.count), (0.75, 0.8, 2));
        assert_eq!(results.void(Subject::Ringway), 1);
    }

    #[test]
    fn a_median_of_two_is_between_them() {
        assert_eq!(spread([3.0, 1.0].into_iter()).map(|it| it.median), Some(2.0));
        assert_eq!(spread(std::iter::empty()), None);
    }
}
