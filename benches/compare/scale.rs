//! `--scale`: what a unit costs as the gateway's world grows, one thing at a time.
//!
//! Owns: what grows, how far, the table and the picture of it. Nearly flat lines are the claim.
//! Must not: compare with other proxies; each line is compared with its own beginning.
//! Read next: `workload.rs`, whose `World` is what grows; `rounds.rs`, which measures.

use std::fmt::Write as _;
use std::time::Duration;

use crate::proxies::Subject;
use crate::rounds::{self, Failure, Plan, Sample};
use crate::table::{Spread, spread};
use crate::workload::{Pace, Spread as Phases, Workload, World};

/// Events a second of all streams together, however many there are.
const EVENTS_PER_S: f64 = 10_000.0;

/// One thing that grows.
pub struct Line {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What is measured meanwhile.
    pub while_: &'static str,
    unit: &'static str,
    /// Who is measured.
    pub subject: Subject,
    points: Vec<(usize, Workload)>,
}

/// A line as measured.
pub struct Measured {
    line: Line,
    points: Vec<Point>,
}

impl Measured {
    /// Whether it is about workers.
    pub fn is_of_workers(&self) -> bool {
        self.line.name == WORKERS
    }

    /// Whether there was more than the beginning.
    pub fn grew(&self) -> bool {
        self.points.len() > 1
    }
}

/// The name of the lines of workers.
const WORKERS: &str = "workers";

/// What was measured at one size.
struct Point {
    amount: usize,
    /// CPU per unit in µs.
    cpu: Spread,
    /// KiB per connection.
    memory: Spread,
    /// Units in a second.
    per_s: Spread,
    /// 99th percentile of latency, or of the delay of an event, in µs.
    p99: Spread,
    /// How busy the busiest load was: at 1 it set the pace.
    load_busy: f64,
}

/// All lines, from the workloads of the table, as far as these cores go.
pub fn lines(all: &[Workload], cores: usize) -> Vec<Line> {
    let named = |name: &str| all.iter().find(|it| it.name == name).expect("a workload of the table").clone();
    let (small, open, even) = (named("small"), named("open"), named("sse_even"));
    let grown = |base: &Workload, to: &[usize], change: fn(&mut World, usize)| {
        let point = |&amount: &usize| {
            let mut workload = base.clone();
            change(&mut workload.world, amount);
            (amount, workload)
        };
        to.iter().map(point).collect::<Vec<_>>()
    };
    let streams = [100, 500, 1_000, 2_000, 5_000].map(|count| {
        let period = Duration::from_secs_f64(count as f64 / EVENTS_PER_S);
        let pace = Pace::Streams { period, spread: Phases::Even };
        (count, Workload { connections: count, pace, ..even.clone() })
    });
    let line = |name, what, while_, unit, subject, points| Line { name, what, while_, unit, subject, points };
    let (raw, model) = (Subject::Ringway, Subject::RingwayModel);
    let mut lines = vec![
        line("streams", "live streams", "10,000 events/s of all together", "event", raw, streams.to_vec()),
        line(
            "idle",
            "idle connections",
            "closed loop on 64 others",
            "request",
            raw,
            grown(&small, &[0, 1_000, 5_000, 10_000], |world, idle| world.idle = idle),
        ),
        line(
            "routes",
            "routes",
            "closed loop; the last one matches, an eighth of the others have globs",
            "request",
            model,
            grown(&small, &[0, 100, 1_000, 10_000], |world, routes| world.routes = routes),
        ),
        line(
            "endpoints",
            "endpoints",
            "closed loop, `least_requests`",
            "request",
            model,
            grown(&small, &[1, 4, 16, 64], |world, endpoints| world.endpoints = endpoints),
        ),
        line(
            "gpu",
            "endpoints, `gpu`",
            "closed loop, `balance: gpu`",
            "request",
            model,
            grown(&small, &[1, 4, 16, 64], |world, endpoints| {
                world.endpoints = endpoints;
                world.gpu = true;
            }),
        ),
    ];
    // A worker and its load have two cores.
    let workers: Vec<usize> = [1, 2, 4, 8, 16, 32].into_iter().filter(|it| 2 * it <= cores).collect();
    for subject in [raw, model, Subject::Nginx, Subject::Haproxy] {
        for (base, while_) in [
            (&small, "closed loop, 64 connections for each"),
            (&even, "500 streams, 25,000 events/s for each"),
            (&open, "5,000 requests/s for each, open loop"),
        ] {
            let points = grown(base, &workers, |world, workers| world.workers = workers);
            lines.push(line(WORKERS, subject.workers(), while_, base.unit, subject, points));
        }
    }
    lines
}

/// Measures a line, and tells `each` of every measurement.
pub fn measure(
    plan: &Plan,
    line: Line,
    mut each: impl FnMut(&Result<Sample, Failure>),
) -> Result<Measured, Failure> {
    let mut points = Vec::new();
    for (amount, workload) in &line.points {
        let (samples, failures) = rounds::run(plan, workload, &[line.subject], &mut each);
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure);
        }
        let good = || samples.iter().filter(|it| it.void.is_none() || plan.accept_void);
        let of = |figure: fn(&Sample) -> f64| spread(good().map(figure));
        let point = || {
            Some(Point {
                amount: *amount,
                cpu: of(|it| it.cpu_us)?,
                memory: of(|it| it.rss_per_connection / 1_024.0)?,
                per_s: of(|it| it.per_s)?,
                p99: of(|it| it.delay_us.or(it.latency_us).map_or(0.0, |it| it.p99))?,
                load_busy: of(|it| it.load_busy)?.median,
            })
        };
        points.extend(point());
    }
    Ok(Measured { line, points })
}

/// The tables, for a document.
pub fn markdown(measured: &[Measured], command: &str, picture: Option<&str>) -> String {
    let mut out = format!("`{command}`; CPU in µs per unit, median (least-greatest).\n\n");
    if let Some(folder) = picture {
        let _ = writeln!(out, "![CPU per unit against what grows]({folder}/scale.svg)\n");
    }
    for it in measured {
        if it.is_of_workers() {
            efficiency(&mut out, it);
        } else {
            cost(&mut out, it);
        }
        out.push('\n');
    }
    out
}

fn cost(out: &mut String, it: &Measured) {
    let Line { what, while_, unit, .. } = &it.line;
    let _ = writeln!(out, "| {what} ({while_}) | CPU per {unit} | to the first | KiB per connection |");
    let _ = writeln!(out, "|---|---|---|---|");
    for point in &it.points {
        let first = it.points[0].cpu.median;
        let memory = if *unit == "event" { format!("{:.1}", point.memory.median) } else { "-".to_owned() };
        let Spread { median, low, high, .. } = point.cpu;
        let ratio = median / first;
        let _ =
            writeln!(out, "| {} | {median:.1} ({low:.1}-{high:.1}) | {ratio:.2} | {memory} |", point.amount);
    }
}

/// What one worker does where there are more of them, against what it did alone.
fn efficiency(out: &mut String, it: &Measured) {
    let Line { what, while_, unit, .. } = &it.line;
    let _ = writeln!(
        out,
        "| {what} ({while_}) | {unit}s/s | of each worker, to the first | CPU per {unit} | to the first | p99 us | load busy % |"
    );
    let _ = writeln!(out, "|---|---|---|---|---|---|---|");
    for point in &it.points {
        let first = &it.points[0];
        let Spread { median, low, high, .. } = point.cpu;
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.2} | {median:.1} ({low:.1}-{high:.1}) | {:.2} | {:.0} | {:.0} |",
            point.amount,
            point.per_s.median,
            point.per_s.median / first.per_s.median / point.amount as f64 * first.amount as f64,
            median / first.cpu.median,
            point.p99.median,
            point.load_busy * 100.0,
        );
    }
}

const WIDTH: f64 = 860.0;
const CELL_HEIGHT: f64 = 190.0;
const COLUMNS: usize = 3;
const MARGIN: f64 = 34.0;

/// A small plot for each line: CPU per unit from zero up, against the amount in steps.
pub fn picture(measured: &[Measured]) -> String {
    let cell_width = WIDTH / COLUMNS as f64;
    let height = CELL_HEIGHT * measured.len().div_ceil(COLUMNS) as f64;
    let mut body = String::new();
    for (number, it) in measured.iter().enumerate() {
        let x = cell_width * (number % COLUMNS) as f64;
        let y = CELL_HEIGHT * (number / COLUMNS) as f64;
        plot(&mut body, it, x, y, cell_width);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn plot(body: &mut String, it: &Measured, x: f64, y: f64, width: f64) {
    let most = it.points.iter().map(|point| point.cpu.high).fold(f64::MIN_POSITIVE, f64::max) * 1.15;
    let (left, bottom) = (x + MARGIN, y + CELL_HEIGHT - MARGIN);
    let step = (width - 2.0 * MARGIN) / (it.points.len().max(2) - 1) as f64;
    let at = |number: usize, value: f64| {
        (left + step * number as f64, bottom - value / most * (CELL_HEIGHT - 2.0 * MARGIN))
    };
    let _ = writeln!(
        body,
        "<text x=\"{left:.1}\" y=\"{:.1}\" font-weight=\"bold\" fill=\"#222222\">{}: µs per {}</text>\
         <path d=\"M{left:.1} {:.1}V{bottom:.1}H{:.1}\" stroke=\"#9aa7b8\" fill=\"none\"/>",
        y + 18.0,
        it.line.what.replace('`', ""),
        it.line.unit,
        y + MARGIN,
        x + width - MARGIN,
    );
    let mut path = String::new();
    for (number, Point { amount, cpu, .. }) in it.points.iter().enumerate() {
        let (px, py) = at(number, cpu.median);
        let (low, high) = (at(number, cpu.low).1, at(number, cpu.high).1);
        let _ = write!(path, "{}{px:.1} {py:.1}", if number == 0 { "M" } else { "L" });
        let _ = writeln!(
            body,
            "<path d=\"M{px:.1} {low:.1}V{high:.1}\" stroke=\"#222222\"/>\
             <text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222222\">{amount}</text>\
             <text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#1b7f5c\">{:.1}</text>",
            bottom + 14.0,
            high - 5.0,
            cpu.median,
        );
    }
    let _ = writeln!(body, "<path d=\"{path}\" stroke=\"#1b7f5c\" stroke-width=\"2\" fill=\"none\"/>");
}
