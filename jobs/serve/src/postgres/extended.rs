//! The extended protocol: statements that are prepared, bound and described.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use futures::Sink;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, send_describe_response};
use pgwire::api::results::{
    DescribePortalResponse, FieldFormat, FieldInfo, QueryResponse, Response,
};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{Describe, TARGET_TYPE_BYTE_PORTAL};

use super::command::Command;
use super::handler::Handler;
use super::parameters;
use super::rows::{copy_response, error, fields, format_of, messages, shown};
use crate::describe::of_arrow;
use crate::refusal::{Kind, Refusal};
use crate::service::Prepared;

/// The handler as the extended protocol has it.
pub struct Extended(pub Arc<Handler>);

/// Plans statements of the extended protocol.
pub struct Planner(Arc<Handler>);

#[async_trait]
impl QueryParser for Planner {
    type Statement = Arc<Command>;

    async fn parse_sql<C>(
        &self,
        _: &C,
        sql: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = self.0.parse(sql)?;
        if statements.len() > 1 {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(self.0.note(sql, &Refusal::new(Kind::Syntax, text)));
        }
        match statements.pop() {
            Some(statement) => Ok(Some(Arc::new(self.0.command(sql, statement).await?))),
            None => Ok(None),
        }
    }

    fn get_parameter_types(&self, command: &Self::Statement) -> PgWireResult<Vec<Type>> {
        Ok(parameter_types(command))
    }

    fn get_result_schema(
        &self,
        command: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        Ok(match command.as_ref() {
            Command::Query(prepared) => fields(&prepared.schema, &prepared.names, format),
            Command::Fetch(name, _) => match self.0.cursor(name) {
                Ok(cursor) => fields(&cursor.schema, &cursor.names, format),
                Err(refusal) => return Err(error(&refusal, "")),
            },
            Command::Show(name, _) => {
                vec![FieldInfo::new(
                    name.clone(),
                    None,
                    None,
                    Type::TEXT,
                    format_of(format, 0),
                )]
            }
            _ => Vec::new(),
        })
    }
}

fn parameter_types(command: &Command) -> Vec<Type> {
    match command {
        Command::Query(prepared)
        | Command::Copy(prepared, _)
        | Command::Declare {
            query: prepared, ..
        } => {
            let types = prepared.parameters.iter();
            types
                .map(|known| {
                    known
                        .as_ref()
                        .map_or(Type::TEXT, |known| of_arrow(known).wire)
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

#[async_trait]
impl ExtendedQueryHandler for Extended {
    type Statement = Arc<Command>;
    type QueryParser = Planner;

    fn query_parser(&self) -> Arc<Planner> {
        Arc::new(Planner(Arc::clone(&self.0)))
    }

    /// A cursor is described as the portal that it is in PostgreSQL.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let named = message.name.as_deref().filter(|name| !name.is_empty());
        if message.target_type == TARGET_TYPE_BYTE_PORTAL
            && let Some(name) = named
            && let Ok(cursor) = self.0.cursor(name)
        {
            let fields = fields(&cursor.schema, &cursor.names, &Format::UnifiedText);
            let described = DescribePortalResponse::new(fields);
            return send_describe_response(client, &described).await;
        }
        self._on_describe(client, message).await
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let command = &portal.statement.statement;
        let status = client.transaction_status();
        self.0.check_transaction(command, status)?;
        match command.as_ref() {
            Command::Query(prepared) => {
                let values = bound(portal, prepared)?;
                let rows = self.0.run(prepared, values).await?;
                let format = portal.result_column_format.clone();
                let fields = Arc::new(fields(&rows.schema, &rows.names, &format));
                let rows = messages(rows.stream(), prepared.text.clone(), format);
                Ok(Response::Query(QueryResponse::new(fields, rows)))
            }
            Command::Copy(prepared, format) => {
                let values = bound(portal, prepared)?;
                let rows = self.0.run(prepared, values).await?;
                let response = copy_response(rows, prepared.text.clone(), format.clone());
                Ok(Response::CopyOut(response))
            }
            Command::Fetch(cursor, count) => {
                let format = &portal.result_column_format;
                Ok(Response::Query(self.0.fetch(cursor, *count, format)?))
            }
            Command::Declare { name, hold, query } => {
                let values = bound(portal, query)?;
                let declared = self.0.declare(name, *hold, query, values, status);
                Ok(Response::Execution(declared.await?))
            }
            Command::Close(name) => Ok(Response::Execution(self.0.close(name.as_ref())?)),
            Command::Show(name, value) => {
                let response = shown(name, value, &portal.result_column_format);
                Ok(Response::Query(response))
            }
            other => {
                let (tag, _) = self.0.obey(other, status);
                Ok(match other {
                    Command::Begin { .. } => Response::TransactionStart(tag),
                    Command::End(_) => Response::TransactionEnd(tag),
                    _ => Response::Execution(tag),
                })
            }
        }
    }
}

/// The values that a portal binds to a statement's parameters.
fn bound(portal: &Portal<Arc<Command>>, prepared: &Prepared) -> PgWireResult<Vec<ScalarValue>> {
    let wanted = parameter_types(&portal.statement.statement);
    if portal.parameters.len() != wanted.len() {
        let text = format!(
            "bind message supplies {} parameters, but prepared statement requires {}",
            portal.parameters.len(),
            wanted.len()
        );
        return Err(error(&Refusal::new(Kind::Syntax, text), ""));
    }
    let mut values = Vec::new();
    for (place, (bytes, wanted)) in portal.parameters.iter().zip(wanted).enumerate() {
        let declared = portal
            .statement
            .parameter_types
            .get(place)
            .cloned()
            .flatten();
        let wire = declared
            .filter(|declared| *declared != Type::UNKNOWN)
            .unwrap_or(wanted);
        let binary = format_of(&portal.parameter_format, place) == FieldFormat::Binary;
        let value = parameters::value(bytes.as_ref(), &wire, binary)
            .map_err(|refusal| error(&refusal, &prepared.text))?;
        values.push(value);
    }
    Ok(values)
}
