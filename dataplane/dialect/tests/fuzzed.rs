//! The checks of the fuzz targets over their corpus, cut down and bent byte by byte.
//!
//! Owns: running them without a fuzzer. Must not: check anything itself.
//! Read next: `fuzz/checks/dialect_request.rs`, `fuzz/checks/dialect_stream.rs`.

#[path = "../../../fuzz/checks/dialect_request.rs"]
mod dialect_request;
#[path = "../../../fuzz/checks/dialect_stream.rs"]
mod dialect_stream;

use std::path::Path;

/// Each file of a corpus, every beginning of it, and it with one byte changed.
fn bent(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus is in the tree") {
        let bytes = std::fs::read(entry.expect("readable").path()).expect("readable");
        files += 1;
        check(&bytes);
        for at in (0..bytes.len()).step_by(3) {
            check(&bytes[..at]);
            for byte in [b'"', b'\\', b'{', b'0', 0xff] {
                let mut bent = bytes.clone();
                bent[at] = byte;
                check(&bent);
            }
        }
    }
    assert!(files > 1, "{}", folder.display());
}

#[test]
fn any_request_near_a_good_one_is_carried_or_refused() {
    bent("dialect_request", dialect_request::check);
}

#[test]
fn any_stream_near_a_good_one_ends_once_and_is_the_same_at_every_cut() {
    bent("dialect_stream", dialect_stream::check);
}
