//! Custom tools, whose input is free text, at models that know only functions (dialects section 3.4).
//! Owns: the function they become, and the way of the text in and out of its one argument.
//! Must not: fail: what is not wrapped is the text itself.
//! Read next: the writers of tools and calls.

use crate::json::{Raw, Surrogates, Tape, Text};
use crate::model::{Args, CustomFormat};

/// The schema of the function that a custom tool becomes. The grammar stands in the description of its input: without
/// it models write inputs that the tool refuses.
pub fn schema(format: Option<&CustomFormat<'_>>) -> Raw<'static> {
    let description = format.map_or_else(String::new, |format| {
        format!(
            r#","description":"must match this {} grammar:\n{}""#,
            format.syntax.as_written(),
            format.definition.as_written()
        )
    });
    Raw::owned(format!(
        r#"{{"type":"object","properties":{{"input":{{"type":"string"{description}}}}},"required":["input"]}}"#
    ))
}

/// Free text as the arguments of that function.
pub fn wrapped(input: &Text<'_>) -> Raw<'static> {
    Raw::owned(format!("{{\"input\":\"{}\"}}", input.as_written()))
}

/// The free text in a call's arguments.
pub fn input<'a>(args: &'a Args<'a>) -> Text<'a> {
    match args {
        Args::Free(text) => text.lend(),
        Args::Text(text) => unwrapped(&text.plain()).unwrap_or_else(|| text.lend()),
        Args::Object(raw) => unwrapped(raw.as_str()).unwrap_or_else(|| raw.to_text()),
    }
}

fn unwrapped(json: &str) -> Option<Text<'static>> {
    let mut tape = Tape::new();
    let text = tape.read(json, Surrogates::Replace).ok()?.get_text("input")?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_text_comes_out_as_it_went_in_and_anything_else_as_it_is() {
        for text in ["", "*** Begin Patch\n\"x\"", "{\"input\":1}"] {
            let args = Args::Object(wrapped(&Text::of(text)));
            assert_eq!(input(&args).plain(), text);
        }
        assert_eq!(input(&Args::Text(Text::of("not json"))).plain(), "not json");
    }
}
