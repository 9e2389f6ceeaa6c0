//! Objects and arrays, written member by member.
//! Owns: braces and commas. Must not: order or check anything.
//! Read next: `write.rs`.

/// An object that is being written.
#[derive(Debug)]
pub struct Members {
    empty: bool,
}

impl Members {
    /// Opens it.
    pub fn open(out: &mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { empty: true }
    }

    /// Writes a key, which must need no escape; its value is to follow.
    pub fn key(&mut self, out: &mut Vec<u8>, key: &str) {
        if !self.empty {
            out.push(b',');
        }
        self.empty = false;
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
    }

    /// Writes a key and the JSON text of its value.
    pub fn json(&mut self, out: &mut Vec<u8>, key: &str, value: &str) {
        self.key(out, key);
        out.extend_from_slice(value.as_bytes());
    }

    /// Writes a key and a text.
    pub fn text(&mut self, out: &mut Vec<u8>, key: &str, value: &super::Text<'_>) {
        self.key(out, key);
        value.write(out);
    }

    /// Writes a key and a value as it was written.
    pub fn raw(&mut self, out: &mut Vec<u8>, key: &str, value: &super::Raw<'_>) {
        self.key(out, key);
        value.write(out);
    }

    /// Writes a key and a number.
    pub fn number(&mut self, out: &mut Vec<u8>, key: &str, value: u64) {
        self.key(out, key);
        super::number(out, value);
    }

    /// Writes a key and a truth value.
    pub fn truth(&mut self, out: &mut Vec<u8>, key: &str, value: bool) {
        self.json(out, key, if value { "true" } else { "false" });
    }

    /// Closes it.
    pub fn close(self, out: &mut Vec<u8>) {
        out.push(b'}');
    }
}

/// An array that is being written.
#[derive(Clone, Copy, Debug)]
pub struct List {
    empty: bool,
}

impl List {
    /// Opens it.
    pub fn open(out: &mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { empty: true }
    }

    /// Another element is to follow.
    pub fn next(&mut self, out: &mut Vec<u8>) {
        if !self.empty {
            out.push(b',');
        }
        self.empty = false;
    }

    /// Closes it.
    pub fn close(self, out: &mut Vec<u8>) {
        out.push(b']');
    }
}
