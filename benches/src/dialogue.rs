//! Requests and streams in two dialects, for measuring translation.
//!
//! Owns: a conversation of about 220 KB and the pieces of a streamed answer. Must not: come from anybody's recordings.
//! Read next: `benches/dialect.rs`.

use std::fmt::Write as _;

/// Bytes of a request, about.
pub const BODY_BYTES: usize = 220_000;

/// A conversation with a coding agent in Chat Completions: prose or code, with calls of a tool or without.
pub fn conversation(code: bool, calls: bool) -> String {
    let text = if code {
        r#"fn main() {\n    println!(\"{}\", 1);\n}\n"#.repeat(40)
    } else {
        "The quick brown fox jumps over the lazy dog, and nobody minds. ".repeat(30)
    };
    let args = r"let x = 1;\\n".repeat(20);
    let mut body =
        String::from(r#"{"model":"m","stream":true,"messages":[{"role":"system","content":"Be brief."}"#);
    let mut n = 0;
    while body.len() < BODY_BYTES {
        n += 1;
        let _ = write!(body, r#",{{"role":"user","content":"{n} {text}"}}"#);
        let _ = if calls {
            write!(
                body,
                r#",{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{n}","type":"function","function":{{"name":"edit","arguments":"{{\"path\":\"src/{n}.rs\",\"text\":\"{args}\"}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{n}","content":"{text}"}}"#
            )
        } else {
            write!(body, r#",{{"role":"assistant","content":"{text}"}}"#)
        };
    }
    body + r#",{"role":"user","content":"go on"}]}"#
}

/// One event of a Chat Completions stream, as OpenAI sends it.
pub const CHAT_EVENT: &str = concat!(
    r#"data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1700000000,"#,
    r#""model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","#,
    r#""choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}"#,
    "\n\n"
);

/// The beginning of a Messages stream, up to its first piece of text.
pub const MESSAGES_START: &str = concat!(
    "event: message_start\ndata: ",
    r#"{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"m","#,
    r#""content":[],"usage":{"input_tokens":9,"output_tokens":1}}}"#,
    "\n\nevent: content_block_start\ndata: ",
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    "\n\n"
);

/// One event of it with text.
pub const MESSAGES_EVENT: &str = concat!(
    "event: content_block_delta\ndata: ",
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" token"}}"#,
    "\n\n"
);
