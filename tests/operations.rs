//! Filling in days, cleaning up, looking after it: on a local disk.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{FILES, Outcome, Place, golden, program};

/// A place with the golden input as that of several days.
fn days(names: &[&str]) -> Place {
    let place = Place::new();
    for name in names {
        for file in FILES {
            place.write(
                &format!("{name}/{file}"),
                fs::read(golden("input").join(file)).unwrap(),
            );
        }
    }
    place
}

fn command(place: &Place, name: &str, options: &[&str]) -> Command {
    let mut command = program();
    command.args([name, "--json", "--input"]).arg(place.input());
    command
        .arg("--warehouse")
        .arg(place.path("warehouse"))
        .args(options);
    command
}

fn backfill(place: &Place, from: &str, to: &str, options: &[&str]) -> Outcome {
    Outcome::of(command(place, "backfill", &["--from", from, "--to", to]).args(options))
}

/// What became of each day.
fn outcomes(outcome: &Outcome) -> Vec<String> {
    let days = outcome.json()["days"].clone();
    let text = |day: &Value| {
        format!(
            "{} {}",
            day["date"].as_str().unwrap(),
            day["outcome"].as_str().unwrap()
        )
    };
    days.as_array().unwrap().iter().map(text).collect()
}

fn publications(place: &Place) -> Vec<Value> {
    let mut command = program();
    command
        .args(["runs", "--json", "--warehouse"])
        .arg(place.path("warehouse"));
    let listed = Outcome::of(&mut command).exits(0).json();
    listed["publications"].as_array().unwrap().clone()
}

fn as_ofs(place: &Place) -> Vec<String> {
    let of = |publication: &Value| publication["as_of"].as_str().unwrap()[..10].to_owned();
    publications(place).iter().map(of).collect()
}

#[test]
fn days_are_filled_in_in_their_order_and_once() {
    let place = days(&["20191001", "20191002", "20191004"]);
    // A day that is not there stops it, with those before it done.
    backfill(&place, "2019-10-01", "2019-10-04", &[])
        .exits(4)
        .says(&["2019-10-03", "20191003", "goes on from it"]);
    assert_eq!(as_ofs(&place), ["2019-10-01", "2019-10-02"]);
    let planned = backfill(&place, "2019-10-01", "2019-10-04", &["--dry-run"]).exits(0);
    assert_eq!(
        outcomes(&planned),
        [
            "2019-10-01 already_published",
            "2019-10-02 already_published",
            "2019-10-03 missing",
            "2019-10-04 due"
        ]
    );
    let done = backfill(&place, "2019-10-01", "2019-10-04", &["--skip-missing"]).exits(0);
    assert_eq!(
        outcomes(&done)[2..],
        ["2019-10-03 missing", "2019-10-04 published"]
    );

    // The late day finds its place, and readers stay with the last one: in one commit.
    for file in FILES {
        place.write(
            &format!("20191003/{file}"),
            fs::read(golden("input").join(file)).unwrap(),
        );
    }
    let versions = || {
        fs::read_dir(place.path("warehouse/runs/_delta_log"))
            .unwrap()
            .count()
    };
    let before = versions();
    let late = backfill(&place, "2019-10-01", "2019-10-04", &[]).exits(0);
    assert_eq!(
        outcomes(&late)[2..],
        ["2019-10-03 published", "2019-10-04 already_published"]
    );
    assert_eq!(
        as_ofs(&place),
        [
            "2019-10-01",
            "2019-10-02",
            "2019-10-04",
            "2019-10-03",
            "2019-10-04"
        ]
    );
    assert_eq!(versions(), before + 1);
    let published = publications(&place);
    let (last, behind) = (&published[4], &published[3]);
    assert_eq!(
        (&last["kind"], &behind["kind"]),
        (&"rollback".into(), &"publish".into())
    );
    // Each reads as the run that it is: by name, and as what a run alone would give.
    let alone = days(&["20191003"]);
    backfill(&alone, "2019-10-03", "2019-10-03", &[]).exits(0);
    let sql = "SELECT * FROM recommendations ORDER BY user_id, rec_id";
    let by_name = sql.replace(
        "recommendations",
        &format!(
            "runs.\"{}\".recommendations",
            behind["run_id"].as_str().unwrap()
        ),
    );
    assert!(place.sql("warehouse", &by_name) == alone.sql("warehouse", sql));
    assert!(place.sql("warehouse", sql) != place.sql("warehouse", &by_name));
}

#[test]
fn an_older_days_run_can_leave_readers_where_they_are() {
    let place = days(&["20191001", "20191002"]);
    let run = |date: &str, options: &[&str]| {
        Outcome::of(command(&place, "run", &["--date", date]).args(options))
            .exits(0)
            .json()
    };
    assert_eq!(run("2019-10-02", &[])["current"], true);
    assert_eq!(run("2019-10-01", &["--keep-later"])["current"], false);
    assert_eq!(as_ofs(&place), ["2019-10-02", "2019-10-01", "2019-10-02"]);
    // Again, it changes nothing.
    assert_eq!(
        run("2019-10-01", &["--keep-later"])["already_published"],
        true
    );
    assert_eq!(publications(&place).len(), 3);
}

#[test]
fn what_changed_since_a_day_was_published_is_said() {
    let place = days(&["20191001"]);
    let first = backfill(&place, "2019-10-01", "2019-10-01", &[])
        .exits(0)
        .json();
    let first = first["days"][0]["run_id"].as_str().unwrap().to_owned();
    let like = place.read("20191001/like.csv");
    place.write("20191001/like/part-0.csv", &like);
    place.write(
        "20191001/like/part-1.csv",
        "1,2,13,2019-09-30 00:00:00,like\n",
    );
    place.remove("20191001/like.csv");
    let mut more = place.read("20191001/reply.csv");
    more.extend_from_slice(b"1,2,11,2019-09-30 00:00:00,reply\n");
    place.write("20191001/reply.csv", &more);

    let planned = backfill(&place, "2019-10-01", "2019-10-01", &["--dry-run"])
        .exits(0)
        .json();
    let changed = planned["days"][0]["changed"].to_string();
    for what in [
        "like/part-1.csv came later (32 bytes)",
        "like.csv is gone",
        "reply.csv changed from",
    ] {
        assert!(changed.contains(what), "{what} is not in {changed}");
    }
    let run = Outcome::of(&mut command(&place, "run", &["--date", "2019-10-01"])).exits(0);
    assert_eq!(run.json()["report"]["changed"]["since"], first.as_str());
    assert!(run.stderr.contains("came later"), "{}", run.stderr);
    // Run again it is the same run, of which nothing changed since.
    let again = Outcome::of(&mut command(&place, "run", &["--date", "2019-10-01"])).exits(0);
    assert_eq!(again.json()["already_published"], true);
}

#[test]
fn days_that_cannot_be_are_refused() {
    let place = Place::new();
    backfill(&place, "2019-10-02", "2019-10-01", &[])
        .exits(2)
        .says(&["--to", "--from"]);
    backfill(
        &place,
        "2019-10-01",
        "2019-10-01",
        &["--date", "2019-10-01"],
    )
    .exits(2)
    .says(&["--date"]);
}

#[test]
fn the_marker_file_says_that_the_day_is_there() {
    let place = days(&["20191001"]);
    let run = || {
        let options = ["--date", "2019-10-01", "--ready-file", "_SUCCESS"];
        Outcome::of(&mut command(&place, "run", &options))
    };
    run().exits(4).says(&["_SUCCESS", "20191001"]);
    place.write("20191001/_SUCCESS", "");
    run().exits(0);
}

#[test]
fn old_runs_go_and_what_a_reader_may_hold_stays() {
    let place = days(&["20191001", "20191002", "20191003"]);
    backfill(&place, "2019-10-01", "2019-10-03", &[]).exits(0);
    let published = publications(&place);
    let ids: Vec<&str> = published
        .iter()
        .map(|run| run["run_id"].as_str().unwrap())
        .collect();
    let tables = |id: &str| place.path("warehouse/recommendations").join(id).exists();
    let clean = |options: &[&str]| {
        let mut command = program();
        command
            .args(["clean", "--json", "--warehouse"])
            .arg(place.path("warehouse"));
        Outcome::of(command.args(options)).exits(0).json()
    };
    let names = |answer: &Value| -> Vec<String> {
        let runs = answer["runs"].as_array().unwrap();
        runs.iter()
            .map(|run| run["run_id"].as_str().unwrap().to_owned())
            .collect()
    };
    // Somebody may still read the one that was current a moment ago, and so the one before it.
    assert_eq!(
        names(&clean(&["--keep", "1", "--yes"])),
        Vec::<String>::new()
    );
    // Listed only.
    let listed = clean(&["--keep", "1", "--grace", "0"]);
    assert_eq!(names(&listed), ids[..2]);
    assert_eq!(listed["removed"], false);
    assert!(ids.iter().all(|id| tables(id)));

    let before = place.sql(
        "warehouse",
        "SELECT * FROM recommendations ORDER BY user_id, rec_id",
    );
    let removed = clean(&["--keep", "2", "--grace", "0", "--yes"]);
    assert_eq!(names(&removed), ids[..1]);
    assert!(!tables(ids[0]) && tables(ids[1]) && tables(ids[2]));
    assert!(!place.path("warehouse/_runs").join(ids[0]).exists());
    assert!(names(&clean(&["--keep", "2", "--grace", "0", "--yes"])).is_empty());
    assert!(
        place.sql(
            "warehouse",
            "SELECT * FROM recommendations ORDER BY user_id, rec_id"
        ) == before
    );

    // Going back to what is gone is refused, and its day brings it back as it was.
    let rollback = |id: &str| {
        let mut command = program();
        command
            .args(["rollback", "--to", id, "--warehouse"])
            .arg(place.path("warehouse"));
        Outcome::of(&mut command)
    };
    rollback(ids[0]).exits(1).says(&["is not there"]);
    let again = Outcome::of(&mut command(&place, "run", &["--date", "2019-10-01"])).exits(0);
    assert_eq!(
        (again.run_id().as_str(), &again.json()["current"]),
        (ids[0], &false.into())
    );
    rollback(ids[0]).exits(0);

    // Working tables and quarantine go by themselves, too; what is published does not.
    let work = place.path("warehouse/_runs").join(ids[0]);
    let parquet = || {
        let entries = fs::read_dir(&work).unwrap().flatten();
        entries
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|ending| ending == "parquet")
            })
            .count()
    };
    assert!(parquet() > 0);
    let slim = clean(&["--keep", "5", "--keep-work", "0", "--grace", "0", "--yes"]);
    assert!(names(&slim).contains(&ids[0].to_owned()));
    assert_eq!(parquet(), 0);
    assert!(work.join("reputation_score.csv").exists() && work.join("checks.json").exists());
    let same = Outcome::of(&mut command(&place, "run", &["--date", "2019-10-01"])).exits(0);
    assert_eq!(same.json()["already_published"], true);
}

#[test]
fn a_candidate_that_was_stopped_goes_once_nobody_looks_at_it() {
    let place = days(&["20191001", "20191002"]);
    backfill(&place, "2019-10-01", "2019-10-01", &[]).exits(0);
    // A step of another day, never published.
    Outcome::of(&mut command(
        &place,
        "closest-connections",
        &["--date", "2019-10-02"],
    ))
    .exits(0);
    let clean = |options: &[&str]| {
        let mut command = program();
        command.args(["clean", "--json", "--keep", "1", "--yes", "--warehouse"]);
        Outcome::of(command.arg(place.path("warehouse")).args(options))
            .exits(0)
            .json()
    };
    assert_eq!(clean(&[])["runs"].as_array().unwrap().len(), 0);
    let removed = clean(&["--grace", "0"]);
    assert_eq!(removed["runs"][0]["why"], "unpublished");
    assert_eq!(removed["runs"].as_array().unwrap().len(), 1);
    backfill(&place, "2019-10-02", "2019-10-02", &[]).exits(0);
}

#[test]
fn a_full_disk_and_a_closed_folder_leave_what_is_published() {
    let place = days(&["20191001", "20191002"]);
    backfill(&place, "2019-10-01", "2019-10-01", &[]).exits(0);
    let before = place.sql("warehouse", "SELECT * FROM rec_reasons ORDER BY 1, 2, 3");
    // No file may grow beyond 64 KiB: the system says so as it says that a disk is full.
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]);
    shell.arg(env!("CARGO_BIN_EXE_graph-recs"));
    shell
        .args(["run", "--date", "2019-10-02", "--input"])
        .arg(place.input());
    shell.arg("--warehouse").arg(place.path("warehouse"));
    Outcome::of(&mut shell)
        .exits(1)
        .says(&["20191002", "File too large"]);
    assert_eq!(as_ofs(&place), ["2019-10-01"]);
    assert!(place.sql("warehouse", "SELECT * FROM rec_reasons ORDER BY 1, 2, 3") == before);
    // The same command goes on when there is room.
    backfill(&place, "2019-10-01", "2019-10-02", &[]).exits(0);
}

#[test]
fn a_disk_that_is_full_is_told_with_what_to_do() {
    // A file system of its own, a few MiB large; who may not mount one has no such test.
    let place = days(&["20191001"]);
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&disk)
        .stderr(Stdio::null())
        .status();
    // Not everybody may mount.
    if !mounted.is_ok_and(|status| status.success()) {
        return;
    }
    let outcome = Outcome::of(
        program()
            .args(["run", "--date", "2019-10-01", "--input"])
            .arg(place.input())
            .arg("--warehouse")
            .arg(disk.join("warehouse")),
    );
    assert!(
        Command::new("umount")
            .arg(&disk)
            .status()
            .unwrap()
            .success()
    );
    outcome
        .exits(1)
        .says(&["No space left", "clean --keep", "same command again"]);
}

#[test]
fn a_folder_of_somebody_else_is_told_with_what_to_do() {
    let place = days(&["20191001"]);
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere: so as nobody.
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut run = if root {
        let open =
            |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        open(place.path("").as_path());
        let mut run = Command::new("setpriv");
        run.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        run.arg(env!("CARGO_BIN_EXE_graph-recs"));
        run
    } else {
        program()
    };
    run.args(["run", "--date", "2019-10-01", "--input"])
        .arg(place.input());
    let outcome = Outcome::of(run.arg("--warehouse").arg(closed.join("warehouse")));
    // Not everybody can reach the program.
    if outcome.code == Some(126) || outcome.stderr.contains("failed to execute") {
        return;
    }
    outcome
        .exits(1)
        .says(&["Permission denied", "This user may not"]);
}

#[test]
fn log_lines_are_objects_with_the_run_in_each() {
    let place = days(&["20191001"]);
    let options = [
        "--date",
        "2019-10-01",
        "--log-format",
        "json",
        "--log",
        "debug",
    ];
    let run = Outcome::of(&mut command(&place, "run", &options)).exits(0);
    let id = run.run_id();
    let lines: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() > 8, "{}", run.stderr);
    for line in &lines {
        assert_eq!(line["run_id"], id.as_str(), "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
    let done = lines
        .iter()
        .find(|line| line["step"] == "recommendations" && line["level"] == "INFO");
    assert!(done.unwrap()["message"].as_str().unwrap().len() > 3);
    // The end of a run that fails is a line like the others.
    place.write("20191001/like.csv", "nothing that can be read\n");
    let failed = Outcome::of(&mut command(&place, "run", &options)).exits(1);
    let last: Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["exit_code"], &last["level"]),
        (&1.into(), &"ERROR".into())
    );
    assert!(last["message"].as_str().unwrap().contains("like.csv"));
}

#[test]
fn figures_are_written_for_prometheus() {
    let place = days(&["20191001"]);
    let file = place.path("graph-recs.prom");
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let run = |date: &str| {
        let mut command = command(&place, "run", &["--date", date, "--metrics-file"]);
        command.arg(&file);
        command
    };
    let done = Outcome::of(&mut run("2019-10-01")).exits(0);
    let text = fs::read_to_string(&file).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap()
    };
    assert_eq!(value("graph_recs_run_exit_code"), 0.0);
    let rows = done.json()["report"]["rows"]["recommendations"]
        .as_f64()
        .unwrap();
    assert_eq!(value("graph_recs_rows{table=\"recommendations\"}"), rows);
    assert!(value("graph_recs_step_seconds{step=\"checks\"}") > 0.0);
    assert_eq!(
        value("graph_recs_run_as_of_timestamp_seconds"),
        1_569_888_000.0
    );
    let success = value("graph_recs_last_success_timestamp_seconds");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(
            line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok(),
            "{line}"
        );
    }
    // A day that is not there is a figure, too, and the last success is not forgotten.
    Outcome::of(&mut run("2019-10-02")).exits(4);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("graph_recs_run_exit_code 4\n"), "{text}");
    assert!(text.contains(&format!(
        "graph_recs_last_success_timestamp_seconds {success}\n"
    )));

    // Asked for while it works.
    let long = Place::generated(3_000, 200_000, 60_000);
    let mut child = long
        .command("run", "warehouse")
        .args(["--metrics-listen", &format!("127.0.0.1:{port}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let page = loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "no figures");
        if let Ok(mut asked) = TcpStream::connect(("127.0.0.1", port)) {
            asked
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: driver\r\n\r\n")
                .unwrap();
            let mut page = String::new();
            asked.read_to_string(&mut page).unwrap();
            if page.contains("graph_recs_run_info") {
                break page;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_collector_gets_a_span_a_step() {
    let place = days(&["20191001"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            let read = connection.read(&mut buffer).unwrap();
            text.extend_from_slice(&buffer[..read]);
            let shown = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = shown.split_once("\r\n\r\n")
                && let Ok(message) = serde_json::from_str::<Value>(body)
            {
                connection
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    .unwrap();
                return (head.to_owned(), message);
            }
            assert!(read > 0, "cut off: {shown}");
        }
    });
    let options = ["--date", "2019-10-01", "--otlp-endpoint", &endpoint];
    let id = Outcome::of(&mut command(&place, "run", &options))
        .exits(0)
        .run_id();
    let (head, message) = collector.join().unwrap();
    assert!(head.starts_with("POST /v1/traces "), "{head}");
    let spans = message["resourceSpans"][0]["scopeSpans"][0]["spans"]
        .as_array()
        .unwrap()
        .clone();
    let names: Vec<&str> = spans
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    for step in [
        "run",
        "closest_connections",
        "reputation_scores",
        "recommendations",
        "checks",
    ] {
        assert!(names.contains(&step), "{step} is not in {names:?}");
    }
    let root = &spans[0];
    assert_eq!(root["traceId"].as_str().unwrap().len(), 32);
    for span in &spans[1..] {
        assert_eq!(
            (&span["traceId"], &span["parentSpanId"]),
            (&root["traceId"], &root["spanId"])
        );
        let time = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
    }
    assert_eq!(root["attributes"][0]["value"]["stringValue"], id.as_str());
    // A collector that is away is no reason to fail.
    let options = ["--date", "2019-10-01", "--otlp-endpoint", &endpoint];
    let again = Outcome::of(&mut command(&place, "run", &options)).exits(0);
    assert!(
        again.stderr.contains("spans cannot be sent"),
        "{}",
        again.stderr
    );
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let place = days(&["20191001"]);
    let doctor = |options: &[&str]| Outcome::of(&mut command(&place, "doctor", options));
    let found = doctor(&["--date", "2019-10-01"]).exits(0).json();
    let looked: Vec<&str> = found["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["what"].as_str().unwrap())
        .collect();
    assert_eq!(looked, ["clock", "input", "model", "warehouse", "disk"]);
    // Nothing is left behind.
    assert!(!place.path("warehouse/_runs/doctor").exists());
    assert!(!place.path("warehouse/_runs/lock.json").exists());

    doctor(&["--date", "2019-10-02", "--only", "input"])
        .exits(4)
        .says(&["20191002"]);
    let all = doctor(&["--date", "2019-10-02", "--cluster", "df://127.0.0.1:1"]).exits(4);
    assert_eq!(all.json()["exit_code"], 4);
    let rows = all.json()["found"].clone();
    let row = |what: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| row["what"] == what)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&row("cluster")["ok"], &row("warehouse")["ok"]),
        (&false.into(), &true.into())
    );
    doctor(&["--only", "model", "--model", "/nowhere"])
        .exits(1)
        .says(&["/nowhere", "model.json"]);
    let nobody = [
        "--only",
        "database",
        "--database-url",
        "postgres://nobody@127.0.0.1:1/recs",
    ];
    doctor(&nobody)
        .exits(1)
        .says(&["database is not as it should be"]);
}
