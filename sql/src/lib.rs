//! The plans of graph-recs and the one session that every binary uses.
//!
//! What is computed stands in the SQL files beside this crate, one statement a file. This crate knows them by name
//! ([`plans`]), finds a day's raw exports ([`input`]), and builds the session in which the plans run ([`session`]),
//! with their parameters ([`parameters`]).

pub mod allocator;
pub mod catalog;
pub mod cluster;
pub mod host;
pub mod input;
mod memory;
pub mod models;
mod optimizer;
pub mod parameters;
pub mod parquet;
pub mod plans;
pub mod postgres;
pub mod session;
pub mod tee;
pub mod weekly_messages;

pub use input::{Input, InputError};
pub use parameters::Parameters;
pub use session::Engine;
