//! Everything in an object store: a real S3 server, and a network that fails.

mod faults;
mod housekeeping;
mod proxy;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cluster_support::{Cluster, Special};
use crate::support::{AS_OF, FILES, Outcome, Published, TABLES, free_port, golden, program};

/// An S3 server with a bucket that is a folder.
pub struct Store {
    folder: TempDir,
    child: Child,
    /// Its port on loopback.
    pub port: u16,
}

const BUCKET: &str = "recs";

impl Store {
    /// A server with an empty bucket.
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/s3/server");
        let installed = Command::new(&script).arg("install").status().unwrap();
        assert!(installed.success(), "tests/s3/server install");
        let folder = TempDir::with_prefix("graph-recs-s3-").unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join(BUCKET)).unwrap();
        let port = free_port("127.0.0.1");
        let child = Command::new(&script)
            .arg("run")
            .arg(&root)
            .arg(port.to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "no S3 server");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            folder,
            child,
            port,
        }
    }

    /// A server with the golden day.
    pub fn golden() -> Self {
        let store = Self::start();
        store.copy_day(&golden("input"), "graph_data/20191002");
        store
    }

    /// Copies a day's exports into the bucket.
    pub fn copy_day(&self, from: &Path, to: &str) {
        let folder = self.file(to);
        fs::create_dir_all(&folder).unwrap();
        for file in FILES {
            fs::copy(from.join(file), folder.join(file)).unwrap();
        }
    }

    /// Where an object lies on the disk.
    pub fn file(&self, key: &str) -> PathBuf {
        self.root().join(BUCKET).join(key)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// What the program must know to reach the server at a port.
    pub fn environment(&self, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_REGION", "eu-central-1".into()),
            ("AWS_ACCESS_KEY_ID", "graph-recs".into()),
            ("AWS_SECRET_ACCESS_KEY", "not-to-be-shown".into()),
        ]
    }

    /// The program, with nothing of the tester's own settings.
    pub fn program(&self, port: u16) -> Command {
        let mut command = program();
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.folder.path());
        command.envs(self.environment(port));
        command
    }

    /// A command of the daily job on the golden day.
    pub fn command(&self, port: u16, name: &str, warehouse: &str) -> Command {
        let mut command = self.program(port);
        command.args([name, "--json", "--date", "2019-10-02"]);
        command.args(["--input", &format!("s3://{BUCKET}/graph_data")]);
        command.args(["--warehouse", &format!("s3://{BUCKET}/{warehouse}")]);
        command
    }

    /// `run` on the golden day.
    pub fn run(&self, warehouse: &str, options: &[&str]) -> Outcome {
        Outcome::of(self.command(self.port, "run", warehouse).args(options))
    }

    /// The bytes of the tables that a run wrote.
    pub fn published(&self, warehouse: &str, run_id: &str) -> Published {
        let mut files = std::collections::BTreeMap::new();
        for table in TABLES {
            let folder = self.file(warehouse).join(table).join(run_id);
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{table}/{}", entry.file_name().to_string_lossy());
                // What a request that was cut off left in the server's folder is no object.
                if name.ends_with(".parquet") && !name.contains("/.") {
                    files.insert(name, fs::read(entry.path()).unwrap());
                }
            }
        }
        let scores = self
            .file(warehouse)
            .join("_runs")
            .join(run_id)
            .join("reputation_score.csv");
        files.insert("reputation_score.csv".into(), fs::read(scores).unwrap());
        Published(files)
    }

    /// Ids of the uploads that were neither completed nor removed.
    pub fn half_uploads(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.root()).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let id = |name: String| {
            // As the server names what it keeps of an upload.
            let (_, rest) = name.split_once(".upload")?;
            let id = rest.trim_start_matches("_id").strip_prefix('-')?;
            Some(id.split('.').next()?.to_owned())
        };
        names.filter_map(id).collect()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_day_in_a_bucket_gives_the_bytes_of_a_day_on_disk() {
    let store = Store::golden();
    let model = store.file("models/2019-10");
    fs::create_dir_all(&model).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../udfs/model");
    for file in ["model.json", "model.safetensors", "vocabulary.txt"] {
        fs::copy(shipped.join(file), model.join(file)).unwrap();
    }
    let place = crate::support::Place::golden();
    let local = place.run("warehouse", &[]).exits(0).run_id();

    let run = store.run(
        "warehouse",
        &["--model", &format!("s3://{BUCKET}/models/2019-10")],
    );
    let run = run.exits(0);
    let id = run.run_id();
    assert_eq!(run.json()["current"], true);
    assert!(place.published("warehouse", &local) == store.published("warehouse", &id));
    assert_eq!(store.half_uploads(), BTreeSet::new());
    // The lock is free again.
    assert!(!store.file("warehouse/_runs/lock.json").exists());

    // Nothing changes when it is run again, from whichever copy of the same model.
    let again = store.run("warehouse", &[]).exits(0);
    assert_eq!(
        (again.run_id(), again.json()["already_published"].clone()),
        (id.clone(), true.into())
    );

    // What people and services ask.
    let warehouse = format!("s3://{BUCKET}/warehouse");
    let ask = |arguments: &[&str]| {
        let mut command = store.program(store.port);
        Outcome::of(command.args(arguments).args(["--warehouse", &warehouse])).exits(0)
    };
    assert!(ask(&["runs"]).stdout.contains(&id));
    let counted = ask(&[
        "sql",
        "--format",
        "csv",
        "-c",
        "SELECT count(*) AS n FROM recommendations",
    ]);
    let expected = place.sql("warehouse", "SELECT count(*) AS n FROM recommendations");
    assert_eq!(counted.stdout.trim(), expected.concat().join("\n"));
    let user =
        place.sql("warehouse", "SELECT min(user_id) AS n FROM recommendations")[1][0].clone();
    assert!(ask(&["explain", &user]).stdout.contains(&id));
    ask(&["rollback", "--to", &id]);
    let raw = Outcome::of(store.program(store.port).args([
        "sql",
        "--format",
        "csv",
        "--as-of",
        AS_OF,
        "--input",
        &format!("s3://{BUCKET}/graph_data/20191002"),
        "-c",
        "SELECT count(*) AS n FROM quarantine",
    ]));
    assert_eq!(raw.exits(0).stdout.lines().count(), 2);
}

#[test]
fn given_scores_may_lie_in_a_bucket() {
    let store = Store::golden();
    fs::create_dir_all(store.file("scores")).unwrap();
    fs::copy(golden("pred.csv"), store.file("scores/pred.csv")).unwrap();
    let place = crate::support::Place::golden();
    let scores = golden("pred.csv");
    let scores = ["--reputation-scores", scores.to_str().unwrap()];
    let local = place.run("warehouse", &scores).exits(0).run_id();
    let url = format!("s3://{BUCKET}/scores/pred.csv");
    let run = store.run("warehouse", &["--reputation-scores", &url]);
    let run = run.exits(0).run_id();
    assert!(place.published("warehouse", &local) == store.published("warehouse", &run));
    let none = format!("s3://{BUCKET}/scores/none.csv");
    store
        .run("warehouse", &["--reputation-scores", &none])
        .exits(1)
        .says(&["--reputation-scores", "scores/none.csv"]);
}

#[test]
fn a_cluster_works_on_a_bucket() {
    let store = Store::golden();
    let id = store.run("embedded", &[]).exits(0).run_id();
    let environment = store.environment(store.port);
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut cluster = Cluster::scheduler_only("127.0.0.1", &[]);
    for _ in 0..2 {
        cluster.add_special(&Special {
            environment: &environment,
            ..Special::default()
        });
    }
    cluster.wait_for(2);
    let run = store
        .run("cluster", &["--cluster", &cluster.url()])
        .exits(0);
    assert_eq!(run.run_id(), id);
    let rows = |warehouse: &str| {
        TABLES.map(|table| {
            let keys = match table {
                "reputation_scores" => "1",
                "rec_reasons" => "1, 2, 3",
                _ => "1, 2",
            };
            let sql = format!("SELECT * FROM {table} ORDER BY {keys}");
            let location = format!("s3://{BUCKET}/{warehouse}");
            let mut command = store.program(store.port);
            command.args([
                "sql",
                "--format",
                "csv",
                "-c",
                &sql,
                "--warehouse",
                &location,
            ]);
            Outcome::of(&mut command).exits(0).stdout
        })
    };
    assert!(rows("embedded") == rows("cluster"));
    assert_eq!(store.half_uploads(), BTreeSet::new());
}

#[test]
fn credentials_come_from_profiles_too() {
    let store = Store::golden();
    let config = store.folder.path().join("config");
    let endpoint = format!("http://127.0.0.1:{}", store.port);
    fs::write(
        &config,
        format!("[default]\nregion = us-east-1\n\n[profile nightly]\nregion = eu-central-1\nendpoint_url = {endpoint}\n"),
    )
    .unwrap();
    let credentials = store.folder.path().join("credentials");
    let keys = "aws_access_key_id = graph-recs\naws_secret_access_key = not-to-be-shown\n";
    fs::write(&credentials, format!("[nightly]\n{keys}")).unwrap();
    let run = |profile: &str| {
        let mut command = store.command(store.port, "doctor", "warehouse");
        for (name, _) in store.environment(store.port) {
            command.env_remove(name);
        }
        command
            .env("AWS_PROFILE", profile)
            .env("AWS_CONFIG_FILE", &config)
            .env("AWS_SHARED_CREDENTIALS_FILE", &credentials);
        Outcome::of(&mut command)
    };
    run("nightly").exits(0);
    run("weekly").exits(1).says(&["weekly", "~/.aws/config"]);
    fs::write(&credentials, "").unwrap();
    fs::write(&config, "[profile nightly]\nsso_session = corp\n").unwrap();
    run("nightly")
        .exits(1)
        .says(&["sso_session", "export-credentials"]);
}

#[test]
fn keys_that_are_no_paths_are_passed_over_unless_they_could_be_data() {
    let store = Store::golden();
    let expected = store.run("before", &[]).exits(0).run_id();
    let day = store.file("graph_data/20191002");
    fs::write(day.join("we\tird.txt"), "").unwrap();
    let run = store.run("warehouse", &[]).exits(0);
    assert_eq!(run.run_id(), expected);
    let likes = fs::read(day.join("like.csv")).unwrap();
    fs::remove_file(day.join("like.csv")).unwrap();
    fs::create_dir(day.join("LIKE")).unwrap();
    fs::write(day.join("LIKE/part-0"), &likes).unwrap();
    store.run("warehouse", &[]).exits(0);
    fs::write(day.join("LIKE/part\t1"), &likes).unwrap();
    store
        .run("warehouse", &[])
        .exits(1)
        .says(&["LIKE", "no path", "rename"]);
}

#[test]
fn what_is_not_there_yet_is_told_from_what_is_wrong() {
    let store = Store::golden();
    let with = |options: &[&str]| {
        let mut command = store.program(store.port);
        command.args(["run", "--json", "--warehouse", "s3://recs/warehouse"]);
        Outcome::of(command.args(options))
    };
    with(&["--input", "s3://recs/graph_data", "--date", "2019-10-03"])
        .exits(4)
        .says(&[
            "s3://recs/graph_data/20191003",
            "is the day's export finished",
        ]);
    with(&[
        "--input",
        "s3://recs/graph_data",
        "--date",
        "2019-10-02",
        "--ready-file",
        "_SUCCESS",
    ])
    .exits(4)
    .says(&["_SUCCESS"]);
    fs::remove_file(store.file("graph_data/20191002/like.csv")).unwrap();
    with(&["--input", "s3://recs/graph_data", "--date", "2019-10-02"])
        .exits(4)
        .says(&["like", "missing"]);
    // A bucket that is not there is no day that is late.
    with(&["--input", "s3://rex/graph_data", "--date", "2019-10-02"])
        .exits(1)
        .says(&["s3://rex/graph_data"]);
    with(&["--input", "nfs://server/graph_data", "--date", "2019-10-02"])
        .exits(1)
        .says(&["nfs://", "s3://bucket/folder"]);
}
