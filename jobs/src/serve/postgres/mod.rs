//! PostgreSQL's protocol, by pgwire's messages.

mod command;
mod connection;
mod copy;
mod handler;
mod login;
mod parameters;
mod values;

pub use connection::{Listener, Options};
