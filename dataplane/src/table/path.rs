//! Whether a path says the same to everybody (H1-SY-13).
//!
//! Read next: [`super::matching`].

/// Whether a path has no dot segment, no empty segment but a last one, and no encoded separator or NUL, so that
/// no server behind us can take it for another path than we matched. A query is not looked at.
pub fn is_plain(path: &[u8]) -> bool {
    let _ = path;
    todo!()
}
