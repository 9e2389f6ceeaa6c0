//! The endpoints that a choice was made among, and why all but one lost.
//!
//! Owns: the words, and the order: the one that was chosen, then those that came near.
//! Must not: reckon a score by itself; the terms are those of [`crate::explain`], which are balancing's.
//! Read next: [`crate::explain`], which tells the same of requests that are not sent.

use ringway_contract::explain::{Candidate, Cost};
use ringway_contract::snapshot::Balance;

use super::Considered;
use crate::admission::open::{Need, Whose};
use crate::balance::{self, Wish};
use crate::clock::Moment;
use crate::explain;
use crate::health::State;
use crate::table::{Endpoint, Target};

/// One endpoint, before any word is made of it.
struct Place<'t> {
    target: &'t Target,
    at: usize,
    cost: Option<(f64, Cost)>,
    /// The caller's session was there, and the policy has no scale to put that on.
    session: bool,
    score: f64,
    rank: Rank,
}

/// In this order they are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Chosen,
    Rival,
    OtherTarget,
    Out,
    Unfit,
}

/// At most `room` of the endpoints, and how many more there were.
pub(super) fn candidates(
    considered: &Considered<'_, '_>,
    need: Need,
    wish: &mut Wish<'_>,
    room: usize,
) -> (Vec<Candidate>, usize) {
    let mut places = places(considered, wish);
    places.sort_by(|a, b| a.rank.cmp(&b.rank).then(a.score.total_cmp(&b.score)));
    let left_out = places.len().saturating_sub(room);
    let winner = places.first().filter(|first| first.rank == Rank::Chosen);
    let told = places.iter().take(room).map(|place| {
        let backend = &place.target.backend;
        let mut candidate = explain::candidate(backend, &backend.endpoints[place.at], place.cost);
        if let Some(why) = why(considered, need, place, winner, wish.now) {
            candidate.why = why;
        }
        candidate.eligible &= place.rank != Rank::Unfit;
        candidate
    });
    (told.collect(), left_out)
}

fn places<'t>(considered: &Considered<'_, 't>, wish: &mut Wish<'_>) -> Vec<Place<'t>> {
    let targets = match considered.stage {
        0 => &*considered.route.targets.list,
        later => std::slice::from_ref(&considered.route.fallback[later - 1]),
    };
    let chosen = considered.pick.map(|pick| pick.target);
    let is_chosen = |target: &Target| chosen.is_some_and(|chosen| std::ptr::eq(chosen, target));
    // The chosen target last: the prompt keeps the hashes of whom it was last looked up for, and dispatch takes them.
    let others = targets.iter().filter(|target| !is_chosen(target));
    let mut places = Vec::new();
    for target in others.chain(chosen) {
        let backend = &target.backend;
        let wanted = balance::wanted(target, wish.model, wish.globs, wish.session);
        let costs = explain::costs(backend, wish.prompt.as_deref_mut(), wanted, wish.now);
        for (at, endpoint) in backend.endpoints.iter().enumerate() {
            let cost = costs.get(at).copied();
            let score = explain::score(backend, endpoint, cost.as_ref());
            let rank = rank(considered, target, endpoint);
            let session = backend.gpu.is_none() && wanted.session == Some(at);
            places.push(Place { target, at, cost, session, score, rank });
        }
    }
    places
}

fn rank(considered: &Considered<'_, '_>, target: &Target, endpoint: &Endpoint) -> Rank {
    match considered.pick {
        Some(pick) if std::ptr::eq(pick.endpoint, endpoint) && std::ptr::eq(pick.target, target) => {
            Rank::Chosen
        }
        _ if considered.unfit.has(considered.route, target) => Rank::Unfit,
        _ if !endpoint.is_eligible() || considered.tried.has(endpoint) => Rank::Out,
        Some(pick) if std::ptr::eq(pick.target, target) => Rank::Rival,
        Some(_) | None => Rank::OtherTarget,
    }
}

/// Why it was chosen, or not. None: what explains its place without a request is all there is to say.
fn why(
    considered: &Considered<'_, '_>,
    need: Need,
    place: &Place<'_>,
    winner: Option<&Place<'_>>,
    now: Moment,
) -> Option<String> {
    let backend = &place.target.backend;
    let endpoint = &backend.endpoints[place.at];
    let admission = backend.admission.as_ref();
    match place.rank {
        Rank::Chosen if place.session => Some("chosen: the caller's session was here".to_owned()),
        Rank::Chosen => Some(chosen(backend.balance).to_owned()),
        Rank::Unfit => Some(UNFIT.to_owned()),
        Rank::Out if considered.tried.has(endpoint) => Some("it was tried before".to_owned()),
        Rank::Out => None,
        Rank::OtherTarget if place.target.weight == 0 => Some("its target has no weight".to_owned()),
        Rank::OtherTarget => winner.map(|_| "another target was drawn".to_owned()),
        Rank::Rival
            if admission
                .is_some_and(|it| !it.takes(&backend.endpoints, place.at, (Whose::Anyone, need), now)) =>
        {
            Some("admission is closed there: it is over its limits".to_owned())
        }
        Rank::Rival if endpoint.health.is_resting() => None,
        Rank::Rival => {
            let suspect = backend.gpu.is_none() && endpoint.health.state() == State::Suspect;
            let elsewhere = winner.is_some_and(|winner| winner.session);
            Some(if suspect {
                SUSPECT.to_owned()
            } else if elsewhere {
                "the caller's session was elsewhere".to_owned()
            } else {
                beaten(backend.balance, place, winner?)
            })
        }
    }
}

const UNFIT: &str = "passed over: it has no answer to such a request; `ringctl explain` says why";
const SUSPECT: &str = "it is suspect: avoided while others are well";

const fn chosen(balance: Balance) -> &'static str {
    match balance {
        Balance::Gpu => "chosen: the lowest cost",
        Balance::LeastRequests => "chosen: the lowest score",
        Balance::P2c => "chosen: the less loaded of the two that were drawn",
        Balance::RoundRobin => "chosen: its turn",
        Balance::Hash => "chosen: the first below its bound behind the hash",
    }
}

fn beaten(balance: Balance, place: &Place<'_>, winner: &Place<'_>) -> String {
    match balance {
        Balance::RoundRobin => "it was another's turn".to_owned(),
        Balance::P2c => "not drawn, or the more loaded of the two that were".to_owned(),
        Balance::Hash => "further behind the hash, or over its bound".to_owned(),
        Balance::LeastRequests if place.score > winner.score => {
            format!("score {:.3}, and {:.3} where it went", place.score, winner.score)
        }
        Balance::LeastRequests => "no more loaded, but it was another's turn".to_owned(),
        Balance::Gpu => match (&place.cost, &winner.cost) {
            (Some((_, cost)), Some((_, won))) => dearer(place.score - winner.score, cost, won),
            (None, _) | (_, None) => String::new(),
        },
    }
}

/// By how much it is dearer, and what for.
fn dearer(by_s: f64, cost: &Cost, won: &Cost) -> String {
    if by_s < 0.0 {
        return "cheaper, but not among the few of so many that were looked at".to_owned();
    }
    let worst = parts(cost).into_iter().zip(parts(won)).map(|((what, cost), (_, won))| (what, cost - won));
    let worst = worst.max_by(|a, b| a.1.total_cmp(&b.1));
    match worst {
        Some((what, _)) if by_s > 0.0 => format!("costs {by_s:.3} s more, most of it for {what}"),
        _ => "costs the same, but it was another's turn".to_owned(),
    }
}

/// What the parts of a cost add to it.
fn parts(cost: &Cost) -> [(&'static str, f64); 7] {
    let slow = |s: f64| s * cost.slowness;
    [
        ("prompts that wait there", slow(cost.queue_s)),
        ("what it has not cached of the prompt", slow(cost.miss_s)),
        ("requests in flight", slow(cost.in_flight_s)),
        ("KV cache in use", slow(cost.kv_s)),
        ("the adapter", slow(cost.adapter_s)),
        ("being suspect", slow(cost.suspect_s)),
        ("the session, which is elsewhere", -cost.session_s),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(queue_s: f64, in_flight_s: f64, slowness: f64) -> Cost {
        Cost {
            queue_s,
            miss_s: 0.1,
            in_flight_s,
            kv_s: 0.0,
            adapter_s: 0.0,
            adapter: None,
            suspect_s: 0.0,
            session_s: 0.0,
            slowness,
            prompt_tokens: 10,
            miss_tokens: 10,
            uncached_tokens: 0,
            kv: 0.0,
            reported: false,
        }
    }

    #[test]
    fn a_loser_is_told_by_how_much_and_the_part_that_cost_it_most() {
        let won = cost(0.0, 0.02, 1.0);
        assert_eq!(
            dearer(0.31, &cost(0.25, 0.08, 1.0), &won),
            "costs 0.310 s more, most of it for prompts that wait there"
        );
        assert_eq!(
            dearer(0.2, &cost(0.0, 0.02, 5.0), &won),
            "costs 0.200 s more, most of it for what it has not cached of the prompt",
            "a slow start multiplies each part"
        );
        assert_eq!(dearer(0.0, &won, &won), "costs the same, but it was another's turn");
        assert!(dearer(-0.1, &won, &won).starts_with("cheaper"));
    }
}
