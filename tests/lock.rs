//! Two runs of one warehouse are kept apart.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use crate::support::{Outcome, Place, graph_recs, program};

/// A run that was stopped while it holds the lock.
struct Holder {
    child: Child,
    /// Keeps reading what it logs, so that it never waits for a reader.
    log: JoinHandle<()>,
}

impl Holder {
    fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        // A step is under way: the lock is taken.
        assert!(line.contains("started"), "{line}");
        let holder = Self {
            child,
            log: std::thread::spawn(move || log.lines().for_each(drop)),
        };
        holder.signal("STOP");
        holder
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &command])
                .status()
                .unwrap()
                .success()
        );
    }

    fn wait(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.log.join().unwrap();
        code
    }
}

/// A day whose run takes much longer than stopping it does.
fn long_day() -> Place {
    Place::generated(3_000, 200_000, 100_000)
}

#[test]
fn the_second_run_names_the_first_and_gives_way() {
    let place = long_day();
    let holder = Holder::of(place.command("run", "warehouse"));
    let pid = format!("process {}", holder.child.id());
    let run_id = place.run("elsewhere", &[]).exits(0).run_id();
    let before = fs::read_dir(place.path("warehouse")).unwrap().count();

    // The same run and another one, whole or a step of it, and a roll-back.
    place
        .run("warehouse", &[])
        .exits(5)
        .says(&["lock", &pid, &run_id]);
    place
        .run_with_scores("warehouse", &[])
        .exits(5)
        .says(&["lock", &pid, &run_id]);
    let step = Outcome::of(&mut place.command("closest-connections", "warehouse"));
    step.exits(5).says(&["lock", &pid]);
    let mut rollback = program();
    rollback
        .args(["rollback", "--to", &run_id, "--warehouse"])
        .arg(place.path("warehouse"));
    Outcome::of(&mut rollback).exits(5).says(&["lock", &pid]);
    assert_eq!(
        fs::read_dir(place.path("warehouse")).unwrap().count(),
        before
    );
    // Readers are not kept out, nor are other warehouses.
    assert_eq!(place.publications("warehouse"), [""; 0]);
    place.sql("warehouse", "SELECT 1");

    holder.signal("CONT");
    assert_eq!(holder.wait(), Some(0));
    assert_eq!(
        place.publications("warehouse"),
        std::slice::from_ref(&run_id)
    );
    let elsewhere = place.published("elsewhere", &run_id);
    place
        .published("warehouse", &run_id)
        .is_same_as(&elsewhere, "disturbed by others");
    place.run("warehouse", &[]).exits(0);
}

#[test]
fn a_killed_run_leaves_the_lock_free() {
    let place = long_day();
    let mut holder = Holder::of(place.command("run", "warehouse"));
    place.run("warehouse", &[]).exits(5);
    holder.child.kill().unwrap();
    assert_eq!(holder.wait(), None);
    place.run("warehouse", &[]).exits(0);
}

#[test]
fn of_many_runs_at_once_one_publishes() {
    let place = Place::golden();
    let mut children: Vec<Child> = (0..4)
        .map(|_| {
            let mut command = place.command("run", "warehouse");
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut codes: Vec<_> = children
        .iter_mut()
        .map(|child| child.wait().unwrap().code())
        .collect();
    codes.sort();
    // Who comes when another one is through finds the run published.
    assert_eq!(codes[0], Some(0));
    assert!(
        codes.iter().all(|code| matches!(code, Some(0 | 5))),
        "{codes:?}"
    );
    assert_eq!(place.publications("warehouse").len(), 1);
}

#[test]
fn a_warehouse_that_would_end_with_the_process_is_refused() {
    let place = Place::golden();
    let input = place.input().display().to_string();
    let options = [
        "run",
        "--as-of",
        "2019-10-02",
        "--warehouse",
        "memory:///w",
        "--input",
        &input,
    ];
    let outcome = graph_recs(options).exits(1);
    outcome.says(&["memory:///w", "memory", "s3://bucket/folder"]);
}
