//! Plots as SVG, written by hand: lines over two axes, and bars.
//!
//! Owns: axes, ticks and colours. Must not: know what is plotted. Read next: `html.rs`.

use std::fmt::Write as _;

const INFALLIBLE: &str = "writing to memory cannot fail";
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 300.0;
/// Room for the labels of the axes.
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 34.0;
/// Room for the names of the lines.
const RIGHT: f64 = 170.0;
/// Longer names end in an ellipsis.
const NAME_CHARS: usize = 22;
/// Told apart by most people who do not see all colours (Okabe and Ito).
pub const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a00", "#000000"];

/// One line of a plot.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines.
#[derive(Debug, Clone)]
pub struct Plot<'a> {
    /// Above it.
    pub title: &'a str,
    /// What the horizontal axis is.
    pub x: &'a str,
    /// What the vertical one is.
    pub y: &'a str,
    /// Whether the horizontal axis is logarithmic; what is not above zero is left out.
    pub log_x: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// The range of an axis, and where a value lies on it between 0 and 1.
#[derive(Clone, Copy)]
struct Axis {
    min: f64,
    max: f64,
    log: bool,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        if self.log {
            (value / self.min).ln() / (self.max / self.min).ln()
        } else {
            (value - self.min) / (self.max - self.min)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (from, to) = (self.min.log10().floor() as i32, self.max.log10().ceil() as i32);
            let all = (from..=to).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)));
            let within: Vec<_> = all.filter(|tick| (self.min..=self.max).contains(tick)).collect();
            let decades: Vec<_> =
                within.iter().copied().filter(|tick| (tick.log10().fract()).abs() < 1e-9).collect();
            return if within.len() > 9 && decades.len() > 2 { decades } else { within };
        }
        let rough = (self.max - self.min) / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= rough);
        let step = step.unwrap_or(power);
        let first = (self.min / step).ceil() as i64;
        (0..12)
            .map(|at| (first + at) as f64 * step)
            .take_while(|tick| *tick <= self.max * 1.000_001)
            .collect()
    }
}

impl Plot<'_> {
    /// The plot; nothing if there is nothing to plot.
    pub fn svg(&self) -> String {
        let usable = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!self.log_x || *x > 0.0);
        let points: Vec<_> =
            self.lines.iter().flat_map(|line| &line.points).filter(|it| usable(it)).collect();
        if points.len() < 2 {
            return String::new();
        }
        let min = points.iter().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let max = points.iter().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
        let top = points.iter().map(|point| point.1).fold(0.0, f64::max);
        let x = Axis { min, max: if max > min { max } else { min * 1.01 + 1e-9 }, log: self.log_x };
        let y = Axis { min: 0.0, max: if top > 0.0 { top * 1.05 } else { 1.0 }, log: false };
        let mut out = open(self.title);
        self.axes(&mut out, x, y);
        for (at, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let path: Vec<_> = line
                .points
                .iter()
                .filter(|it| usable(it))
                .map(|(px, py)| format!("{:.1},{:.1}", across(x.place(*px)), down(y.place(*py))))
                .collect();
            write!(
                out,
                r#"<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{}"/>"#,
                path.join(" ")
            )
            .expect(INFALLIBLE);
            legend(&mut out, at, colour, &line.name);
        }
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, out: &mut String, x: Axis, y: Axis) {
        for tick in x.ticks() {
            let at = across(x.place(tick));
            rule(out, (at, down(0.0)), (at, down(1.0)));
            label(out, (at, down(0.0) + 16.0), "middle", &short(tick));
        }
        for tick in y.ticks() {
            let at = down(y.place(tick));
            rule(out, (across(0.0), at), (across(1.0), at));
            label(out, (LEFT - 6.0, at + 4.0), "end", &short(tick));
        }
        label(out, (across(0.5), HEIGHT - 8.0), "middle", self.x);
        label(out, (LEFT - 6.0, TOP - 8.0), "end", self.y);
    }
}

/// Horizontal bars, each as long as its value; every `cycle`th has the same colour.
pub fn bars(title: &str, rows: &[(String, f64)], cycle: usize) -> String {
    const ROW: f64 = 22.0;
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let height = TOP + ROW * rows.len() as f64 + 8.0;
    let mut out = format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img">"#);
    label(&mut out, (8.0, 20.0), "start", title);
    for (at, (name, value)) in rows.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let length = 560.0 * value / most;
        let colour = COLOURS[at % cycle % COLOURS.len()];
        write!(
            out,
            r#"<rect x="240" y="{y}" width="{length:.1}" height="{:.1}" fill="{colour}"/>"#,
            ROW - 6.0
        )
        .expect(INFALLIBLE);
        label(&mut out, (232.0, y + 13.0), "end", name);
        label(&mut out, (246.0 + length, y + 13.0), "start", &short(*value));
    }
    out.push_str("</svg>\n");
    out
}

fn open(title: &str) -> String {
    let mut out = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#);
    label(&mut out, (LEFT + 8.0, 20.0), "start", title);
    out
}

fn across(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn down(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - BOTTOM - TOP)
}

fn rule(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    write!(
        out,
        r##"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="#ddd"/>"##,
        from.0, from.1, to.0, to.1
    )
    .expect(INFALLIBLE);
}

fn label(out: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let text = escape(text);
    write!(out, r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}">{text}</text>"#, at.0, at.1)
        .expect(INFALLIBLE);
}

fn legend(out: &mut String, at: usize, colour: &str, name: &str) {
    let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 14.0 + 16.0 * at as f64);
    write!(out, r#"<rect x="{x}" y="{:.1}" width="12" height="4" fill="{colour}"/>"#, y - 6.0)
        .expect(INFALLIBLE);
    let short = match name.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}\u{2026}", &name[..end]),
        None => name.to_owned(),
    };
    label(out, (x + 18.0, y), "start", &short);
}

/// A number as short as its size allows.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1}M", value / 1e6),
        size if size >= 1e4 => format!("{:.0}k", value / 1e3),
        size if size >= 100.0 || size.fract() < 1e-9 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}").trim_end_matches('0').to_owned(),
    }
}

/// Text as HTML and SVG take it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        assert_eq!(Axis { min: 0.0, max: 10.0, log: false }.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(
            Axis { min: 0.9, max: 120.0, log: true }.ticks(),
            [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
        );
        assert_eq!(Axis { min: 0.9, max: 12_000.0, log: true }.ticks(), [1.0, 10.0, 100.0, 1e3, 1e4]);
    }

    #[test]
    fn every_point_lies_inside_and_names_are_escaped() {
        let points: Vec<_> = (1..100).map(|n| (f64::from(n * n), f64::from(n) / 100.0)).collect();
        let lines = vec![Line { name: "<ttft>".to_owned(), points }];
        let svg = Plot { title: "t", x: "ms", y: "share", log_x: true, lines }.svg();
        assert!(svg.contains("&lt;ttft&gt;") && !svg.contains("<ttft>"));
        let path = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a line");
        for point in path.split(' ') {
            let (x, y) = point.split_once(',').expect("two numbers");
            let (x, y): (f64, f64) = (x.parse().expect("a number"), y.parse().expect("a number"));
            assert!((LEFT..=WIDTH).contains(&x) && (TOP..=HEIGHT).contains(&y), "{point}");
        }
        let empty = Plot { title: "t", x: "", y: "", log_x: true, lines: Vec::new() };
        assert_eq!(empty.svg(), "");
    }
}
