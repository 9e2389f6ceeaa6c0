//! Claims about the queue: bounds, order, fairness, deadlines, and that nobody is lost.

use proptest::prelude::*;

use super::*;
use crate::admission::open::Load;
use crate::admission::open::tests::IDLE;
use crate::admission::open::{Limits, Opening, Room};

const S: u64 = 1_000_000;

fn want(class: Class, tenant: u32, prompt: u32) -> Want {
    Want {
        tenant: TenantId::new(tenant),
        weight: Weight::ONE,
        class,
        need: Need { prompt, miss: prompt },
        prefill_us: u64::from(prompt) * 100, // 10,000 tokens a second
        bytes: u64::from(prompt) * 4,
        wait_us_max: None,
        mark: None,
    }
}

fn anyone(prompt: u32) -> Want {
    want(Class::Default, 0, prompt)
}

/// A queue of requests that are told apart by a number.
struct Rig {
    queue: Queue<u32>,
    next: u32,
    out: Vec<Gone<u32>>,
}

impl Rig {
    fn new(rules: Rules) -> Self {
        Self { queue: Queue::new(rules), next: 0, out: Vec::new() }
    }

    fn join(&mut self, now_us: u64, want: Want) -> Result<Ticket, Why> {
        self.next += 1;
        self.queue.join(Join::InTurn, want, self.next - 1, now_us, &no_room(), &mut self.out)
    }

    /// Grants one and lands it; who it was.
    fn go(&mut self, now_us: u64, room: &Room) -> Option<u32> {
        let (ticket, gone) = self.queue.grant(now_us, room)?;
        self.queue.land(ticket);
        Some(gone.waiter)
    }

    fn all(&mut self, now_us: u64, room: &Room) -> Vec<u32> {
        std::iter::from_fn(|| self.go(now_us, room)).collect()
    }
}

/// Room for prompts up to this, whoever asks.
fn room(prompt_max: u32) -> Room {
    room_for(prompt_max, prompt_max)
}

/// Room for prompts up to this for anybody, and up to that for those that had a place.
fn room_for(anyone: u32, ahead: u32) -> Room {
    let opening = |most: u32| Opening { open: 1, prompt_max: most.into(), ..Opening::default() };
    Room {
        anyone: opening(anyone),
        ahead: opening(ahead),
        eligible: 1,
        memory_max: f64::INFINITY,
        memory: f64::INFINITY,
        tokens_per_s: 10_000.0,
        ..Room::default()
    }
}

/// So many endpoints open.
fn wide(open: u32, prompt_max: u32) -> Room {
    let mut room = room(prompt_max);
    (room.anyone.open, room.ahead.open) = (open, open);
    room
}

fn no_room() -> Room {
    Room { eligible: 1, tokens_per_s: 10_000.0, ..Room::default() }
}

#[test]
fn aged_serves_the_smallest_first_less_half_a_second_for_each_waited() {
    let mut rig = Rig::new(Rules::default());
    rig.join(0, anyone(30_000)).expect("room"); // 3 s of prefill
    rig.join(0, anyone(1_000)).expect("room"); // 0.1 s
    rig.join(5 * S, anyone(1_000)).expect("room"); // 0.1 s, but 5 s later: 2.6 s behind
    rig.join(6 * S, anyone(1_000)).expect("room");
    assert_eq!(rig.all(7 * S, &room(50_000)), [1, 2, 0, 3]);
}

#[test]
fn aged_lets_a_later_one_go_that_fits_and_fifo_blocks_on_its_head() {
    for (order, expected) in [(Order::Aged, vec![1]), (Order::Fifo, vec![])] {
        let mut rig = Rig::new(Rules { order, ..Rules::default() });
        rig.join(0, anyone(9_000)).expect("room");
        rig.join(1, anyone(5_000)).expect("room");
        assert_eq!(rig.all(2, &room(5_000)), expected, "{order:?}");
        assert_eq!(rig.all(3, &room(9_000)).first(), Some(&0));
    }
}

#[test]
fn fifo_serves_in_the_order_of_arrival() {
    let mut rig = Rig::new(Rules { order: Order::Fifo, ..Rules::default() });
    for prompt in [9, 3, 7, 1] {
        rig.join(0, anyone(prompt)).expect("room");
    }
    assert_eq!(rig.all(1, &room(10)), [0, 1, 2, 3]);
}

#[test]
fn a_lower_class_gets_a_twentieth_while_it_waits_and_a_higher_one_all_else() {
    let mut rig = Rig::new(Rules { queued_max: 9_000, ..Rules::default() });
    let class_of = |who: u32| Class::ALL[who as usize % 3];
    for who in 0..6_000 {
        rig.join(0, want(class_of(who), 0, 10)).expect("room");
    }
    let mut served = [0_u32; Class::COUNT];
    for _ in 0..2_000 {
        served[class_of(rig.go(1, &room(10)).expect("all fit")).index()] += 1;
    }
    assert!(served[1].abs_diff(100) <= 1 && served[2].abs_diff(100) <= 1, "{served:?}");
}

#[test]
fn a_class_whose_turn_it_is_by_the_floor_and_that_does_not_fit_holds_nobody_up() {
    for order in [Order::Aged, Order::Fifo] {
        let mut rig = Rig::new(Rules { order, ..Rules::default() });
        rig.join(0, want(Class::Batch, 0, 9_000)).expect("room");
        for _ in 0..100 {
            rig.join(0, want(Class::Interactive, 0, 10)).expect("room");
        }
        assert_eq!(rig.all(1, &room(100)).len(), 100, "{order:?}");
        assert_eq!(rig.go(1, &room(9_000)), Some(0));
    }
}

/// Tokens served of each tenant while both wait, tenant 2 with four requests for one of tenant 1's.
fn shares(weights: [u32; 2], order: Order) -> [u64; 2] {
    let mut rig = Rig::new(Rules { queued_max: 20_000, bytes_max: u64::MAX, order, ..Rules::default() });
    let mut sizes = fastrand::Rng::with_seed(7);
    let mut owner = Vec::new();
    for at in 0..5_000 {
        let (tenant, index) = if at % 5 == 0 { (1, 0) } else { (2, 1) };
        let one = Want {
            weight: Weight::new(weights[index]),
            ..want(Class::Default, tenant, sizes.u32(10..1_000))
        };
        owner.push((index, u64::from(one.need.prompt)));
        rig.join(0, one).expect("room");
    }
    let mut served = [0; 2];
    for _ in 0..1_000 {
        let (index, tokens) = owner[rig.go(1, &room(1_000)).expect("all fit") as usize];
        served[index] += tokens;
    }
    served
}

#[test]
fn tenants_that_wait_get_the_same_tokens_whatever_they_ask_for() {
    for order in [Order::Aged, Order::Fifo] {
        let [one, two] = shares([1, 1], order);
        assert!(one.abs_diff(two) < 2_000, "{order:?}: {one} {two}");
    }
}

#[test]
fn tokens_follow_the_weights() {
    let [one, two] = shares([3, 1], Order::Fifo);
    let ratio = one as f64 / two as f64;
    assert!((2.9..3.1).contains(&ratio), "{ratio}");
}

#[test]
fn time_without_a_backlog_earns_no_credit() {
    let mut rig = Rig::new(Rules::default());
    for _ in 0..20 {
        rig.join(0, want(Class::Default, 1, 100)).expect("room");
    }
    for _ in 0..10 {
        rig.go(1, &room(100)).expect("all fit");
    }
    for _ in 0..10 {
        rig.join(2, want(Class::Default, 2, 100)).expect("room"); // 20 and later
    }
    let next: Vec<u32> = (0..10).map(|_| rig.go(3, &room(100)).expect("all fit")).collect();
    assert_eq!(next.iter().filter(|who| **who >= 20).count(), 5, "{next:?}");
}

#[test]
fn what_was_generated_counts_twice() {
    let mut rig = Rig::new(Rules::default());
    for tenant in [1, 2] {
        for _ in 0..10 {
            rig.join(0, want(Class::Default, tenant, 100)).expect("room");
        }
    }
    rig.queue.generated(Class::Default, TenantId::new(1), 250); // as much as five prompts
    let first: Vec<u32> = (0..5).map(|_| rig.go(1, &room(100)).expect("all fit")).collect();
    assert!(first.iter().all(|who| *who >= 10), "{first:?}");
}

#[test]
fn a_full_queue_refuses_and_a_higher_class_displaces_the_newest_of_the_lowest() {
    let mut rig = Rig::new(Rules { queued_max: 3, ..Rules::default() });
    rig.join(0, want(Class::Batch, 0, 10)).expect("room");
    rig.join(1, want(Class::Batch, 0, 10)).expect("room");
    rig.join(2, want(Class::Default, 0, 10)).expect("room");
    assert_eq!(rig.join(3, want(Class::Batch, 0, 10)), Err(Why::Full), "its own class is no lower");
    rig.join(4, want(Class::Interactive, 0, 10)).expect("displaces");
    assert_eq!(rig.out.pop().map(|gone| gone.waiter), Some(1));
    rig.join(5, want(Class::Interactive, 0, 10)).expect("displaces");
    assert_eq!(rig.out.pop().map(|gone| gone.waiter), Some(0));
    rig.join(6, want(Class::Interactive, 0, 10)).expect("displaces");
    assert_eq!(rig.out.pop().map(|gone| gone.waiter), Some(2));
    assert_eq!(rig.join(7, want(Class::Interactive, 0, 10)), Err(Why::Full));
    assert_eq!(rig.queue.len(), 3);
}

#[test]
fn bytes_are_bounded_too_and_nobody_is_displaced_in_vain() {
    let mut rig = Rig::new(Rules { bytes_max: 1_000, ..Rules::default() });
    rig.join(0, want(Class::Default, 0, 200)).expect("800 bytes");
    rig.join(0, want(Class::Batch, 0, 50)).expect("200 bytes");
    assert_eq!(
        rig.join(0, want(Class::Default, 0, 60)),
        Err(Why::Full),
        "240 bytes, of which 200 could be had"
    );
    assert!(rig.out.is_empty());
    rig.join(0, want(Class::Default, 0, 50)).expect("200 bytes for 200");
    assert_eq!((rig.out.len(), rig.queue.bytes()), (1, 1_000));
}

#[test]
fn a_tenant_has_half_of_the_queue_and_everyone_has_it_whole() {
    for (tenant, expected) in [(1, 5), (0, 10)] {
        let mut rig = Rig::new(Rules { queued_max: 10, ..Rules::default() });
        let joined = (0..20).filter(|_| rig.join(0, want(Class::Default, tenant, 1)).is_ok()).count();
        assert_eq!(joined, expected);
    }
    let mut rig = Rig::new(Rules { bytes_max: 1_000, ..Rules::default() });
    assert_eq!(rig.join(0, want(Class::Default, 1, 126)), Err(Why::Full), "504 bytes are more than half");
    rig.join(0, want(Class::Default, 1, 125)).expect("half");
    rig.join(0, want(Class::Default, 2, 125)).expect("the other half");
}

#[test]
fn each_class_waits_as_long_as_it_may_and_a_shorter_wait_of_the_callers_wins() {
    let mut rig = Rig::new(Rules::default());
    for class in Class::ALL {
        rig.join(0, want(class, 0, 10)).expect("room");
    }
    rig.join(0, Want { wait_us_max: Some(S / 2), ..anyone(10) }).expect("room");
    rig.join(0, Want { wait_us_max: Some(90 * S), ..anyone(10) }).expect("room");
    let mut late = Vec::new();
    let mut out = |now_us| {
        rig.queue.expire(now_us, &mut late);
        late.drain(..).map(|(gone, why)| (gone.waiter, why)).collect::<Vec<_>>()
    };
    assert_eq!(out(S / 2 - 1), []);
    assert_eq!(out(S / 2), [(3, Why::TimedOut)]);
    assert_eq!(out(S), [(0, Why::TimedOut)]);
    assert_eq!(out(10 * S), [(1, Why::TimedOut), (4, Why::TimedOut)]);
    assert_eq!(out(60 * S), [(2, Why::TimedOut)]);
    assert!(rig.queue.is_empty());
}

#[test]
fn who_cannot_meet_the_objective_is_refused_as_soon_as_that_is_certain() {
    let mut rig = Rig::new(Rules { ttft_slo_us: Some(2 * S), ..Rules::default() });
    assert_eq!(rig.join(0, anyone(20_000)), Err(Why::TooLong), "2 s of prefill alone");
    rig.join(0, anyone(15_000)).expect("half a second to spare");
    let mut late = Vec::new();
    rig.queue.expire(S / 2 - 1, &mut late);
    assert!(late.is_empty());
    rig.queue.expire(S / 2, &mut late);
    assert_eq!(late.pop().map(|(gone, why)| (gone.waiter, why)), Some((1, Why::TooLong)));
}

#[test]
fn grants_under_way_each_count_for_an_open_endpoint() {
    let mut rig = Rig::new(Rules::default());
    for _ in 0..3 {
        rig.join(0, anyone(10)).expect("room");
    }
    let two = wide(2, 100);
    let (first, _) = rig.queue.grant(1, &two).expect("the first");
    let (second, _) = rig.queue.grant(1, &two).expect("the second");
    assert!(rig.queue.grant(1, &two).is_none(), "both are about to take load that no cell shows yet");
    rig.queue.land(first);
    assert!(rig.queue.grant(1, &two).is_some());
    assert!(rig.queue.leave(second), "its caller left before it took any");
    assert!(!rig.queue.leave(second), "once");
    assert_eq!(rig.queue.granted(), 1);
}

#[test]
fn one_that_tries_again_goes_first_with_the_deadline_it_had() {
    let mut rig = Rig::new(Rules::default());
    rig.join(4 * S, anyone(10)).expect("room");
    let mut out = Vec::new();
    let again = Join::Again { arrived_us: 0, whose: Whose::Anyone };
    rig.queue.join(again, anyone(9_000), 77, 5 * S, &no_room(), &mut out).expect("it had its place");
    assert_eq!(rig.go(6 * S, &room(9_000)), Some(77));
    rig.queue.join(again, anyone(9_000), 77, 6 * S, &no_room(), &mut out).expect("it had its place");
    let mut late = Vec::new();
    rig.queue.expire(10 * S, &mut late);
    assert_eq!(late.pop().map(|(gone, why)| (gone.waiter, why)), Some((77, Why::TimedOut)));
    assert_eq!(rig.queue.join(again, anyone(1), 77, 11 * S, &no_room(), &mut out), Err(Why::TimedOut));
}

#[test]
fn the_wait_that_is_told_is_the_backlog_by_what_the_endpoints_compute() {
    let mut rig = Rig::new(Rules::default());
    for _ in 0..10 {
        rig.join(0, anyone(2_000)).expect("room");
    }
    let loads = [Load { backlog_tokens: 5_000.0, ..IDLE }, Load { eligible: false, ..IDLE }];
    let room = Room::of(&Limits::default(), loads);
    assert!((rig.queue.drain_s(0, &room) - 2.5).abs() < 1e-9);
    assert_eq!(rig.queue.retry_after_ms(0, &room, &anyone(100), STAY_S, 0.0), 3_000);
}

const STAY_S: f64 = 8.0;

/// A queue whose callers come back when they are told to.
fn obeyed(rules: Rules) -> Rig {
    let mut rig = Rig::new(rules);
    for mark in 1_000..1_200 {
        let wait_ms = rig.queue.retry_after_ms(0, &room(9_000), &marked(mark, 1), STAY_S, 0.0);
        let back = rig.join(wait_ms * 1_000, marked(mark, 1)).expect("it was promised a place");
        assert_eq!(back.whose(), Whose::Ahead);
        rig.queue.leave(back);
    }
    rig.next = 0;
    rig
}

fn marked(mark: u64, prompt: u32) -> Want {
    Want { mark: Some(Mark(mark)), ..anyone(prompt) }
}

#[test]
fn a_caller_that_comes_back_when_it_was_told_to_goes_first_and_into_the_room_that_was_kept() {
    let mut rig = obeyed(Rules { queued_max: 2, ..Rules::default() });
    let wait_ms = rig.queue.retry_after_ms(0, &room(9_000), &marked(7, 8_000), STAY_S, 0.0);
    assert_eq!((wait_ms, rig.queue.promised()), (1_000, 1));
    rig.join(S, anyone(100)).expect("room"); // 0
    rig.join(S, anyone(100)).expect("room"); // 1
    assert_eq!(rig.queue.claims(S).collect::<Vec<_>>(), [marked(7, 8_000).need], "it may come now");
    rig.join(S, marked(7, 8_000)).expect("it was promised a place: the newest of the others makes room"); // 2
    assert_eq!(rig.out.pop().map(|gone| gone.waiter), Some(1));
    assert_eq!(rig.queue.claims(S).collect::<Vec<_>>(), [marked(7, 8_000).need], "it waits");
    assert_eq!(rig.all(S, &room_for(50, 8_000)), [2], "what is kept is for it alone");
    assert_eq!((rig.queue.promised(), rig.queue.claims(S).count()), (0, 0));
    assert_eq!(rig.all(S, &room_for(100, 8_000)), [0]);
}

#[test]
fn where_none_may_wait_requests_pass_while_there_is_room_whoever_was_promised_a_place() {
    let mut rig = Rig::new(Rules { queued_max: 0, ..Rules::default() });
    rig.queue.retry_after_ms(0, &no_room(), &marked(7, 100), STAY_S, 0.0);
    assert_eq!((rig.join(0, anyone(100)), rig.queue.promised()), (Err(Why::Full), 1));
    let mut pass = |want, room| rig.queue.join(Join::InTurn, want, 0, S, &room, &mut Vec::new());
    assert!(pass(anyone(101), room(100)).is_err() && pass(anyone(100), room_for(99, 100)).is_err());
    let first = pass(anyone(100), room(100)).expect("room");
    assert!(pass(anyone(100), room(100)).is_err(), "it waits already");
    rig.queue.leave(first);
    let back = rig.queue.join(Join::InTurn, marked(7, 100), 0, S, &room_for(0, 100), &mut Vec::new());
    assert_eq!(back.map(Ticket::whose), Ok(Whose::Ahead), "what is kept is for it");
}

#[test]
fn one_that_can_never_meet_the_objective_is_promised_nothing() {
    let mut rig = Rig::new(Rules { ttft_slo_us: Some(2 * S), ..Rules::default() });
    rig.queue.retry_after_ms(0, &room(9_000), &marked(1, 20_000), STAY_S, 0.0); // 2 s of prefill
    assert_eq!(rig.queue.promised(), 0);
    rig.queue.retry_after_ms(0, &room(9_000), &marked(1, 19_000), STAY_S, 0.0);
    assert_eq!(rig.queue.promised(), 1);
}

#[test]
fn those_refused_together_are_told_to_come_back_one_after_another() {
    let mut rig = obeyed(Rules::default());
    let told: Vec<u64> = (0..5)
        .map(|mark| rig.queue.retry_after_ms(0, &room(9_000), &marked(mark, 10_000), STAY_S, 0.0) / 1_000)
        .collect();
    assert_eq!(told, [1, 2, 3, 5, 6], "a second of work each, and half of it in hand");
}

#[test]
fn where_memory_is_full_a_caller_comes_back_when_those_that_fill_it_are_gone() {
    let mut rig = obeyed(Rules::default());
    let full = Room { memory_max: 99.0, ..room(9_000) };
    assert_eq!(rig.queue.retry_after_ms(0, &full, &marked(1, 100), STAY_S, 0.0), 8_000);
    assert_eq!(
        rig.queue.retry_after_ms(0, &full, &anyone(100), STAY_S, 0.0),
        1_000,
        "nothing is promised to it"
    );
    let little = Room { memory: 150.0, ..room(9_000) };
    assert_eq!(
        rig.queue.retry_after_ms(0, &little, &marked(2, 100), STAY_S, 0.0),
        9_000,
        "the first takes it all"
    );
}

#[test]
fn where_nobody_comes_back_nothing_is_kept_and_the_wait_is_the_backlogs() {
    let full = Room { memory_max: 0.0, ..room(9_000) };
    let mut new = Rig::new(Rules::default());
    assert_eq!(
        new.queue.retry_after_ms(0, &full, &marked(1, 100), STAY_S, 0.0),
        1_000,
        "nobody is known yet"
    );
    let mut rig = obeyed(Rules::default());
    for round in 0..200 {
        rig.queue.retry_after_ms(round * 60 * S, &full, &marked(round, 100), STAY_S, 0.0);
        rig.queue.expire((round + 1) * 60 * S, &mut Vec::new());
    }
    assert_eq!(rig.queue.retry_after_ms(0, &full, &marked(1, 100), STAY_S, 0.0), 1_000);
}

#[derive(Clone, Debug)]
enum Step {
    Join(Want),
    Grant(u32),
    Land,
    Leave(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![Just(Class::Interactive), Just(Class::Default), Just(Class::Batch)];
    prop_oneof![
        4 => (class, 0..4_u32, 1..400_u32).prop_map(|(class, tenant, prompt)| Step::Join(want(class, tenant, prompt))),
        3 => (0..400_u32).prop_map(Step::Grant),
        2 => Just(Step::Land),
        2 => any::<prop::sample::Index>().prop_map(|at| Step::Leave(at.index(64))),
        1 => (0..3 * S).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens, everyone who joined goes exactly once, sums are those of who waits, and no bound is passed.
    #[test]
    fn nobody_is_lost_and_nobody_goes_twice(steps in prop::collection::vec(step(), 1..200), fifo in any::<bool>()) {
        let order = if fifo { Order::Fifo } else { Order::Aged };
        let rules = Rules { queued_max: 16, bytes_max: 10_000, order, ..Rules::default() };
        let mut rig = Rig::new(rules);
        let mut waiting: Vec<(u32, Ticket, Want)> = Vec::new();
        let mut granted: Vec<Ticket> = Vec::new();
        let mut now_us = 0;
        for step in steps {
            match step {
                Step::Join(want) => {
                    let who = rig.next;
                    if let Ok(ticket) = rig.join(now_us, want) {
                        waiting.push((who, ticket, want));
                    }
                    for gone in rig.out.drain(..) {
                        let at = waiting.iter().position(|it| it.0 == gone.waiter).expect("it waited");
                        let (_, ticket, _) = waiting.remove(at);
                        prop_assert!(!rig.queue.leave(ticket), "its place is another's");
                    }
                }
                Step::Grant(prompt_max) => {
                    if let Some((ticket, gone)) = rig.queue.grant(now_us, &wide(4, prompt_max)) {
                        prop_assert!(gone.want.need.prompt <= prompt_max);
                        let at = waiting.iter().position(|it| it.0 == gone.waiter).expect("it waited");
                        waiting.remove(at);
                        granted.push(ticket);
                    }
                }
                Step::Land => granted.pop().into_iter().for_each(|ticket| rig.queue.land(ticket)),
                Step::Leave(at) if at < waiting.len() => prop_assert!(rig.queue.leave(waiting.remove(at).1)),
                Step::Leave(_) => {}
                Step::Wait(us) => {
                    now_us += us;
                    let mut late = Vec::new();
                    rig.queue.expire(now_us, &mut late);
                    for (gone, _) in late {
                        let at = waiting.iter().position(|it| it.0 == gone.waiter).expect("it waited");
                        waiting.remove(at);
                    }
                }
            }
            prop_assert_eq!(rig.queue.len() as usize, waiting.len());
            prop_assert_eq!(rig.queue.granted() as usize, granted.len());
            prop_assert_eq!(rig.queue.bytes(), waiting.iter().map(|it| it.2.bytes).sum::<u64>());
            prop_assert!(rig.queue.len() <= 16 && rig.queue.bytes() <= 10_000);
            for class in Class::ALL {
                let count = waiting.iter().filter(|it| it.2.class == class).count();
                prop_assert_eq!(rig.queue.waiting(class) as usize, count);
            }
        }
        rig.queue.expire(u64::MAX, &mut Vec::new());
        for ticket in granted {
            rig.queue.land(ticket);
        }
        prop_assert_eq!((rig.queue.len(), rig.queue.granted(), rig.queue.bytes()), (0, 0, 0));
        prop_assert!((rig.queue.drain_s(now_us, &no_room())).abs() < 1e-9);
        prop_assert_eq!(rig.queue.claims(now_us).count(), 0);
    }

    /// With room for it, somebody always goes: no state keeps a request that fits.
    #[test]
    fn whoever_fits_goes_while_there_is_room(
        wants in prop::collection::vec((0..3_usize, 0..3_u32, 1..100_u32), 1..60),
    ) {
        let mut rig = Rig::new(Rules::default());
        for (class, tenant, prompt) in &wants {
            rig.join(0, want(Class::ALL[*class], *tenant, *prompt)).expect("room");
        }
        prop_assert_eq!(rig.all(1, &no_room()).len(), 0);
        prop_assert_eq!(rig.all(1, &room(50)).len(), wants.iter().filter(|it| it.2 <= 50).count());
        prop_assert_eq!(rig.all(1, &room(100)).len(), wants.iter().filter(|it| it.2 > 50).count());
    }
}
