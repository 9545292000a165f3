//! TLS between the processes of a cluster.
//!
//! Ballista's servers speak plain HTTP/2. With TLS they listen on the loopback address only; a listener on the
//! machine's address takes TLS connections, asks for a certificate of the same authority, and hands the bytes on.
//! Clients do the reverse: they speak to a socket in a private folder, and what is written there goes out by TLS.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ballista_core::extension::EndpointOverrideFn;
use clap::Args;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::Endpoint;

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// Certificates, the same kind for client, scheduler and executor.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificates of the authorities that sign the cluster's certificates, PEM; with it connections are by TLS only
    #[arg(long, value_name = "FILE", env = "GRAPH_RECS_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// This process's certificate, PEM; clients without one are refused by servers
    #[arg(long, value_name = "FILE", env = "GRAPH_RECS_TLS_CERT", requires_all = ["tls_ca", "tls_key"])]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "GRAPH_RECS_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file can't be read.
    #[error("{} is no readable PEM file", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// A PEM file holds something else.
    #[error("there is no certificate in {}", file.display())]
    NoneInside {
        /// The file.
        file: PathBuf,
    },
    /// Certificates or keys don't fit together.
    #[error("the certificates of --tls-ca, --tls-cert and --tls-key do not fit together")]
    Rustls(#[from] rustls::Error),
    /// The authorities can't verify clients.
    #[error("--tls-ca holds no usable authority")]
    Authority(#[from] rustls::server::VerifierBuilderError),
    /// A server needs its own certificate.
    #[error("a server needs --tls-cert and --tls-key beside --tls-ca")]
    NoCertificate,
    /// Anybody could go around TLS.
    #[error(
        "with TLS --bind-host must be one of the machine's addresses other than 127.0.0.1, where Ballista listens \
         unencrypted"
    )]
    Unencrypted,
    /// A listener can't be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

impl TlsOptions {
    /// Whether connections are to be by TLS.
    pub fn wanted(&self) -> bool {
        self.tls_ca.is_some()
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.tls_ca {
            for certificate in certificates(file)? {
                roots.add(certificate)?;
            }
        }
        Ok(roots)
    }

    #[allow(clippy::type_complexity)]
    fn identity(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|cause| TlsError::Pem {
            file: key.clone(),
            cause,
        })?;
        Ok(Some((certificates(certificate)?, private)))
    }

    fn client(&self) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.authorities()?);
        Ok(match self.identity()? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        })
    }

    fn server(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let Some((chain, key)) = self.identity()? else {
            return Err(TlsError::NoCertificate);
        };
        let roots = Arc::new(self.authorities()?);
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        Ok(ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)?)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |cause| TlsError::Pem {
        file: file.to_path_buf(),
        cause,
    };
    let found = CertificateDer::pem_file_iter(file)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    match found.is_empty() {
        true => Err(TlsError::NoneInside {
            file: file.to_path_buf(),
        }),
        false => Ok(found),
    }
}

/// Listens by TLS on each of `ports` of the address that a server was told, for the server itself on 127.0.0.1.
///
/// # Errors
/// When the server would take its own unencrypted port for it, and as [`guard`].
pub async fn guard_ports(
    options: &TlsOptions,
    public: IpAddr,
    ports: &[u16],
) -> Result<(), TlsError> {
    if public == Ipv4Addr::LOCALHOST || public.is_unspecified() {
        return Err(TlsError::Unencrypted);
    }
    for &port in ports {
        let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        guard(options, SocketAddr::from((public, port)), inside).await?;
    }
    Ok(())
}

/// Takes TLS connections at `from` and hands their bytes on to the same machine's `to`, for as long as the process
/// lives.
///
/// # Errors
/// When the certificates are not fit or the address is taken.
async fn guard(options: &TlsOptions, from: SocketAddr, to: SocketAddr) -> Result<(), TlsError> {
    let acceptor = TlsAcceptor::from(Arc::new(options.server()?));
    let listener = TcpListener::bind(from)
        .await
        .map_err(|cause| TlsError::Listen {
            address: from.to_string(),
            cause,
        })?;
    tokio::spawn(async move {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                // Out of descriptors, say: others may close theirs.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let greeted = timeout(PATIENCE, acceptor.accept(client)).await??;
                let server = timeout(PATIENCE, TcpStream::connect(to)).await??;
                hand_on(greeted, server).await
            });
        }
    });
    Ok(())
}

async fn hand_on<A, B>(mut a: A, mut b: B) -> io::Result<()>
where
    A: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    B: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    copy_bidirectional(&mut a, &mut b).await.map(|_| ())
}

/// Ways out by TLS: for each server a socket that only this user can open.
pub struct Tunnels {
    connector: TlsConnector,
    folder: TempDir,
    open: Mutex<HashMap<String, PathBuf>>,
}

impl Tunnels {
    /// Ways out with the certificates of `options`.
    ///
    /// # Errors
    /// When the certificates are not fit.
    pub fn new(options: &TlsOptions) -> Result<Arc<Self>, TlsError> {
        let folder = TempDir::with_prefix("graph-recs-").map_err(|cause| TlsError::Listen {
            address: "a private folder".into(),
            cause,
        })?;
        Ok(Arc::new(Self {
            connector: TlsConnector::from(Arc::new(options.client()?)),
            folder,
            open: Mutex::default(),
        }))
    }

    /// The socket that leads to `host:port`. Must be called within a runtime.
    ///
    /// # Errors
    /// When the socket can't be made, or the host is no name or address.
    pub fn socket(&self, host: &str, port: u16) -> io::Result<PathBuf> {
        let authority = format!("{host}:{port}");
        let mut open = self
            .open
            .lock()
            .map_err(|_| io::Error::other("a tunnel panicked"))?;
        if let Some(path) = open.get(&authority) {
            return Ok(path.clone());
        }
        let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
        let path = self.folder.path().join(format!("{}.socket", open.len()));
        let listener = UnixListener::bind(&path)?;
        let connector = self.connector.clone();
        open.insert(authority.clone(), path.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (connector, name, authority) =
                    (connector.clone(), name.clone(), authority.clone());
                tokio::spawn(async move {
                    let server = timeout(PATIENCE, TcpStream::connect(authority)).await??;
                    server.set_nodelay(true)?;
                    let server = timeout(PATIENCE, connector.connect(name, server)).await??;
                    hand_on(client, server).await
                });
            }
        });
        Ok(path)
    }

    /// The hook by which Ballista's clients take these ways.
    pub fn endpoints(self: &Arc<Self>) -> EndpointOverrideFn {
        let tunnels = Arc::clone(self);
        Arc::new(move |endpoint: Endpoint| {
            let uri = endpoint.uri().clone();
            let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
                return Err("an address without host and port".into());
            };
            let socket = tunnels.socket(host, port)?;
            Ok(Endpoint::from_shared(format!("unix:{}", socket.display()))?
                .connect_timeout(PATIENCE)
                .tcp_nodelay(true))
        })
    }
}
