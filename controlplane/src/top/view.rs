//! How the live view is drawn.
//!
//! Owns: the layout and the colours. Must not: compute; that is `rates.rs`.

use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use super::rates::{FRESH_S, Flow, Queue, Row, Verdict, View};

/// Draws all of it. Without colours emphasis is all there is.
pub fn draw(frame: &mut Frame<'_>, view: &View, colored: bool) {
    let paint = Paint { colored };
    let queues = view.queues.len().min(QUEUE_LINES_MAX) as u16;
    let areas = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(queues),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [head, lines, table, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(heading(view, &paint)), head);
    frame.render_widget(Paragraph::new(queued(view, &paint)), lines);
    endpoints(frame, table, view, &paint);
    frame.render_widget(Paragraph::new(footing(view)), foot);
}

struct Paint {
    colored: bool,
}

impl Paint {
    fn strong(&self, color: Color) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colored { style.fg(color) } else { style }
    }

    fn faint(&self) -> Style {
        if self.colored { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }
}

fn heading(view: &View, paint: &Paint) -> Vec<Line<'static>> {
    let View { version, generation, workers, connections, exchanges, .. } = view;
    let up = span(view.uptime_s);
    let draining = if view.draining { ", draining" } else { "" };
    let first = format!(
        "ringway {version}, up {up}, generation {generation}, {workers}, {connections} connections, \
         {exchanges} exchanges{draining}"
    );
    let (who, color, why) = told(view.verdict);
    let second = Line::from(vec![Span::styled(who, paint.strong(color)), Span::raw(why)]);
    let Flow { requests, failures, tokens_in, tokens_out, cached } = view.all;
    let cached = cached.map_or(String::new(), |share| format!(", {:.0} % of it cached", share * 100.0));
    let third = format!(
        "{} req/s, {} errors/s, {} tokens/s out, {} tokens/s in{cached}",
        rate(requests),
        rate(failures),
        rate(tokens_out),
        rate(tokens_in)
    );
    vec![Line::raw(first), second, Line::raw(third)]
}

/// Backends whose queue has a line of its own.
const QUEUE_LINES_MAX: usize = 8;

/// The queues in front of backends, those with most waiting first where there are too many.
fn queued(view: &View, paint: &Paint) -> Vec<Line<'static>> {
    let mut queues: Vec<&Queue> = view.queues.iter().collect();
    if queues.len() > QUEUE_LINES_MAX {
        queues.sort_by_key(|queue| std::cmp::Reverse(queue.waiting.iter().sum::<u32>()));
    }
    let line = |queue: &&Queue| {
        let [interactive, default, batch] = queue.waiting;
        let all = interactive + default + batch;
        let style = if all > 0 { paint.strong(Color::Yellow) } else { Style::new() };
        let text = format!(
            "queue {}: {all} wait ({interactive} interactive, {default} default, {batch} batch; {}), {} go/s, {} refused/s",
            queue.backend,
            size(queue.bytes),
            rate(queue.granted),
            rate(queue.refused)
        );
        Line::styled(text, style)
    };
    queues.iter().take(QUEUE_LINES_MAX).map(line).collect()
}

fn size(bytes: u64) -> String {
    match bytes {
        small if small < 1 << 10 => format!("{small} B"),
        middle if middle < 1 << 20 => format!("{} KiB", middle >> 10),
        large => format!("{} MiB", large >> 20),
    }
}

/// Who it is, and why.
fn told(verdict: Verdict) -> (&'static str, Color, String) {
    match verdict {
        Verdict::Idle => ("idle", Color::Gray, ": nothing ended since the last look".to_owned()),
        Verdict::Gateway { own_ms, first_byte_ms } => {
            let (own, all) = (millis(own_ms), millis(first_byte_ms));
            ("the gateway", Color::Red, format!(" took {own} of the {all} to the first byte"))
        }
        Verdict::Servers { own_ms, first_byte_ms, waiting, fullest } => {
            let (own, all) = (millis(own_ms), millis(first_byte_ms));
            let mut why = format!(": of {all} to the first byte the gateway took {own}");
            match waiting {
                0 => {}
                1 => why += "; 1 request waits in them",
                waiting => {
                    let _ = write!(why, "; {waiting} requests wait in them"); // a String takes all
                }
            }
            if let Some(kv) = fullest {
                let _ = write!(why, "; fullest KV cache {}", percent(kv));
            }
            ("the servers", Color::Green, why)
        }
    }
}

const COLUMNS: [(&str, u16); 11] = [
    ("ENDPOINT", 0),
    ("STATE", 9),
    ("REQ/S", 7),
    ("ERR/S", 6),
    ("TTFT", 8),
    ("TOK/S", 7),
    ("OURS", 5),
    ("RUN", 5),
    ("WAIT", 5),
    ("KV", 10),
    ("AGE", 6),
];
const ENDPOINT_COLUMNS_MIN: u16 = 16;
const BAR_CELLS: usize = 5;

fn endpoints(frame: &mut Frame<'_>, area: Rect, view: &View, paint: &Paint) {
    let width = |&(_, width): &(&str, u16)| match width {
        0 => Constraint::Min(ENDPOINT_COLUMNS_MIN),
        width => Constraint::Length(width),
    };
    let rows = view.rows.iter().map(|row| table_row(row, paint));
    let header =
        TableRow::new(COLUMNS.iter().enumerate().map(|(at, (name, _))| aligned(at, (*name).to_owned())));
    let table = Table::new(rows, COLUMNS.iter().map(width))
        .header(header.style(Style::new().add_modifier(Modifier::BOLD)))
        .column_spacing(1);
    frame.render_widget(table, area);
}

fn table_row(row: &Row, paint: &Paint) -> TableRow<'static> {
    let fresh = row.age_s.is_some_and(|age| age < FRESH_S);
    let state = match row.state.as_str() {
        "ok" => Style::new(),
        "open" => paint.strong(Color::Red),
        _ => paint.strong(Color::Yellow),
    };
    let said = if fresh { Style::new() } else { paint.faint() };
    let failing = if row.flow.failures > 0.0 { paint.strong(Color::Red) } else { Style::new() };
    let count = |count: Option<u32>| count.map_or("-".to_owned(), |count| count.to_string());
    let cells = [
        (row.endpoint.clone(), Style::new()),
        (row.state.clone(), state),
        (rate(row.flow.requests), Style::new()),
        (rate(row.flow.failures), failing),
        (row.first_token_ms.map_or("-".to_owned(), millis), Style::new()),
        (rate(row.flow.tokens_out), Style::new()),
        (row.in_flight.to_string(), Style::new()),
        (count(row.running), said),
        (count(row.waiting), if row.waiting > Some(0) && fresh { paint.strong(Color::Yellow) } else { said }),
        (row.kv.map_or("-".to_owned(), bar), said),
        (row.age_s.map_or("never".to_owned(), age), said),
    ];
    let cells = cells.into_iter().enumerate();
    TableRow::new(cells.map(|(at, (text, style))| aligned(at, text).style(style)))
}

/// Names to the left, numbers to the right.
fn aligned(column: usize, text: String) -> Cell<'static> {
    let line = Line::raw(text);
    Cell::new(if column < 2 { line } else { line.right_aligned() })
}

fn footing(view: &View) -> String {
    let paused = if view.paused { "   PAUSED" } else { "" };
    format!(
        "q quit   s sort: {}   p pause{paused}   OURS: sent by this gateway; RUN, WAIT, KV: as the server says",
        view.sort.name()
    )
}

fn bar(share: f64) -> String {
    let full = (share * BAR_CELLS as f64).round() as usize;
    format!(
        "{}{} {}",
        "#".repeat(full.min(BAR_CELLS)),
        ".".repeat(BAR_CELLS.saturating_sub(full)),
        percent(share)
    )
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{small:.1}"),
        middle if middle < 10_000.0 => format!("{middle:.0}"),
        large => format!("{:.1}k", large / 1_000.0),
    }
}

fn millis(ms: f64) -> String {
    match ms {
        small if small < 10.0 => format!("{small:.2} ms"),
        middle if middle < 1_000.0 => format!("{middle:.0} ms"),
        large => format!("{:.2} s", large / 1_000.0),
    }
}

fn age(seconds: f64) -> String {
    match seconds {
        small if small < 10.0 => format!("{small:.1}s"),
        large => format!("{large:.0}s"),
    }
}

fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::Sort;

    fn view() -> View {
        let busy =
            Flow { requests: 12.4, failures: 0.5, tokens_in: 9_300.0, tokens_out: 812.0, cached: Some(0.31) };
        let row = |endpoint: &str, state: &str| Row {
            endpoint: endpoint.to_owned(),
            state: state.to_owned(),
            flow: busy,
            in_flight: 7,
            first_token_ms: Some(412.4),
            running: Some(7),
            waiting: Some(3),
            kv: Some(0.62),
            age_s: Some(0.4),
        };
        let silent = Row {
            flow: Flow::default(),
            first_token_ms: None,
            running: None,
            waiting: None,
            kv: None,
            age_s: None,
            in_flight: 0,
            ..row("llama/10.0.0.2:8000", "open")
        };
        View {
            version: "0.1.0".to_owned(),
            uptime_s: 7_300.0,
            generation: 4,
            workers: "2 x uring-defer".to_owned(),
            connections: 31,
            exchanges: 7,
            draining: false,
            all: busy,
            verdict: Verdict::Servers {
                own_ms: 0.052,
                first_byte_ms: 398.0,
                waiting: 3,
                fullest: Some(0.62),
            },
            rows: vec![row("llama/10.0.0.1:8000", "ok"), silent],
            queues: vec![Queue {
                backend: "llama".to_owned(),
                waiting: [2, 9, 1],
                bytes: 40_960,
                granted: 3.5,
                refused: 0.5,
            }],
            sort: Sort::Config,
            paused: false,
        }
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a pretended terminal");
        terminal.draw(|frame| draw(frame, view, true)).expect("it draws anything");
        let lines = terminal.backend().to_string();
        lines.lines().map(|line| line.trim_matches('"').trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn the_whole_view_is_this() {
        let expected = include_str!("view.txt");
        let found = drawn(&view(), 114, 8);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn no_terminal_is_too_small() {
        for (width, height) in [(1, 1), (10, 3), (40, 5), (400, 100)] {
            let _ = drawn(&view(), width, height);
        }
    }

    #[test]
    fn the_gateway_is_named_where_it_is_the_gateway() {
        let verdict = Verdict::Gateway { own_ms: 120.0, first_byte_ms: 150.0 };
        let text = drawn(&View { verdict, ..view() }, 110, 7);
        assert!(text.contains("the gateway took 120 ms of the 150 ms to the first byte"), "{text}");
    }
}
