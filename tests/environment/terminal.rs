//! What comes from outside steers no terminal, wherever it is shown.

use std::fs;

use crate::support::{AS_OF, Outcome, Place, program, small_day};

/// A colour, a bell, a return, a C1 control and an override of the writing direction.
const HOSTILE: &str = "\u{1b}[31mred\u{7}\rover\u{9b}2J\u{202e}txt";

#[track_caller]
fn require_harmless(outcome: &Outcome) {
    for text in [&outcome.stdout, &outcome.stderr] {
        let steers = |sign: char| (sign.is_control() && sign != '\n') || sign == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
    }
}

/// A day with a record that cannot be read, of which every error tells.
fn hostile_day() -> Place {
    let place = small_day();
    let likes = String::from_utf8(place.read("like.csv")).unwrap();
    place.write(
        "like.csv",
        format!("{likes}1,2,{HOSTILE},2019-09-30 00:00:00,like\n"),
    );
    place
}

#[test]
fn a_bad_record_is_shown_without_what_would_steer_a_terminal() {
    let place = hostile_day();
    let mut run = program();
    run.args(["run", "--as-of", AS_OF, "--input"])
        .arg(place.input());
    run.arg("--warehouse").arg(place.path("warehouse"));
    let refused = Outcome::of(&mut run)
        .exits(1)
        .says(&["like.csv", r"\u001b[31mred\u0007\rover\u009b2J\u202etxt"]);
    require_harmless(&refused);
    let json = Outcome::of(run.args(["--log-format", "json"])).exits(1);
    require_harmless(&json);
    assert!(json.stderr.contains(r"\u202e"), "{}", json.stderr);
    // Let through it is in the report, and in what is asked of the raw exports.
    let kept = Outcome::of(run.args(["--max-bad-share", "1"])).exits(0);
    require_harmless(&kept);
    let ask = |format: &str| {
        let mut sql = program();
        sql.args(["sql", "--format", format, "--as-of", AS_OF, "--input"])
            .arg(place.input());
        let raw = "SELECT * FROM raw.likes WHERE raw IS NOT NULL";
        Outcome::of(sql.args(["-c", raw])).exits(0)
    };
    require_harmless(&ask("table"));
    // Programs get it as it is.
    assert!(ask("csv").stdout.contains("\u{1b}[31mred"));
}

#[test]
fn a_hostile_name_is_shown_without_what_would_steer_a_terminal() {
    let place = small_day();
    let name = place.path(&format!("in{HOSTILE}"));
    fs::rename(place.input(), &name).unwrap();
    for options in [
        vec!["run", "--as-of", AS_OF, "--warehouse", "w", "--input"],
        vec!["sql", "--as-of", AS_OF, "-c", "SELECT 1", "--input"],
        vec!["doctor", "--only", "input", "--as-of", AS_OF, "--input"],
        vec!["runs", "--warehouse"],
        vec!["run", "--as-of", AS_OF, "--input", "in", "--warehouse"],
        vec!["why", "guidance", "--model"],
        vec!["runs", "--warehouse", "w", "--config"],
        vec!["user", "list", "--users"],
        vec!["sql", "-f"],
        vec!["train", "--as-of", AS_OF, "--out", "model", "--input"],
        vec![
            "generate",
            "--users",
            "9",
            "--engagements",
            "9",
            "--messages",
            "9",
            "--out",
        ],
    ] {
        for gone in ["", "/gone"] {
            let mut command = program();
            command.current_dir(place.path("")).args(&options);
            command.arg(format!("{}{gone}", name.display()));
            let outcome = Outcome::of(&mut command);
            assert!(outcome.code.is_some_and(|code| code <= 4), "{options:?}");
            require_harmless(&outcome);
        }
    }
}
