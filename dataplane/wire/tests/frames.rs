//! The corpus of framed messages, and random bytes, through the fuzz target's checks.
//! Owns: nothing of its own. Must not: need a fuzzer.
//! Read next: `fuzz/checks/frames.rs`.

#[path = "../../../fuzz/checks/frames.rs"]
mod check;

use proptest::prelude::*;

#[test]
fn the_corpus_holds() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/frames");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("a corpus") {
        check::check(&std::fs::read(file.expect("an entry").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "an empty corpus shows nothing");
}

proptest! {
    #[test]
    fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check::check(&bytes);
    }

    /// A header of any type, whole or not: what it may hold differs, and others are passed over.
    #[test]
    fn headers_of_every_type_hold(
        name in "[:a-z-]{0,14}", of_type in 0..12_u8, value in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = vec![name.len() as u8];
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(of_type);
        bytes.extend_from_slice(&value);
        check::check(&bytes);
    }
}
