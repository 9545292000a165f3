//! Who is there: SCRAM-SHA-256, or nobody asked on the loopback address.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, METADATA_USER, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::startup::{Authentication, SecretKey};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio_util::sync::CancellationToken;

use super::connection::{Registered, Statements};
use crate::describe;
use crate::refusal::Kind;
use crate::scram::Exchange;
use crate::users::{User, Users};

const METHOD: &str = "SCRAM-SHA-256";
/// How long a wrong password costs.
const DELAY: Duration = Duration::from_millis(500);

/// One connection's login.
pub struct Login {
    users: Option<Arc<Users>>,
    statements: Arc<Statements>,
    token: Arc<Mutex<CancellationToken>>,
    exchange: Mutex<Option<Exchange>>,
    user: OnceLock<User>,
    registered: Mutex<Option<Registered>>,
}

impl Login {
    /// Asks for one of `users`, if there are any; cancel requests stop what `token` holds.
    pub fn new(
        users: Option<Arc<Users>>,
        statements: Arc<Statements>,
        token: Arc<Mutex<CancellationToken>>,
    ) -> Self {
        Self {
            users,
            statements,
            token,
            exchange: Mutex::default(),
            user: OnceLock::new(),
            registered: Mutex::default(),
        }
    }

    /// Who it is, as they are in the users file now; nobody when they are not there any more.
    pub fn user(&self) -> Option<User> {
        let user = self.user.get()?;
        match &self.users {
            Some(users) => users.user(&user.name),
            None => Some(user.clone()),
        }
    }

    async fn welcome<C>(&self, client: &mut C, user: User) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let key = match client.protocol_version() {
            pgwire::messages::ProtocolVersion::PROTOCOL3_0 => SecretKey::I32(rand::random()),
            _ => SecretKey::Bytes(rand::random::<[u8; 32]>().to_vec().into()),
        };
        let (pid, registered) = self.statements.register(key.clone(), &self.token);
        client.set_pid_and_secret_key(pid, key);
        *self
            .registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(registered);
        let _ = self.user.set(user);
        finish_authentication(client, &Settings).await
    }
}

fn refused(code: &str, text: String) -> PgWireError {
    let info = ErrorInfo::new("FATAL".into(), code.into(), text);
    PgWireError::UserError(Box::new(info))
}

fn wrong_message(text: &str) -> PgWireError {
    refused("08P01", text.to_string())
}

#[async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                let name = client.metadata().get(METADATA_USER).cloned();
                let name = name.ok_or(PgWireError::UserNameRequired)?;
                if self.users.is_none() {
                    return self.welcome(client, User::anybody(&name)).await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = Authentication::SASL(vec![METHOD.into()]);
                client
                    .send(PgWireBackendMessage::Authentication(ask))
                    .await?;
            }
            PgWireFrontendMessage::PasswordMessageFamily(message) => {
                let users = self
                    .users
                    .as_ref()
                    .ok_or_else(|| wrong_message("nobody asked"))?;
                let name = client
                    .metadata()
                    .get(METADATA_USER)
                    .cloned()
                    .unwrap_or_default();
                let begun = self
                    .exchange
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                let Some(exchange) = begun else {
                    let first = message.into_sasl_initial_response()?;
                    if first.auth_method != METHOD {
                        let text = format!("only {METHOD} is offered");
                        return Err(refused("28000", text));
                    }
                    let bytes = first.data.unwrap_or_default();
                    let verifier = users.verifier(&name);
                    let (exchange, answer) =
                        Exchange::begin(verifier, &bytes).map_err(wrong_message)?;
                    *self.exchange.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
                    let answer = Authentication::SASLContinue(answer.into());
                    client
                        .send(PgWireBackendMessage::Authentication(answer))
                        .await?;
                    return Ok(());
                };
                let last = message.into_sasl_response()?;
                let proven = exchange.finish(&last.data).map_err(wrong_message)?;
                match (proven, users.user(&name)) {
                    (Some(answer), Some(user)) => {
                        let answer = Authentication::SASLFinal(answer.into());
                        client
                            .feed(PgWireBackendMessage::Authentication(answer))
                            .await?;
                        self.welcome(client, user).await?;
                    }
                    _ => {
                        tracing::warn!("login of {name:?} from {} failed", client.socket_addr());
                        tokio::time::sleep(DELAY).await;
                        let text = format!("password authentication failed for user \"{name}\"");
                        return Err(refused(Kind::Login.code(), text));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What clients are told of the server.
struct Settings;

impl ServerParameterProvider for Settings {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let mut told: HashMap<String, String> = [
            ("server_version", "server_version"),
            ("server_encoding", "server_encoding"),
            ("client_encoding", "client_encoding"),
            ("DateStyle", "datestyle"),
            ("IntervalStyle", "intervalstyle"),
            ("TimeZone", "timezone"),
            ("integer_datetimes", "integer_datetimes"),
            ("standard_conforming_strings", "standard_conforming_strings"),
            ("in_hot_standby", "in_hot_standby"),
            ("is_superuser", "is_superuser"),
            (
                "default_transaction_read_only",
                "default_transaction_read_only",
            ),
        ]
        .into_iter()
        .filter_map(|(name, setting)| Some((name.to_string(), describe::setting(setting)?.into())))
        .collect();
        for (name, key) in [
            ("session_authorization", METADATA_USER),
            ("application_name", "application_name"),
        ] {
            if let Some(value) = client.metadata().get(key) {
                told.insert(name.to_string(), value.clone());
            }
        }
        Some(told)
    }
}
