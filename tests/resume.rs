//! A run that was cut off goes on, and ends as if nothing had happened.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Outcome, Place, TABLES, with_scores};

const STEPS: [&str; 4] = [
    "closest_connections",
    "reputation_scores",
    "recommendations",
    "checks",
];

/// Scores by the model; everybody may be recommended.
fn run(place: &Place, warehouse: &str) -> Command {
    let mut command = place.command("run", warehouse);
    command.args(["--min-reputation", "0", "--log", "debug"]);
    command
}

/// Kills the process (as kill -9 does) as soon as it has logged a line that `last` accepts, which gets the line and
/// its number. Tells whether it was alive until then.
fn killed_at(mut command: Command, mut last: impl FnMut(&str, usize) -> bool) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    for (number, line) in log.lines().enumerate() {
        if last(&line.unwrap(), number) {
            return kill(&mut child);
        }
    }
    child.wait().unwrap();
    false
}

fn kill(child: &mut Child) -> bool {
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// The steps that are finished, by their records.
fn finished(place: &Place, warehouse: &str, run_id: &str) -> Vec<&'static str> {
    let record = |step: &&str| {
        place
            .work_file(warehouse, run_id, &format!("{step}.json"))
            .exists()
    };
    STEPS.into_iter().filter(record).collect()
}

/// Runs again and compares with an undisturbed run; steps that were finished are not done again.
#[track_caller]
fn goes_on(place: &Place, warehouse: &str, what: &str) {
    let undisturbed = &place.publications("undisturbed")[0];
    let done = finished(place, warehouse, undisturbed);
    let outcome = Outcome::of(&mut run(place, warehouse)).exits(0);
    assert_eq!(outcome.run_id(), *undisturbed, "{what}");
    for step in STEPS {
        let found = format!("was done already step=\"{step}\"");
        assert_eq!(
            outcome.stderr.contains(&found),
            done.contains(&step),
            "{what}: {step}"
        );
    }
    place
        .published(warehouse, undisturbed)
        .is_same_as(&place.published("undisturbed", undisturbed), what);
    assert_eq!(
        place.publications(warehouse),
        std::slice::from_ref(undisturbed),
        "{what}"
    );
    fs::remove_dir_all(place.path(warehouse)).unwrap();
}

#[test]
fn killed_after_any_line_of_its_log() {
    let place = Place::golden();
    let log = Outcome::of(&mut run(&place, "undisturbed")).exits(0).stderr;
    let lines = log.lines().count();
    assert!(lines > 20, "{log}");
    let mut killed = 0;
    for last in 0..lines {
        let warehouse = format!("warehouse-{last}");
        killed += usize::from(killed_at(run(&place, &warehouse), |_, number| {
            number == last
        }));
        goes_on(&place, &warehouse, &format!("killed after line {last}"));
    }
    // The last of them may come too late.
    assert!(killed + 3 > lines, "{killed} of {lines}");
}

#[test]
fn killed_in_the_middle_of_every_step_of_a_big_day() {
    let place = Place::generated(3_000, 200_000, 100_000);
    Outcome::of(&mut run(&place, "undisturbed")).exits(0);
    for (number, words) in [
        "adding up engagements",
        "reading and scoring messages",
        "writing scores",
        "gathering candidates",
        "ranking second-degree connections",
        "reasons_add_up_to_scores",
    ]
    .into_iter()
    .enumerate()
    {
        let warehouse = format!("warehouse-{number}");
        let killed = killed_at(run(&place, &warehouse), |line, _| line.contains(words));
        assert!(killed, "{words}: never said, or too late");
        goes_on(&place, &warehouse, words);
    }
}

#[test]
fn killed_as_soon_as_a_file_is_there() {
    let place = Place::golden();
    let run_id = Outcome::of(&mut run(&place, "undisturbed"))
        .exits(0)
        .run_id();
    let logs = TABLES.map(|table| format!("{table}/_delta_log"));
    let files = TABLES.map(|table| format!("{table}/{run_id}"));
    let records = STEPS.map(|step| format!("_runs/{run_id}/{step}.json"));
    for name in files
        .iter()
        .chain(&records)
        .chain(&logs)
        .chain([&"runs".to_string()])
    {
        let wanted = place.path("warehouse").join(name);
        let child = run(&place, "warehouse")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap();
        wait_for(&mut child, &wanted);
        kill(&mut child);
        goes_on(&place, "warehouse", name);
    }
}

/// Waits until a path is there or the process has ended.
fn wait_for(child: &mut Child, path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "{} never came", path.display());
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn cut_off_between_the_commits_of_a_publication() {
    let place = Place::golden();
    Outcome::of(&mut run(&place, "undisturbed")).exits(0);
    for committed in 0..=TABLES.len() {
        Outcome::of(&mut run(&place, "warehouse")).exits(0);
        for table in TABLES[committed..].iter().chain(&["runs"]) {
            let log = place.path("warehouse").join(table).join("_delta_log");
            fs::remove_file(log.join("00000000000000000001.json")).unwrap();
        }
        assert_eq!(
            place.publications("warehouse"),
            [""; 0],
            "{committed} tables committed"
        );
        goes_on(
            &place,
            "warehouse",
            &format!("{committed} tables committed"),
        );
    }
}

#[test]
fn single_steps_in_their_order_do_what_a_run_does() {
    let place = Place::golden();
    let step = |name: &str| Outcome::of(with_scores(&mut place.command(name, "steps")));
    // Each says which one has to come before.
    for (name, words) in [
        ("recommend", "graph-recs closest-connections"),
        ("check", "graph-recs closest-connections"),
        ("publish", "graph-recs check"),
    ] {
        step(name).exits(1).says(&[words, "with the same options"]);
    }
    step("closest-connections").exits(0);
    step("recommend")
        .exits(1)
        .says(&["graph-recs reputation-scores"]);
    assert_eq!(step("reputation-scores").exits(0).json()["outcome"], "done");
    step("check").exits(1).says(&["graph-recs recommend"]);
    step("recommend").exits(0);
    step("publish").exits(1).says(&["graph-recs check"]);
    let answer = step("check").exits(0).json();
    assert_eq!(
        (answer["step"].as_str(), answer["outcome"].as_str()),
        (Some("checks"), Some("done"))
    );
    assert_eq!(step("check").exits(0).json()["outcome"], "was done already");
    assert_eq!(place.publications("steps"), [""; 0]);
    assert_eq!(step("publish").exits(0).json()["already_published"], false);

    let run_id = place.run_with_scores("run", &[]).exits(0).run_id();
    assert_eq!(place.publications("steps"), std::slice::from_ref(&run_id));
    let steps = place.published("steps", &run_id);
    steps.is_same_as(&place.published("run", &run_id), "single steps");
}

#[test]
fn running_again_changes_nothing() {
    let place = Place::golden();
    let run_id = place.run_with_scores("warehouse", &[]).exits(0).run_id();
    let before = everything(&place.path("warehouse"));
    let answer = place.run_with_scores("warehouse", &[]).exits(0).json();
    assert_eq!(answer["run_id"], run_id.as_str());
    assert_eq!(answer["already_published"], true);
    assert_eq!(everything(&place.path("warehouse")), before);
    assert_eq!(
        place.publications("warehouse"),
        std::slice::from_ref(&run_id)
    );

    // What changes no result changes no run.
    let options = [
        "--threads",
        "1",
        "--max-bad-share",
        "0.5",
        "--memory-limit",
        "1GB",
    ];
    let answer = place.run_with_scores("warehouse", &options).exits(0).json();
    assert_eq!(answer["already_published"], true);
    // Another result is another run.
    for options in [
        ["--closest", "49"],
        ["--lookback-days", "89"],
        ["--min-reputation", "0.6"],
    ] {
        let other = place.run_with_scores("warehouse", &options).exits(0);
        assert_ne!(other.run_id(), run_id, "{options:?}");
    }
    let mut likes = place.read("like.csv");
    likes.extend_from_slice(b"8,10,9,2019-09-30 00:00:00,x\n");
    place.write("like.csv", likes);
    assert_ne!(
        place.run_with_scores("warehouse", &[]).exits(0).run_id(),
        run_id
    );
    assert_eq!(place.publications("warehouse").len(), 5);
}

/// All files of a folder with their bytes.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
