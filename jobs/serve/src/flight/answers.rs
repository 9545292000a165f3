//! What calls are answered with.

use std::sync::Arc;

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::SqlInfo;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tonic::{Request, Response, Status};

use crate::execution::Rows;
use crate::refusal::{Kind, Refusal};

/// Rows on their way.
pub type Data = BoxStream<'static, Result<FlightData, Status>>;

pub fn status(refusal: &Refusal) -> Status {
    let text = format!("{} [{}]", refusal.message, refusal.kind.code());
    match refusal.kind {
        Kind::Login => Status::unauthenticated(text),
        Kind::Permission | Kind::ReadOnly => Status::permission_denied(text),
        Kind::Unsupported => Status::unimplemented(text),
        Kind::Limit | Kind::Memory | Kind::Busy => Status::resource_exhausted(text),
        Kind::Timeout => Status::deadline_exceeded(text),
        Kind::Cancelled => Status::cancelled(text),
        Kind::Internal => Status::internal(text),
        _ => Status::invalid_argument(text),
    }
}

pub fn failed(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

pub fn batches(rows: Rows) -> impl Stream<Item = Result<RecordBatch, FlightError>> + Send {
    stream::try_unfold(rows, |mut rows| async move {
        match rows.next().await {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some((batch, rows))),
            Some(Err(refusal)) => Err(FlightError::Tonic(Box::new(status(&refusal)))),
        }
    })
}

pub fn data(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Response<Data> {
    let encoded = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .build(batches)
        .map_err(Status::from);
    Response::new(encoded.boxed())
}

pub fn one(batch: RecordBatch) -> Response<Data> {
    data(batch.schema(), stream::iter([Ok(batch)]))
}

/// Where the rows of a command are, and what columns they have.
pub fn info(
    schema: &Schema,
    ticket: Bytes,
    request: Request<FlightDescriptor>,
) -> Result<Response<FlightInfo>, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket { ticket });
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(failed)?
        .with_endpoint(endpoint)
        .with_descriptor(request.into_inner());
    Ok(Response::new(info))
}

pub fn ipc(schema: &Schema) -> Result<Bytes, Status> {
    let message: IpcMessage = SchemaAsIpc::new(schema, &IpcWriteOptions::default())
        .try_into()
        .map_err(failed)?;
    Ok(message.0)
}

pub fn information() -> Result<SqlInfoData, Status> {
    let mut builder = SqlInfoDataBuilder::new();
    builder.append(SqlInfo::FlightSqlServerName, "graph-recs");
    builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(SqlInfo::FlightSqlServerArrowVersion, "59");
    builder.append(SqlInfo::FlightSqlServerReadOnly, true);
    builder.append(SqlInfo::FlightSqlServerSql, true);
    builder.append(SqlInfo::FlightSqlServerSubstrait, false);
    builder.build().map_err(failed)
}

pub fn table_types() -> Result<RecordBatch, Status> {
    let types: ArrayRef = Arc::new(StringArray::from(vec!["BASE TABLE", "VIEW"]));
    let field = Field::new("table_type", DataType::Utf8, false);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![types]).map_err(failed)
}
