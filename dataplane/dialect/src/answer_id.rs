//! Ids of answers, from one dialect's form into another's (dialects section 4.1).
//! Owns: the prefixes. Must not: make an id up where the upstream has one.
//! Read next: the writers of answers.

use crate::json::Text;
use crate::model::Echo;

/// What an upstream's id is without its dialect's prefix, in letters that every dialect takes.
pub fn bare(id: &Text<'_>, echo: &Echo) -> String {
    let plain = id.plain();
    let stripped = ["chatcmpl-", "resp_", "msg_"].iter().find_map(|prefix| plain.strip_prefix(prefix));
    let clean: String =
        stripped.unwrap_or(&plain).chars().map(|c| if is_word(c) { c } else { '_' }).collect();
    if clean.is_empty() { echo.id.clone() } else { clean }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_exchanged_and_not_piled_up() {
        let echo = Echo { id: "fresh".to_owned(), ..Echo::default() };
        for (id, expected) in [
            ("chatcmpl-x", "x"),
            ("resp_1", "1"),
            ("msg_a/b", "a_b"),
            ("odd", "odd"),
            ("", "fresh"),
            ("msg_", "fresh"),
        ] {
            assert_eq!(bare(&Text::of(id), &echo), expected);
        }
    }
}
