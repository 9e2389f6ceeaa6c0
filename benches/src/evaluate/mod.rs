//! The acceptance scenarios in virtual time: traces, the gateway's own choice and admission, simulated engines.
//!
//! Owns: what is run and what it has to reach. Balancing, prefix index, cells, queue and health are the data plane's, the
//! engines are `ringway_gpusim`'s; nothing of either is written a second time here.
//! Must not: read a clock, or draw chance that is not seeded: the same command gives the same figures.
//! Read next: [`scenarios`], the list; [`drive`], which stands between the two; [`judge`], which says how it went.

mod alarms;
pub mod arrivals;
pub mod bars;
pub mod document;
pub mod drive;
pub mod extras;
pub mod gateway;
pub mod judge;
pub mod material;
pub mod outcome;
pub mod reports;
pub mod runner;
pub mod scenarios;
pub mod setup;
pub mod table;
