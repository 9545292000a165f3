//! A hundred services and more, through PgBouncer, while a run comes in.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use super::{Days, Server};
use crate::support::{Outcome, program};

impl Server {
    /// Starts PgBouncer before the server and gives the URL through it.
    pub(super) fn bouncer(&self) -> String {
        self.script("bouncer", &[]);
        self.read("bouncer.url")
    }
}

/// 200 clients who ask, all together, so many questions a second; their latencies are logged in a folder.
fn clients(url: &str, folder: &Path, rate: u32, seconds: u32) -> Child {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres");
    let mut pgbench = Command::new("pgbench");
    pgbench.args([
        "--no-vacuum",
        "--client=200",
        "--jobs=2",
        "--define=users=1400",
        "--log",
    ]);
    pgbench
        .arg(format!("--rate={rate}"))
        .arg(format!("--time={seconds}"));
    for (script, weight) in [("read.sql", 4), ("mixture.sql", 1)] {
        pgbench
            .arg("--file")
            .arg(format!("{}@{weight}", scripts.join(script).display()));
    }
    pgbench.arg(url).current_dir(folder);
    pgbench
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    pgbench.spawn().unwrap()
}

/// When each answer came, in seconds since 1970, and how many milliseconds it took.
fn answers(folder: &Path) -> Vec<(f64, f64)> {
    let mut answers = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("pgbench_log")
        {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            // client, transaction, microseconds, script, seconds, microseconds, lag
            let fields: Vec<f64> = line
                .split(' ')
                .map(|field| field.parse().unwrap())
                .collect();
            answers.push((fields[4] + fields[5] / 1e6, fields[2] / 1e3));
        }
    }
    answers
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

#[test]
fn two_hundred_readers_while_runs_come_in() {
    let days = Days::new();
    // A reader's statement that waits for a lock for a second would fail.
    days.server
        .ask("ALTER DATABASE graph_recs SET lock_timeout = '1s'");
    let bouncer = days.server.bouncer();
    let folder = days.place.path("readers");
    std::fs::create_dir(&folder).unwrap();
    let readers = clients(&bouncer, &folder, 400, 15);
    std::thread::sleep(Duration::from_secs(4));
    let from = now();
    let newest = days.finish();
    let to = now();
    // And back and forth, so that they meet many publications.
    let second = newest.split('|').next().unwrap();
    for _ in 0..2 {
        for run in [&days.first, second] {
            let mut rollback = program();
            rollback
                .args(["rollback", "--to", run, "--warehouse"])
                .arg(days.place.path("warehouse"));
            Outcome::of(rollback.env("GRAPH_RECS_DATABASE_URL", days.server.url())).exits(0);
        }
    }
    let outcome = readers.wait_with_output().unwrap();
    let errors = String::from_utf8(outcome.stderr).unwrap();
    assert!(
        outcome.status.success() && !errors.contains("ERROR"),
        "{errors}"
    );
    let answers = answers(&folder);
    assert!(answers.len() > 1_500, "{} answers", answers.len());
    for (when, times) in [
        ("before", 0.0..from),
        ("during", from..to),
        ("after", to..f64::MAX),
    ] {
        let answered = answers.iter().filter(|(at, _)| times.contains(at));
        let mut took: Vec<f64> = answered.map(|(_, took)| *took).collect();
        took.sort_by(f64::total_cmp);
        assert!(took.len() > 100, "{} answers {when}", took.len());
        println!(
            "{when}: {} answers, p99 {:.1} ms",
            took.len(),
            took[took.len() * 99 / 100]
        );
    }
}

#[test]
fn a_run_is_published_through_the_pooler() {
    let days = Days::new();
    let bouncer = days.server.bouncer();
    let answer = Outcome::of(&mut days.next(&bouncer)).exits(0);
    assert!(days.server.seen().starts_with(&answer.run_id()));
    let mut check = program();
    check
        .args(["check", "--json"])
        .env("GRAPH_RECS_DATABASE_URL", &bouncer);
    Outcome::of(&mut check).exits(0);
    let mut rollback = program();
    rollback
        .args(["rollback", "--to", &days.first, "--warehouse"])
        .arg(days.place.path("warehouse"));
    Outcome::of(rollback.env("GRAPH_RECS_DATABASE_URL", &bouncer)).exits(0);
    assert_eq!(days.server.seen(), days.first_seen);
}
