//! Where sockets and state are, when nobody says.
//!
//! Owns: the defaults. Must not: create anything.

use std::path::PathBuf;

/// The data plane's control socket.
pub fn dataplane_socket() -> PathBuf {
    runtime_folder(&environment).join("dataplane.sock")
}

/// The daemon's socket.
pub fn daemon_socket() -> PathBuf {
    runtime_folder(&environment).join("daemon.sock")
}

/// The folder of revisions and of the daemon's lock.
pub fn data_folder() -> PathBuf {
    state_folder(&environment, rustix::process::geteuid().is_root())
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn runtime_folder(environment: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    if let Some(folder) = environment("RUNTIME_DIRECTORY") {
        return first(&folder);
    }
    match environment("XDG_RUNTIME_DIR") {
        Some(folder) => PathBuf::from(folder).join("ringway"),
        None => PathBuf::from("/run/ringway"),
    }
}

fn state_folder(environment: &dyn Fn(&str) -> Option<String>, root: bool) -> PathBuf {
    if let Some(folder) = environment("STATE_DIRECTORY") {
        return first(&folder);
    }
    if let Some(folder) = environment("XDG_STATE_HOME") {
        return PathBuf::from(folder).join("ringway");
    }
    match environment("HOME") {
        Some(home) if !root => PathBuf::from(home).join(".local/state/ringway"),
        _ => PathBuf::from("/var/lib/ringway"),
    }
}

/// systemd puts several folders into one variable, with colons between them.
fn first(folders: &str) -> PathBuf {
    PathBuf::from(folders.split(':').next().unwrap_or(folders))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_service_manager_wins_then_the_session_then_run() {
        let both = [("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(runtime_folder(&with(&both)), PathBuf::from("/run/a"));
        assert_eq!(runtime_folder(&with(&both[1..])), PathBuf::from("/run/user/7/ringway"));
        assert_eq!(runtime_folder(&with(&[])), PathBuf::from("/run/ringway"));
    }

    #[test]
    fn state_of_a_user_is_at_home_and_state_of_root_is_the_systems() {
        let home = [("HOME", "/h/x")];
        assert_eq!(state_folder(&with(&home), false), PathBuf::from("/h/x/.local/state/ringway"));
        assert_eq!(state_folder(&with(&home), true), PathBuf::from("/var/lib/ringway"));
        let service = [("STATE_DIRECTORY", "/var/lib/x"), ("HOME", "/root")];
        assert_eq!(state_folder(&with(&service), true), PathBuf::from("/var/lib/x"));
    }
}
