//! A proxy between program and S3 server that does what networks and stores do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The store answers 503 with S3's error.
    Unavailable,
    /// The connection is reset before the store sees the request.
    ResetBefore,
    /// The store does what is asked, and the connection is reset before it can say so.
    ResetAfter,
    /// The connection is reset after so many bytes of the answer.
    CutAnswer(usize),
    /// The answer comes at so many bytes a second.
    Slow(usize),
    /// Nothing ever comes.
    Silent,
}

/// A request as the proxy sees it.
pub struct Request {
    /// GET, PUT, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its number among all requests, from 1.
    pub number: usize,
}

impl Request {
    /// Whether it begins an upload in parts.
    pub fn is_beginning(&self) -> bool {
        self.method == "POST" && self.target.contains("uploads=")
    }

    /// Whether it makes a file of the parts of an upload.
    pub fn is_completion(&self) -> bool {
        self.method == "POST" && self.target.contains("uploadId=")
    }

    /// Whether it sends one part of an upload.
    pub fn is_part(&self) -> bool {
        self.method == "PUT" && self.target.contains("partNumber=")
    }
}

type Rule = dyn FnMut(&Request) -> Fault + Send;

/// A proxy, as long as the test lives.
pub struct Proxy {
    /// Its port on loopback.
    pub port: u16,
    /// All requests with what happened to them.
    pub seen: Arc<Mutex<Vec<(String, Fault)>>>,
}

impl Proxy {
    /// A proxy before `server`; `rule` says what happens to each request.
    pub fn start(server: u16, rule: impl FnMut(&Request) -> Fault + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let rule: Arc<Mutex<Box<Rule>>> = Arc::new(Mutex::new(Box::new(rule)));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (rule, log) = (Arc::clone(&rule), Arc::clone(&log));
                // Either side may go away at any moment.
                std::thread::spawn(move || drop(serve(client, server, &rule, &log)));
            }
        });
        Self { port, seen }
    }

    /// How many requests met a fault.
    pub fn faults(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|(_, fault)| *fault != Fault::None)
            .count()
    }
}

fn serve(
    mut client: TcpStream,
    server: u16,
    rule: &Mutex<Box<Rule>>,
    log: &Mutex<Vec<(String, Fault)>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut words = text.split_whitespace();
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let length = text
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0_u64);
    let fault = {
        let mut log = log.lock().unwrap();
        let request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            number: log.len() + 1,
        };
        let fault = rule.lock().unwrap()(&request);
        log.push((format!("{method} {target}"), fault));
        fault
    };
    match fault {
        Fault::ResetBefore => return reset(client),
        Fault::Silent => {
            std::thread::sleep(Duration::from_secs(120));
            return Ok(());
        }
        Fault::Unavailable => {
            std::io::copy(&mut (&mut client).take(length), &mut std::io::sink())?;
            let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
            write!(
                client,
                "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )?;
            return client.shutdown(Shutdown::Write);
        }
        _ => {}
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    // One request a connection: so each can be counted. What is signed stays as it is.
    let kept: Vec<&str> = text
        .trim_end()
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    upstream.write_all(kept.join("\r\n").as_bytes())?;
    upstream.write_all(b"\r\nConnection: close\r\n\r\n")?;
    std::io::copy(&mut (&mut client).take(length), &mut upstream)?;
    let mut answered = 0;
    let mut buffer = [0; 16 << 10];
    loop {
        let read = upstream.read(&mut buffer)?;
        if read == 0 {
            return client.shutdown(Shutdown::Write);
        }
        match fault {
            Fault::ResetAfter => return reset(client),
            Fault::CutAnswer(after) if answered + read > after => {
                client.write_all(&buffer[..after - answered])?;
                return reset(client);
            }
            Fault::Slow(rate) => {
                for piece in buffer[..read].chunks(rate.div_ceil(10)) {
                    client.write_all(piece)?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            _ => client.write_all(&buffer[..read])?,
        }
        answered += read;
    }
}

/// Ends a connection as a machine does that knows nothing of it.
fn reset(client: TcpStream) -> std::io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the socket is open, and the option is of the size that is told.
    let set = unsafe {
        let option = std::ptr::from_ref(&linger).cast();
        libc::setsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            option,
            size,
        )
    };
    assert_eq!(set, 0);
    drop(client);
    Ok(())
}
