//! Arrow Flight SQL: the same statements, users and limits, the rows as Arrow has them.
//!
//! Whoever comes says who they are by a basic handshake, or with every call; the handshake gives a token that calls
//! may carry instead. A statement's plan is kept under a handle between the call that describes it and the one that
//! fetches its rows.

mod answers;
mod incoming;
mod kept;
mod service;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;

use super::service::Service;
use super::users::Users;
use kept::{Statements, Tokens};
use service::Flight;

/// Serves for ever.
pub async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    users: Option<Arc<Users>>,
) {
    let most = usize::try_from(service.max_text).unwrap_or(usize::MAX);
    let flight = Flight {
        service,
        users,
        tokens: Tokens::default(),
        statements: Statements::default(),
    };
    let server = FlightServiceServer::new(flight)
        .max_decoding_message_size(most.saturating_mul(2).saturating_add(64 << 10));
    let served = Server::builder()
        .add_service(server)
        .serve_with_incoming(incoming::connections(listener, tls))
        .await;
    if let Err(error) = served {
        tracing::error!("Arrow Flight SQL is not served any more: {error}");
    }
}
