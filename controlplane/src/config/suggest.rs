//! "Did you mean": the nearest of some words.
//!
//! Owns: how near is near enough.
//! Read next: `decode.rs`, its user.

use strsim::damerau_levenshtein;

/// The candidate nearest to `word`, if one is near enough to be a slip of it.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let asked = fold(word);
    let slips = (asked.chars().count() / 3).clamp(1, 3); // one in three letters, as people mistype
    candidates
        .into_iter()
        .map(|candidate| (damerau_levenshtein(&asked, &fold(candidate)), candidate))
        .filter(|&(distance, _)| distance <= slips)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// `pathPrefix`, `path-prefix` and `path_prefix` are one word to a reader.
fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).take(64).collect()
}

/// "did you mean `x`?", if there is an `x`.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}
