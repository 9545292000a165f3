//! A cluster of real processes on the loopback address.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{AS_OF, Outcome, Place, TABLES, free_port, program};

/// Clusters one after the other: each wants the machine's cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A scheduler and its executors, all ended with the test.
pub struct Cluster {
    folder: TempDir,
    host: String,
    port: u16,
    scheduler: Option<Child>,
    executors: Vec<Option<Child>>,
    /// Where each executor serves.
    ports: Vec<u16>,
    options: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

/// What an executor is started with beside the usual.
#[derive(Default)]
pub struct Special<'a> {
    /// Environment variables.
    pub environment: &'a [(&'a str, &'a str)],
    /// The largest file that it can write, in KiB, or `unlimited` for now: as if the disk were full.
    pub file_limit: Option<&'a str>,
}

fn binary(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_graph-recs"));
    let path = program.with_file_name(name);
    assert!(
        path.exists(),
        "run `cargo build --release --workspace` first: no {}",
        path.display()
    );
    path
}

impl Cluster {
    /// A scheduler and `executors` with one core each.
    pub fn start(executors: usize) -> Self {
        let mut cluster = Self::scheduler_only("127.0.0.1", &[]);
        for _ in 0..executors {
            cluster.add();
        }
        cluster.wait_for(executors);
        cluster
    }

    /// A scheduler at `host`; `options` go to it and to all executors.
    pub fn scheduler_only(host: &str, options: &[&str]) -> Self {
        let alone = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut cluster = Self {
            folder: TempDir::with_prefix("graph-recs-cluster-").unwrap(),
            host: host.into(),
            port: free_port(host),
            scheduler: None,
            executors: Vec::new(),
            ports: Vec::new(),
            options: options.iter().map(|option| option.to_string()).collect(),
            _alone: alone,
        };
        cluster.start_scheduler();
        cluster
    }

    /// Starts the scheduler at its old address.
    pub fn start_scheduler(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("scheduler.log"))
            .unwrap();
        let child = Command::new(binary("graph-recs-scheduler"))
            .args([
                "--bind-host",
                &self.host,
                "--bind-port",
                &self.port.to_string(),
            ])
            .args(["--executor-timeout-seconds", "6"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.scheduler = Some(child.unwrap());
        let begun = Instant::now();
        while std::net::TcpStream::connect((self.host.as_str(), self.port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "no scheduler:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the scheduler without warning.
    pub fn kill_scheduler(&mut self) {
        let mut child = self.scheduler.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts an executor of one core; its number.
    pub fn add(&mut self) -> usize {
        self.add_special(&Special::default())
    }

    /// Starts an unusual executor.
    pub fn add_special(&mut self, special: &Special<'_>) -> usize {
        let number = self.executors.len();
        let work_folder = self.folder.path().join(format!("executor-{number}"));
        fs::create_dir_all(&work_folder).unwrap();
        let log =
            fs::File::create(self.folder.path().join(format!("executor-{number}.log"))).unwrap();
        let (port, grpc_port) = (free_port(&self.host), free_port(&self.host));
        let mut command = match special.file_limit {
            None => Command::new(binary("graph-recs-executor")),
            Some(kib) => {
                let mut shell = Command::new("bash");
                let limited = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
                shell
                    .args(["-c", &limited])
                    .arg(binary("graph-recs-executor"));
                shell
            }
        };
        let child = command
            .args([
                "--scheduler-host",
                &self.host,
                "--scheduler-port",
                &self.port.to_string(),
            ])
            .args(["--bind-host", &self.host, "--bind-port", &port.to_string()])
            .args(["--bind-grpc-port", &grpc_port.to_string(), "--vcores", "1"])
            .args(["--executor-heartbeat-interval-seconds", "1"])
            .args(["--memory-pool-size", "1GiB", "--work-dir"])
            .arg(&work_folder)
            .args(&self.options)
            .envs(special.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.executors.push(Some(child.unwrap()));
        self.ports.push(port);
        number
    }

    /// Waits until the scheduler lists so many executors, and all that run can be asked.
    pub fn wait_for(&self, executors: usize) {
        let begun = Instant::now();
        loop {
            let listed = self.jobs()["executors"].as_array().map_or(0, Vec::len);
            // They are listed first, and serve then.
            let serves = |number: usize| {
                std::net::TcpStream::connect((self.host.as_str(), self.ports[number])).is_ok()
            };
            if listed >= executors && self.running().into_iter().all(serves) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{listed} executors:\n{}",
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What `graph-recs jobs` says.
    pub fn jobs(&self) -> Value {
        Outcome::of(
            program()
                .args(["jobs", "--json", "--cluster", &self.url()])
                .args(self.tls()),
        )
        .exits(0)
        .json()
    }

    fn tls(&self) -> impl Iterator<Item = &String> {
        self.options
            .iter()
            .skip_while(|option| !option.starts_with("--tls"))
    }

    /// Ends an executor without warning.
    pub fn kill(&mut self, number: usize) {
        let mut child = self.executors[number].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends an executor a signal by its name.
    pub fn signal(&self, number: usize, name: &str) {
        let child = self.executors[number].as_ref().unwrap();
        send(child, name);
    }

    /// Changes the largest file that an executor started with a limit can write: bytes, or `unlimited`.
    pub fn limit_files(&self, number: usize, limit: &str) {
        let id = self.executors[number].as_ref().unwrap().id();
        let set = Command::new("prlimit")
            .args([&format!("--fsize={limit}"), "--pid", &id.to_string()])
            .status()
            .unwrap();
        assert!(set.success());
    }

    /// Numbers of the executors that run.
    pub fn running(&self) -> Vec<usize> {
        let numbers = 0..self.executors.len();
        numbers
            .filter(|number| self.executors[*number].is_some())
            .collect()
    }

    /// Where the scheduler is.
    pub fn url(&self) -> String {
        format!("df://{}:{}", self.host, self.port)
    }

    /// `run` of a place on this cluster, in small pieces.
    pub fn command(&self, place: &Place, warehouse: &str, options: &[&str]) -> Command {
        let mut command = program();
        command.args(["run", "--json", "--as-of", AS_OF, "--input"]);
        command.arg(place.input());
        command.arg("--warehouse").arg(place.path(warehouse));
        command.args(["--cluster", &self.url()]);
        if !options.contains(&"--piece-size") {
            command.args(["--piece-size", "256KiB"]);
        }
        command.args(self.tls()).args(options);
        command
    }

    /// Runs a place to the end.
    pub fn run(&self, place: &Place, warehouse: &str, options: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(place, warehouse, options))
    }

    /// All processes' words.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for entry in fs::read_dir(self.folder.path()).unwrap().flatten() {
            if entry.path().is_file() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let tail = text.len().saturating_sub(3000);
                logs += &format!("{}:\n{}\n", entry.path().display(), &text[tail..]);
            }
        }
        logs
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self
            .executors
            .iter_mut()
            .chain([&mut self.scheduler])
            .flatten()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a process a signal by its name.
pub fn send(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill")
        .args(["-s", name, &id])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// A run in the background.
pub struct Running {
    child: Child,
    begun: Instant,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self {
            child: child.unwrap(),
            begun: Instant::now(),
        }
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, and after how many seconds; it must end.
    pub fn end(mut self) -> (Outcome, f64) {
        while self.child.try_wait().unwrap().is_none() {
            if self.begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let output = self.child.wait_with_output().unwrap();
        let outcome = Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        (outcome, seconds)
    }

    /// Waits until a stage is at work, by the run's progress file; false when the run ended first.
    pub fn reaches(&mut self, place: &Place, warehouse: &str, stage: &str) -> bool {
        loop {
            if progress(place, warehouse)
                .is_some_and(|now| stages(&now).iter().any(|(name, _, _)| name == stage))
            {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(self.begun.elapsed() < PATIENCE, "{stage} is never reached");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The progress of the one run in a warehouse.
pub fn progress(place: &Place, warehouse: &str) -> Option<Value> {
    let runs = place.path(warehouse).join("_runs");
    for entry in fs::read_dir(runs).ok()?.flatten() {
        if let Ok(text) = fs::read_to_string(entry.path().join("progress.json")) {
            return serde_json::from_str(&text).ok();
        }
    }
    None
}

/// Stages by name, with pieces done and in all.
pub fn stages(progress: &Value) -> Vec<(String, u64, u64)> {
    let stages = progress["stages"].as_array().cloned().unwrap_or_default();
    let stage = |entry: &Value| {
        Some((
            entry[0].as_str()?.to_string(),
            entry[1]["done"].as_u64()?,
            entry[1]["of"].as_u64()?,
        ))
    };
    stages.iter().filter_map(stage).collect()
}

/// What a published run is, whatever files it lies in.
#[derive(PartialEq)]
pub struct Contents {
    tables: Vec<(String, Vec<Vec<String>>)>,
    scores: Vec<u8>,
    sources: Value,
    counts: Value,
    checks: Value,
}

impl Contents {
    /// Of the current run.
    pub fn of(place: &Place, warehouse: &str, outcome: &Outcome) -> Self {
        let tables = TABLES.map(|table| {
            let rows = place.sql(
                warehouse,
                &format!("SELECT * FROM {table} ORDER BY 1, 2, 3"),
            );
            (table.to_string(), rows)
        });
        let mut sources = outcome.json()["report"]["sources"]
            .as_array()
            .unwrap()
            .clone();
        sources.sort_by_key(|source| source["source"].as_str().unwrap().to_string());
        Self {
            tables: tables.into(),
            scores: fs::read(place.work_file(warehouse, &outcome.run_id(), "reputation_score.csv"))
                .unwrap(),
            sources: sources.into(),
            counts: outcome.json()["report"]["counts"].clone(),
            checks: outcome.json()["report"]["checks"].clone(),
        }
    }

    /// Fails the test unless `other` is the same.
    #[track_caller]
    pub fn is(&self, other: &Self, what: &str) {
        for ((table, mine), (_, others)) in self.tables.iter().zip(&other.tables) {
            assert_eq!(mine.len(), others.len(), "{what}: rows of {table}");
            let different = mine.iter().zip(others).position(|(a, b)| a != b);
            assert!(
                different.is_none(),
                "{what}: {table} differs in row {different:?}"
            );
        }
        assert!(
            self.scores == other.scores,
            "{what}: the score files differ"
        );
        assert_eq!(self.sources, other.sources, "{what}");
        assert_eq!(self.counts, other.counts, "{what}");
        assert_eq!(self.checks, other.checks, "{what}");
    }
}

/// A day with work for some seconds.
pub fn busy_day() -> (Place, Contents) {
    let place = Place::generated(12_000, 250_000, 120_000);
    let outcome = place.run("embedded", &[]).exits(0);
    let contents = Contents::of(&place, "embedded", &outcome);
    (place, contents)
}
