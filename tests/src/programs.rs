//! The programs under test: where they are, and building them when they are not.
//!
//! Owns: one `cargo build` per test process (cargo's own lock orders the processes), so that a fresh clone's
//! `cargo test --workspace` and an edit of the data plane both run what the tree says. `RINGWAY_BIN_DIR`
//! names a folder of ready programs instead, for long runs with release builds.
//! Must not: start them.
//! Read next: `gateway.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PROGRAMS: [&str; 3] = ["ringway", "ringctl", "ringload"];

/// Path of `ringway`, `ringctl` or `ringload`, fresh.
pub fn program(name: &str) -> PathBuf {
    assert!(PROGRAMS.contains(&name), "{name} is no program of this workspace");
    let path = folder().join(name);
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// Whether the programs under test are built with optimisation: claims about memory hold only then.
pub fn optimised() -> bool {
    folder().file_name().is_some_and(|name| name != "debug")
}

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("RINGWAY_BIN_DIR") {
        Some(ready) => PathBuf::from(ready),
        None => build(),
    })
}

/// Builds the programs into the target folder and profile that this test was built into.
fn build() -> PathBuf {
    let folder = profile_folder();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bins", "--profile", profile]).current_dir(workspace());
    for package in PROGRAMS {
        command.args(["--package", package]);
    }
    command.env("CARGO_TARGET_DIR", folder.parent().expect("a profile folder is inside the target folder"));
    let built = command.status().unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(built.success(), "building the programs under test failed");
    folder
}

/// `target/<profile>`: the folder above `deps`, where this test lies.
fn profile_folder() -> PathBuf {
    let me = std::env::current_exe().expect("a running test has a path");
    let deps = me.parent().expect("a test lies in a folder");
    deps.parent().expect("a test lies in target/<profile>/deps").to_owned()
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}
