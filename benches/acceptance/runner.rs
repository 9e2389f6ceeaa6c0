//! Runs a case in virtual time and over sockets, and puts bars beside both.
//!
//! Owns: the order of things, and the run of S1 that another is compared with.
//! Must not: judge by other measures than those of virtual time: what callers saw goes through the same functions.
//! Read next: `callers.rs` (the load), `stand.rs` (the processes); `benches/src/evaluate/runner.rs`, its sibling.

use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::{scope, sleep};

use ringway_benches::evaluate::drive;
use ringway_benches::evaluate::judge::Figures;
use ringway_benches::evaluate::material::{Library, Workload};
use ringway_benches::evaluate::runner::Ran;
use ringway_benches::evaluate::scenarios::Case as Scenario;
use ringway_benches::evaluate::setup::Setup;
use ringway_contract::snapshot::Balance;

use crate::callers::{self, Heard};
use crate::cases::{self, Case};
use crate::report::Row;
use crate::stand::{Manner, Stand};

/// Runs cases on the traces of one seed.
pub struct Runner {
    traces: Option<PathBuf>,
    library: Library,
    seed: u64,
    rows: usize,
    time_scale: f64,
    s1: Option<Rc<Ran>>,
}

/// A run over sockets, with what its callers say of themselves.
pub struct Done {
    /// The run.
    pub ran: Ran,
    /// What is known of the load.
    pub heard: Heard,
    /// The figures of the same in virtual time.
    pub virtual_figures: Figures,
}

impl Runner {
    /// On the first `rows` of these traces; times are divided by `time_scale` unless a case says otherwise.
    pub fn new(traces: Option<PathBuf>, seed: u64, rows: usize, time_scale: f64) -> Self {
        let library = Library::new(traces.clone(), seed, Some(rows));
        Self { traces, library, seed, rows, time_scale, s1: None }
    }

    /// Runs a case with a policy. `fresh` is the goodput that the same scenario had with nothing wrong.
    pub fn run(&mut self, case: &Case, policy: Balance, fresh: Option<f64>) -> Result<Row, Box<dyn Error>> {
        let done = self.done(case, policy, |_| {})?;
        let bar = case.bar(policy, self.rows, done.virtual_figures.goodput, fresh);
        let mut held = Vec::new();
        if let Some(extra) = case.of.extra.filter(|_| policy == Balance::Gpu) {
            held = match (case.of.beside, case.beside_s1) {
                (Some(change), _) => extra(&done.ran, &self.done(case, policy, change)?.ran),
                (None, true) => extra(&done.ran, &*self.s1()?),
                (None, false) => extra(&done.ran, &done.ran), // it looks at one run only
            };
        }
        let row = Row::new(case, policy, &done, bar, &held);
        if (case.of.scenario, case.variant, policy) == ("S1", "", Balance::Gpu) {
            self.s1 = Some(Rc::new(done.ran));
        }
        Ok(row)
    }

    fn s1(&mut self) -> Result<Rc<Ran>, Box<dyn Error>> {
        if let Some(known) = &self.s1 {
            return Ok(Rc::clone(known));
        }
        let first = &cases::all()[0];
        let ran = Rc::new(self.done(first, Balance::Gpu, |_| {})?.ran);
        self.s1 = Some(Rc::clone(&ran));
        Ok(ran)
    }

    fn workload(&mut self, of: &Scenario, rows: Option<usize>) -> Result<Workload, Box<dyn Error>> {
        let mut own = rows.map(|rows| Library::new(self.traces.clone(), self.seed, Some(rows)));
        Ok(of.arrivals.workload(own.as_mut().unwrap_or(&mut self.library))?)
    }

    fn done(&mut self, case: &Case, policy: Balance, change: fn(&mut Setup)) -> Result<Done, Box<dyn Error>> {
        let workload = self.workload(&case.of, case.rows)?;
        let mut setup = Setup::new(case.of.engines, policy, self.seed);
        (case.of.change)(&mut setup);
        change(&mut setup);
        let virtual_figures = Figures::of(&drive::run(&setup, &workload), &workload, &setup);
        let time_scale = case.time_scale.unwrap_or(self.time_scale);
        let manner = Manner { workers: case.workers, ..Manner::of(&workload, time_scale) };
        let stand = Stand::start(&setup, &manner)?;
        let (record, heard) = scope(|scope| {
            if let Some(after) = case.killed_after {
                let stand = &stand;
                scope.spawn(move || {
                    sleep(after);
                    stand.kill_control();
                });
            }
            callers::run(&stand, &workload, &setup)
        })?;
        let figures = Figures::of(&record, &workload, &setup);
        Ok(Done { ran: Ran { workload, record, figures }, heard, virtual_figures })
    }
}
