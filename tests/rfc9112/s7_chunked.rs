//! RFC 9112 section 7: chunked requests.

use ringway_tests::client::post_chunked;
use ringway_tests::each_driver;
use ringway_tests::http::chunked;

use crate::rig::Want::{Passes, RefusedInBody};
use crate::rig::{BODY_BYTES_MAX, Case, Rig, case, own_answer, post, rule};

fn coded(what: &str, body: &str, want: crate::rig::Want) -> Case {
    case(
        format!("{what} {:?}", &body[..body.len().min(60)]),
        post(&["Transfer-Encoding: chunked"], body),
        want,
    )
}

#[test]
fn h1_ch_01_a_chunk_size_is_up_to_sixteen_hex_digits() {
    let sized = |size: &str, want| coded("size", &format!("{size}\r\nhello\r\n0\r\n\r\n"), want);
    let bad = [
        "",
        "g",
        "-5",
        "+5",
        "0x5",
        "5h",
        "5.",
        "\u{665}",
        "00000000000000005",
        "10000000000000005",
        "1FFFFFFFFFFFFFFFF",
    ];
    let mut cases: Vec<Case> = bad.map(|size| sized(size, RefusedInBody(400))).to_vec();
    cases.extend(["5", "05", "0000000000000005"].map(|size| sized(size, Passes)));
    cases.push(coded("upper case", "A\r\n0123456789\r\n0\r\n\r\n", Passes));
    cases.push(coded("lower case", "a\r\n0123456789\r\n000\r\n\r\n", Passes));
    rule("H1-CH-01", &cases);
}

/// The size alone is above the body limit, and adding its line end wraps: RUSTSEC-2026-0181.
#[test]
fn h1_ch_01_the_largest_sizes_neither_wrap_nor_panic() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        for size in [
            "FFFFFFFFFFFFFFFF",
            "FFFFFFFFFFFFFFFE",
            "FFFFFFFFFFFFFFFD",
            "8000000000000000",
            "7FFFFFFFFFFFFFFF",
        ] {
            let mut caller = rig.caller();
            caller.send(post(&["Transfer-Encoding: chunked"], &format!("{size}\r\nhello\r\n0\r\n\r\n")));
            let answer = caller.answer();
            assert!([400, 413].contains(&answer.status()), "{size}: {}", answer.status());
            assert!(answer.says_close(), "{size}");
        }
        assert_eq!(rig.origin.requests().len(), 0);
        rig.finish();
    });
}

#[test]
fn h1_ch_02_every_line_of_the_framing_ends_with_crlf() {
    rule(
        "H1-CH-02",
        &[
            coded("LF behind the size", "5\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("CR behind the size", "5\rhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("two CR", "5\r\r\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("LF behind the data", "5\r\nhello\n0\r\n\r\n", RefusedInBody(400)),
            coded("CR behind the data", "5\r\nhello\r0\r\n\r\n", RefusedInBody(400)),
            coded("a byte before the end", "5\r\nhelloX\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("no end", "5\r\nhello0\r\n\r\n", RefusedInBody(400)),
            coded("empty line between", "5\r\nhello\r\n\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("LF behind the last size", "5\r\nhello\r\n0\n\r\n", RefusedInBody(400)),
            coded("LF at the end", "5\r\nhello\r\n0\r\n\n", RefusedInBody(400)),
            coded("LF in an extension", "5;a=b\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("as it should be", "5\r\nhello\r\n0\r\n\r\n", Passes),
        ],
    );
}

#[test]
fn h1_ch_03_no_whitespace_around_a_chunk_size() {
    rule(
        "H1-CH-03",
        &[
            coded("space before", " 5\r\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("tab before", "\t5\r\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("space behind", "5 \r\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("tab behind", "5\t\r\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
            coded("space before the last", "5\r\nhello\r\n 0\r\n\r\n", RefusedInBody(400)),
            coded("a word behind", "5 x\r\nhello\r\n0\r\n\r\n", RefusedInBody(400)),
        ],
    );
}

#[test]
fn h1_ch_04_chunk_extensions_follow_their_grammar_and_are_small() {
    let with =
        |extension: &str, want| coded("extension", &format!("5{extension}\r\nhello\r\n0\r\n\r\n"), want);
    let bad = [
        ";",
        ";=x",
        ";a=",
        ";a=\"open",
        ";a=\"x\" y",
        ";a b",
        ";a=b\x01",
        ";a=\"\x01\"",
        ";a=b;",
        ";a=b,c=d",
        ";\u{e9}",
    ];
    let mut cases: Vec<Case> = bad.map(|extension| with(extension, RefusedInBody(400))).to_vec();
    cases.extend(
        [";a", ";a=b", ";a=b;c=d", ";a=\"q;\\\"x\\\"\"", ";a=\"\""].map(|extension| with(extension, Passes)),
    );
    cases.push(with(&format!(";a={}", "b".repeat(200)), Passes));
    cases.push(with(&format!(";a={}", "b".repeat(300)), RefusedInBody(400)));
    let many = |count: usize| format!("5;a={}\r\nhello\r\n", "b".repeat(200)).repeat(count) + "0\r\n\r\n";
    cases.push(coded("12 KiB of them", &many(60), Passes));
    cases.push(coded("20 KiB of them", &many(100), RefusedInBody(400)));
    rule("H1-CH-04", &cases);
}

/// More than 16 bytes of framing per byte of payload over 64 KiB: CVE-2023-39326.
#[test]
fn h1_ch_04_framing_may_not_outweigh_the_payload() {
    let padded = "0000000000000001\r\nx\r\n".repeat(8_000) + "0\r\n\r\n";
    let plain = "1\r\nx\r\n".repeat(20_000) + "0\r\n\r\n";
    rule("H1-CH-04", &[coded("20 to 1", &padded, RefusedInBody(400)), coded("5 to 1", &plain, Passes)]);
}

#[test]
fn h1_ch_05_trailers_follow_the_field_grammar_and_are_few() {
    let with = |trailers: &str, want| coded("trailer", &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"), want);
    let fields = |count: usize| "X-Late: v\r\n".repeat(count);
    rule(
        "H1-CH-05",
        &[
            with("no colon\r\n", RefusedInBody(400)),
            with("X : 1\r\n", RefusedInBody(400)),
            with(" X: 1\r\n", RefusedInBody(400)),
            with(": 1\r\n", RefusedInBody(400)),
            with("X: a\r\n fold\r\n", RefusedInBody(400)),
            with("X: a\nY: b\r\n", RefusedInBody(400)),
            with("X: \x01\r\n", RefusedInBody(400)),
            with(&fields(17), RefusedInBody(431)),
            with(&format!("X: {}\r\n", "v".repeat(5_000)), RefusedInBody(431)),
            with(&fields(16), Passes),
            with(&format!("X: {}\r\n", "v".repeat(3_000)), Passes),
        ],
    );
}

#[test]
fn h1_ch_05_trailers_never_become_fields() {
    each_driver(|io| {
        let rig = Rig::echo(io);
        let fields = ["Host: a", "Transfer-Encoding: chunked", "Trailer: X-Late"];
        let trailers =
            "5\r\nhello\r\n0\r\nX-Late: 1\r\nContent-Length: 99\r\nAuthorization: x\r\nHost: evil\r\n\r\n";
        let mut caller = rig.caller();
        caller.send(crate::rig::request("POST /trailers HTTP/1.1", &fields, trailers));
        assert_eq!(caller.answer().text(), "POST /trailers\nhello");
        own_answer(&mut caller, "/behind").unwrap();
        let head = rig.origin.request_for("/trailers").head;
        for name in ["x-late", "authorization", "trailer"] {
            assert!(!head.has(name), "{name} arrived: {}", head.text());
        }
        drop(caller);
        rig.finish(); // the origin reads strictly: a trailer behind the last chunk would be malformed
    });
}

#[test]
fn h1_ch_06_the_decoded_size_is_limited_as_it_arrives() {
    let limit = usize::try_from(BODY_BYTES_MAX).unwrap();
    let of = |bytes: usize| String::from_utf8(chunked(&vec![b'x'; bytes], &[10_000; 64])).unwrap();
    rule(
        "H1-CH-06",
        &[
            coded("one byte above", &of(limit + 1), RefusedInBody(413)),
            coded("exactly at it", &of(limit), Passes),
        ],
    );
}

#[test]
fn h1_ch_07_the_body_arrives_the_same_whatever_its_chunks_and_splits() {
    let body: Vec<u8> = (0..20_000_u32).flat_map(u32::to_be_bytes).collect();
    each_driver(|io| {
        let rig = Rig::echo(io);
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..8 {
            let target = format!("/round-{round}");
            let sizes: Vec<usize> = (0..200).map(|_| random.usize(1..2_000)).collect();
            let bytes = post_chunked(&target, &body, &sizes);
            let mut caller = rig.caller();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let cut = random.usize(1..=rest.len().min(9_000));
                caller.send(&rest[..cut]);
                rest = &rest[cut..];
            }
            assert_eq!(caller.answer().status(), 200);
            assert_eq!(rig.origin.request_for(&target).body, body, "round {round}");
        }
        rig.finish();
    });
}

#[test]
fn h1_ch_07_a_chunked_request_cut_at_any_byte_arrives_whole() {
    let bytes = post_chunked("/cut", b"hello, chunked world", &[1, 5]);
    each_driver(|io| {
        let rig = Rig::echo(io);
        let mut caller = rig.caller();
        for cut in 1..bytes.len() {
            caller.send(&bytes[..cut]);
            std::thread::sleep(std::time::Duration::from_millis(1));
            caller.send(&bytes[cut..]);
            assert_eq!(caller.answer().text(), "POST /cut\nhello, chunked world", "cut at {cut}");
        }
        drop(caller);
        rig.finish();
    });
}
