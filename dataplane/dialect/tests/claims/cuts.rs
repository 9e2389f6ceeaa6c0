//! Where a stream is cut into pieces changes nothing; where it is cut off, nobody takes it for whole.
//! Owns: splits and cuts of recorded streams. Must not: say how an answer should read.
//! Read next: `answers.rs`.

use super::answers::judgeable;
use crate::bridge;
use crate::judge::fixtures::{Recorded, is_large, recorded};
use crate::judge::{self, Dialect, Mind};

/// The shortest streams of each dialect, of those that have calls and of those that have none.
fn short_streams(each: usize) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = judgeable().into_iter().filter(|recorded| recorded.stream).collect();
    all.sort_by_key(|recorded| recorded.response.len());
    let mut kept: Vec<(Dialect, bool)> = Vec::new();
    all.retain(|recorded| {
        let key = (recorded.dialect, recorded.reading().calls.is_empty());
        let before = kept.iter().filter(|known| **known == key).count();
        kept.push(key);
        before < each
    });
    all
}

#[test]
fn a_stream_is_the_same_split_at_every_byte() {
    let echo = bridge::echo();
    for recorded in short_streams(2) {
        let bytes = recorded.response.as_slice();
        for caller in Dialect::ALL {
            let whole = bridge::stream(recorded.dialect, caller, [bytes], &echo);
            for at in 1..bytes.len() {
                let (head, tail) = bytes.split_at(at);
                let split = bridge::stream(recorded.dialect, caller, [head, tail], &echo);
                assert!(split == whole, "{} -> {}, split at {at}", recorded.file, caller.name());
            }
        }
    }
}

#[test]
fn every_stream_is_the_same_byte_by_byte() {
    let echo = bridge::echo();
    let streams =
        recorded().into_iter().filter(|recorded| recorded.stream && recorded.response.len() < 8_000);
    for recorded in streams {
        for caller in Dialect::ALL {
            let whole = bridge::stream(recorded.dialect, caller, [recorded.response.as_slice()], &echo);
            for size in [1, 7] {
                let pieces = bridge::stream(recorded.dialect, caller, recorded.response.chunks(size), &echo);
                assert!(pieces == whole, "{} -> {}, by {size}", recorded.file, caller.name());
            }
        }
    }
}

/// At the end of every line, and at every 37th byte.
fn cuts(bytes: &[u8]) -> Vec<usize> {
    let lines = (1..bytes.len()).filter(|at| bytes[at - 1] == b'\n');
    lines.chain((1..bytes.len()).step_by(37)).collect()
}

#[test]
fn a_stream_that_is_cut_off_is_an_error_in_the_callers_words() {
    let echo = bridge::echo();
    let mut early = 0;
    for recorded in short_streams(3) {
        for at in cuts(&recorded.response) {
            for caller in Dialect::ALL {
                let head = &recorded.response[..at];
                let streamed = bridge::stream(recorded.dialect, caller, [head], &echo);
                let what = || format!("{} -> {}, cut at {at}", recorded.file, caller.name());
                let reading = judge::stream(caller, &streamed.bytes, Mind::Strict);
                let reading = reading.unwrap_or_else(|error| panic!("{}: {error}", what()));
                if streamed.ended {
                    // All was there but what nobody needs: the counts, `[DONE]`, the last blank line.
                    let whole = recorded.reading();
                    assert!(
                        whole.text.len() <= reading.text.len(),
                        "{}: half a text taken for whole",
                        what()
                    );
                    assert_eq!(whole.calls.len(), reading.calls.len(), "{}", what());
                    continue;
                }
                early += 1;
                assert!(reading.error.is_some(), "{}: no error told", what());
                assert!(caller != Dialect::Gemini || streamed.aborted, "{}: not broken off", what());
                assert_eq!(reading.stop, None, "{}: a reason for an end that never came", what());
            }
        }
    }
    assert!(early > 1_000 || !is_large(), "{early} cuts were early");
}

/// Errors in the stream, and streams that providers cut: none is taken for an answer.
#[test]
fn recorded_failures_are_failures_in_every_dialect() {
    let broken = recorded().into_iter().filter(|recorded| {
        let unread = recorded.oracle["ok"] == false && !recorded.file.starts_with("gemini/");
        let failed = recorded.oracle["finish"] == "failed";
        // `[DONE]` is an end, even where a provider gave no reason.
        let done = recorded.response.windows(6).any(|bytes| bytes == b"[DONE]");
        let cut = recorded.oracle["ok"] == true && recorded.oracle["finish"].is_null() && !done;
        recorded.stream && !recorded.is_whole() && (unread || failed || cut)
    });
    let mut seen = 0;
    for recorded in broken {
        for caller in Dialect::ALL {
            let streamed =
                bridge::stream(recorded.dialect, caller, [recorded.response.as_slice()], &bridge::echo());
            let reading = judge::stream(caller, &streamed.bytes, Mind::Strict);
            let reading = reading.unwrap_or_else(|error| panic!("{} -> {caller:?}: {error}", recorded.file));
            assert!(
                !streamed.ended && reading.error.is_some(),
                "{} -> {caller:?}: {reading:?}",
                recorded.file
            );
            seen += 1;
        }
    }
    println!("{seen} failures");
}
