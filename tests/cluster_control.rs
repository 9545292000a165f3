//! Starting, watching, stopping and guarding runs on a cluster.

use std::time::{Duration, Instant};

use crate::cluster_support::{Cluster, Contents, Running, busy_day, send};
use crate::support::{Outcome, Place, program};

#[test]
fn without_scheduler_or_executors_it_waits_and_says_so() {
    let place = Place::golden();
    let options = ["--wait-for-executors", "2"];
    let begun = Instant::now();
    let mut alone = place.command("run", "warehouse");
    alone.args(["--cluster", "df://127.0.0.1:9"]).args(options);
    Outcome::of(&mut alone)
        .exits(1)
        .says(&["no scheduler within 2 s", "127.0.0.1:9"]);
    let cluster = Cluster::scheduler_only("127.0.0.1", &[]);
    cluster
        .run(&place, "warehouse", &options)
        .exits(1)
        .says(&["no executor for 2 s", "start graph-recs-executor"]);
    assert!(begun.elapsed() < Duration::from_secs(30));
    let mut nowhere = place.command("run", "warehouse");
    nowhere.args(["--cluster", "somewhere"]);
    Outcome::of(&mut nowhere).exits(1).says(&["df://host:port"]);
}

#[test]
fn a_run_is_listed_cancelled_and_gone_on_with() {
    let (place, expected) = busy_day();
    let cluster = Cluster::start(2);
    for how in ["cancel", "interrupt"] {
        let mut run = Running::start(cluster.command(&place, how, &[]));
        assert!(run.reaches(&place, how, "messages"));
        let listed = cluster.jobs();
        let (run_id, stages) = listed["runs"]
            .as_object()
            .unwrap()
            .iter()
            .next_back()
            .unwrap();
        assert!(
            stages.as_object().is_some_and(|stages| !stages.is_empty()),
            "{listed}"
        );
        let begun = Instant::now();
        if how == "cancel" {
            let mut cancel = program();
            cancel.args(["cancel", run_id, "--cluster", &cluster.url()]);
            Outcome::of(&mut cancel).exits(0);
        } else {
            send(run.child(), "INT");
        }
        let (outcome, _) = run.end();
        outcome.exits(1).says(&["the run was cancelled"]);
        let idle = || {
            let runs = cluster.jobs()["runs"].clone();
            let states = runs.as_object().unwrap().values().flat_map(|stages| {
                stages
                    .as_object()
                    .unwrap()
                    .values()
                    .cloned()
                    .collect::<Vec<_>>()
            });
            !states
                .into_iter()
                .any(|states| states.get("Running").is_some() || states.get("Queued").is_some())
        };
        while !idle() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{}",
                cluster.jobs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let outcome = cluster.run(&place, how, &[]).exits(0);
        Contents::of(&place, how, &outcome).is(&expected, how);
    }
    let mut unknown = program();
    unknown.args(["cancel", "no-such-run", "--cluster", &cluster.url()]);
    Outcome::of(&mut unknown)
        .exits(1)
        .says(&["no job at work", "graph-recs jobs"]);
}

#[test]
fn a_detached_run_is_watched_to_its_end() {
    let (place, expected) = busy_day();
    let cluster = Cluster::start(2);
    let mut command = cluster.command(&place, "cluster", &["--detach"]);
    let begun = Instant::now();
    let outcome = Outcome::of(&mut command).exits(0);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it waits for the run"
    );
    let run_id = outcome
        .stdout
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_string();
    let attach = |run: &str| {
        let mut attach = program();
        attach
            .args(["attach", run, "--warehouse"])
            .arg(place.path("cluster"));
        Outcome::of(&mut attach)
    };
    let watched = attach(&run_id).exits(0);
    assert!(
        watched.stdout.contains("closest_connections"),
        "{}",
        watched.stdout
    );
    let again = cluster.run(&place, "cluster", &[]).exits(0);
    assert_eq!(again.json()["already_published"], true);
    Contents::of(&place, "cluster", &again).is(&expected, "detached");
    attach("no-such-run")
        .exits(1)
        .says(&["no run no-such-run works"]);
}

#[test]
fn tls_keeps_strangers_out() {
    let pem = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tls");
        folder.join(name).display().to_string()
    };
    let (authority, certificate, key) =
        (pem("authority.pem"), pem("process.pem"), pem("process.key"));
    let tls = [
        "--tls-ca",
        &authority,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let mut cluster = Cluster::scheduler_only("127.0.0.2", &tls);
    cluster.add();
    cluster.add();
    cluster.wait_for(2);
    let place = Place::golden();
    let embedded = place.run("embedded", &[]).exits(0);
    let outcome = cluster.run(&place, "cluster", &[]).exits(0);
    Contents::of(&place, "cluster", &outcome)
        .is(&Contents::of(&place, "embedded", &embedded), "tls");

    let stranger = (pem("stranger.pem"), pem("stranger.key"));
    for (what, certificates) in [
        ("no TLS", vec![]),
        ("no certificate", vec!["--tls-ca", &authority]),
        (
            "a stranger's certificate",
            vec![
                "--tls-ca",
                &authority,
                "--tls-cert",
                &stranger.0,
                "--tls-key",
                &stranger.1,
            ],
        ),
    ] {
        let mut jobs = program();
        jobs.args(["jobs", "--cluster", &cluster.url()])
            .args(certificates);
        let outcome = Outcome::of(&mut jobs);
        assert_eq!(outcome.code, Some(1), "{what}: {}", outcome.stdout);
        outcome.says(&["no scheduler answers"]);
    }
}
