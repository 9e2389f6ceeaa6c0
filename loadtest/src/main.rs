//! `ringload`: load generator, judge and simulated fleets.
//!
//! Owns: nothing but the way in. Read next: `cli.rs`.

fn main() -> std::process::ExitCode {
    ringway_loadtest::cli::main()
}
