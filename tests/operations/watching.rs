//! What the job tells of itself.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{command, days};
use crate::support::{Outcome, Place, free_port};

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
    let port = free_port("127.0.0.1");
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
