//! A panic ends one connection, never a worker.
//!
//! Owns: the catching. monoio does not: an unwinding task takes its worker along.
//! Must not: swallow the panic in silence: the caller counts it.
//! Read next: `listen.rs`, where every connection is wrapped.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project_lite::pin_project! {
    /// A future whose panic becomes an `Err`.
    pub struct Guarded<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future> Guarded<F> {
    /// Wraps `inner`.
    pub fn new(inner: F) -> Self {
        Self { inner }
    }
}

impl<F: Future> Future for Guarded<F> {
    type Output = std::thread::Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.project().inner;
        // Unwind safety: shared state of a worker is borrowed only inside straight-line code that does not call out,
        // so a panic never leaves it half changed.
        match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
