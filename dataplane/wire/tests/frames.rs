//! Framed messages, wherever they are cut: the fuzz target's check over its seeds, and over messages of every shape.
//! Owns: what the reader promises. Must not: know what a payload means.
//! Read next: `fuzz/checks/frames.rs`.

use std::path::Path;

use proptest::prelude::*;

#[path = "../../../fuzz/checks/frames.rs"]
mod frames;

#[test]
fn seeds_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frames");
    let files = std::fs::read_dir(&folder).expect("the corpus is part of the tree");
    let seeds: Vec<_> =
        files.map(|file| std::fs::read(file.expect("listed").path()).expect("read")).collect();
    assert!(seeds.len() > 5, "{} holds seeds", folder.display());
    for seed in &seeds {
        frames::check(seed);
    }
}

proptest! {
    /// A header in any form of the ten, whole or not, with anything behind it.
    #[test]
    fn headers_of_every_type_are_read_alike_wherever_they_are_cut(
        name in "[:a-z-]{0,14}", of_type in 0..12_u8, value in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = vec![name.len() as u8];
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(of_type);
        bytes.extend_from_slice(&value);
        frames::check(&bytes);
    }
}
