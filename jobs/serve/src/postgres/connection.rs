//! Connections: from a socket, by TLS where it is asked for, to the messages on it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use pgwire::api::cancel::CancelHandler;
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::extended::Extended;
use super::handler::Handler;
use super::login::Login;
use crate::service::Service;
use crate::users::Users;

/// How long somebody may take to log in.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether who waits for a statement is still there.
const LOOK: Duration = Duration::from_millis(250);
/// Rows are sent in pieces of about so many bytes.
const PIECE: usize = 64 << 10;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Who is connected, and how.
pub struct Options {
    /// Users; without them nobody is asked who they are.
    pub users: Option<Arc<Users>>,
    /// TLS, where it is offered. Then who comes from another machine must use it.
    pub tls: Option<TlsAcceptor>,
    /// Connections at once.
    pub max_connections: usize,
}

/// Takes connections.
pub struct Listener {
    service: Arc<Service>,
    options: Options,
    open: Arc<Semaphore>,
    statements: Arc<Statements>,
}

/// The statements that connections run, to be cancelled by pid and key.
#[derive(Debug, Default)]
pub struct Statements {
    next: AtomicI32,
    running: Mutex<HashMap<(i32, Bytes), Arc<Mutex<CancellationToken>>>>,
}

/// A connection's line among the statements; it goes with the connection.
pub struct Registered {
    statements: Arc<Statements>,
    pid: i32,
    key: Bytes,
}

impl Statements {
    /// A new pid and key, whose cancel stops what `token` holds then.
    pub fn register(
        self: &Arc<Self>,
        key: SecretKey,
        token: &Arc<Mutex<CancellationToken>>,
    ) -> (i32, Registered) {
        let pid = self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let key = key.to_bytes();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert((pid, key.clone()), Arc::clone(token));
        let registered = Registered {
            statements: Arc::clone(self),
            pid,
            key,
        };
        (pid, registered)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let running = self.statements.running.lock();
        let mut running = running.unwrap_or_else(PoisonError::into_inner);
        running.remove(&(self.pid, std::mem::take(&mut self.key)));
    }
}

#[async_trait]
impl CancelHandler for Statements {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let key = (request.pid, request.secret_key.to_bytes());
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = running.get(&key) {
            token
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .cancel();
        }
    }
}

impl Listener {
    /// Connections to `service`.
    pub fn new(service: Arc<Service>, options: Options) -> Arc<Self> {
        Arc::new(Self {
            open: Arc::new(Semaphore::new(options.max_connections)),
            service,
            options,
            statements: Arc::default(),
        })
    }

    /// Takes connections for ever.
    pub async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (socket, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Too many open files, say: it may pass.
                    tracing::warn!("a connection cannot be accepted: {error}");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() else {
                tracing::warn!("{peer} is turned away: too many connections");
                continue;
            };
            let listener = Arc::clone(&self);
            tokio::spawn(async move {
                if let Err(error) = listener.serve(socket, peer).await {
                    tracing::debug!("connection of {peer}: {error}");
                }
                drop(permit);
            });
        }
    }

    async fn serve(&self, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let watched = Watched::of(&socket)?;
        let opened = timeout(PATIENCE, self.negotiate(socket)).await;
        let (stream, secure) = opened.map_err(|_| io::ErrorKind::TimedOut)??;
        if self.options.tls.is_some() && !secure && !peer.ip().is_loopback() {
            return Err(io::Error::other("without TLS, from another machine"));
        }
        // A message has little more than a statement's text, and parameters as long again.
        let room = usize::try_from(self.service.max_text).unwrap_or(usize::MAX);
        let room = room.saturating_mul(2).saturating_add(64 << 10);
        let read = Arc::new(AtomicUsize::new(0));
        let stream = Measured {
            inner: stream,
            read: Arc::clone(&read),
            room,
        };
        let client = DefaultClient::<Arc<Command>>::new(peer, secure);
        let mut socket = Framed::new(stream, PgWireMessageServerCodec::new(client));
        socket.set_backpressure_boundary(PIECE);
        socket.set_state(PgWireConnectionState::AwaitingStartup);
        let token = Arc::new(Mutex::new(CancellationToken::new()));
        let login = Arc::new(Login::new(
            self.options.users.clone(),
            Arc::clone(&self.statements),
            Arc::clone(&token),
        ));
        let handler = Arc::new(Handler::new(
            Arc::clone(&self.service),
            Arc::clone(&login),
            peer.to_string(),
            token,
        ));
        let deadline = sleep(PATIENCE);
        tokio::pin!(deadline);
        loop {
            let starting = matches!(
                socket.state(),
                PgWireConnectionState::AwaitingStartup
                    | PgWireConnectionState::AuthenticationInProgress
            );
            let message = tokio::select! {
                () = &mut deadline, if starting => None,
                // The library reads some malformed messages beyond their end, and panics then.
                message = AssertUnwindSafe(socket.next()).catch_unwind() => {
                    message.unwrap_or_else(|_| Some(Err(malformed())))
                }
            };
            read.store(0, Ordering::Relaxed);
            let message = match message {
                Some(Ok(PgWireFrontendMessage::Terminate(_))) | None => break,
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    process_error(&mut socket, error, false).await?;
                    break;
                }
            };
            let wait = match socket.state() {
                PgWireConnectionState::CopyInProgress(extended) => extended,
                _ => message.is_extended_query(),
            };
            let processed = tokio::select! {
                biased;
                processed = process_message(
                    message,
                    &mut socket,
                    Arc::clone(&login),
                    Arc::clone(&handler),
                    Arc::new(Extended(Arc::clone(&handler))),
                    Arc::new(NoopHandler),
                    Arc::clone(&self.statements),
                ) => processed,
                () = watched.gone() => break,
            };
            if let Err(error) = processed {
                let fatal = starting;
                process_error(&mut socket, error, wait).await?;
                if fatal {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Answers the questions that come before the first message: TLS, or Kerberos.
    async fn negotiate(&self, mut socket: TcpStream) -> io::Result<(Box<dyn Stream>, bool)> {
        loop {
            let mut head = [0; 8];
            loop {
                match socket.peek(&mut head).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    8.. => break,
                    // Direct TLS begins with its handshake.
                    _ if head[0] == 0x16 => break,
                    _ => sleep(Duration::from_millis(5)).await,
                }
            }
            let code = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            match (head[0], code, &self.options.tls) {
                (0x16, _, Some(tls)) => {
                    return Ok((Box::new(tls.accept(socket).await?), true));
                }
                (0, SSL_REQUEST, Some(tls)) => {
                    socket.read_exact(&mut head).await?;
                    socket.write_all(b"S").await?;
                    return Ok((Box::new(tls.accept(socket).await?), true));
                }
                (0, SSL_REQUEST | GSS_REQUEST, _) => {
                    socket.read_exact(&mut head).await?;
                    socket.write_all(b"N").await?;
                }
                _ => return Ok((Box::new(socket), false)),
            }
        }
    }
}

/// What a message is that does not hold what it should.
fn malformed() -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(
        "FATAL".into(),
        "08P01".into(),
        "a message is not as the protocol has it".into(),
    )))
}

/// A socket to read from and write to, by TLS or not.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// A stream of which no more is read than a message may have.
struct Measured {
    inner: Box<dyn Stream>,
    /// Bytes since the last message.
    read: Arc<AtomicUsize>,
    room: usize,
}

impl AsyncRead for Measured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let more = buffer.filled().len() - before;
        if self.read.fetch_add(more, Ordering::Relaxed) + more > self.room {
            return Poll::Ready(Err(io::Error::other("the message is too long")));
        }
        polled
    }
}

impl AsyncWrite for Measured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A socket that is looked at while its messages are being answered, which nobody reads then.
struct Watched(OwnedFd);

impl Watched {
    fn of(socket: &TcpStream) -> io::Result<Self> {
        use std::os::fd::AsFd;
        Ok(Self(socket.as_fd().try_clone_to_owned()?))
    }

    /// Waits until the other end is gone.
    async fn gone(&self) {
        loop {
            sleep(LOOK).await;
            let mut poll = libc::pollfd {
                fd: self.0.as_raw_fd(),
                events: libc::POLLRDHUP,
                revents: 0,
            };
            // SAFETY: one descriptor that is open as long as we are, and no waiting.
            let events = unsafe { libc::poll(&raw mut poll, 1, 0) };
            if events > 0 && poll.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0 {
                return;
            }
        }
    }
}
