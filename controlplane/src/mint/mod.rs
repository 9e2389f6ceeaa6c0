//! Tokens for providers that take no key as it is: got with one, and renewed before they end.
//!
//! Owns: which accounts need one, the last that each got, and when to ask again.
//! Must not: let go of a token that still holds because the next one could not be had; or show one.
//! Read next: `account.rs`, the proof that a token is asked for with; `ask.rs`, the asking.

mod account;
mod ask;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_contract::snapshot::Credential;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

pub use self::account::ServiceAccount;
use crate::bounds::running as bounds;
use crate::daemon::api::TokenStatus;
use crate::log;

/// A token, and how long it holds.
#[derive(Clone, PartialEq, Eq)]
struct Token {
    text: String,
    holds: Duration,
}

/// The tokens of all accounts in use, by the backend they are for.
#[derive(Default)]
pub struct Mint {
    known: BTreeMap<String, Known>,
    asking: JoinSet<Asked>,
}

/// An asking that has ended.
struct Asked {
    backend: String,
    /// For whom: the backend may be another's by now.
    account: ServiceAccount,
    answer: Result<Token, String>,
}

struct Known {
    account: ServiceAccount,
    token: Option<Held>,
    /// When to ask next; none: it is being asked.
    due: Option<Instant>,
    wait: Duration,
    /// Whether any asking has ended, well or not.
    settled: bool,
    /// Why the last asking brought nothing; none: it brought a token.
    error: Option<String>,
}

/// A token that was got.
struct Held {
    text: String,
    until: Instant,
    /// The same moment for others, in seconds since 1970.
    until_s: u64,
}

impl Known {
    fn new(account: ServiceAccount) -> Self {
        let (due, wait) = (Some(Instant::now()), bounds::BACKOFF_MS_MIN);
        Self { account, token: None, due, wait, settled: false, error: None }
    }
}

impl Mint {
    /// Keeps to these accounts, of several for a backend to the first: new ones get a token, those no longer used are
    /// forgotten.
    pub fn want(&mut self, accounts: &[(&str, &ServiceAccount)]) {
        let wanted: BTreeMap<_, _> = accounts.iter().rev().copied().collect();
        self.known.retain(|backend, known| wanted.get(backend.as_str()) == Some(&&known.account));
        for (backend, account) in wanted {
            self.known.entry(backend.to_owned()).or_insert_with(|| Known::new(account.clone()));
        }
        self.start_due();
    }

    /// What a request of this backend is proved with now, and until when, in seconds since 1970; none: there is no token
    /// that holds.
    pub fn credential(&self, backend: &str) -> Option<(Credential, u64)> {
        let held = self.known.get(backend)?.token.as_ref()?;
        let value = format!("Bearer {}", held.text);
        let credential = || Credential { header: "authorization".to_owned(), value };
        (Instant::now() < held.until).then(|| (credential(), held.until_s))
    }

    /// How all of them stand, for `GET /v1/status`.
    pub fn status(&self) -> Vec<TokenStatus> {
        let of = |(backend, known): (&String, &Known)| TokenStatus {
            backend: backend.clone(),
            account: known.account.email.clone(),
            until: known
                .token
                .as_ref()
                .map(|held| log::rfc3339(UNIX_EPOCH + Duration::from_secs(held.until_s))),
            error: known.error.clone(),
        };
        self.known.iter().map(of).collect()
    }

    /// Backends that have no token that holds.
    pub fn missing(&self) -> Vec<&str> {
        let names = self.known.keys().map(String::as_str);
        names.filter(|backend| self.credential(backend).is_none()).collect()
    }

    /// Waits until each account was asked for at least once.
    pub async fn settle(&mut self) {
        while self.known.values().any(|known| !known.settled) {
            self.changed().await;
        }
    }

    /// Waits for the next token. Never comes back while nothing is due; safe to drop.
    pub async fn changed(&mut self) {
        loop {
            self.start_due();
            let due = self.known.values().filter_map(|known| known.due).min();
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.asking.join_next() => {
                    if let Ok(asked) = ended && self.take(asked) {
                        return;
                    }
                }
                () = wait => {}
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for (backend, known) in
            self.known.iter_mut().filter(|(_, known)| known.due.is_some_and(|due| due <= now))
        {
            known.due = None;
            let (backend, account) = (backend.clone(), known.account.clone());
            self.asking.spawn(async move {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let answer = timeout(bounds::MINT_MS_MAX, ask::token(&account, since.as_secs())).await;
                let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
                Asked { backend, account, answer }
            });
        }
    }

    /// Takes an answer in; true if there is a new token, or something else to tell of it.
    fn take(&mut self, asked: Asked) -> bool {
        let Asked { backend, account, answer } = asked;
        let Some(known) = self.known.get_mut(&backend).filter(|known| known.account == account) else {
            return false;
        };
        known.settled = true;
        let now = Instant::now();
        match answer {
            Ok(Token { text, holds }) => {
                if known.error.take().is_some() {
                    log::info("a token could be had again", &[("backend", &backend)]);
                }
                // A fifth of its time is left for whatever goes wrong.
                known.due = Some(now + (holds * 4 / 5).max(bounds::MINT_GAP_MS_MIN));
                known.wait = bounds::BACKOFF_MS_MIN;
                let until_s = (SystemTime::now() + holds).duration_since(UNIX_EPOCH).unwrap_or_default();
                known.token = Some(Held { text, until: now + holds, until_s: until_s.as_secs() });
                true
            }
            Err(why) => {
                let left = known.token.as_ref().map_or(0, |it| (it.until - now.min(it.until)).as_secs());
                let told = known.error.replace(why.clone());
                if told.is_none() {
                    let (backend, left) = (&backend, format!("{left} s"));
                    log::warn(
                        "no token can be had",
                        &[("backend", backend), ("why", &why), ("last_holds", &left)],
                    );
                }
                known.due = Some(now + known.wait);
                known.wait = (known.wait * 2).min(bounds::MINT_WAIT_MS_MAX);
                told != known.error
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../tests/fixtures/mint/account.json");

    fn account(email: &str) -> ServiceAccount {
        ServiceAccount::read(&FILE.replace("ringway@", email)).expect("a key file")
    }

    fn mint(account: &ServiceAccount) -> Mint {
        let known = Known { due: None, ..Known::new(account.clone()) };
        Mint { known: [("claude".to_owned(), known)].into(), asking: JoinSet::new() }
    }

    fn asked(account: &ServiceAccount, answer: Result<u64, &str>) -> Asked {
        let token = |holds_s| Token { text: format!("for {holds_s}"), holds: Duration::from_secs(holds_s) };
        let answer = answer.map(token).map_err(str::to_owned);
        Asked { backend: "claude".to_owned(), account: account.clone(), answer }
    }

    #[test]
    fn an_answer_for_an_account_that_was_replaced_is_nobodys() {
        let (before, now) = (account("before@"), account("now@"));
        let mut mint = mint(&now);
        assert!(!mint.take(asked(&before, Ok(3_600))) && mint.credential("claude").is_none());
        assert!(mint.take(asked(&now, Ok(3_600))));
        let (credential, until_s) = mint.credential("claude").expect("a token that holds");
        assert_eq!(credential.value, "Bearer for 3600");
        let left = UNIX_EPOCH + Duration::from_secs(until_s);
        assert!(left.duration_since(SystemTime::now()).expect("later") > Duration::from_mins(50));
    }

    #[test]
    fn a_failure_is_told_once_and_leaves_the_token_that_holds() {
        let account = account("one@");
        let mut mint = mint(&account);
        assert!(mint.take(asked(&account, Ok(3_600))));
        assert!(mint.take(asked(&account, Err("away"))) && !mint.take(asked(&account, Err("away"))));
        assert!(mint.take(asked(&account, Err("another reason"))), "what is new is told");
        assert!(mint.credential("claude").is_some());
        let status = &mint.status()[0];
        assert_eq!(
            (status.account.as_str(), status.error.as_deref()),
            ("one@test-only.example", Some("another reason"))
        );
        assert!(mint.take(asked(&account, Ok(60))) && mint.status()[0].error.is_none());
    }

    #[test]
    fn a_token_is_asked_for_anew_when_a_fifth_of_its_time_is_left_and_sooner_where_that_failed() {
        let account = account("one@");
        let mut mint = mint(&account);
        let due = |mint: &Mint| mint.known["claude"].due.expect("it is asked again") - Instant::now();
        mint.take(asked(&account, Ok(3_600)));
        assert!((2_800..=2_880).contains(&due(&mint).as_secs()), "{:?}", due(&mint));
        for _ in 0..20 {
            mint.take(asked(&account, Err("away")));
            assert!(due(&mint) <= bounds::MINT_WAIT_MS_MAX);
        }
        assert!(due(&mint) > bounds::MINT_WAIT_MS_MAX / 2, "it does not knock all the time");
    }
}
