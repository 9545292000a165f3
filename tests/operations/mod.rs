//! Filling in days, cleaning up, looking after it: on a local disk.

mod cleaning;
mod watching;

use std::fs;
use std::process::Command;

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
