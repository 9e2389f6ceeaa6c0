//! One question to a token service.
//!
//! Owns: the request, what of the answer counts, and the connection for it.
//! Must not: keep the connection: an hour lies between two questions.
//! Read next: [`crate::dial`], the connection.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::Token;
use super::account::ServiceAccount;
use crate::bounds::running as bounds;
use crate::dial;

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default = "an_hour")]
    expires_in: u64,
}

const fn an_hour() -> u64 {
    3_600
}

/// Asks for a token, at this second since 1970.
pub(super) async fn token(account: &ServiceAccount, now_s: u64) -> Result<Token, String> {
    let uri = &account.token_uri;
    let host = uri.host().ok_or("no host")?;
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}",
        account.assertion(now_s)?
    );
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, uri.authority().map_or(host, |authority| authority.as_str()))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::from(form)))
        .map_err(|error| error.to_string())?;
    let stream = dial::host(host, port, secure).await?;
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string());
    let answer = match response {
        Ok(response) => {
            let status = response.status();
            let body = Limited::new(response.into_body(), bounds::TOKEN_BYTES_MAX).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|error| error.to_string())
        }
        Err(error) => Err(error),
    };
    driver.abort();
    let (status, body) = answer?;
    if !status.is_success() {
        return Err(format!("the token service answered {status}: {}", reason(&body)));
    }
    let granted: Granted =
        serde_json::from_slice(&body).map_err(|_| "the answer holds no token".to_owned())?;
    if granted.access_token.is_empty() || !granted.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the answer holds no token that can be sent".to_owned());
    }
    Ok(Token {
        text: granted.access_token,
        holds: Duration::from_secs(granted.expires_in).min(bounds::TOKEN_HOLDS_MAX),
    })
}

/// What an error says of itself (RFC 6749 section 5.2).
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refused {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => format!("{} {}", refused.error, refused.error_description)
            .chars()
            .take(bounds::REASON_CHARS_MAX)
            .collect(),
        Err(_) => "no reason is given".to_owned(),
    }
}
