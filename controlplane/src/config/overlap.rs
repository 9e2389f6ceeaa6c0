//! Routes that never get a request, because an earlier one takes them all.
//!
//! Owns: when one match covers another. It errs on the quiet side: what it calls covered is covered.
//! Must not: forbid anything; the first match wins is the rule, and an unused route does no harm.
//! Read next: `resolve.rs`, which warns.

use ringway_contract::snapshot::Match;

/// Whether every request that `later` matches is matched by `earlier` too.
pub(super) fn covers(earlier: &Match, later: &Match) -> bool {
    path(earlier, later)
        && subset(&later.methods, &earlier.methods, PartialEq::eq)
        && subset(&later.hosts, &earlier.hosts, |host, pattern| host == pattern || under(host, pattern))
        && subset(&later.models, &earlier.models, |glob, wider| glob == wider || wider == "*")
        && subset(&later.client_cidrs, &earlier.client_cidrs, |net, wider| wider.contains(net))
        && earlier.headers.iter().all(|header| later.headers.contains(header))
}

fn path(earlier: &Match, later: &Match) -> bool {
    match (&earlier.path, &earlier.path_prefix) {
        (None, None) => true,
        (Some(path), _) => later.path.as_ref() == Some(path),
        (None, Some(prefix)) => {
            let inside = |path: &String| leads(prefix, path);
            later.path.as_ref().or(later.path_prefix.as_ref()).is_some_and(inside)
        }
    }
}

/// Whether `prefix` leads `path` up to a `/` or its end, as the data plane matches it.
pub(super) fn leads(prefix: &str, path: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
}

fn under(host: &str, pattern: &str) -> bool {
    pattern.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
}

/// Whether each of `narrow` is within one of `wide`; an empty list stands for everything.
fn subset<T>(narrow: &[T], wide: &[T], within: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty()
        || !narrow.is_empty() && narrow.iter().all(|one| wide.iter().any(|other| within(one, other)))
}
