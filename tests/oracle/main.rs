//! Tests of the oracle, without an engine: which states it allows, which it does not, and how it
//! names the violation.

mod bench;
mod clients;
mod laws;
mod models;
mod orders;
mod refused;
mod run;
mod scenarios;
mod shown;
mod timed;
mod verdicts;
