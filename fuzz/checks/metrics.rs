//! What must hold for any bytes given to the readers of engines' pages. Shared by the fuzz target and a test over its
//! corpus.

use ringway_contract::snapshot::Engine;
use ringway_controlplane::scrape::{Reading, Scratch, dialect, read};

const ENGINES: [Engine; 7] = [
    Engine::Vllm,
    Engine::Sglang,
    Engine::Trtllm,
    Engine::Triton,
    Engine::Lmdeploy,
    Engine::Tgi,
    Engine::Llamacpp,
];

/// Any page, to the reader of every engine.
pub fn check(page: &[u8]) {
    let mut scratch = Scratch::default();
    for engine in ENGINES {
        let dialect = dialect(engine).expect("each of these tells its load");
        let first = read(page, dialect, &[], &mut scratch);
        assert!(is_sane(&first), "{engine:?}: {first:?}");
        assert_eq!(first, read(page, dialect, &[], &mut scratch), "the second reading of a page differs");
        if page.trim_ascii_start().starts_with(b"{") || page.trim_ascii_start().starts_with(b"[") {
            continue;
        }
        let longer = [page, b"\n# a comment\n\nnobodys_series{a=\"b\"} 1\n"].concat();
        assert_eq!(first, read(&longer, dialect, &[], &mut scratch), "lines of others changed the reading");
    }
}

fn is_sane(reading: &Reading) -> bool {
    let whole = |value: Option<f64>| value.is_none_or(|value| value.is_finite() && value >= 0.0);
    reading.kv.is_none_or(|kv| (0.0..=1.0).contains(&kv))
        && whole(reading.process_start)
        && whole(reading.work)
}
