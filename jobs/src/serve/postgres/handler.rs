//! One connection's statements.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Statement;
use futures::{Sink, SinkExt};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_execution_response, send_ready_for_query,
};
use pgwire::api::results::{FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState, Type, copy};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use tokio_util::sync::CancellationToken;

use super::command::{Command, Said, said};
use super::login::Login;
use super::parameters;
use super::rows::{copy_response, error, fields, format_of, messages, send_rows, shown};
use crate::serve::catalog::Snapshot;
use crate::serve::describe::of_arrow;
use crate::serve::execution::{Account, Rows, Run};
use crate::serve::point::with_parameter;
use crate::serve::refusal::{Kind, Refusal};
use crate::serve::service::{Caller, Prepared, Service};

/// A connection's handler.
pub struct Handler {
    service: Arc<Service>,
    login: Arc<Login>,
    peer: String,
    /// Of the statement that runs now.
    token: Arc<Mutex<CancellationToken>>,
    session: Mutex<Session>,
}

#[derive(Default)]
struct Session {
    timeout: Option<Duration>,
    /// What a repeatable transaction sees.
    pinned: Option<Arc<Snapshot>>,
}

impl Handler {
    /// Of a connection from `peer`; `token` stops the statement that runs.
    pub fn new(
        service: Arc<Service>,
        login: Arc<Login>,
        peer: String,
        token: Arc<Mutex<CancellationToken>>,
    ) -> Self {
        Self {
            service,
            login,
            peer,
            token,
            session: Mutex::default(),
        }
    }

    fn caller(&self) -> Result<Caller, Refusal> {
        let user = self.login.user().ok_or_else(|| {
            Refusal::new(
                Kind::Login,
                "the user was removed: nothing is answered any more",
            )
        })?;
        Ok(Caller {
            user,
            peer: self.peer.clone(),
            protocol: "postgresql",
        })
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token for the next statement, which a cancel request finds.
    fn next_token(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }

    /// Cuts a text into statements; what is wrong with it is noted.
    fn parse(&self, text: &str) -> PgWireResult<Vec<Statement>> {
        self.service
            .parse(text)
            .map_err(|refusal| self.note(text, &refusal))
    }

    /// Notes a statement that never ran.
    fn note(&self, text: &str, refusal: &Refusal) -> PgWireError {
        if let Ok(caller) = self.caller() {
            Account::new(&self.service, &caller, text).end(&Err::<(), _>(refusal.clone()));
        }
        error(refusal, text)
    }

    /// What a statement is; queries are planned.
    async fn command(&self, text: &str, statement: Statement) -> PgWireResult<Command> {
        let prepare = async {
            let caller = self.caller()?;
            let prepare = |statement| async {
                let prepared = self.service.prepare(&caller.user, text, statement).await?;
                Ok::<_, Refusal>(Arc::new(prepared))
            };
            Ok(match said(statement)? {
                Said::Command(command) => command,
                Said::Query(statement) => Command::Query(prepare(statement).await?),
                Said::Copy(statement, format) => Command::Copy(prepare(statement).await?, format),
            })
        };
        let prepared: Result<Command, Refusal> = prepare.await;
        prepared.map_err(|refusal| self.note(text, &refusal))
    }

    async fn run(&self, prepared: &Arc<Prepared>, values: Vec<ScalarValue>) -> PgWireResult<Rows> {
        let run = async {
            let caller = self.caller()?;
            let (timeout, snapshot) = {
                let session = self.session();
                (session.timeout, session.pinned.clone())
            };
            let cancel = self.next_token();
            if snapshot.is_none()
                && !prepared.parameters.is_empty()
                && let Some(point) = self.service.point(&caller.user, prepared).await
                && let Some(rows) = self
                    .service
                    .run_point(&caller, &point, &prepared.text, values.clone())
                    .await
            {
                return rows;
            }
            let run = Run {
                values,
                snapshot,
                timeout,
                cancel,
            };
            self.service.run(&caller, prepared, run).await
        };
        let rows: Result<Rows, Refusal> = run.await;
        rows.map_err(|refusal| error(&refusal, &prepared.text))
    }

    /// Runs a plain look-up by text without planning it again.
    async fn look_up(&self, text: &str) -> Option<PgWireResult<Rows>> {
        let (general, number) = with_parameter(text)?;
        let caller = self.caller().ok()?;
        if self.session().pinned.is_some() {
            return None;
        }
        let point = match self.service.known_point(&caller.user, &general) {
            Some(known) => known?,
            None => {
                let mut statements = self.service.parse(&general).ok()?;
                let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
                    return None;
                };
                if !matches!(statement, Statement::Query(_)) {
                    return None;
                }
                let prepared = self
                    .service
                    .prepare(&caller.user, &general, statement)
                    .await;
                self.service
                    .point(&caller.user, &Arc::new(prepared.ok()?))
                    .await?
            }
        };
        self.next_token();
        let values = vec![ScalarValue::from(number)];
        let rows = self
            .service
            .run_point(&caller, &point, text, values)
            .await?;
        Some(rows.map_err(|refusal| error(&refusal, text)))
    }

    /// Does what needs no rows; the answer, and the transaction's new status.
    fn obey(&self, command: &Command, status: TransactionStatus) -> (Tag, TransactionStatus) {
        match command {
            Command::Begin { repeatable } => {
                if *repeatable {
                    self.session().pinned = Some(self.service.catalog.snapshot());
                }
                (Tag::new("BEGIN"), status.to_in_transaction_state())
            }
            Command::End(tag) => {
                self.session().pinned = None;
                let tag = match status {
                    TransactionStatus::Error => "ROLLBACK",
                    _ => tag,
                };
                (Tag::new(tag), status.to_idle_state())
            }
            Command::Timeout(timeout) => {
                self.session().timeout = *timeout;
                (Tag::new("SET"), status)
            }
            Command::Say(tag) => (Tag::new(tag), status),
            Command::Show(..) => (Tag::new("SHOW"), status),
            Command::Query(_) | Command::Copy(..) => (Tag::new("SELECT"), status),
        }
    }

    fn check_transaction(&self, command: &Command, status: TransactionStatus) -> PgWireResult<()> {
        if status == TransactionStatus::Error && !matches!(command, Command::End(_)) {
            let text =
                "current transaction is aborted, commands ignored until end of transaction block";
            return Err(error(&Refusal::new(Kind::FailedTransaction, text), ""));
        }
        Ok(())
    }
}

#[async_trait]
impl SimpleQueryHandler for Handler {
    /// One statement after the other, each to its last row.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.set_state(PgWireConnectionState::QueryInProgress);
        let text = query.query;
        if client.transaction_status() != TransactionStatus::Error
            && let Some(rows) = self.look_up(&text).await
        {
            let rows = rows?;
            let fields = Arc::new(fields(&rows.schema, &rows.names, &Format::UnifiedText));
            let rows = messages(rows, text, Format::UnifiedText);
            send_rows(client, QueryResponse::new(fields, rows)).await?;
        } else {
            let statements = self.parse(&text)?;
            let alone = statements.len() == 1;
            if statements.is_empty() {
                let empty = EmptyQueryResponse::new();
                client
                    .feed(PgWireBackendMessage::EmptyQueryResponse(empty))
                    .await?;
            }
            for statement in statements {
                let text = if alone {
                    text.clone()
                } else {
                    statement.to_string()
                };
                let command = self.command(&text, statement).await?;
                let status = client.transaction_status();
                self.check_transaction(&command, status)?;
                match &command {
                    Command::Query(prepared) => {
                        let rows = self.run(prepared, Vec::new()).await?;
                        let fields =
                            Arc::new(fields(&rows.schema, &rows.names, &Format::UnifiedText));
                        let rows = messages(rows, text, Format::UnifiedText);
                        send_rows(client, QueryResponse::new(fields, rows)).await?;
                    }
                    Command::Copy(prepared, format) => {
                        let rows = self.run(prepared, Vec::new()).await?;
                        let response = copy_response(rows, text, format.clone());
                        copy::send_copy_out_response(client, response).await?;
                    }
                    Command::Show(name, value) => {
                        send_rows(client, shown(name, value, &Format::UnifiedText)).await?;
                    }
                    other => {
                        let (tag, status) = self.obey(other, status);
                        client.set_transaction_status(status);
                        send_execution_response(client, tag).await?;
                    }
                }
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // `on_query` answers all.
        Ok(Vec::new())
    }
}

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
        Command::Query(prepared) | Command::Copy(prepared, _) => {
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
                let rows = messages(rows, prepared.text.clone(), format);
                Ok(Response::Query(QueryResponse::new(fields, rows)))
            }
            Command::Copy(prepared, format) => {
                let values = bound(portal, prepared)?;
                let rows = self.0.run(prepared, values).await?;
                let response = copy_response(rows, prepared.text.clone(), format.clone());
                Ok(Response::CopyOut(response))
            }
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
