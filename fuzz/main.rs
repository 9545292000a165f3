//! Whatever comes from outside, in bytes that nobody meant: nothing panics, and no record is lost.
//!
//! Each test changes the inputs in `seeds/<its name>` at random, always in the same order, for some seconds; `fuzz/run`
//! does a million. An input whose outcome is of a new kind is changed further. One that fails is written to a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod csv;
mod driver;
mod json;
mod model;
mod parquet;
mod scan;
mod service;
mod settings;
mod text;
mod watch;
