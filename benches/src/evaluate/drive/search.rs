//! Where a request goes, and its wait until it may.
//!
//! Owns: the order in which balancing and the queue are asked, as `dataplane/src/dispatch.rs` has it.
//! Must not: answer for them.
//! Read next: [`super`], which binds what was found.

use std::time::Duration;

use ringway_dataplane::admission::line::Verdict;
use ringway_dataplane::admission::open::{Need, Whose};
use ringway_dataplane::admission::promise::Mark;
use ringway_dataplane::admission::queue::{Join, TenantId, Ticket, Want, Weight};
use ringway_dataplane::balance::Pick;
use ringway_dataplane::balance::prompt::Prompt;
use ringway_gpusim::virtual_time::VirtualFleet;

use super::{Drive, us};
use crate::evaluate::alarms::Alarm;
use crate::evaluate::outcome::Fate;

const BEAT: Duration = Duration::from_millis(ringway_dataplane::bounds::QUEUE_BEAT_MS);
/// How often one request may be let go in vain, as in `dispatch.rs`.
const VAIN_MAX: u32 = 16;

impl<'a> Drive<'a> {
    pub(super) fn with_prompt<T>(&self, number: u32, with: impl FnOnce(&mut Prompt) -> T) -> T {
        let row = self.live[number as usize].out.ask.row;
        self.workload.material.with_prompt(row, with)
    }

    /// An endpoint that was not tried; among those near open, if the queue lets it go.
    pub(super) fn pick(&self, number: u32, near: Option<&dyn Fn(usize) -> bool>) -> Option<Pick<'a>> {
        let live = &self.live[number as usize];
        self.with_prompt(number, |prompt| {
            live.gateway.pick((prompt, live.out.ask.adapter), &live.tried, near, self.now)
        })
    }

    /// Whether room was kept for it.
    fn whose(&self, number: u32) -> Whose {
        self.live[number as usize].ticket.map_or(Whose::Anyone, Ticket::whose)
    }

    pub(super) fn pick_near(&self, number: u32, need: Need) -> Option<Pick<'a>> {
        let whose = self.whose(number);
        let gateway = self.live[number as usize].gateway;
        let admission = gateway.admission()?;
        let takes = |at: usize| admission.takes(gateway.endpoints(), at, (whose, need), self.now);
        self.pick(number, Some(&takes))
    }

    /// Looks for an endpoint, and waits for one if the backend is not open.
    pub(super) fn search(&mut self, fleet: &mut VirtualFleet, number: u32) {
        let gateway = self.live[number as usize].gateway;
        let Some(pick) = self.pick(number, None) else { return self.end(fleet, number, Fate::Nowhere) };
        let Some(admission) = gateway.admission() else { return self.bind(fleet, number, pick) };
        let need = self.need(number, &pick);
        if admission.is_open(gateway.endpoints(), pick.at, need, self.now)
            && let Some(pick) = self.pick_near(number, need)
        {
            return self.bind(fleet, number, pick);
        }
        let join = match self.live[number as usize].attempts {
            0 => Join::InTurn,
            _ => self.again(number, Whose::Anyone),
        };
        self.wait(fleet, number, &pick, join);
    }

    pub(super) fn need(&self, number: u32, pick: &Pick<'_>) -> Need {
        let gateway = self.live[number as usize].gateway;
        let load = self.with_prompt(number, |prompt| gateway.estimated(pick, prompt));
        Need { prompt: load.prompt as u32, miss: load.miss as u32 }
    }

    pub(super) fn again(&self, number: u32, whose: Whose) -> Join {
        Join::Again { arrived_us: us(self.live[number as usize].asked), whose }
    }

    pub(super) fn wait(&mut self, fleet: &mut VirtualFleet, number: u32, pick: &Pick<'a>, join: Join) {
        let need = self.need(number, pick);
        let live = &self.live[number as usize];
        let (gateway, ask) = (live.gateway, live.out.ask);
        let Some(admission) = gateway.admission() else { return };
        let want = Want {
            tenant: if ask.tenant == 0 { TenantId::EVERYONE } else { TenantId::new(ask.tenant) },
            weight: Weight::new(ask.weight),
            class: ask.class,
            need,
            prefill_us: (1e6 * admission.pool().prefill_s(pick.at, need.miss as f32)) as u64,
            bytes: self.with_prompt(number, |prompt| prompt.bytes()),
            wait_us_max: None,
            mark: Some(Mark(number.into())),
        };
        self.live[number as usize].pick = Some(*pick);
        match gateway.join(admission, (join, want, number), self.now) {
            Ok(ticket) => {
                self.live[number as usize].ticket = Some(ticket);
                self.beat(fleet);
            }
            Err(no) => self.refuse(fleet, number, no),
        }
    }

    pub(super) fn beat(&mut self, fleet: &mut VirtualFleet) {
        if !std::mem::replace(&mut self.beats, true) {
            fleet.set_timer(fleet.now() + BEAT, Alarm::Beat.name());
        }
    }

    /// Reads all verdicts; acting on one may cause others.
    pub(super) fn read_letters(&mut self, fleet: &mut VirtualFleet) {
        for gateway in self.gateways {
            while let Some((number, verdict)) = gateway.letter() {
                self.told(fleet, number, verdict);
            }
        }
    }

    pub(super) fn told(&mut self, fleet: &mut VirtualFleet, number: u32, verdict: Verdict) {
        if self.live[number as usize].out.fate != Fate::Open {
            return; // its caller left while the verdict was under way
        }
        match verdict {
            Verdict::Go => self.go(fleet, number),
            Verdict::No(no) => self.refuse(fleet, number, no),
            Verdict::NoEndpoint => self.end(fleet, number, Fate::Nowhere),
            Verdict::Draining => unreachable!("no gateway here ends"),
        }
    }

    pub(super) fn go(&mut self, fleet: &mut VirtualFleet, number: u32) {
        let before = self.live[number as usize].pick.expect("it waits for one");
        let need = self.need(number, &before);
        if let Some(pick) = self.pick_near(number, need) {
            return self.bind(fleet, number, pick);
        }
        let whose = self.whose(number);
        self.leave_queue(number);
        let live = &mut self.live[number as usize];
        live.vain += 1;
        if live.vain == VAIN_MAX {
            return self.end(fleet, number, Fate::Nowhere);
        }
        let join = self.again(number, whose);
        self.wait(fleet, number, &before, join);
    }

    pub(super) fn leave_queue(&mut self, number: u32) {
        let live = &mut self.live[number as usize];
        if let (Some(ticket), Some(admission)) = (live.ticket.take(), live.gateway.admission()) {
            admission.leave(ticket);
        }
    }
}
