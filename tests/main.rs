//! What graph-recs promises, asked of the real program: every test runs the binary as a person or a scheduler would,
//! in folders of its own, and looks at what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod analysts;
mod bad_input;
mod ballista;
mod checks;
mod cli;
mod cluster;
mod cluster_control;
mod cluster_support;
mod demo;
mod environment;
mod golden;
mod history;
mod input_forms;
mod lock;
mod operations;
mod parquet;
mod postgres;
mod properties;
mod quarantine;
mod resume;
mod rewrite;
mod s3;
mod score;
mod slt;
mod support;
mod suspensions;
