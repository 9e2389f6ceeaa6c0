//! Whether a server is still the one that was read before.
//!
//! Owns: the number of a server's life. It only grows; where the server tells when it started, it is that time, so that
//! another run of ours finds the same number.
//! Must not: read the clock, or take a page that lies (zeros, NaN, thousandfold values) for a restart.
//! Read next: `watch.rs`, which asks.

use super::Reading;
use crate::bounds::running as bounds;

/// Follows one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Lives {
    generation: u64,
    /// Its page was read.
    read: bool,
    /// It answered anything.
    answered: bool,
    refused: bool,
    started: Option<f64>,
    work: Option<f64>,
}

impl Default for Lives {
    fn default() -> Self {
        Self { generation: 1, read: false, answered: false, refused: false, started: None, work: None }
    }
}

impl Lives {
    /// The number of the life it is in.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Nobody listened at its address.
    pub fn refused(&mut self) {
        self.refused = true;
    }

    /// It answered something that tells no numbers.
    pub fn answered(&mut self) {
        // Where it tells its start, the next page knows better.
        if std::mem::take(&mut self.refused) && self.started.is_none() && self.answered {
            self.generation += 1;
            self.work = None;
        }
        self.answered = true;
    }

    /// It was read; `now` is unix time in seconds.
    pub fn saw(&mut self, reading: &Reading, now: f64) {
        let plausible = |start: &f64| *start > 0.0 && *start <= now + bounds::CLOCK_AHEAD_S_MAX;
        let started = reading.process_start.filter(plausible);
        match (self.started, started) {
            (None, None) => self.judge_by_work(reading.work),
            (None, Some(start)) => {
                if !self.read {
                    self.generation = self.generation.max(millis(start));
                }
                self.started = Some(start);
                self.work = reading.work.or(self.work);
            }
            (Some(before), Some(start)) if (before - start).abs() > SAME_START_S => {
                self.generation = (self.generation + 1).max(millis(start));
                self.started = Some(start);
                self.work = reading.work;
            }
            (Some(_), Some(_)) => {
                self.refused = false; // the network was away, not the server
                self.judge_by_work(reading.work);
            }
            (Some(_), None) => {} // it told its start before, so this page cannot be believed
        }
        (self.read, self.answered, self.refused) = (true, true, false);
    }

    /// The data plane knows a later number: an earlier run of ours got further.
    pub fn adopt(&mut self, known: u64) {
        self.generation = self.generation.max(known);
    }

    fn judge_by_work(&mut self, work: Option<f64>) {
        let backwards = self.work.zip(work).is_some_and(|(before, now)| now < before);
        if backwards || (self.refused && self.answered) {
            self.generation += 1;
            self.work = None;
        }
        self.work = work.or(self.work);
    }
}

/// Two front-end processes of one server start at nearly the same time, and which one answers changes.
const SAME_START_S: f64 = 1.0;

fn millis(unix_s: f64) -> u64 {
    (unix_s * 1_000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    fn reading(started: Option<f64>, work: Option<f64>) -> Reading {
        Reading { process_start: started, work, ..Reading::default() }
    }

    fn generations(pages: &[(Option<f64>, Option<f64>)]) -> Vec<u64> {
        let mut lives = Lives::default();
        let mut see = |page: &(Option<f64>, Option<f64>)| {
            lives.saw(&reading(page.0, page.1), NOW);
            lives.generation()
        };
        pages.iter().map(&mut see).collect()
    }

    #[test]
    fn the_start_time_is_the_number_so_another_run_finds_the_same() {
        let page = (Some(NOW - 100.5), Some(5.0));
        assert_eq!(generations(&[page, page]), [1_799_999_899_500; 2]);
        let later = (Some(NOW - 10.0), Some(0.0));
        assert_eq!(generations(&[page, later]), [1_799_999_899_500, 1_799_999_990_000]);
        let clock_set_back = (Some(NOW - 500.0), Some(0.0));
        assert_eq!(generations(&[page, clock_set_back])[1], 1_799_999_899_501, "it only grows");
    }

    #[test]
    fn work_that_runs_backwards_is_a_restart() {
        assert_eq!(generations(&[(None, Some(5.0)), (None, Some(9.0)), (None, Some(1.0))]), [1, 1, 2]);
        let start = Some(NOW - 10.0);
        let told = generations(&[(start, Some(9.0)), (start, Some(1.0)), (start, Some(2.0))]);
        assert_eq!((told[1] - told[0], told[2] - told[1]), (1, 0));
        assert_eq!(generations(&[(None, Some(5.0)), (None, None), (None, Some(6.0))]), [1, 1, 1]);
    }

    #[test]
    fn a_page_that_lies_is_no_restart() {
        let honest = (Some(NOW - 10.0), Some(9.0));
        let zeros = (Some(0.0), Some(0.0));
        let thousandfold = (Some((NOW - 10.0) * 1_000.0), Some(9.0));
        let empty = (None, None);
        let told = generations(&[honest, zeros, thousandfold, empty, honest]);
        assert!(told.iter().all(|generation| *generation == told[0]), "{told:?}");
    }

    #[test]
    fn a_refusal_and_then_an_answer_is_a_restart_unless_the_start_says_otherwise() {
        let mut lives = Lives::default();
        lives.saw(&reading(None, None), NOW);
        lives.refused();
        lives.saw(&reading(None, None), NOW);
        assert_eq!(lives.generation(), 2);
        lives.refused();
        lives.answered();
        lives.answered();
        assert_eq!(lives.generation(), 3);

        let mut lives = Lives::default();
        lives.saw(&reading(Some(NOW), None), NOW);
        let before = lives.generation();
        lives.refused();
        lives.answered();
        lives.saw(&reading(Some(NOW), None), NOW);
        assert_eq!(lives.generation(), before);
    }

    #[test]
    fn a_server_that_was_down_when_we_came_is_in_its_first_life() {
        let mut lives = Lives::default();
        lives.refused();
        lives.answered();
        assert_eq!(lives.generation(), 1);
        lives.adopt(7);
        lives.adopt(3);
        assert_eq!(lives.generation(), 7);
    }
}
