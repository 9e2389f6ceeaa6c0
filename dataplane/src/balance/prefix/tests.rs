//! Claims about blocks, the index and its bounds.

use proptest::prelude::*;

use super::blocks::{Blocks, Key, Section};
use super::*;
use crate::bounds::BLOCK_BYTES;

fn chain(seed: u64, blocks: u64) -> Vec<BlockHash> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..blocks).map(|_| rng.u64(..)).collect()
}

fn lengths(index: &Index, hashes: &[BlockHash]) -> Vec<u16> {
    let mut matches = Matches::default();
    index.lookup(hashes, &mut matches);
    (0..index.len()).map(|at| matches.len(at)).collect()
}

#[test]
fn each_endpoint_matches_as_far_as_it_was_sent() {
    let index = Index::new(&[1_000; 3]);
    let prompt = chain(1, 50);
    assert_eq!(index.insert(0, &prompt), 50);
    assert_eq!(index.insert(0, &prompt), 0);
    index.insert(2, &prompt[..20]);
    assert_eq!(lengths(&index, &prompt), [50, 0, 20]);
    assert_eq!(lengths(&index, &prompt[..10]), [10, 0, 10]);
    assert_eq!(lengths(&index, &chain(2, 5)), [0, 0, 0]);
    assert_eq!(lengths(&index, &[]), [0, 0, 0]);
}

#[test]
fn a_match_ends_at_the_first_block_that_is_missing() {
    let index = Index::new(&[1_000]);
    let prompt = chain(1, 10);
    index.insert(0, &prompt[5..]);
    assert_eq!(lengths(&index, &prompt), [0]);
    index.insert(0, &prompt[..3]);
    assert_eq!(lengths(&index, &prompt), [3]);
}

#[test]
fn tails_go_first_and_the_longest_untouched_chain_before_others() {
    let index = Index::new(&[20]);
    let [a, b, c] = [1, 2, 3].map(|seed| chain(seed, 8));
    index.insert(0, &a);
    index.insert(0, &b);
    index.insert(0, &a); // touched again
    index.insert(0, &c); // four of b have to go: its tail
    assert_eq!([&a, &b, &c].map(|chain| lengths(&index, chain)[0]), [8, 4, 8]);
    assert_eq!(index.blocks(0), 20);
    index.insert(0, &chain(4, 30));
    assert_eq!(lengths(&index, &chain(4, 30)), [20], "of a chain that is too long the head stays");
}

#[test]
fn a_cleared_endpoint_holds_nothing_and_the_others_what_they_held() {
    let index = Index::new(&[100; 2]);
    let prompt = chain(1, 40);
    index.insert(0, &prompt);
    index.insert(1, &prompt);
    assert!(!index.outlived(0, 0));
    assert!(index.outlived(0, 1) && !index.outlived(0, 1));
    assert_eq!((lengths(&index, &prompt), index.blocks(0)), (vec![0, 40], 0));
}

#[test]
fn beyond_64_endpoints_a_match_is_a_match() {
    let index = Index::new(&[200; 150]);
    let prompt = chain(1, 30);
    for at in 0..150 {
        index.insert(at, &prompt[..4]);
    }
    index.insert(3, &prompt);
    index.insert(149, &prompt[..17]);
    let mut matches = Matches::default();
    index.lookup(&prompt, &mut matches);
    let found: Vec<(usize, u16)> =
        (0..150).map(|at| (at, matches.len(at))).filter(|(_, length)| *length > 4).collect();
    assert_eq!((found, matches.preamble()), (vec![(3, 30), (149, 17)], 4));
}

/// Filled three times over, so that what is asked about came into a full table.
#[test]
fn a_full_index_holds_what_it_says_in_the_memory_it_says() {
    let index = Index::new(&[6_656; 64]);
    let chains = |round: u64| (0..64 * 13).map(move |at| (at as usize % 64, chain(round * 10_000 + at, 512)));
    for (at, chain) in (0..3).flat_map(chains) {
        index.insert(at, &chain);
    }
    let mut matches = Matches::default();
    let (mut missing, mut matched) = (0, 0);
    for (at, chain) in chains(2) {
        index.lookup(&chain, &mut matches);
        matched += usize::from(matches.len(at));
        for hash in &chain {
            index.lookup(&[*hash], &mut matches);
            missing += usize::from(matches.len(at) == 0);
        }
    }
    let entries = 64 * 6_656;
    println!("{} B, {missing} of {entries} blocks missing, {matched} matched in chains", index.bytes());
    assert!(index.bytes() <= 24 * entries, "{} B an entry", index.bytes() as f64 / entries as f64);
    assert!(index.bytes() < 11 << 20);
    assert!(missing * 2_500 < entries, "{missing} of {entries} are missing");
    assert!(matched * 1_000 > entries * 999, "{matched} of {entries} are matched");
}

#[test]
fn an_endpoint_that_delivers_less_is_believed_to_hold_less() {
    let index = Index::new(&[100]);
    index.insert(0, &chain(1, 100));
    index.correct(0, false);
    assert_eq!(lengths(&index, &chain(1, 100)), [90]);
    (0..20).for_each(|_| index.correct(0, false));
    assert_eq!(index.blocks(0), 10);
    (0..200).for_each(|_| index.correct(0, true));
    index.insert(0, &chain(1, 100));
    assert_eq!(index.blocks(0), 100);
}

#[test]
fn threads_that_insert_look_up_and_clear_leave_a_sound_index() {
    let index = Index::new(&[300; 4]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let index = &index;
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                let mut matches = Matches::default();
                for _ in 0..300 {
                    let prompt = chain(rng.u64(..40), 60);
                    index.lookup(&prompt, &mut matches);
                    index.insert(rng.usize(..4), &prompt);
                    if rng.u32(..50) == 0 {
                        index.clear(rng.usize(..4));
                    }
                }
            });
        }
    });
    for at in 0..4 {
        assert!(index.blocks(at) <= 300);
        index.clear(at);
    }
    assert!((0..40).all(|seed| lengths(&index, &chain(seed, 60)) == [0; 4]), "nothing is left behind");
}

proptest! {
    /// Against the simplest LRU there is, with room on the shelf.
    #[test]
    fn an_endpoint_holds_what_a_plain_lru_holds(
        steps in prop::collection::vec((0..12_u64, 1..30_usize), 1..60),
        capacity in 1..64_usize,
    ) {
        let index = Index::new(&[capacity, 4_096]); // the second one makes room on the shelf
        let mut plain: Vec<BlockHash> = Vec::new(); // youngest last
        for (seed, blocks) in steps {
            let prompt = chain(seed, blocks as u64);
            index.insert(0, &prompt);
            for hash in prompt.iter().rev() {
                plain.retain(|kept| kept != hash);
                plain.push(*hash);
                if plain.len() > capacity {
                    plain.remove(0);
                }
            }
            for seed in 0..12 {
                let prompt = chain(seed, 30);
                let held = prompt.iter().take_while(|hash| plain.contains(hash)).count();
                prop_assert_eq!(usize::from(lengths(&index, &prompt)[0]), held);
            }
        }
    }

    /// The hashes do not depend on how the bytes were cut, nor on the order of sections.
    #[test]
    fn any_split_and_any_order_of_sections_gives_the_same_hashes(
        tools in prop::collection::vec(any::<u8>(), 0..900),
        messages in prop::collection::vec(any::<u8>(), 0..3_000),
        cuts in prop::collection::vec(1..700_usize, 1..8),
    ) {
        let key = Key::new(&mut fastrand::Rng::with_seed(1));
        let seed = key.seed(b"model", b"", b"tenant");
        let mut whole = Blocks::default();
        whole.push(&key, Section::Tools, &tools);
        whole.push(&key, Section::Messages, &messages);
        let mut cut = Blocks::default();
        for (section, mut rest) in [(Section::Messages, &messages[..]), (Section::Tools, &tools[..])] {
            for length in cuts.iter().cycle() {
                let (piece, after) = rest.split_at(rest.len().min(*length));
                cut.push(&key, section, piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
        }
        let blocks = tools.len().div_ceil(BLOCK_BYTES) + messages.len() / BLOCK_BYTES;
        prop_assert_eq!(whole.finish(&key, seed).len(), blocks);
        prop_assert_eq!(cut.finish(&key, seed), whole.hashes());
        prop_assert_eq!(cut.bytes(), whole.bytes());
    }
}

fn hashes(key: &Key, seed: BlockHash, text: &[u8]) -> Vec<BlockHash> {
    let mut blocks = Blocks::default();
    blocks.push(key, Section::Messages, text);
    blocks.finish(key, seed).to_vec()
}

#[test]
fn prefixes_are_shared_up_to_the_block_that_differs() {
    let key = Key::new(&mut fastrand::Rng::with_seed(1));
    let seed = key.seed(b"m", b"", b"");
    let (text, mut other) = (vec![b'a'; 2_560], vec![b'a'; 2_560]);
    other[1_300] = b'b';
    let [text, other] = [text, other].map(|text| hashes(&key, seed, &text));
    let shared = text.iter().zip(&other).take_while(|(a, b)| a == b).count();
    assert_eq!((text.len(), shared), (10, 5));
    assert!(text[5..].iter().zip(&other[5..]).all(|(a, b)| a != b), "a chain goes on differing");
    assert_eq!(
        text.iter().collect::<std::collections::HashSet<_>>().len(),
        10,
        "equal blocks differ by place"
    );
}

#[test]
fn another_model_adapter_tenant_or_key_shares_nothing() {
    let key = Key::new(&mut fastrand::Rng::with_seed(1));
    let text = vec![b'x'; 1_024];
    let own = hashes(&key, key.seed(b"m", b"a", b"t"), &text);
    let seeds = [
        key.seed(b"n", b"a", b"t"),
        key.seed(b"m", b"", b"t"),
        key.seed(b"m", b"a", b"u"),
        key.seed(b"ma", b"", b"t"),
    ];
    for seed in seeds {
        assert!(hashes(&key, seed, &text).iter().all(|hash| !own.contains(hash)));
    }
    let other = Key::new(&mut fastrand::Rng::with_seed(2));
    assert_ne!(hashes(&other, other.seed(b"m", b"a", b"t"), &text), own);
    assert_eq!(format!("{key:?}"), "Key(secret)");
}

#[test]
fn a_very_long_prompt_is_indexed_up_to_the_bound_and_counted_whole() {
    let key = Key::new(&mut fastrand::Rng::with_seed(1));
    let mut blocks = Blocks::default();
    let piece = vec![b'x'; 100_000];
    for _ in 0..9 {
        blocks.push(&key, Section::Messages, &piece);
    }
    assert!(blocks.is_full());
    assert_eq!(blocks.finish(&key, 0).len(), BLOCKS_MAX);
    assert_eq!((blocks.bytes(), blocks.all_blocks()), (900_000, 3_516));
    blocks.clear();
    assert!(blocks.finish(&key, 0).is_empty() && blocks.bytes() == 0);
}
