//! The ways in which people and managed services write where a database is.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Days, doctor, rollback};
use crate::support::Outcome;

/// A way to the server from an address of another family; its port.
fn forward(from: &str, server: u16) -> u16 {
    let listener = TcpListener::bind((from, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                continue;
            };
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    port
}

#[test]
fn every_form_of_a_url_leads_to_the_server() {
    let days = Days::new();
    let port = days.server.port();
    let six = forward("::1", port);
    let socket = days.server.path("socket").display().to_string();
    let encoded = socket.replace('/', "%2F");
    let user = "graph_recs:not-to-be-shown";
    for (url, words) in [
        (format!("postgres://{user}@[::1]:{six}/graph_recs"), ""),
        (
            format!("postgresql://{user}@[::1]:{six},127.0.0.1:1/graph_recs"),
            "",
        ),
        (
            format!("postgres://{user}@127.0.0.1:1,[::1]:{six}/graph_recs"),
            "",
        ),
        (
            format!(
                "postgres:///graph_recs?host=::1&port={six}&user=graph_recs&password=not-to-be-shown"
            ),
            "",
        ),
        (
            format!(
                "postgres:///graph_recs?host=127.0.0.1,::1&port=1,{six}&user=graph_recs&password=not-to-be-shown"
            ),
            "",
        ),
        (
            format!("postgres://graph_recs@{encoded}:{port}/graph_recs"),
            "",
        ),
        (
            format!("postgres://graph_recs@/graph_recs?host={socket}&port={port}\n"),
            "",
        ),
        (
            format!(
                "postgres://{user}@127.0.0.1:{port}/graph_recs?sslmode=prefer&channel_binding=require&connect_timeout=15"
            ),
            "channel_binding is not heeded",
        ),
        (
            format!(
                "postgres://{user}@127.0.0.1:{port}/graph_recs?keepalives=1&keepalives_idle=30&gssencmode=disable&sslsni=1&pgbouncer=true"
            ),
            "not needed here: keepalives, keepalives_idle, pgbouncer, sslsni",
        ),
        (
            format!(
                "postgres://{user}@127.0.0.1:{port}/graph_recs?target_session_attrs=prefer-standby"
            ),
            "target_session_attrs is not heeded",
        ),
    ] {
        let told = Outcome::of(&mut doctor(&url)).exits(0);
        assert!(told.stderr.contains(words), "{}", told.stderr);
        assert!(!(told.stdout + &told.stderr).contains("not-to-be-shown"));
    }
    let url = format!(
        "postgres://{user}@127.0.0.1:1,[::1]:{six}/graph_recs?target_session_attrs=read-write"
    );
    let second = Outcome::of(&mut days.next(&url)).exits(0).run_id();
    assert!(days.server.seen().starts_with(&second));
    Outcome::of(&mut rollback(&days.place, &url, &days.first)).exits(0);
}

#[test]
fn connect_timeout_is_kept() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let started = Instant::now();
    let url = format!("postgres://me:x@127.0.0.1:{port}/x?connect_timeout=3");
    let told = Outcome::of(&mut doctor(&url)).exits(1);
    told.says(&["did not answer for 3 s"]);
    assert!(started.elapsed() < Duration::from_secs(9));
}
