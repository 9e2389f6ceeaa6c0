//! A caller of the control socket.
//!
//! Owns: one request per connection over a Unix socket.
//! Must not: hold a connection between requests: the gateway's open files are counted.
//! Read next: `gateway.rs`.

use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::bounds::ANSWER_MAX;
use crate::client::{Answer, Client};

/// Sends one request and reads its answer; an error when nobody listens.
pub fn call(socket: &Path, method: &str, target: &str, fields: &str, body: &[u8]) -> std::io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let mut client = Client::over(stream);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    client.try_send(&[head.as_bytes(), body].concat())?;
    client.try_answer(method).map_err(|why| std::io::Error::other(format!("{why:?}")))
}
