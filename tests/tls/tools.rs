//! The tools that people try a TLS port with.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ringway_tests::driver::preferred;
use ringway_tests::{Gateway, Origin, Setup};

use crate::rig::{NAME, Rig};

/// Whether a tool is there; says so if not.
fn have(tool: &str) -> bool {
    let there = Command::new(tool).arg("version").stdin(Stdio::null()).output().is_ok();
    if !there {
        println!("skipped: {tool} is not installed");
    }
    there
}

fn curl(rig: &Rig, gateway: &Gateway, args: &[&str]) -> (bool, String) {
    let ca = rig.authority.write(rig.folder(), "ca.pem");
    let port = gateway.address().port();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--cacert", &ca])
        .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1")])
        .args(args)
        .arg(format!("https://{NAME}:{port}/curl"))
        .output()
        .expect("it was there before");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn curl_is_content() {
    if !have("curl") {
        return;
    }
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway = Gateway::start(preferred(), rig.secure(Setup::raw(origin.address())));
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let version: Vec<&str> = version.split('=').collect();
        let (fine, text) = curl(&rig, &gateway, &version);
        assert!(fine && text == "GET /curl\n", "{version:?}: {text}");
    }
    let (fine, text) = curl(&rig, &gateway, &["--http1.0"]);
    assert!(fine && text == "GET /curl\n", "{text}");
    let big = rig.folder().join("big");
    std::fs::write(&big, vec![b'z'; 1_000_000]).expect("ours");
    let (fine, text) = curl(&rig, &gateway, &["--data-binary", &format!("@{}", big.display())]);
    assert!(fine && text.len() == 1_000_000 + "POST /curl\n".len());
    gateway.finish();
}

#[test]
fn openssl_takes_up_its_session_and_may_change_keys() {
    if !have("openssl") {
        return;
    }
    let rig = Rig::new();
    let origin = Origin::echo();
    let gateway = Gateway::start(preferred(), rig.secure(Setup::raw(origin.address())));
    let ca = rig.authority.write(rig.folder(), "ca.pem");
    let session = rig.folder().join("session").display().to_string();
    let run = |more: &[&str], input: &str| {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address().to_string(), "-servername", NAME])
            .args(["-CAfile", &ca, "-verify_return_error", "-ign_eof"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was there before");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("a child can be waited for");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let ask = "GET /openssl HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let text = run(&[version, "-sess_out", &session], ask);
        assert!(text.contains("GET /openssl\n") && text.contains("New, "), "{text}");
        let text = run(&[version, "-sess_in", &session], ask);
        assert!(text.contains("GET /openssl\n") && text.contains("Reused, "), "{text}");
        assert!(!text.contains("unexpected eof"), "it ends with a word: {text}");
    }
    gateway.finish();
}
