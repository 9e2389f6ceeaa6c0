//! Runs scenarios and puts bars beside what was measured.
//!
//! Owns: the order of runs, the run of S1 that others are compared with, and the rows of the result.
//! Must not: print.
//! Read next: [`super::table`], which does.

use std::rc::Rc;

use ringway_contract::snapshot::Balance;
use serde::Serialize;

use super::bars::{Bar, Held, Measure};
use super::drive;
use super::judge::Figures;
use super::material::{Library, NoMaterial, Workload};
use super::outcome::Record;
use super::scenarios::{self, Case};
use super::setup::Setup;

/// One run with what is needed to judge it.
pub struct Ran {
    /// What arrived.
    pub workload: Workload,
    /// What became of it.
    pub record: Record,
    /// The figures.
    pub figures: Figures,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The scenario's id.
    pub scenario: &'static str,
    /// The policy's name in a configuration.
    pub policy: &'static str,
    /// What tells the scenario's variants apart.
    pub variant: &'static str,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
    /// What has to be reached, with what was measured; empty: nothing.
    pub bar: String,
    /// Whether all of it was; none: there was no bar.
    pub met: Option<bool>,
}

/// Runs scenarios on the traces of one seed.
pub struct Runner {
    library: Library,
    s1: Option<Rc<Ran>>,
}

impl Runner {
    /// On these traces.
    pub fn new(library: Library) -> Self {
        Self { library, s1: None }
    }

    /// Runs a case with a policy.
    ///
    /// # Errors
    /// A trace cannot be read.
    pub fn run(&mut self, case: &Case, policy: Balance) -> Result<(Row, Rc<Ran>), NoMaterial> {
        let ran = self.ran(case, policy)?;
        let mut held: Vec<Held> =
            (case.bars)(policy).into_iter().map(|bar| held(bar, &ran.figures)).collect();
        if let Some(less) = case.beside_s1 {
            let least = self.s1()?.figures.goodput - less;
            held.push(self::held(Bar::least(Measure::Goodput, least), &ran.figures));
        }
        if let Some(extra) = case.extra {
            let other = match case.beside {
                Some(change) => Rc::new(self.run_changed(case, policy, change)?),
                None => self.s1()?,
            };
            held.extend(extra(&ran, &other));
        }
        Ok((row(case, policy, ran.figures, &held), ran))
    }

    fn ran(&mut self, case: &Case, policy: Balance) -> Result<Rc<Ran>, NoMaterial> {
        let s1 = case.scenario == "S1" && policy == Balance::Gpu;
        if let Some(known) = self.s1.as_ref().filter(|_| s1) {
            return Ok(Rc::clone(known));
        }
        let ran = Rc::new(self.run_changed(case, policy, |_| {})?);
        if s1 {
            self.s1 = Some(Rc::clone(&ran));
        }
        Ok(ran)
    }

    fn run_changed(
        &mut self,
        case: &Case,
        policy: Balance,
        change: fn(&mut Setup),
    ) -> Result<Ran, NoMaterial> {
        let workload = case.arrivals.workload(&mut self.library)?;
        let mut setup = Setup::new(case.engines, policy, self.library.seed());
        (case.change)(&mut setup);
        change(&mut setup);
        let record = drive::run(&setup, &workload);
        let figures = Figures::of(&record, &workload, &setup);
        Ok(Ran { workload, record, figures })
    }

    fn s1(&mut self) -> Result<Rc<Ran>, NoMaterial> {
        self.ran(&scenarios::s1(), Balance::Gpu)
    }
}

fn held(bar: Bar, figures: &Figures) -> Held {
    let value = match bar.measure {
        Measure::Goodput => figures.goodput,
        Measure::Reachable => figures.reachable,
        Measure::TtftP99S => figures.ttft_p99_s,
        Measure::Hit => figures.hit,
        Measure::Other(_) => f64::NAN,
    };
    Held { bar, value }
}

fn row(case: &Case, policy: Balance, figures: Figures, held: &[Held]) -> Row {
    Row {
        scenario: case.scenario,
        policy: name(policy),
        variant: case.variant,
        figures,
        bar: held.iter().map(Held::told).collect::<Vec<_>>().join("; "),
        met: (!held.is_empty()).then(|| held.iter().all(Held::is_met)),
    }
}

/// The name of a policy in a configuration.
pub const fn name(policy: Balance) -> &'static str {
    match policy {
        Balance::Gpu => "gpu",
        Balance::LeastRequests => "least_requests",
        Balance::P2c => "p2c",
        Balance::RoundRobin => "round_robin",
        Balance::Hash => "hash",
    }
}
