//! The fuzz targets' checks, run over their seed corpus and over the rule tables: what a fuzzer relies on holds here too.

use std::path::Path;

#[path = "../../../../fuzz/checks/chunk.rs"]
mod chunk;
#[path = "../../../../fuzz/checks/head.rs"]
mod head;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty(), "{} holds seeds", folder.display());
    seeds
}

#[test]
fn head_seeds_hold() {
    let rows = crate::rules::request_rows().into_iter().chain(crate::rules::response_rows());
    rows.flat_map(|row| [row.breaks, row.passes].concat())
        .chain(seeds("head"))
        .for_each(|bytes| head::check(&bytes));
}

#[test]
fn chunk_seeds_hold() {
    let rows = crate::rules::chunk_rows().into_iter();
    rows.flat_map(|row| [row.breaks, row.passes].concat())
        .chain(seeds("chunk"))
        .for_each(|bytes| chunk::check(&bytes));
}
