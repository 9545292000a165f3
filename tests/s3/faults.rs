//! What networks and stores do, and what the job makes of it.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::proxy::{Fault, Proxy, Request};
use super::{BUCKET, Store};
use crate::support::{Outcome, Place, program};

/// Recommends everybody: so there is much to write.
const EVERYBODY: &[&str] = &["--min-reputation", "0"];

/// A day whose tables are larger than one part of an upload, and what a run on disk makes of it.
static LARGE: LazyLock<(Place, String)> = LazyLock::new(|| {
    let place = Place::generated(80_000, 2_600_000, 20_000);
    let id = place.run("warehouse", EVERYBODY).exits(0).run_id();
    (place, id)
});

fn large_store() -> Store {
    let store = Store::start();
    store.copy_day(&LARGE.0.input(), "graph_data/20191002");
    store
}

/// Short times, so that a test need not wait as long as a night's run would.
fn impatient(command: &mut std::process::Command) -> &mut std::process::Command {
    command.env("AWS_TIMEOUT", "3 seconds")
}

#[test]
fn faults_of_the_network_change_nothing() {
    let store = large_store();
    // Of every dozen requests six go wrong, each in its own way.
    let (mut beginnings, mut completions) = (0, 0);
    let rule = move |request: &Request| match request.number % 12 {
        // An upload that is begun, and nobody hears of it: another one is begun.
        _ if request.is_beginning() => {
            beginnings += 1;
            match beginnings {
                1 => Fault::ResetAfter,
                _ => Fault::None,
            }
        }
        // An upload that is completed, and nobody hears of it: asked again, the store knows no such upload.
        _ if request.is_completion() => {
            completions += 1;
            match completions % 2 {
                1 => Fault::ResetAfter,
                _ => Fault::None,
            }
        }
        1 => Fault::Unavailable,
        3 => Fault::ResetBefore,
        5 if request.method == "GET" => Fault::CutAnswer(40_000),
        7 if request.method == "GET" => Fault::Slow(400_000),
        9 if request.number < 60 => Fault::Silent,
        // A commit that is made, and nobody hears of it.
        11 => Fault::ResetAfter,
        _ => Fault::None,
    };
    let proxy = Proxy::start(store.port, rule);
    let mut command = store.command(proxy.port, "run", "warehouse");
    let run = Outcome::of(impatient(command.args(EVERYBODY))).exits(0);
    let (place, local) = &*LARGE;
    let published = store.published("warehouse", &run.run_id());
    published.is_same_as(&place.published("warehouse", local), "with faults");
    assert_eq!(run.json()["current"], true);
    let faults = proxy.faults();
    assert!(faults > 20, "only {faults} faults");
    let parts = proxy.seen.lock().unwrap();
    assert!(
        parts
            .iter()
            .any(|(request, fault)| request.starts_with("POST") && *fault == Fault::ResetAfter),
        "no upload was completed unheard"
    );
    assert!(
        parts
            .iter()
            .any(|(request, _)| request.contains("partNumber=2")),
        "nothing was uploaded in parts"
    );
    // Only the store knows of the upload whose beginning nobody heard of: its own rule is to remove it.
    let left = store.half_uploads();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_part_that_never_comes_ends_the_run_and_leaves_nothing() {
    let store = large_store();
    let first = store
        .run("warehouse", &["--closest", "2"])
        .exits(0)
        .run_id();
    let proxy = Proxy::start(store.port, |request| match request.is_part() {
        true => Fault::Silent,
        false => Fault::None,
    });
    let mut command = store.command(proxy.port, "run", "warehouse");
    impatient(command.args(EVERYBODY)).env("AWS_MAX_ATTEMPTS", "2");
    let begun = Instant::now();
    Outcome::of(&mut command)
        .exits(1)
        .says(&["operation timed out"]);
    assert!(
        begun.elapsed() < Duration::from_secs(120),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(store.half_uploads(), BTreeSet::new());
    assert!(!store.file("warehouse/_runs/lock.json").exists());
    // Readers see what they saw, and the same command without the fault goes on.
    let listed = |port| {
        let mut command = store.program(port);
        command.args([
            "runs",
            "--json",
            "--warehouse",
            &format!("s3://{BUCKET}/warehouse"),
        ]);
        Outcome::of(&mut command).exits(0).json()["publications"].clone()
    };
    assert_eq!(listed(store.port)[0]["run_id"], first);
    assert_eq!(listed(store.port).as_array().unwrap().len(), 1);
    store.run("warehouse", EVERYBODY).exits(0);
    assert_eq!(listed(store.port).as_array().unwrap().len(), 2);
}

#[test]
fn wrong_credentials_are_told_at_the_start() {
    let store = Store::golden();
    let begun = Instant::now();
    let with = |name: &str, value: &str| {
        let mut command = store.command(store.port, "run", "warehouse");
        Outcome::of(command.env(name, value))
    };
    let says = ["s3://recs/graph_data", "AWS_SECRET_ACCESS_KEY", "bucket"];
    let outcome = with("AWS_SECRET_ACCESS_KEY", "a-wrong-one")
        .exits(1)
        .says(&says);
    assert!(!outcome.stderr.contains("a-wrong-one"));
    with("AWS_ACCESS_KEY_ID", "nobody").exits(1).says(&says);
    let mut nobody = program();
    nobody.args([
        "run",
        "--date",
        "2019-10-02",
        "--input",
        "s3://recs/graph_data",
    ]);
    nobody.args(["--warehouse", "s3://recs/warehouse"]);
    for (name, _) in store.environment(store.port) {
        nobody.env_remove(name);
    }
    nobody
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    Outcome::of(&mut nobody)
        .exits(1)
        .says(&["no credentials", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"]);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(!store.file("warehouse").exists());
}

#[test]
fn a_store_that_cannot_be_written_is_told_at_the_start() {
    let store = Store::golden();
    let proxy = Proxy::start(store.port, |request| match request.method.as_str() {
        "PUT" | "POST" => Fault::Unavailable,
        _ => Fault::None,
    });
    let mut command = store.command(proxy.port, "run", "warehouse");
    Outcome::of(command.env("AWS_MAX_ATTEMPTS", "2"))
        .exits(1)
        .says(&["503", "SlowDown"]);
    // Nothing was computed before.
    assert!(proxy.seen.lock().unwrap().len() < 40);
}

#[test]
fn a_file_that_changes_while_it_is_read_stops_the_run() {
    let store = large_store();
    let likes = store.file("graph_data/20191002/like.csv");
    let aside = store.file("like.csv");
    let reads = Arc::new(AtomicUsize::new(0));
    let proxy = Proxy::start(store.port, move |request| {
        let is_read = request.method == "GET" && request.target.ends_with("like.csv");
        if is_read && reads.fetch_add(1, Ordering::SeqCst) == 1 {
            let mut text = fs::read(&likes).unwrap();
            text.extend_from_slice(b"1,2,13,2019-09-30 00:00:00,like\n");
            // A new file, all at once, as in a store.
            fs::write(&aside, text).unwrap();
            fs::rename(&aside, &likes).unwrap();
        }
        Fault::None
    });
    Outcome::of(&mut store.command(proxy.port, "run", "warehouse"))
        .exits(1)
        .says(&[
            "changed while the run read them",
            "Give the same command again",
        ]);
    // It is another day then, and said to be.
    store.run("warehouse", &[]).exits(0);
}

/// A run that hangs in an upload.
fn hanging(store: &Store, port: u16) -> Child {
    let mut command = store.command(port, "run", "warehouse");
    command.args(EVERYBODY);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// A proxy that lets uploads begin and never end, and its count of parts.
fn without_parts(store: &Store) -> Proxy {
    let begun = Arc::new(AtomicUsize::new(0));
    Proxy::start(store.port, move |request| {
        // The first part arrives: so there is something to remove.
        match request.is_part() && begun.fetch_add(1, Ordering::SeqCst) > 0 {
            true => Fault::Silent,
            false => Fault::None,
        }
    })
}

fn wait_for_uploads(store: &Store) {
    let begun = Instant::now();
    while store.half_uploads().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no upload began");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_that_is_asked_to_end_removes_its_uploads_and_gives_the_lock_back() {
    let store = large_store();
    let proxy = without_parts(&store);
    let mut child = hanging(&store, proxy.port);
    wait_for_uploads(&store);
    std::thread::sleep(Duration::from_millis(500));
    // SAFETY: a signal to a process that we started and have not waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(store.half_uploads(), BTreeSet::new());
    assert!(!store.file("warehouse/_runs/lock.json").exists());
}

#[test]
fn a_killed_runs_lock_is_taken_over() {
    let store = large_store();
    let proxy = without_parts(&store);
    let mut child = hanging(&store, proxy.port);
    wait_for_uploads(&store);
    // While it lives the lock is its own.
    store.run("warehouse", &[]).exits(5).says(&[
        "lock",
        &format!("process {}", child.id()),
        "sign of life",
    ]);
    child.kill().unwrap();
    child.wait().unwrap();
    let begun = Instant::now();
    let run = store.run("warehouse", EVERYBODY).exits(0);
    assert_eq!(run.json()["current"], true);
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}
