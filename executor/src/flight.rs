//! The executor's data port: Ballista's Flight service, and beside it the question whether this executor is fit for
//! a run, and its figures for Prometheus.

use std::net::SocketAddr;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Json;
use axum::http::StatusCode;
use axum::routing::{get, post};
use ballista_core::error::BallistaError;
use ballista_core::utils::GrpcServerConfig;
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::shutdown::Shutdown;
use graph_recs_sql::cluster::{FIT_PATH, Needs, build};
use tokio::task::JoinHandle;
use tonic::service::Routes;

/// Serves until shut down.
pub fn serve(
    work_folder: String,
    address: SocketAddr,
    mut shutdown: Shutdown,
    _: GrpcServerConfig,
) -> JoinHandle<Result<(), BallistaError>> {
    tokio::spawn(async move {
        let flight = FlightServiceServer::new(BallistaFlightService::new(work_folder));
        let router = Routes::new(flight)
            .into_axum_router()
            .route(FIT_PATH, get(alive))
            .route(FIT_PATH, post(fit))
            .route("/metrics", get(metrics));
        let listener = tokio::net::TcpListener::bind(address).await?;
        axum::serve(listener, router)
            .with_graceful_shutdown(async move { shutdown.recv().await })
            .await?;
        Ok(())
    })
}

/// Answers as long as the process runs.
async fn alive() -> String {
    build()
}

/// Whether this executor has what a run needs; in words when not.
async fn fit(Json(needs): Json<Needs>) -> Result<(), (StatusCode, String)> {
    needs
        .met()
        .await
        .map_err(|lacking| (StatusCode::CONFLICT, lacking))
}

/// Memory, processor time and files of the process, as Prometheus asks for them.
async fn metrics() -> Result<String, (StatusCode, String)> {
    prometheus::TextEncoder::new()
        .encode_to_string(&prometheus::gather())
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
