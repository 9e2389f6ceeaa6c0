//! The TLS handshake with a caller: before its first request, within its time, and counted.
//!
//! Owns: what becomes of a caller that gets none, and the one answer in plain text that a secure listener gives.
//! Must not: read a request.
//! Read next: `downstream.rs`, which goes on from here; `ring/secure.rs`, which moves the bytes.

use std::rc::Rc;

use ringway_contract::snapshot::Listener;

use crate::deadline::Wait;
use crate::downstream::{Downstream, linger, unasked};
use crate::outcome::Reason;
use crate::refusal::Refusal;
use crate::ring::Socket;
use crate::tls::{Fault, Session, Side};
use crate::worker::Worker;

/// Makes a fresh connection one that speaks TLS; false if that cannot be.
pub fn prepare(worker: &Worker, socket: &Socket, listener: &Listener) -> bool {
    // None: a reload took the listener's TLS away since it was accepted.
    let side = worker.table().server_side(listener.address).cloned();
    match side.ok_or(Fault::Internal).and_then(|side| Session::server(side.config())) {
        Ok(session) => {
            socket.secure(session, &worker.buffers);
            true
        }
        Err(fault) => {
            worker.count_fault(Side::Server, fault);
            false
        }
    }
}

/// Does the handshake; false if the connection is over instead.
pub async fn shake(worker: &Rc<Worker>, down: &mut Downstream) -> bool {
    let Some(_place) = worker.count_handshake() else {
        fail(worker, Fault::Crowded);
        return false;
    };
    let handshake_ms = down.listener.timeouts.handshake_ms.get();
    down.deadline.wait(Wait::Handshake, worker.clock.coarse_ms(), handshake_ms);
    let ended = down.socket.handshake().await;
    let elapsed = down.deadline.elapsed();
    down.deadline.rest();
    match (ended, elapsed) {
        (Ok(resumed), _) => {
            worker.shard.count_handshake(Side::Server, resumed);
            return true;
        }
        (Err(_), Some(_)) => fail(worker, Fault::TimedOut),
        (Err(Fault::NotTls), None) => answer_plain(worker, down).await,
        (Err(fault), None) => fail(worker, fault),
    }
    false
}

fn fail(worker: &Worker, fault: Fault) {
    worker.count_fault(Side::Server, fault);
    if fault != Fault::Silent {
        worker.count_reason(Reason::TlsHandshake);
    }
}

/// Somebody who speaks plain HTTP can read why that is wrong here; who speaks anything else gets the same.
async fn answer_plain(worker: &Worker, down: &mut Downstream) {
    worker.count_fault(Side::Server, Fault::NotTls);
    worker.count_reason(Reason::BadProtocol);
    let mut answer = Vec::new();
    unasked(worker, &mut answer, &Refusal::PlainHttp);
    down.socket.send_plain(&answer);
    linger(worker, down).await;
}
