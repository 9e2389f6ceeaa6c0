//! The `ringctl` binary. Everything is in the library, so that tests and documentation can reach it.
//!
//! Read next: `cli/mod.rs`, the verbs.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ringway_controlplane::cli::main()
}
