//! `--reputation-scores`: from pipes, packed, and as other programs write them.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use super::{by_shell, end_of, texts};
use crate::rewrite;
use crate::support::{Outcome, Place, small_day};

const SCORES: &str = "user_id,pred\n1,0.9\n2,0.8\n3,0.7\n";

#[test]
fn packed_scores_are_the_same_scores() {
    let place = small_day();
    let run = |name: &str, bytes: &[u8]| {
        let file = place.path(name);
        fs::write(&file, bytes).unwrap();
        let outcome = place.run(
            "warehouse",
            &["--reputation-scores", file.to_str().unwrap()],
        );
        outcome.exits(0).run_id()
    };
    let plain = run("scores.csv", SCORES.as_bytes());
    let two = [
        rewrite::gzip(&SCORES.as_bytes()[..20]),
        rewrite::gzip(&SCORES.as_bytes()[20..]),
    ];
    // What a file is, its first bytes say, whatever its name.
    for (name, bytes) in [
        ("scores.csv.gz", rewrite::gzip(SCORES.as_bytes())),
        ("scores.zst", rewrite::zstd(SCORES.as_bytes())),
        ("packed.csv", rewrite::gzip(SCORES.as_bytes())),
        ("members.csv.gz", two.concat()),
    ] {
        assert_eq!(run(name, &bytes), plain, "{name}");
    }
    let rows = place.sql(
        "warehouse",
        "SELECT user_id, pred FROM reputation_scores ORDER BY user_id",
    );
    assert_eq!(rows[1..], [["1", "0.9"], ["2", "0.8"], ["3", "0.7"]]);
}

#[test]
fn scores_may_come_from_a_pipe() {
    let place = small_day();
    let file = place.path("scores.csv");
    fs::write(&file, SCORES).unwrap();
    let from_file = place.run(
        "warehouse",
        &["--reputation-scores", file.to_str().unwrap()],
    );
    let from_file = from_file.exits(0).run_id();
    // Standard input.
    let mut command = place.command("run", "piped");
    command
        .args(["--reputation-scores", "/dev/stdin"])
        .stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(SCORES.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.contains(&from_file), "{answer}");
    // What a shell puts in the place of `<(…)`, for a run, and for days, each of which asks for the scores.
    for days in [
        &["run", "--date", "2019-10-02"][..],
        &["backfill", "--from", "2019-10-02", "--to", "2019-10-03"],
    ] {
        let script = "exec \"$@\" --reputation-scores <(gzip -c scores.csv) >/dev/null";
        let mut arguments = texts(days);
        arguments.push("--input".into());
        arguments.push(place.input().into_os_string());
        arguments.extend(texts(&["--warehouse", "substituted"]));
        let mut shell = by_shell(script, &arguments);
        shell.current_dir(place.path(""));
        let (code, said) = end_of(shell);
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(place.publications("substituted").len(), 2);
    // A process in the background has another standard input.
    let detach = [
        "--reputation-scores",
        "/dev/stdin",
        "--cluster",
        "df://127.0.0.1:1",
        "--detach",
    ];
    let outcome = Outcome::of(
        place
            .command("run", "detached")
            .args(detach)
            .stdin(Stdio::piped()),
    );
    outcome.exits(1).says(&["cannot read a pipe"]);
}

#[test]
fn scores_that_are_cut_off_or_something_else_are_refused_by_name() {
    let place = small_day();
    let (gzip, zstd) = (
        rewrite::gzip(SCORES.as_bytes()),
        rewrite::zstd(SCORES.as_bytes()),
    );
    let utf_16 = SCORES.encode_utf16().flat_map(u16::to_le_bytes);
    for (bytes, words) in [
        (gzip[..gzip.len() - 1].to_vec(), ""),
        (gzip[..5].to_vec(), ""),
        (zstd[..zstd.len() - 1].to_vec(), ""),
        ([gzip, b"user_id".to_vec()].concat(), ""),
        (
            rewrite::parquet_of_texts(&[("user_id", &[Some("1")])]),
            "Parquet",
        ),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (b"\xfd7zXZ\0\0\0".to_vec(), "xz"),
        (b"PK\x03\x04\0\0\0\0".to_vec(), "zip"),
        ([0xff, 0xfe].into_iter().chain(utf_16).collect(), "UTF-16"),
        (b"".to_vec(), "header user_id,pred"),
        (b"user_id,pred\n1,\xff\n".to_vec(), "line 2"),
        (
            b"user_id,pred\n1,0.5\n7,1e3\n".to_vec(),
            "line 3, \"7,1e3\"",
        ),
        (b"user_id,pred\n1,\x1b[31m0.5\n".to_vec(), r"\u001b[31m"),
    ] {
        let file = place.path("scores.csv");
        fs::write(&file, bytes).unwrap();
        let outcome = place.run(
            "warehouse",
            &["--reputation-scores", file.to_str().unwrap()],
        );
        let outcome = outcome
            .exits(1)
            .says(&["--reputation-scores", "scores.csv", words]);
        assert!(
            !outcome.stderr.contains(['\u{1b}', '\0']),
            "{}",
            outcome.stderr
        );
    }
    let folder = place.path("");
    let outcome = place.run(
        "warehouse",
        &["--reputation-scores", folder.to_str().unwrap()],
    );
    outcome.exits(1).says(&["is a folder"]);
    let gone = Place::new().path("scores.csv");
    let outcome = place.run(
        "warehouse",
        &["--reputation-scores", gone.to_str().unwrap()],
    );
    outcome.exits(1).says(&["scores.csv", "No such file"]);
}
