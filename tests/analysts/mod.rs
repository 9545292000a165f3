//! The service for analysts: a real one, asked by psql and pgbench as analysts would.

mod answers;
mod executors;
mod hostile;
mod login;
mod startup;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Outcome, Place, program};

/// No wait of a test is longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Passwords of the users: ana is an analyst, rob sees the raw exports, too.
const PASSWORDS: [(&str, &str, &str); 2] = [
    ("ana", "analyst", "analysts' secret"),
    ("rob", "raw", "röbs gehéimnis"),
];

/// A running service over the golden day, published.
struct Service {
    child: Child,
    place: Place,
    folder: TempDir,
    port: u16,
    log: Receiver<String>,
}

impl Service {
    /// With both users.
    fn start(options: &[&str]) -> Self {
        let place = Place::golden();
        place.run_with_scores("warehouse", &[]).exits(0);
        Self::over(place, options)
    }

    /// Over a place's warehouse.
    fn over(place: Place, options: &[&str]) -> Self {
        let folder = TempDir::with_prefix("graph-recs-analysts-").unwrap();
        let users = folder.path().join("users.toml");
        for (name, role, password) in PASSWORDS {
            add_user(&users, name, role, password);
        }
        let mut command = program();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--warehouse"])
            .arg(place.path("warehouse"))
            .args(["--as-of", crate::support::AS_OF, "--input"])
            .arg(place.input())
            .arg("--users")
            .arg(&users)
            .arg("--audit-log")
            .arg(folder.path().join("audit.jsonl"))
            .args(options);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, log) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut service = Self {
            child,
            place,
            folder,
            port: 0,
            log,
        };
        let line = service.says("PostgreSQL's protocol on ");
        service.port = line.rsplit(':').next().unwrap().parse().unwrap();
        service
    }

    /// Waits until it says something with these words; the line.
    fn says(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while let Ok(line) = self
            .log
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if line.contains(words) {
                return line;
            }
            said.push(line);
        }
        panic!("{words:?} is not in: {said:#?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// psql as a user, yet to be told what to do.
    fn psql(&self, user: &str) -> Command {
        let mut command = client("psql");
        command
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"])
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", user)
            .env("PGDATABASE", "graph_recs")
            .env("PGPASSWORD", password(user));
        command
    }

    /// A client that has begun a statement.
    fn begin(&self, user: &str, statement: &str) -> Child {
        let mut psql = self.psql(user);
        psql.args(["--command", statement])
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The rows of a statement, columns apart by `|`.
    #[track_caller]
    fn rows(&self, user: &str, statement: &str) -> Vec<String> {
        let outcome = self.ask(user, statement).exits(0);
        outcome.stdout.lines().map(String::from).collect()
    }

    /// The answer to a statement.
    fn ask(&self, user: &str, statement: &str) -> Outcome {
        let mut command = self.psql(user);
        command.args(["--no-align", "--tuples-only", "--command", statement]);
        Outcome::of(&mut command)
    }

    /// The SQLSTATE and message with which a statement is refused.
    #[track_caller]
    fn refused(&self, user: &str, statement: &str) -> (String, String) {
        let mut command = self.psql(user);
        command.args(["--set", "VERBOSITY=verbose", "--file", "-"]);
        let outcome = piped(&mut command, statement);
        assert_ne!(
            outcome.code,
            Some(0),
            "{statement:.200}: {}",
            outcome.stdout
        );
        let error = outcome.stderr.lines().find_map(|line| {
            let (_, rest) = line.split_once("ERROR:  ")?;
            rest.split_once(": ")
        });
        let (code, message) =
            error.unwrap_or_else(|| panic!("{statement:.200}: {}", outcome.stderr));
        (code.to_string(), message.to_string())
    }

    /// The audit log's lines.
    fn audit(&self) -> Vec<Value> {
        std::thread::sleep(Duration::from_millis(500));
        let text = std::fs::read_to_string(self.path("audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Bytes of memory that it holds.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn password(user: &str) -> &'static str {
    PASSWORDS
        .iter()
        .find(|(name, ..)| *name == user)
        .map_or("", |(_, _, password)| password)
}

/// A program of PostgreSQL's, without whatever is in the environment.
fn client(name: &str) -> Command {
    let mut command = Command::new(name);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn add_user(users: &Path, name: &str, role: &str, password: &str) {
    let mut command = program();
    command
        .args(["user", "add", name, "--role", role, "--users"])
        .arg(users);
    piped(&mut command, password).exits(0);
}

/// Runs a command with a text on its standard input.
fn piped(command: &mut Command, text: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_string();
    let writer = std::thread::spawn(move || {
        // Who refuses the first part does not read the rest.
        let _ = stdin.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
