//! The data plane: a thread-per-core proxy for model traffic. See ARCHITECTURE.md.
//!
//! Owns: everything between a caller's connection and an endpoint's, from a compiled snapshot.
//! Must not: read a configuration file, resolve a name on a worker, or wait for the control plane.
//! Read next: [`exchange`], the way of a request, then [`table`], which says where it goes.

pub mod admission;
pub mod attempt;
pub mod balance;
pub mod bounds;
pub mod cells;
pub mod clock;
pub mod coding;
pub mod control;
pub mod deadline;
pub mod demo;
pub mod desk;
pub mod dispatch;
pub mod downstream;
pub mod exchange;
pub mod explain;
pub mod fit;
pub mod handshake;
pub mod health;
pub mod heartbeat;
pub mod hedge;
pub mod hosted;
pub mod intake;
pub mod listen;
pub mod load;
pub mod names;
pub mod observe;
pub mod orca;
pub mod outcome;
pub mod plane;
pub mod refusal;
pub mod relay;
pub mod reply;
pub mod retry;
pub mod ring;
pub mod seen;
pub mod session;
pub mod settle;
pub mod table;
pub mod tls;
pub mod trace;
pub mod translate;
pub mod upstream;
pub mod worker;
