//! Facts about the oracle: what it lets pass, what it does not, and what it calls it. No engine
//! is needed.

mod bench;
mod clients;
mod laws;
mod models;
mod orders;
mod refused;
mod run;
mod scenarios;
mod timed;
mod verdicts;
