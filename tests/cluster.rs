//! The daily job on a Ballista cluster of real processes: the same results as in one process, whatever happens to
//! these.

use std::fs;
use std::time::{Duration, Instant};

use crate::cluster_support::{
    Cluster, Contents, Running, Special, busy_day, progress, send, stages,
};
use crate::support::{Place, golden};

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
fn a_million_rows_are_the_same_on_1_2_and_4_executors() {
    let place = Place::generated(30_000, 700_000, 300_000);
    let embedded = place.run("embedded", &["--threads", "8"]).exits(0);
    let embedded = Contents::of(&place, "embedded", &embedded);
    let alone = place.run("alone", &["--threads", "1"]).exits(0);
    Contents::of(&place, "alone", &alone).is(&embedded, "one thread");
    let mut cluster = Cluster::start(1);
    for executors in [1, 2, 4] {
        while cluster.running().len() < executors {
            cluster.add();
        }
        cluster.wait_for(executors);
        let warehouse = format!("on-{executors}");
        let outcome = cluster.run(&place, &warehouse, &[]).exits(0);
        let what = format!("a million rows on {executors} executors");
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
    let mut cluster = Cluster::scheduler_only("127.0.0.1", &[]);
    let executor = cluster.add_special(&Special {
        file_limit: Some("unlimited"),
        ..Special::default()
    });
    cluster.wait_for(1);
    let mut run = Running::start(cluster.command(&place, "cluster", &["--tries", "20"]));
    assert!(run.reaches(&place, "cluster", "messages"));
    cluster.limit_files(executor, "4096:unlimited");
    std::thread::sleep(Duration::from_secs(2));
    cluster.limit_files(executor, "unlimited");
    let (outcome, _) = run.end();
    let outcome = outcome.exits(0);
    assert!(
        outcome.stderr.contains("failed, tried again"),
        "{}",
        outcome.stderr
    );
    Contents::of(&place, "cluster", &outcome).is(&expected, "passing error");
}

#[test]
fn a_full_disk_is_told_and_passes() {
    let place = Place::golden();
    let embedded = place.run("embedded", &[]).exits(0);
    let mut cluster = Cluster::scheduler_only("127.0.0.1", &[]);
    let full = cluster.add_special(&Special {
        file_limit: Some("8"),
        ..Special::default()
    });
    cluster.wait_for(1);
    let tries = ["--tries", "2"];
    cluster
        .run(&place, "cluster", &tries)
        .exits(1)
        .says(&["failed 2 times", "File too large"]);
    cluster.kill(full);
    cluster.add();
    let outcome = cluster.run(&place, "cluster", &tries).exits(0);
    Contents::of(&place, "cluster", &outcome)
        .is(&Contents::of(&place, "embedded", &embedded), "disk");
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
    let run = Running::start(cluster.command(&place, "model", &["--model", &shown]));
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
