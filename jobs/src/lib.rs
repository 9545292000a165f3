//! The daily job of graph-recs and what belongs to it: its steps, the warehouse, training, and the command line.

#[macro_use]
pub(crate) mod say;

pub mod app;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod database;
pub mod generate;
pub mod log;
pub mod pipeline;
pub mod progress;
pub mod telemetry;
pub mod train;
