//! A translated event allocates nothing once its stream is warm.
//!
//! Owns: the claim, for text in both directions between Chat Completions and Messages.
//! Must not: share its process with anything else that allocates.
//! Read next: `allocations.rs`, the same claim for what only passes.

use std::alloc::System;

use ringway_benches::dialogue::{CHAT_EVENT, MESSAGES_EVENT, MESSAGES_START};
use ringway_dialect::dialect::Dialect;
use ringway_dialect::model::{Echo, Realm};
use ringway_dialect::translate::Translator;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn nothing_is_allocated_per_translated_event_once_warm() {
    for (from, to, start, event) in [
        (Dialect::OpenAiChat, Dialect::Anthropic, CHAT_EVENT, CHAT_EVENT),
        (Dialect::Anthropic, Dialect::OpenAiChat, MESSAGES_START, MESSAGES_EVENT),
    ] {
        let mut translator = Translator::new(from, Realm::NONE, to, Echo::default()).expect("both are known");
        let mut out = Vec::with_capacity(4_096);
        for warm in [start, event, event] {
            // Whole, and cut in two: both ways keep their buffers.
            out.clear();
            let (front, back) = warm.as_bytes().split_at(warm.len() / 2);
            translator.feed(front, &mut out);
            translator.feed(back, &mut out);
        }
        translator.feed(event.as_bytes(), &mut out);
        let region = Region::new(ALLOCATOR);
        let mut written = 0;
        for _ in 0..1_000 {
            out.clear();
            translator.feed(event.as_bytes(), &mut out);
            let (front, back) = event.as_bytes().split_at(40);
            translator.feed(front, &mut out);
            translator.feed(back, &mut out);
            written += out.len();
        }
        let change = region.change();
        assert!(written > 100_000, "the work was done");
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{from:?} to {to:?}: {change:?}");
    }
}
