//! One connection's statements.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Statement;
use futures::{Sink, SinkExt, StreamExt, stream};
use pgwire::api::portal::Format;
use pgwire::api::query::{SimpleQueryHandler, send_execution_response, send_ready_for_query};
use pgwire::api::results::{QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState, copy};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use tokio_util::sync::CancellationToken;

use super::command::{Command, Said, said};
use super::cursor::{self, Cursor};
use super::login::Login;
use super::rows::{copy_response, error, fields, messages, send_rows, shown};
use crate::catalog::Snapshot;
use crate::execution::{Account, Rows, Run};
use crate::point::with_parameter;
use crate::refusal::{Kind, Refusal};
use crate::service::{Caller, Prepared, Service};

/// Cursors of one connection.
const MAX_CURSORS: usize = 100;

fn no_cursor(name: &str) -> Refusal {
    Refusal::new(Kind::Cursor, format!("cursor \"{name}\" does not exist"))
}

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
    cursors: HashMap<String, Arc<Cursor>>,
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

    /// The token of the statement that has just run; a cancel request finds it no more.
    fn next_token_after(&self) -> CancellationToken {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *token)
    }

    /// Cuts a text into statements; what is wrong with it is noted.
    pub(super) fn parse(&self, text: &str) -> PgWireResult<Vec<Statement>> {
        self.service
            .parse(text)
            .map_err(|refusal| self.note(text, &refusal))
    }

    /// Notes a statement that never ran.
    pub(super) fn note(&self, text: &str, refusal: &Refusal) -> PgWireError {
        if let Ok(caller) = self.caller() {
            Account::new(&self.service, &caller, text).end(&Err::<(), _>(refusal.clone()));
        }
        error(refusal, text)
    }

    /// What a statement is; queries are planned.
    pub(super) async fn command(&self, text: &str, statement: Statement) -> PgWireResult<Command> {
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
                Said::Cursor(cursor::Said::Declare { name, hold, query }) => Command::Declare {
                    name,
                    hold,
                    query: prepare(*query).await?,
                },
                Said::Cursor(cursor::Said::Fetch { name, count }) => Command::Fetch(name, count),
                Said::Cursor(cursor::Said::Close(name)) => Command::Close(name),
            })
        };
        let prepared: Result<Command, Refusal> = prepare.await;
        prepared.map_err(|refusal| self.note(text, &refusal))
    }

    pub(super) async fn run(
        &self,
        prepared: &Arc<Prepared>,
        values: Vec<ScalarValue>,
    ) -> PgWireResult<Rows> {
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

    pub(super) fn cursor(&self, name: &str) -> Result<Arc<Cursor>, Refusal> {
        self.session()
            .cursors
            .get(name)
            .cloned()
            .ok_or_else(|| no_cursor(name))
    }

    /// Opens a cursor.
    pub(super) async fn declare(
        &self,
        name: &str,
        hold: bool,
        query: &Arc<Prepared>,
        values: Vec<ScalarValue>,
        status: TransactionStatus,
    ) -> PgWireResult<Tag> {
        let refused = if status == TransactionStatus::Idle && !hold {
            let text = "DECLARE CURSOR can only be used in transaction blocks: BEGIN first, or say WITH HOLD";
            Some(Refusal::new(Kind::NoTransaction, text))
        } else if self.session().cursors.contains_key(name) {
            let text = format!("cursor \"{name}\" already exists");
            Some(Refusal::new(Kind::Cursor, text))
        } else if self.session().cursors.len() >= MAX_CURSORS {
            let text = format!("more than {MAX_CURSORS} cursors of one connection: CLOSE some");
            Some(Refusal::new(Kind::Limit, text))
        } else {
            None
        };
        if let Some(refusal) = refused {
            return Err(self.note(&query.text, &refusal));
        }
        let rows = self.run(query, values).await?;
        let token = self.next_token_after();
        let left = rows.time_left();
        let cursor = Arc::new(Cursor::new(rows, &query.text, token, hold));
        cursor.ends_after(left);
        self.session().cursors.insert(name.to_string(), cursor);
        Ok(Tag::new("DECLARE CURSOR"))
    }

    /// The next rows of a cursor, which a cancel request stops as long as they come.
    pub(super) fn fetch(
        &self,
        name: &str,
        count: usize,
        format: &Format,
    ) -> PgWireResult<QueryResponse> {
        let cursor = self.cursor(name);
        let cursor =
            cursor.map_err(|refusal| self.note(&format!("FETCH FROM {name}"), &refusal))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = cursor.cancel.clone();
        let token = Arc::clone(&self.token);
        let end = stream::once(async move {
            *token.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
            None
        });
        let rows = cursor.fetch(count).map(Some).chain(end);
        let rows = rows.filter_map(std::future::ready);
        let fields = Arc::new(fields(&cursor.schema, &cursor.names, format));
        let rows = messages(rows, cursor.text.clone(), format.clone());
        let mut response = QueryResponse::new(fields, rows);
        response.set_command_tag("FETCH");
        Ok(response)
    }

    /// Closes a cursor, or all.
    pub(super) fn close(&self, name: Option<&String>) -> PgWireResult<Tag> {
        let mut session = self.session();
        let Some(name) = name else {
            session.cursors.clear();
            return Ok(Tag::new("CLOSE CURSOR ALL"));
        };
        match session.cursors.remove(name) {
            Some(_) => Ok(Tag::new("CLOSE CURSOR")),
            None => {
                drop(session);
                Err(self.note(&format!("CLOSE {name}"), &no_cursor(name)))
            }
        }
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
    pub(super) fn obey(
        &self,
        command: &Command,
        status: TransactionStatus,
    ) -> (Tag, TransactionStatus) {
        match command {
            Command::Begin { repeatable } => {
                if *repeatable {
                    self.session().pinned = Some(self.service.catalog.snapshot());
                }
                (Tag::new("BEGIN"), status.to_in_transaction_state())
            }
            Command::End(tag) => {
                let mut session = self.session();
                session.pinned = None;
                session.cursors.retain(|_, cursor| cursor.hold);
                drop(session);
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
            Command::Discard => {
                let mut session = self.session();
                session.cursors.clear();
                session.timeout = None;
                (Tag::new("DISCARD ALL"), status)
            }
            Command::Say(tag) => (Tag::new(tag), status),
            Command::Show(..) => (Tag::new("SHOW"), status),
            Command::Query(_)
            | Command::Copy(..)
            | Command::Declare { .. }
            | Command::Fetch(..)
            | Command::Close(_) => (Tag::new("SELECT"), status),
        }
    }

    pub(super) fn check_transaction(
        &self,
        command: &Command,
        status: TransactionStatus,
    ) -> PgWireResult<()> {
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
            let rows = messages(rows.stream(), text, Format::UnifiedText);
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
                        let rows = messages(rows.stream(), text, Format::UnifiedText);
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
                    Command::Fetch(cursor, count) => {
                        let rows = self.fetch(cursor, *count, &Format::UnifiedText)?;
                        send_rows(client, rows).await?;
                    }
                    Command::Declare { name, hold, query } => {
                        let tag = self.declare(name, *hold, query, Vec::new(), status).await?;
                        send_execution_response(client, tag).await?;
                    }
                    Command::Close(name) => {
                        send_execution_response(client, self.close(name.as_ref())?).await?;
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
