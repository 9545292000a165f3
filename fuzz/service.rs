//! The service for analysts: whatever comes in on a connection, it answers the next one.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use clap::Parser;
use graph_recs_serve::options::ServeOptions;

use super::driver::{fuzz, kind, must};
use super::watch::{panics_of, tolerate_panics_of};

/// Threads of the service have this name.
const THREADS: &str = "fuzzed-service";

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    serve: ServeOptions,
}

#[test]
fn postgres_messages() {
    let warehouse = tempfile::TempDir::with_prefix("graph-recs-fuzz-").unwrap();
    let address = start(warehouse.path().to_str().unwrap());
    // The library that reads messages panics at some malformed ones, and the service catches that.
    tolerate_panics_of(&["/pgwire-", "/bytes-"]);
    let panics = panics_of(&[THREADS, "statements"]);
    let words = [
        "SELECT 1",
        "SELECT $1::int",
        ";",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SET statement_timeout = 1",
        "SHOW ALL",
        "DECLARE c CURSOR FOR SELECT 1",
        "FETCH 1 FROM c",
        "COPY (SELECT 1) TO STDOUT",
        "graph_recs.recommendations",
        "pg_catalog.pg_class",
        "\0",
        "Q\0\0\0\x0d",
        "P\0\0\0\x0c",
        "B\0\0\0\x0c",
        "D\0\0\0\x06S\0",
        "E\0\0\0\x09\0\0\0\0\0",
        "S\0\0\0\x04",
        "X\0\0\0\x04",
        "user\0",
        "database\0",
        "replication\0",
    ];
    let mut tried = 0;
    fuzz("postgres_messages", &words, |input| {
        let answer = answer(address, &asked(input))
            .map_err(|error| format!("no end of the answer: {error}"))?;
        let found = panics();
        must(found.is_empty(), || {
            format!("the service panics: {found:?}")
        })?;
        tried += 1;
        if tried % 256 == 1 {
            let there = self::answer(address, &hello("SELECT 40 + 2"))
                .map_err(|error| error.to_string())?;
            must(there.windows(2).any(|bytes| bytes == b"42"), || {
                "it no longer answers".to_string()
            })?;
        }
        kind(types(&answer))
    });
}

/// Starts a service over an empty warehouse in this process.
fn start(warehouse: &str) -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let listen = address.to_string();
    let arguments = [
        "serve",
        "--warehouse",
        warehouse,
        "--listen",
        &listen,
        "--statement-timeout",
        "5",
        "--memory-limit",
        "256MB",
        "--audit-log",
        "/dev/null",
        "--refresh",
        "3600",
    ];
    let options = Options::parse_from(arguments).serve;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(THREADS)
        .enable_all()
        .build()
        .unwrap();
    std::thread::spawn(move || {
        let ended = runtime.block_on(graph_recs_serve::run(options, None));
        panic!("the service ended: {ended:?}");
    });
    for _ in 0..600 {
        if TcpStream::connect(address).is_ok() {
            return address;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the service does not listen");
}

/// What the service answers until it closes the connection, which it must when nothing more comes.
fn answer(address: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    // Without it ports wait after each connection, and soon there is none left.
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: a socket that is open, and an option of the size that is told.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        );
    }
    let mut answer = Vec::new();
    // It may hang up on what it does not understand before it has read all.
    if socket
        .write_all(bytes)
        .and_then(|()| socket.shutdown(Shutdown::Write))
        .is_ok()
    {
        match socket.read_to_end(&mut answer) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => return Err(error),
            _ => {}
        }
    }
    Ok(answer)
}

/// What is sent. Less than the first eight bytes, which ask for TLS or begin, is waited for as long as somebody may take
/// to log in: it is made up to that.
fn asked(input: &[u8]) -> Vec<u8> {
    const QUESTIONS: [[u8; 8]; 2] = [
        *b"\0\0\0\x08\x04\xd2\x16\x2f",
        *b"\0\0\0\x08\x04\xd2\x16\x30",
    ];
    let mut rest = input;
    while let Some((question, after)) = rest.split_first_chunk()
        && QUESTIONS.contains(question)
    {
        rest = after;
    }
    let missing = match rest.len() {
        0 => 0,
        length => 8_usize.saturating_sub(length),
    };
    [input, &[0; 8][..missing]].concat()
}

/// A connection's beginning and a statement.
fn hello(statement: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let parameters = b"user\0ana\0database\0graph_recs\0\0";
    bytes.extend((parameters.len() as u32 + 8).to_be_bytes());
    bytes.extend(196_608_u32.to_be_bytes());
    bytes.extend(parameters);
    bytes.push(b'Q');
    bytes.extend((statement.len() as u32 + 5).to_be_bytes());
    bytes.extend(statement.as_bytes());
    bytes.push(0);
    bytes.extend(b"X\0\0\0\x04");
    bytes
}

/// The types of the first messages of an answer, each once where it repeats.
fn types(mut answer: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let Some((kind, rest)) = answer.split_first()
        && let Some((length, _)) = rest.split_first_chunk::<4>()
        && types.len() < 24
    {
        if types.last() != Some(kind) {
            types.push(*kind);
        }
        answer = rest
            .get((u32::from_be_bytes(*length) as usize).max(4)..)
            .unwrap_or_default();
    }
    types
}
