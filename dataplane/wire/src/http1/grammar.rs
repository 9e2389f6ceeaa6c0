//! Byte classes and small grammars.

/// Whether the bytes may stand in a field value: no control byte but HTAB (H1-SY-03, H1-RS-03).
pub fn field_value_is_safe(_value: &[u8]) -> bool {
    unimplemented!()
}

/// Whether the bytes are a token: `1*tchar`.
pub fn token_is_valid(_bytes: &[u8]) -> bool {
    unimplemented!()
}

/// Whether a request id of a peer may be kept: 1 to 128 bytes of `[A-Za-z0-9._:/@+-]`.
pub fn sane_request_id(_id: &[u8]) -> bool {
    unimplemented!()
}

/// Whether a path may be matched by prefix: no dot segments, no `//`, no encoded separators or NUL (H1-SY-13).
pub fn path_is_plain(_path: &[u8]) -> bool {
    unimplemented!()
}
