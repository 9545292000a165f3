//! PostgreSQL, a real one: each test starts its own, in a folder of its own, and throws it away.

mod bouncer;
mod doctor;
mod faults;
mod migrations;
mod publishing;
mod secrets;
mod settings;
mod urls;
mod waits;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Outcome, Place, golden, program};

/// The morning after [`crate::support::AS_OF`].
const NEXT_AS_OF: &str = "2019-10-03T00:00:00Z";
/// The tables that are in PostgreSQL.
const STORED: [&str; 3] = ["closest_connections", "recommendations", "rec_reasons"];
/// No wait of a test is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
struct Server {
    folder: TempDir,
}

impl Server {
    /// A new server, with the tables.
    fn start() -> Self {
        let server = Self::empty(&[]);
        server.migrate(&[]).exits(0);
        server
    }

    /// A new server with settings (`name=value`), without the tables.
    fn empty(settings: &[&str]) -> Self {
        let server = Self {
            folder: TempDir::with_prefix("graph-recs-postgres-").unwrap(),
        };
        server.script("start", settings);
        server
    }

    fn script(&self, command: &str, more: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres/server");
        let mut command_line = Command::new(script);
        command_line
            .arg(command)
            .arg(self.folder.path().join("server"));
        // Its servers stay behind with what they inherit.
        let outcome = command_line
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.folder.path().join("errors")).unwrap())
            .status()
            .unwrap();
        let errors = std::fs::read_to_string(self.folder.path().join("errors")).unwrap();
        assert!(
            outcome.success(),
            "tests/postgres/server {command}: {errors}"
        );
    }

    /// As a crash stops it, and started again.
    fn restart(&self) {
        self.script("stop", &[]);
        self.script("start", &[]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("server").join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Where it is, as the publisher sees it.
    fn url(&self) -> String {
        self.read("url")
    }

    fn port(&self) -> u16 {
        self.read("port").parse().unwrap()
    }

    /// `psql` on the database as a superuser.
    fn psql(&self) -> Command {
        let url = self.read("admin.url").replace("/postgres?", "/graph_recs?");
        let mut command = Command::new("psql");
        command
            .arg(url)
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1"]);
        command
    }

    /// The answer to statements, a line a row, fields set apart by `|`.
    #[track_caller]
    fn ask(&self, sql: &str) -> String {
        Outcome::of(self.psql().args(["--command", sql]))
            .exits(0)
            .stdout
            .trim_end()
            .to_owned()
    }

    /// A session that runs statements and then stays until the value is dropped.
    fn session(&self, sql: &str) -> Session {
        let mut child = self
            .psql()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Standard input stays open, so the session does.
        let input = child.stdin.as_mut().unwrap();
        writeln!(input, "{sql};\nSELECT 'ready';").unwrap();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            let read = std::io::BufRead::read_line(&mut output, &mut line).unwrap();
            assert!(read > 0, "{sql} failed");
        }
        Session(child)
    }

    /// A statement under way, ended with the value.
    fn statement(&self, sql: &str) -> Session {
        let mut psql = self.psql();
        psql.args(["--command", sql]);
        let child = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let session = Session(child.unwrap());
        let at_work = sql.replace('\'', "''");
        self.wait_until(&format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query = '{at_work}' AND state = 'active')"
        ));
        session
    }

    /// Waits until a query gives `t`.
    #[track_caller]
    fn wait_until(&self, sql: &str) {
        wait_until(sql, || self.ask(sql) == "t");
    }

    fn migrate(&self, options: &[&str]) -> Outcome {
        Outcome::of(
            program()
                .arg("migrate")
                .args(options)
                .env("GRAPH_RECS_DATABASE_URL", self.url()),
        )
    }

    fn check(&self) -> Outcome {
        Outcome::of(
            program()
                .args(["check", "--json"])
                .env("GRAPH_RECS_DATABASE_URL", self.url()),
        )
    }

    /// What readers see: the run's name and each table's rows and sums. Fails when they are of several runs.
    #[track_caller]
    fn seen(&self) -> String {
        self.ask(
            "SELECT run_id, c.*, r.*, s.* FROM graph_recs.current_run,
                 (SELECT count(*), sum(weight), count(DISTINCT updated_at) FROM graph_recs.closest_connections) AS c,
                 (SELECT count(*), sum(score), count(DISTINCT updated_at) FROM graph_recs.recommendations) AS r,
                 (SELECT count(*), sum(weight), count(DISTINCT updated_at) FROM graph_recs.rec_reasons) AS s",
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script("remove", &[]);
    }
}

/// Waits until something holds.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A session of psql, ended with the value.
struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two runs of the golden day, the first one published to a server.
struct Days {
    place: Place,
    server: Server,
    first: String,
    /// What readers see of it.
    first_seen: String,
}

impl Days {
    fn new() -> Self {
        Self::of(Server::start())
    }

    /// On a server that is there.
    fn of(server: Server) -> Self {
        let place = Place::golden();
        let first = Outcome::of(&mut run(&place, &server.url(), crate::support::AS_OF))
            .exits(0)
            .run_id();
        let first_seen = server.seen();
        Self {
            place,
            server,
            first,
            first_seen,
        }
    }

    /// The second run, published by the database's own address or another one.
    fn next(&self, url: &str) -> Command {
        run(&self.place, url, NEXT_AS_OF)
    }

    /// Publishes the second run and gives what readers see of it.
    fn finish(&self) -> String {
        let answer = Outcome::of(&mut self.next(&self.server.url())).exits(0);
        let seen = self.server.seen();
        assert!(seen.starts_with(&answer.run_id()), "{seen}");
        seen
    }
}

/// The command that makes a run of the warehouse the current one again.
fn rollback(place: &Place, url: &str, to: &str) -> Command {
    let mut command = program();
    command.args(["rollback", "--to", to, "--warehouse"]);
    command.arg(place.path("warehouse"));
    command.env("GRAPH_RECS_DATABASE_URL", url);
    command
}

/// The command that looks at the database.
fn doctor(url: &str) -> Command {
    let mut command = program();
    command.args(["doctor", "--only", "database"]);
    command.env("GRAPH_RECS_DATABASE_URL", url);
    command
}

/// The command that runs the golden day as of a moment and publishes it.
fn run(place: &Place, url: &str, as_of: &str) -> Command {
    let mut command = program();
    command.args(["run", "--json", "--as-of", as_of, "--input"]);
    command.arg(place.input());
    command.arg("--warehouse").arg(place.path("warehouse"));
    command.arg("--reputation-scores").arg(golden("pred.csv"));
    command.env("GRAPH_RECS_DATABASE_URL", url);
    command
}
