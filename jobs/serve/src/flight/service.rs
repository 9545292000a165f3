//! The calls of Flight SQL.

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::error::FlightError;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetDbSchemas,
    CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery,
    CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::answers::{
    Data, batches, data, failed, info, information, ipc, one, status, table_types,
};
use super::incoming::Peer;
use super::kept::{Statement, Statements, Tokens};
use crate::catalog::DATABASE;
use crate::execution::{Account, Run};
use crate::refusal::{Kind, Refusal};
use crate::service::{Caller, Prepared, Service};
use crate::users::{User, Users};

/// Drivers send user and password with padding or, as those in Go, without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The service.
pub struct Flight {
    pub service: Arc<Service>,
    pub users: Option<Arc<Users>>,
    pub tokens: Tokens,
    pub statements: Statements,
}

fn unauthenticated() -> Status {
    Status::unauthenticated("user and password are needed, or the token that they were given")
}

impl Flight {
    /// Who calls.
    async fn user(&self, metadata: &MetadataMap) -> Result<User, Status> {
        let Some(users) = &self.users else {
            return Ok(User::anybody("anybody"));
        };
        let header = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let (method, secret) = header
            .and_then(|header| header.split_once(' '))
            .ok_or_else(unauthenticated)?;
        if method.eq_ignore_ascii_case("bearer") {
            let name = self
                .tokens
                .user(secret.trim())
                .ok_or_else(unauthenticated)?;
            return users.user(&name).ok_or_else(unauthenticated);
        }
        if !method.eq_ignore_ascii_case("basic") {
            return Err(unauthenticated());
        }
        let decoded = BASE64.decode(secret.trim()).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or_else(unauthenticated)?;
        let (name, password) = decoded.split_once(':').ok_or_else(unauthenticated)?;
        let (verifier, password) = (users.verifier(name), password.to_string());
        let fits = tokio::task::spawn_blocking(move || verifier.fits(&password)).await;
        match (fits, users.user(name)) {
            (Ok(true), Some(user)) => Ok(user),
            _ => {
                tracing::warn!("login of {name:?} by Flight SQL failed");
                Err(Status::unauthenticated(format!(
                    "password authentication failed for user \"{name}\""
                )))
            }
        }
    }

    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
        Ok(Caller {
            user: self.user(request.metadata()).await?,
            peer: peer.map(|peer| peer.to_string()).unwrap_or_default(),
            protocol: "flight",
        })
    }

    async fn prepare(&self, caller: &Caller, text: &str) -> Result<Arc<Prepared>, Status> {
        let prepare = async {
            let mut statements = self.service.parse(text)?;
            let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
                let text = "one statement at a time";
                return Err(Refusal::new(Kind::Syntax, text));
            };
            self.service.prepare(&caller.user, text, statement).await
        };
        let prepared: Result<Prepared, Refusal> = prepare.await;
        prepared.map(Arc::new).map_err(|refusal| {
            Account::new(&self.service, caller, text).end(&Err::<(), _>(refusal.clone()));
            status(&refusal)
        })
    }

    fn statement(&self, handle: &[u8], caller: &Caller) -> Result<Statement, Status> {
        let kept = self.statements.get(handle, &caller.user.name);
        kept.ok_or_else(|| {
            Status::not_found("there is no such statement any more: prepare it again")
        })
    }

    async fn rows(&self, caller: &Caller, statement: Statement) -> Result<Response<Data>, Status> {
        let run = Run {
            values: statement.values,
            ..Run::default()
        };
        let rows = self.service.run(caller, &statement.prepared, run).await;
        let rows = rows.map_err(|refusal| status(&refusal))?;
        let schema = Arc::clone(&rows.schema);
        Ok(data(schema, batches(rows)))
    }
}

const READ_ONLY: &str = "statements only read here [25006]";

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<
        Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>,
        Status,
    > {
        let user = self.user(request.metadata()).await?;
        let token = self.tokens.give(&user.name);
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: token.clone().into(),
        };
        let mut response: Response<Pin<Box<dyn Stream<Item = _> + Send>>> =
            Response::new(stream::iter([Ok(answer)]).boxed());
        let header = format!("Bearer {token}").parse().map_err(failed)?;
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = self.caller(&request).await?;
        let prepared = self.prepare(&caller, &query.query).await?;
        let schema = Arc::clone(&prepared.schema);
        let handle = self.statements.keep(Statement {
            user: caller.user.name,
            prepared,
            values: Vec::new(),
        });
        let ticket = TicketStatementQuery {
            statement_handle: handle.into(),
        };
        info(&schema, ticket.as_any().encode_to_vec().into(), request)
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let caller = self.caller(&request).await?;
        let statement = self.statement(&ticket.statement_handle, &caller)?;
        self.statements.forget(&ticket.statement_handle);
        self.rows(&caller, statement).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let caller = self.caller(&request).await?;
        let prepared = self.prepare(&caller, &query.query).await?;
        let parameters = prepared
            .parameters
            .iter()
            .enumerate()
            .map(|(place, known)| {
                let known = known.clone().unwrap_or(DataType::Utf8);
                Field::new(format!("${}", place + 1), known, true)
            });
        let parameters = Schema::new(parameters.collect::<Vec<_>>());
        let result = ActionCreatePreparedStatementResult {
            dataset_schema: ipc(&prepared.schema)?,
            parameter_schema: ipc(&parameters)?,
            prepared_statement_handle: Bytes::new(),
        };
        let handle = self.statements.keep(Statement {
            user: caller.user.name,
            prepared,
            values: Vec::new(),
        });
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            ..result
        })
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let caller = self.caller(&request).await?;
        let handle = query.prepared_statement_handle;
        let _own = self.statement(&handle, &caller)?;
        let stream = request
            .into_inner()
            .map_err(|error| FlightError::Tonic(Box::new(error)));
        let bound = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(stream);
        let bound: Vec<RecordBatch> = bound.try_collect().await.map_err(failed)?;
        let rows: usize = bound.iter().map(RecordBatch::num_rows).sum();
        if rows > 1 {
            return Err(Status::unimplemented("one row of parameters at a time"));
        }
        let mut values = Vec::new();
        if let Some(batch) = bound.iter().find(|batch| batch.num_rows() == 1) {
            for column in batch.columns() {
                values.push(ScalarValue::try_from_array(column, 0).map_err(failed)?);
            }
        }
        self.statements.bind(&handle, values);
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = self.caller(&request).await?;
        let statement = self.statement(&query.prepared_statement_handle, &caller)?;
        let ticket = query.as_any().encode_to_vec().into();
        info(&statement.prepared.schema, ticket, request)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let caller = self.caller(&request).await?;
        let statement = self.statement(&query.prepared_statement_handle, &caller)?;
        self.rows(&caller, statement).await
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let caller = self.caller(&request).await?;
        let handle = query.prepared_statement_handle;
        if self.statement(&handle, &caller).is_ok() {
            self.statements.forget(&handle);
        }
        Ok(())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let ticket = query.as_any().encode_to_vec().into();
        info(&query.into_builder().schema(), ticket, request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        self.caller(&request).await?;
        let mut builder = query.into_builder();
        builder.append(DATABASE);
        Ok(one(builder.build().map_err(failed)?))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let ticket = query.as_any().encode_to_vec().into();
        info(&query.into_builder().schema(), ticket, request)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let caller = self.caller(&request).await?;
        let mut builder = query.into_builder();
        for schema in &caller.user.schemas {
            builder.append(DATABASE, schema);
        }
        Ok(one(builder.build().map_err(failed)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let ticket = query.as_any().encode_to_vec().into();
        info(&query.into_builder().schema(), ticket, request)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        let caller = self.caller(&request).await?;
        let mut builder = query.into_builder();
        for relation in self.service.catalog.relations().iter() {
            if !caller.user.schemas.contains(&relation.schema) {
                continue;
            }
            let fields = relation
                .columns
                .iter()
                .map(|column| Field::new(&column.name, column.data_type.clone(), column.nullable));
            let schema = Schema::new(fields.collect::<Vec<_>>());
            let kind = if relation.view { "VIEW" } else { "BASE TABLE" };
            builder
                .append(DATABASE, &relation.schema, &relation.name, kind, &schema)
                .map_err(failed)?;
        }
        Ok(one(builder.build().map_err(failed)?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let ticket = query.as_any().encode_to_vec().into();
        info(&table_types()?.schema(), ticket, request)
    }

    async fn do_get_table_types(
        &self,
        _: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        self.caller(&request).await?;
        Ok(one(table_types()?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let ticket = query.as_any().encode_to_vec().into();
        info(&information()?.schema(), ticket, request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Response<Data>, Status> {
        self.caller(&request).await?;
        let batch = information()?.record_batch(query.info).map_err(failed)?;
        Ok(one(batch))
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::permission_denied(READ_ONLY))
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::permission_denied(READ_ONLY))
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::permission_denied(READ_ONLY))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
