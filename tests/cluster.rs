//! The daily job on a Ballista cluster of real processes: the same results as in one process, whatever happens to
//! these.

use std::fs;
use std::time::{Duration, Instant};

use crate::cluster_support::{Cluster, Contents, Running, Special, progress, send, stages};
use crate::support::{Outcome, Place, golden, program};

/// A day with work for some seconds.
fn busy_day() -> (Place, Contents) {
    let place = Place::generated(12_000, 250_000, 120_000);
    let outcome = place.run("embedded", &[]).exits(0);
    let contents = Contents::of(&place, "embedded", &outcome);
    (place, contents)
}

#[test]
fn the_golden_case_is_the_same_on_1_2_and_4_executors() {
    let place = Place::golden();
    let embedded = place.run("embedded", &["--threads", "8"]).exits(0);
    let embedded = Contents::of(&place, "embedded", &embedded);
    let mut cluster = Cluster::start(1);
    for (executors, options) in [
        (1, vec![]),
        (
            2,
            vec![
                "--cluster-setting",
                "ballista.planner.adaptive.enabled=false",
            ],
        ),
        (
            2,
            vec![
                "--cluster-setting",
                "ballista.planner.adaptive.enabled=true",
            ],
        ),
        (4, vec!["--buckets", "13", "--piece-size", "20KiB"]),
    ] {
        while cluster.running().len() < executors {
            cluster.add();
        }
        cluster.wait_for(executors);
        let warehouse = format!("on-{executors}-{}", options.join(""));
        let outcome = cluster.run(&place, &warehouse, &options).exits(0);
        let what = format!("{executors} executors {options:?}");
        Contents::of(&place, &warehouse, &outcome).is(&embedded, &what);
    }
}

#[test]
fn given_scores_parts_and_compressed_files_give_the_same_on_a_cluster() {
    let place = Place::golden();
    let likes = place.read("like.csv");
    place.remove("like.csv");
    let middle = likes.len() / 2
        + likes[likes.len() / 2..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap()
        + 1;
    place.write("like/part-0.csv", &likes[..middle]);
    place.write(
        "like/part-1.csv.zst",
        zstd::encode_all(&likes[middle..], 3).unwrap(),
    );
    let scores = [
        "--reputation-scores",
        &golden("pred.csv").display().to_string(),
    ];
    let embedded = place.run("embedded", &scores).exits(0);
    let cluster = Cluster::start(2);
    let outcome = cluster.run(&place, "cluster", &scores).exits(0);
    Contents::of(&place, "cluster", &outcome)
        .is(&Contents::of(&place, "embedded", &embedded), "given scores");
    // Nothing but the tables, the report and what belongs to them is left.
    let work = place.work_file("cluster", &outcome.run_id(), "pieces");
    let left = fs::read_dir(&work).map_or(0, |entries| entries.flatten().count());
    assert!(
        !work.exists() || left == 0 || files_under(&work) == 0,
        "pieces are left"
    );
}

fn files_under(folder: &std::path::Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.path().is_dir() {
            true => files_under(&entry.path()),
            false => 1,
        })
        .sum()
}

#[test]
fn an_executor_killed_in_any_stage_costs_time_but_no_row() {
    let (place, expected) = busy_day();
    let mut cluster = Cluster::start(2);
    let outcome = cluster.run(&place, "calm", &[]).exits(0);
    Contents::of(&place, "calm", &outcome).is(&expected, "calm");
    for stage in [
        "engagements",
        "messages",
        "connections",
        "scores",
        "candidates",
        "ranking",
        "recommendation tables",
        "checks",
    ] {
        let warehouse = stage.replace(' ', "-");
        let mut run = Running::start(cluster.command(&place, &warehouse, &[]));
        assert!(
            run.reaches(&place, &warehouse, stage),
            "{stage}: {}",
            run.end().0.stderr
        );
        let victim = cluster.running()[0];
        cluster.kill(victim);
        let begun = Instant::now();
        let (outcome, _) = run.end();
        let outcome = outcome.exits(0);
        println!(
            "killed in {stage}: done {:.1} s later",
            begun.elapsed().as_secs_f64()
        );
        Contents::of(&place, &warehouse, &outcome).is(&expected, stage);
        cluster.add();
        cluster.wait_for(2);
    }
}

#[test]
fn all_executors_killed_and_others_started() {
    let (place, expected) = busy_day();
    let mut cluster = Cluster::start(2);
    let mut run = Running::start(cluster.command(&place, "cluster", &[]));
    assert!(run.reaches(&place, "cluster", "connections"));
    for victim in cluster.running() {
        cluster.kill(victim);
    }
    std::thread::sleep(Duration::from_secs(2));
    assert!(
        run.child().try_wait().unwrap().is_none(),
        "it does not wait for executors"
    );
    cluster.add();
    let (outcome, _) = run.end();
    let outcome = outcome.exits(0);
    Contents::of(&place, "cluster", &outcome).is(&expected, "all killed");
}

#[test]
fn a_scheduler_killed_and_restarted_goes_on_from_the_last_piece() {
    let (place, expected) = busy_day();
    let mut cluster = Cluster::start(2);
    for stage in ["messages", "ranking"] {
        let mut run = Running::start(cluster.command(&place, stage, &[]));
        assert!(run.reaches(&place, stage, stage));
        cluster.kill_scheduler();
        std::thread::sleep(Duration::from_millis(700));
        cluster.start_scheduler();
        let begun = Instant::now();
        let (outcome, _) = run.end();
        let outcome = outcome.exits(0);
        println!(
            "scheduler back in {stage}: done {:.1} s later",
            begun.elapsed().as_secs_f64()
        );
        Contents::of(&place, stage, &outcome).is(&expected, stage);
    }
}

#[test]
fn a_driver_killed_and_started_again_does_no_piece_twice() {
    let (place, expected) = busy_day();
    let cluster = Cluster::start(2);
    let mut run = Running::start(cluster.command(&place, "cluster", &[]));
    assert!(run.reaches(&place, "cluster", "scores"));
    send(run.child(), "KILL");
    let (outcome, _) = run.end();
    assert_eq!(outcome.code, None);
    let before = progress(&place, "cluster").unwrap();
    assert!(
        stages(&before)
            .iter()
            .any(|(stage, done, of)| stage == "messages" && done == of)
    );
    let outcome = cluster.run(&place, "cluster", &[]).exits(0);
    Contents::of(&place, "cluster", &outcome).is(&expected, "driver killed");
    let timings = place.work_file("cluster", &outcome.run_id(), "timings.json");
    let timings = fs::read_to_string(timings).unwrap();
    assert!(
        !timings.contains("\"messages\""),
        "messages were staged twice: {timings}"
    );
}

#[test]
fn an_executor_that_hangs_is_worked_around() {
    let (place, expected) = busy_day();
    let cluster = Cluster::start(2);
    let mut run = Running::start(cluster.command(&place, "cluster", &[]));
    assert!(run.reaches(&place, "cluster", "messages"));
    cluster.signal(0, "STOP");
    let begun = Instant::now();
    let (outcome, _) = run.end();
    let outcome = outcome.exits(0);
    println!(
        "hung in messages: done {:.1} s later",
        begun.elapsed().as_secs_f64()
    );
    Contents::of(&place, "cluster", &outcome).is(&expected, "hung");
    // It wakes up and goes on with what nobody waits for any more.
    cluster.signal(0, "CONT");
    std::thread::sleep(Duration::from_secs(1));
    Contents::of(&place, "cluster", &outcome).is(&expected, "woken up");
}

#[test]
fn damaged_input_is_told_at_once_and_not_tried_again() {
    let place = Place::golden();
    let packed = zstd::encode_all(&place.read("like.csv")[..], 3).unwrap();
    place.remove("like.csv");
    place.write("like.csv.zst", &packed[..packed.len() / 2]);
    let cluster = Cluster::start(1);
    let outcome = cluster.run(&place, "cluster", &[]).exits(1);
    assert!(
        !outcome.stderr.contains("tried again"),
        "{}",
        outcome.stderr
    );
    outcome.says(&["like.csv.zst cannot be decompressed", "export it again"]);

    let place = Place::golden();
    let mut bad = "not an engagement\n".repeat(2_000).into_bytes();
    bad.extend(place.read("reply.csv"));
    place.write("reply.csv", bad);
    cluster.run(&place, "cluster", &[]).exits(1).says(&[
        "2005 of 9581 records of source reply",
        "--max-bad-share",
        "reply.csv line 1",
    ]);
}

#[test]
fn what_passes_is_tried_again() {
    let (place, expected) = busy_day();
    let cluster = Cluster::start(1);
    let run_id = place.run("embedded", &[]).exits(0).run_id();
    // Where the scores are to be written stands a file, for a while.
    let scores = place.work_file("cluster", &run_id, "pieces").join("scores");
    fs::create_dir_all(scores.parent().unwrap()).unwrap();
    fs::write(&scores, "in the way").unwrap();
    let mut run = Running::start(cluster.command(&place, "cluster", &["--tries", "20"]));
    assert!(run.reaches(&place, "cluster", "scores"));
    std::thread::sleep(Duration::from_secs(1));
    fs::remove_file(&scores).unwrap();
    let (outcome, _) = run.end();
    let outcome = outcome.exits(0);
    assert!(
        outcome.stderr.contains("failed, tried again"),
        "{}",
        outcome.stderr
    );
    Contents::of(&place, "cluster", &outcome).is(&expected, "passing error");

    fs::remove_dir_all(place.path("cluster")).unwrap();
    fs::create_dir_all(scores.parent().unwrap()).unwrap();
    fs::write(&scores, "in the way").unwrap();
    cluster
        .run(&place, "cluster", &["--tries", "2"])
        .exits(1)
        .says(&["step reputation_scores", "scores, piece", "failed 2 times"]);
}

#[test]
fn another_build_and_a_missing_model_are_refused_in_words() {
    let place = Place::golden();
    let mut cluster = Cluster::start(1);
    let other = cluster.add_special(&Special {
        environment: &[("GRAPH_RECS_TEST_BUILD", "0.0.9-results-0")],
        ..Special::default()
    });
    cluster.wait_for(2);
    cluster.run(&place, "build", &[]).exits(1).says(&[
        "cannot take part",
        "graph-recs-executor 0.0.9-results-0",
        "install the same version",
    ]);
    cluster.kill(other);

    // A model that the driver has read, and that is gone when an executor comes.
    cluster.kill(0);
    std::thread::sleep(Duration::from_secs(8));
    let model = place.path("model");
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../udfs/model");
    fs::create_dir_all(&model).unwrap();
    for file in ["model.json", "model.safetensors", "vocabulary.txt"] {
        fs::copy(shipped.join(file), model.join(file)).unwrap();
    }
    let shown = model.display().to_string();
    let mut run = Running::start(cluster.command(&place, "model", &["--model", &shown]));
    let begun = Instant::now();
    while progress(&place, "model").is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{}",
            run.end().0.stderr
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::rename(&model, place.path("elsewhere")).unwrap();
    cluster.add();
    let (outcome, _) = run.end();
    outcome
        .exits(1)
        .says(&["cannot take part", "cannot load the run's model", &shown]);
    assert!(run_is_new(&place, "model"));

    // There again, it is loaded from there.
    fs::rename(place.path("elsewhere"), &model).unwrap();
    cluster.run(&place, "model", &["--model", &shown]).exits(0);
}

/// Whether a run that failed left nothing published.
fn run_is_new(place: &Place, warehouse: &str) -> bool {
    place.publications(warehouse).is_empty()
}

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

/// The long one: a kill at a random moment, again and again. `cargo test --release --workspace kill_repeated --
/// --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn a_kill_repeated_20_times_never_gives_a_wrong_table() {
    let (place, expected) = busy_day();
    let mut cluster = Cluster::start(2);
    let begun = Instant::now();
    let calm = cluster.run(&place, "calm", &[]).exits(0);
    let calm_seconds = begun.elapsed().as_secs_f64();
    Contents::of(&place, "calm", &calm).is(&expected, "calm");
    // Moments spread over the run, in an order that has nothing to do with them.
    let mut longest: f64 = 0.0;
    for kill in 0..20u32 {
        let moment = calm_seconds * f64::from((kill * 7 + 3) % 20) / 20.0;
        let warehouse = format!("kill-{kill}");
        let run = Running::start(cluster.command(&place, &warehouse, &[]));
        std::thread::sleep(Duration::from_secs_f64(moment));
        let victim = cluster.running()[(kill % 2) as usize];
        cluster.kill(victim);
        cluster.add();
        let (outcome, seconds) = run.end();
        let outcome = outcome.exits(0);
        Contents::of(&place, &warehouse, &outcome).is(&expected, &warehouse);
        println!("killed after {moment:.1} s: {seconds:.1} s in all, {calm_seconds:.1} s without");
        longest = longest.max(seconds - calm_seconds);
        cluster.wait_for(2);
        fs::remove_dir_all(place.path(&warehouse)).unwrap();
    }
    println!("20 kills, 20 equal results; at most {longest:.1} s longer than without");
}
