//! `top`: looks again and again, and draws.
//!
//! Owns: the terminal, its keys, and the pace. Must not: leave the terminal raw, however it ends.
//! Read next: [`crate::top`], what is drawn.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ringway_contract::stats::Stats;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{Context, Failure, output};
use crate::top::{Sort, View, draw, queue_lines};

pub(super) async fn top(context: &Context, interval: f64, once: bool) -> Result<(), Failure> {
    let interval = Duration::from_secs_f64(interval);
    let first = context.dataplane().stats().await?; // before the terminal changes: an error stays readable
    if once {
        return print_once(context, first, interval).await;
    }
    if !io::stdout().is_terminal() {
        let what = "`ringctl top` draws on a terminal; `--once` prints one view, `ringctl backends list -o json` is for programs";
        return Err(Failure::Usage(what.to_owned()));
    }
    let mut terminal = ratatui::try_init().map_err(|why| failed(&why))?;
    let outcome = follow(context, first, interval, &mut terminal).await;
    ratatui::restore();
    outcome
}

async fn print_once(context: &Context, before: Stats, interval: Duration) -> Result<(), Failure> {
    const WIDTH: u16 = 120;
    const LINES_AROUND: u16 = 5;
    let began = Instant::now();
    sleep(interval).await;
    let now = context.dataplane().stats().await?;
    let view = View::between(&before, &now, began.elapsed(), Sort::Config);
    let rows = u16::try_from(view.rows.len()).unwrap_or(u16::MAX);
    let height = rows.saturating_add(LINES_AROUND + queue_lines(&view));
    let mut terminal = Terminal::new(TestBackend::new(WIDTH, height)).map_err(|why| failed(&why))?;
    terminal.draw(|frame| draw(frame, &view, false)).map_err(|why| failed(&why))?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for line in buffer.content().chunks(usize::from(WIDTH)).take(usize::from(height - 1)) {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        text += line.trim_end();
        text.push('\n');
    }
    output::print(&text)
}

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Quit,
    Sort,
    Pause,
    Redraw,
}

async fn follow(
    context: &Context,
    mut before: Stats,
    interval: Duration,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<(), Failure> {
    let mut keys = keys();
    let mut term = signal(SignalKind::terminate()).map_err(|why| failed(&why))?;
    let mut looked = Instant::now();
    let mut view = View::between(&before, &before, interval, Sort::Config);
    let colored = output::colored_out(context.color);
    loop {
        terminal.draw(|frame| draw(frame, &view, colored)).map_err(|why| failed(&why))?;
        tokio::select! {
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(Key::Sort) => view.sort(view.sort.next()),
                Some(Key::Pause) => view.paused = !view.paused,
                Some(Key::Redraw) => {}
            },
            _ = term.recv() => return Ok(()),
            () = tokio::time::sleep_until(looked + interval), if !view.paused => {
                let now = context.dataplane().stats().await?;
                view = View::between(&before, &now, looked.elapsed(), view.sort);
                (before, looked) = (now, Instant::now());
            }
        }
    }
}

/// Keys as they are typed, read on a thread: a terminal has no other way to wait. It ends with the process.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let Some(key) = meaning(&event) else { continue };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Redraw),
        Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => match code {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('s') => Some(Key::Sort),
            KeyCode::Char('p' | ' ') => Some(Key::Pause),
            _ => None,
        },
        _ => None,
    }
}

fn failed(why: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("the terminal cannot be used: {why}; `ringctl top --once` needs none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_footer_says() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(key(KeyCode::Char('s'), KeyModifiers::NONE), Some(Key::Sort));
        assert_eq!(key(KeyCode::Char('p'), KeyModifiers::NONE), Some(Key::Pause));
    }
}
