//! Running the program, making inputs for it, and reading what it wrote.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tempfile::TempDir;

/// The as-of of the golden case.
pub const AS_OF: &str = "2019-10-02T00:00:00Z";
/// The tables that a run publishes.
pub const TABLES: [&str; 4] = [
    "closest_connections",
    "reputation_scores",
    "recommendations",
    "rec_reasons",
];
/// The files of the sources, in their plain form.
pub const FILES: [&str; 6] = [
    "follow.csv",
    "reply.csv",
    "mention.csv",
    "like.csv",
    "user.csv",
    "st_messages.data",
];

/// A folder of the golden case.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden")
        .join(name)
}

/// A port of this host that nobody listens at, for a server that starts later, or again. None of those that the system
/// gives to outgoing connections: one of them could take it before the server does.
pub fn free_port(host: &str) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_this_process = (std::process::id() % 10_000) as u16;
    loop {
        let number = of_this_process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + number % 10_000;
        if TcpListener::bind((host, port)).is_ok() {
            return port;
        }
    }
}

/// The program, without options from the environment of whoever runs the tests.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graph-recs"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("GRAPH_RECS_") || text.starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Of a command that is run to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless every one of `words` stands in the error message, the last line of standard error.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let from = self.stderr.rfind("graph-recs: ").unwrap_or(0);
        let message = &self.stderr[from..];
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        self
    }

    /// The JSON object on the last line of standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("{error}: {last}\n{}", self.stderr))
    }

    /// The run that a `--json` answer is about.
    #[track_caller]
    pub fn run_id(&self) -> String {
        self.json()["run_id"].as_str().unwrap().to_string()
    }
}

/// Runs the program with arguments.
pub fn graph_recs<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Outcome {
    Outcome::of(program().args(arguments))
}

/// A folder with an input and warehouses, removed at the end of the test.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// An empty place.
    pub fn new() -> Self {
        Self {
            folder: TempDir::with_prefix("graph-recs-test-").unwrap(),
        }
    }

    /// A place whose input is a copy of the golden one.
    pub fn golden() -> Self {
        let place = Self::new();
        fs::create_dir(place.input()).unwrap();
        for file in FILES {
            fs::copy(golden("input").join(file), place.input().join(file)).unwrap();
        }
        place
    }

    /// A place with a generated day.
    pub fn generated(users: u32, engagements: u32, messages: u32) -> Self {
        let place = Self::new();
        let (users, engagements) = (users.to_string(), engagements.to_string());
        let (messages, out) = (messages.to_string(), place.input());
        program()
            .args(["generate", "--dirty", "--as-of", AS_OF, "--users", &users])
            .args(["--engagements", &engagements, "--messages", &messages])
            .arg("--out")
            .arg(out)
            .output()
            .unwrap();
        place
    }

    /// A path in the place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The input folder.
    pub fn input(&self) -> PathBuf {
        self.path("input")
    }

    /// Writes a file of the input folder, and its folders.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.input().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Reads a file of the input folder.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.input().join(name)).unwrap()
    }

    /// Removes a file of the input folder.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.input().join(name)).unwrap();
    }

    /// A command of the daily job on this place's input, with the golden as-of and JSON answers.
    pub fn command(&self, name: &str, warehouse: &str) -> Command {
        let mut command = program();
        command.args([name, "--json", "--as-of", AS_OF, "--input"]);
        command.arg(self.input());
        command.arg("--warehouse").arg(self.path(warehouse));
        command
    }

    /// `run` with more options.
    pub fn run(&self, warehouse: &str, options: &[&str]) -> Outcome {
        Outcome::of(self.command("run", warehouse).args(options))
    }

    /// `run` that scores with the golden `pred.csv`.
    pub fn run_with_scores(&self, warehouse: &str, options: &[&str]) -> Outcome {
        Outcome::of(with_scores(&mut self.command("run", warehouse)).args(options))
    }

    /// The answer of `sql` as rows of fields, the header first.
    #[track_caller]
    pub fn sql(&self, warehouse: &str, sql: &str) -> Vec<Vec<String>> {
        let warehouse = self.path(warehouse);
        let outcome = Outcome::of(
            program()
                .args(["sql", "--format", "csv", "-c", sql, "--warehouse"])
                .arg(warehouse),
        );
        csv_rows(&outcome.exits(0).stdout)
    }

    /// The answer of `sql` on the raw input as of a moment.
    #[track_caller]
    pub fn sql_of_input(&self, as_of: &str, sql: &str) -> Vec<Vec<String>> {
        let outcome = Outcome::of(
            program()
                .args(["sql", "--format", "csv", "-c", sql, "--as-of", as_of])
                .arg("--input")
                .arg(self.input()),
        );
        csv_rows(&outcome.exits(0).stdout)
    }

    /// A file in the work folder of a run.
    pub fn work_file(&self, warehouse: &str, run_id: &str, name: &str) -> PathBuf {
        self.path(warehouse).join("_runs").join(run_id).join(name)
    }

    /// The bytes of the tables that a run wrote, by table and file.
    pub fn published(&self, warehouse: &str, run_id: &str) -> Published {
        let mut files = BTreeMap::new();
        for table in TABLES {
            let folder = self.path(warehouse).join(table).join(run_id);
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{table}/{}", entry.file_name().to_string_lossy());
                // A killed run may leave behind what it was about to rename.
                if name.ends_with(".parquet") {
                    files.insert(name, fs::read(entry.path()).unwrap());
                }
            }
        }
        let scores = self.work_file(warehouse, run_id, "reputation_score.csv");
        files.insert("reputation_score.csv".into(), fs::read(scores).unwrap());
        Published(files)
    }

    /// The run ids of the publications of a warehouse, oldest first.
    #[track_caller]
    pub fn publications(&self, warehouse: &str) -> Vec<String> {
        let outcome = Outcome::of(
            program()
                .args(["runs", "--json", "--warehouse"])
                .arg(self.path(warehouse)),
        );
        let answer = outcome.exits(0).json();
        let publications = answer["publications"].as_array().unwrap();
        publications
            .iter()
            .map(|publication| publication["run_id"].as_str().unwrap().to_string())
            .collect()
    }
}

/// Adds the golden scores to a command.
pub fn with_scores(command: &mut Command) -> &mut Command {
    command.arg("--reputation-scores").arg(golden("pred.csv"))
}

/// The bytes that a run published, by table and file.
#[derive(PartialEq)]
pub struct Published(pub BTreeMap<String, Vec<u8>>);

impl Published {
    /// Fails the test unless `other` is the same, byte for byte.
    #[track_caller]
    pub fn is_same_as(&self, other: &Self, what: &str) {
        let names: Vec<_> = self.0.keys().collect();
        assert_eq!(names, other.0.keys().collect::<Vec<_>>(), "{what}");
        for (name, bytes) in &self.0 {
            let others = &other.0[name];
            assert!(
                bytes == others,
                "{what}: {name} differs, {} and {} bytes",
                bytes.len(),
                others.len()
            );
        }
    }
}

/// The account of a source in a report: `read`, `used`, and every reason for leaving records out.
#[track_caller]
pub fn account(answer: &Value, source: &str) -> BTreeMap<String, u64> {
    let sources = answer["report"]["sources"].as_array().unwrap();
    let found = sources.iter().find(|entry| entry["source"] == source);
    let found = found.unwrap_or_else(|| panic!("no account of {source} in {answer}"));
    let left_out = found["left_out"].as_object().unwrap();
    let mut account: BTreeMap<String, u64> = left_out
        .iter()
        .map(|(reason, count)| (reason.clone(), count.as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect();
    for name in ["read", "used"] {
        account.insert(name.into(), found[name].as_u64().unwrap());
    }
    account
}

/// An account as [`account`] gives it.
pub fn accounts_of(entries: &[(&str, u64)]) -> BTreeMap<String, u64> {
    entries
        .iter()
        .map(|(name, count)| (name.to_string(), *count))
        .collect()
}

/// CSV text as rows of fields.
pub fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    assert!(field.is_empty() && row.is_empty() && !quoted, "CSV cut off");
    rows
}

/// Rows of literals, to compare with those of [`Place::sql`].
pub fn rows(text: &[&[&str]]) -> Vec<Vec<String>> {
    text.iter()
        .map(|row| row.iter().map(|field| field.to_string()).collect())
        .collect()
}

/// A day of three users as of [`AS_OF`], without a single bad record: 1 likes 2, who likes 3.
pub fn small_day() -> Place {
    let place = Place::new();
    place.write("follow.csv", "1,2,2019-09-01 00:00:00\n");
    place.write("reply.csv", "1,2,11,2019-09-30 00:00:00,reply\n");
    place.write("mention.csv", "2,1,12,2019-09-30 00:00:00,mention\n");
    place.write(
        "like.csv",
        "1,2,13,2019-09-30 00:00:00,like\n2,3,14,2019-10-01 00:00:00,like\n",
    );
    place.write(
        "user.csv",
        "1,a,,,,,,,,,,0\n2,b,,,,,,,,,,0\n3,c,,,,,,,,,,0\n",
    );
    let mut messages = String::new();
    for user in 1..=3 {
        messages.push_str(&message(
            user,
            user,
            "2019-09-10T10:00:00Z",
            "good earnings",
        ));
    }
    place.write("st_messages.data", messages);
    place
}

/// A line of the messages.
pub fn message(id: i64, user: i64, created_at: &str, body: &str) -> String {
    serde_json::json!({ "id": id, "user_id": user, "created_at": created_at, "body": body })
        .to_string()
        + "\n"
}
