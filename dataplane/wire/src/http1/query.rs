//! Credentials in a query, taken out (SEC-KEY-05).
//! Owns: which parameters are credentials. Must not: change any other byte of a query.
//! Read next: `write.rs`, the caller.

/// Appends `query` (without its `?`) to `out` without its credential parameters `key`, `api_key` and
/// `access_token`, however their names are percent-encoded; every other byte stays. Returns whether anything is left.
pub fn write_without_credentials(_out: &mut Vec<u8>, _query: &[u8]) -> bool {
    unimplemented!()
}

/// The value of the first credential parameter, as it stands in the query (not decoded).
pub fn find_credential(_query: &[u8]) -> Option<&[u8]> {
    unimplemented!()
}
