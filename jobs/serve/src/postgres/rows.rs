//! Rows on their way to a client.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use futures::{Sink, SinkExt, Stream, StreamExt, stream};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::query::send_execution_response;
use pgwire::api::results::{CopyResponse, FieldFormat, FieldInfo, QueryResponse, Tag};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::CopyData;
use pgwire::messages::data::{DataRow, RowDescription};

use super::copy::CopyFormat;
use super::values::Columns;
use crate::describe::type_of;
use crate::execution::Rows;
use crate::refusal::{Kind, Refusal};

/// After so many rows it is somebody else's turn.
const CHUNK: usize = 256;

/// A refusal as the protocol has it.
pub fn error(refusal: &Refusal, text: &str) -> PgWireError {
    let mut info = ErrorInfo::new(
        "ERROR".into(),
        refusal.kind.code().into(),
        refusal.message.clone(),
    );
    info.position = refusal.position(text).map(|place| place.to_string());
    PgWireError::UserError(Box::new(info))
}

/// Columns as they are described to the client.
pub fn fields(schema: &Schema, names: &[String], format: &Format) -> Vec<FieldInfo> {
    let fields = schema.fields().iter().enumerate();
    fields
        .map(|(place, field)| {
            let pg = type_of(field);
            FieldInfo::new(
                names.get(place).unwrap_or(field.name()).clone(),
                None,
                None,
                pg.wire,
                format_of(format, place),
            )
            .with_type_modifier(pg.modifier)
        })
        .collect()
}

/// How a column's values are written.
pub fn format_of(format: &Format, place: usize) -> FieldFormat {
    match format {
        Format::Individual(codes) => codes
            .get(place)
            .map_or(FieldFormat::Text, |code| FieldFormat::from(*code)),
        other => other.format_for(place),
    }
}

/// The rows as messages.
pub fn messages(
    rows: impl Stream<Item = Result<RecordBatch, Refusal>>,
    text: String,
    format: Format,
) -> impl Stream<Item = PgWireResult<DataRow>> {
    let start = (
        Box::pin(rows),
        None::<(Columns, usize, usize)>,
        BytesMut::new(),
        text,
        format,
    );
    stream::try_unfold(
        start,
        |(mut rows, mut batch, mut buffer, text, format)| async move {
            loop {
                if let Some((columns, row, count)) = &mut batch
                    && *row < *count
                {
                    columns.write_row(*row, &mut buffer);
                    *row += 1;
                    let message = DataRow::new(buffer.split(), columns.iter().count() as i16);
                    return Ok(Some((message, (rows, batch, buffer, text, format))));
                }
                let Some(next) = rows.next().await else {
                    return Ok(None);
                };
                let next = next.map_err(|refusal| error(&refusal, &text))?;
                let binary = |place| format_of(&format, place) == FieldFormat::Binary;
                let columns = Columns::new(&next, binary)
                    .map_err(|cause| error(&Refusal::new(Kind::Data, cause.to_string()), &text))?;
                batch = Some((columns, 0, next.num_rows()));
            }
        },
    )
}

/// The rows as a file's pieces, one a row: what comes before the first row goes with it, as in PostgreSQL.
struct Pieces {
    rows: Rows,
    batch: Option<(Columns, usize, usize)>,
    head: Option<Bytes>,
    tail: Option<Bytes>,
    text: String,
    format: CopyFormat,
}

impl Pieces {
    async fn next(&mut self) -> PgWireResult<Option<Bytes>> {
        loop {
            if let Some((columns, row, count)) = &mut self.batch
                && *row < *count
            {
                let mut piece = BytesMut::new();
                piece.extend(self.head.take());
                self.format.write_row(columns, *row, &mut piece);
                *row += 1;
                return Ok(Some(piece.freeze()));
            }
            let Some(next) = self.rows.next().await else {
                return Ok(self.head.take().or_else(|| self.tail.take()));
            };
            let next = next.map_err(|refusal| error(&refusal, &self.text))?;
            let columns = Columns::new(&next, |_| self.format.is_binary())
                .map_err(|cause| error(&Refusal::new(Kind::Data, cause.to_string()), &self.text))?;
            self.batch = Some((columns, 0, next.num_rows()));
        }
    }
}

/// Rows of a COPY, which pgwire counts by the pieces.
pub fn copy_response(rows: Rows, text: String, format: CopyFormat) -> CopyResponse {
    let columns = rows.schema.fields().len();
    let code = i8::from(format.is_binary());
    let pieces = Pieces {
        batch: None,
        head: format.head(&rows.schema),
        tail: format.tail(),
        rows,
        text,
        format,
    };
    let pieces = stream::try_unfold(pieces, |mut pieces| async move {
        let piece = pieces.next().await?;
        Ok(piece.map(|piece| (CopyData::new(piece), pieces)))
    });
    let mut response = CopyResponse::new(0, columns, pieces);
    response.format = code;
    response
}

/// A setting as a row.
pub fn shown(name: &str, value: &str, format: &Format) -> QueryResponse {
    let info = FieldInfo::new(
        name.to_string(),
        None,
        None,
        Type::TEXT,
        format_of(format, 0),
    );
    let mut row = BytesMut::new();
    row.put_i32(value.len() as i32);
    row.extend_from_slice(value.as_bytes());
    let row = stream::iter([Ok(DataRow::new(row, 1))]);
    let mut response = QueryResponse::new(Arc::new(vec![info]), row);
    response.set_command_tag("SHOW");
    response
}

/// Sends all rows, and says how many they were.
pub async fn send_rows<C>(client: &mut C, mut response: QueryResponse) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let described = response.row_schema();
    let described = RowDescription::new(described.iter().map(Into::into).collect());
    client
        .feed(PgWireBackendMessage::RowDescription(described))
        .await?;
    let tag = response.command_tag().to_string();
    let mut count = 0_usize;
    while let Some(row) = response.data_rows().next().await {
        client.feed(PgWireBackendMessage::DataRow(row?)).await?;
        count += 1;
        if count.is_multiple_of(CHUNK) {
            tokio::task::consume_budget().await;
        }
    }
    send_execution_response(client, Tag::new(&tag).with_rows(count)).await
}
