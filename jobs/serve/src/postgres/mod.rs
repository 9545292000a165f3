//! PostgreSQL's protocol, by pgwire's messages.

mod binary;
mod command;
mod connection;
mod copy;
mod cursor;
mod extended;
mod handler;
mod login;
mod parameters;
mod rows;
mod values;

pub use connection::{Listener, Options};
