//! The database's URL is told to nobody but the server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{Days, Server, run};
use crate::support::{AS_OF, Outcome, Place, program};

const SECRET: &str = "not-to-be-shown";

#[test]
fn no_process_list_shows_the_url() {
    let server = Server::start();
    let place = Place::generated(2_000, 100_000, 5_000);
    for form in ["--database-url=", "--database-url"] {
        let mut command = run(&place, "", AS_OF);
        command.env_remove("GRAPH_RECS_DATABASE_URL");
        match form.strip_suffix('=') {
            Some(_) => command.arg(format!("{form}{}", server.url())),
            None => command.args([form, &server.url()]),
        };
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        // It speaks: it works with the URL by now.
        let list = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        let list = String::from_utf8_lossy(&list).replace('\0', " ");
        assert!(
            list.contains("--database-url") && !list.contains(SECRET),
            "{list}"
        );
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut log, &mut rest).unwrap();
        assert!(child.wait().unwrap().success(), "{rest}");
        assert!(!line.contains(SECRET) && !rest.contains(SECRET));
    }
    assert_eq!(server.ask("SELECT count(*) FROM graph_recs.runs"), "1");
}

#[test]
fn no_log_and_no_error_shows_the_url() {
    let days = Days::new();
    let url = days.server.url();
    let port = days.server.port().to_string();
    let mut told = Vec::new();
    for (wrong, code, words) in [
        (url.replace("graph_recs:", "nobody:"), 1, "user or password"),
        (
            url.replace(SECRET, "not-to-be-shown-either"),
            1,
            "user or password",
        ),
        (
            url.replace("/graph_recs", "/none")
                .replace("//none", "//graph_recs"),
            1,
            "no such database",
        ),
        (format!("{url}?not-to-be-shown=1"), 2, "--database-url"),
        (
            format!("{url}?sslmode=not-to-be-shown"),
            2,
            "--database-url",
        ),
        (url.replace("postgres://", "mysql://"), 2, "--database-url"),
        (SECRET.to_owned(), 2, "--database-url"),
        (url.replace(&port, "99999"), 2, "--database-url"),
        (format!("{url}?sslmode=require"), 1, "TLS"),
    ] {
        let mut command = program();
        command
            .args(["--log", "trace", "check"])
            .env("GRAPH_RECS_DATABASE_URL", wrong);
        let outcome = Outcome::of(&mut command).exits(code).says(&[words]);
        told.push(outcome.stdout + &outcome.stderr);
    }
    let mut unreachable = program();
    // Port 1 of loopback refuses.
    unreachable
        .args(["--log", "trace", "check"])
        .env("GRAPH_RECS_DATABASE_URL", url.replace(&port, "1"));
    let outcome = Outcome::of(&mut unreachable)
        .exits(1)
        .says(&["cannot be reached"]);
    told.push(outcome.stderr);
    let loud = Outcome::of(days.next(&url).args(["--log", "trace"])).exits(0);
    told.push(loud.stdout + &loud.stderr);
    let help = Outcome::of(
        program()
            .args(["run", "--help"])
            .env("GRAPH_RECS_DATABASE_URL", &url),
    )
    .exits(0);
    told.push(help.stdout);
    let place = Place::new();
    let file = place.path("options.toml");
    std::fs::write(&file, format!("database-url = {url:?}\n")).unwrap();
    let help = Outcome::of(program().args(["run", "--help", "--config"]).arg(&file)).exits(0);
    told.push(help.stdout);
    for told in told {
        assert!(!told.contains(SECRET), "{told}");
    }
    // Nor does the server's log.
    let log = days.server.read("data/log");
    assert!(log.contains("password authentication failed") && !log.contains(SECRET));
}
