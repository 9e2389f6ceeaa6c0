//! Answers and streams say the same in every dialect, there and back.
//! Owns: the verdict on one recorded answer in one direction.
//! Must not: pass a difference that nobody was told of.
//! Read next: `table.rs`, which counts the verdicts.

use std::collections::BTreeMap;

use ringway_dialect::model::Losses;

use crate::judge::fixtures::{Recorded, recorded};
use crate::judge::{self, Dialect, Mind, Reading};
use crate::{against, bridge, difference};

/// Recorded answers that a judge can be had for.
pub fn judgeable() -> Vec<Recorded> {
    let all = recorded().into_iter();
    all.filter(|recorded| recorded.is_whole() && recorded.is_odd().is_none()).collect()
}

/// Before it judges us, the judge reads the vendors' own bytes as the vendors' own clients do.
#[test]
fn the_judge_reads_what_the_vendors_clients_read() {
    let mut wrong = Vec::new();
    for recorded in &judgeable() {
        let read = if recorded.stream { judge::stream } else { judge::body };
        match read(recorded.dialect, &recorded.response, Mind::Lenient) {
            Ok(reading) => {
                if let Some(what) = difference(&reading.ended_for_calls(), &recorded.reading()) {
                    wrong.push(format!("{}: {what}", recorded.file));
                }
            }
            Err(error) => wrong.push(format!("{}: {error}", recorded.file)),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What became of one recorded answer on one way.
pub enum Verdict {
    Equal,
    /// Different, and said so.
    Lossy,
    Wrong(String),
}

/// From its dialect into the caller's.
pub fn one_way(recorded: &Recorded, caller: Dialect) -> Verdict {
    translated(recorded, caller)
        .map_or_else(Verdict::Wrong, |(bytes, losses)| verdict(&bytes, recorded, &[caller], &[losses]))
}

/// From its dialect into another, and from that into its own again.
pub fn there_and_back(recorded: &Recorded, through: Dialect) -> Verdict {
    let (dialect, echo) = (recorded.dialect, bridge::echo());
    let both = translated(recorded, through).and_then(|(bytes, losses)| {
        if recorded.stream {
            let back = bridge::stream(through, dialect, [bytes.as_slice()], &echo);
            return Ok((back.bytes, [losses, back.losses]));
        }
        let (back, more) = bridge::answer(through, dialect, &bytes, &echo)?;
        Ok((back, [losses, more]))
    });
    both.map_or_else(Verdict::Wrong, |(bytes, losses)| {
        verdict(&bytes, recorded, &[through, dialect], &losses)
    })
}

fn translated(recorded: &Recorded, caller: Dialect) -> Result<(Vec<u8>, Losses), String> {
    let (dialect, echo) = (recorded.dialect, bridge::echo());
    if !recorded.stream {
        return bridge::answer(dialect, caller, &recorded.response, &echo);
    }
    let streamed = bridge::stream(dialect, caller, [recorded.response.as_slice()], &echo);
    if streamed.ended && !streamed.aborted {
        Ok((streamed.bytes, streamed.losses))
    } else {
        Err("no end".to_owned())
    }
}

fn verdict(bytes: &[u8], recorded: &Recorded, way: &[Dialect], losses: &[Losses]) -> Verdict {
    let caller = *way.last().expect("a way has an end");
    let reading: Result<Reading, String> = if recorded.stream {
        judge::stream(caller, bytes, Mind::Strict)
    } else {
        judge::body(caller, bytes, Mind::Strict)
    };
    match reading.map(|reading| against(way, reading, recorded)) {
        Ok(None) => Verdict::Equal,
        Ok(Some(_)) if losses.iter().any(|losses| losses.strictly().is_err()) => Verdict::Lossy,
        Ok(Some(what)) => Verdict::Wrong(what),
        Err(error) => Verdict::Wrong(error),
    }
}

/// Verdicts of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub equal: usize,
    pub lossy: usize,
}

/// Whether streamed, from, into.
pub type Direction = (bool, Dialect, Dialect);

/// All verdicts of this kind, and what is wrong.
pub fn tallied(judge: impl Fn(&Recorded, Dialect) -> Verdict) -> (BTreeMap<Direction, Tally>, Vec<String>) {
    let mut table: BTreeMap<Direction, Tally> = BTreeMap::new();
    let mut wrong = Vec::new();
    for recorded in &judgeable() {
        for caller in Dialect::ALL {
            let tally = table.entry((recorded.stream, recorded.dialect, caller)).or_default();
            match judge(recorded, caller) {
                Verdict::Equal => tally.equal += 1,
                Verdict::Lossy => tally.lossy += 1,
                Verdict::Wrong(what) => wrong.push(format!("{} -> {}: {what}", recorded.file, caller.name())),
            }
        }
    }
    (table, wrong)
}

#[test]
fn every_recorded_answer_says_the_same_in_every_dialect() {
    let (_, wrong) = tallied(one_way);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
}

#[test]
fn every_recorded_answer_comes_back_from_every_dialect() {
    let (_, wrong) = tallied(there_and_back);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
}

#[test]
fn every_reader_of_a_stream_keeps_the_laws_of_events() {
    for recorded in recorded().iter().filter(|recorded| recorded.stream) {
        bridge::keeps_the_laws(recorded.dialect, &recorded.response);
    }
}

#[test]
fn an_array_of_geminis_says_what_its_events_say() {
    for recorded in judgeable().iter().filter(|recorded| recorded.stream) {
        let streamed = bridge::array(recorded.dialect, [recorded.response.as_slice()], &bridge::echo());
        let reading = judge::stream(Dialect::Gemini, &streamed.bytes, Mind::Strict);
        let what = reading.map(|reading| against(&[Dialect::Gemini], reading, recorded));
        assert_eq!(what, Ok(None), "{}", recorded.file);
        assert!(
            serde_json::from_slice::<Vec<serde_json::Value>>(&streamed.bytes).is_ok(),
            "{}",
            recorded.file
        );
    }
}
