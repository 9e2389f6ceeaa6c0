//! Is a JSON object that comes in pieces whole yet?
//! Owns: counting its brackets. Must not: keep it, or check it.
//! Read next: `mod.rs`.

/// Follows one JSON text whose pieces are written inside JSON strings, as OpenAI and Anthropic have arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole {
    depth: u32,
    begun: bool,
    in_string: bool,
    after_backslash: bool,
}

impl Whole {
    /// Takes the next piece, as it is written.
    pub fn feed(&mut self, written: &str) {
        let mut bytes = written.bytes();
        while let Some(byte) = bytes.next() {
            let byte = if byte == b'\\' { escaped(&mut bytes) } else { byte };
            self.step(byte);
        }
    }

    /// An object has begun and ended.
    pub const fn is_whole(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }

    const fn step(&mut self, byte: u8) {
        match (self.in_string, self.after_backslash, byte) {
            (true, true, _) => self.after_backslash = false,
            (true, false, b'\\') => self.after_backslash = true,
            (true, false, b'"') => self.in_string = false,
            (true, false, _) => {}
            (false, _, b'"') => self.in_string = true,
            (false, _, b'{' | b'[') => {
                self.begun = true;
                self.depth = self.depth.saturating_add(1);
            }
            (false, _, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            (false, _, _) => {}
        }
    }
}

/// The byte that an escape stands for, as far as it matters here.
fn escaped(bytes: &mut std::str::Bytes<'_>) -> u8 {
    match bytes.next() {
        Some(byte @ (b'"' | b'\\')) => byte,
        Some(b'u') => {
            let unit =
                bytes.take(4).fold(0, |unit, byte| unit << 4 | char::from(byte).to_digit(16).unwrap_or(0));
            u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(b'x')
        }
        Some(_) | None => b' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Text;

    #[test]
    fn an_object_is_whole_with_its_last_bracket_however_it_is_cut() {
        let json = r#" {"a":"}\" \\","b":[{},"]"]} "#;
        let end = json.rfind('}').expect("there");
        for at in 0..json.len() {
            let mut whole = Whole::default();
            whole.feed(Text::of(&json[..at]).as_written());
            assert_eq!(whole.is_whole(), at > end, "after {at}");
            whole.feed(Text::of(&json[at..]).as_written());
            assert!(whole.is_whole());
        }
        let mut whole = Whole::default();
        whole.feed(r"\u007b\u0022\u0022:1}");
        assert!(whole.is_whole());
    }
}
