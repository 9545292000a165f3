//! Nobody's suspension is lost: not by quotes that do not fit, not by columns that moved, not by a flag that cannot be
//! read.

use crate::support::{Place, account, program, small_day};

/// A user's record as [`day`] has it.
fn user(id: u32, name: &str, flag: &str) -> String {
    format!("{id},u{id},{name},,,,,,,,,{flag},2015-01-01\n")
}

/// A day on which users 3 and 4 could be recommended to user 1, 3 being suspended, and 200 others exist. `change` changes
/// the user's records.
fn day(change: impl Fn(u32, String) -> String) -> Place {
    let place = small_day();
    place.write(
        "like.csv",
        "1,2,13,2019-09-30 00:00:00,like\n2,3,14,2019-10-01 00:00:00,like\n2,4,15,2019-10-01 00:00:00,like\n",
    );
    write_users(&place, change);
    place.write("pred.csv", "user_id,pred\n1,0.9\n2,0.9\n3,0.9\n4,0.9\n");
    place
}

fn write_users(place: &Place, change: impl Fn(u32, String) -> String) {
    let users = (1..=204).map(|id| {
        let flag = if id == 3 { "1" } else { "0" };
        change(id, user(id, "\"Name, \"\"of\"\" one\"", flag))
    });
    place.write("user.csv", users.collect::<String>());
}

/// Runs a day: its answer, and the first columns of the recommendations.
fn run(place: &Place, options: &[&str]) -> (serde_json::Value, Vec<Vec<String>>) {
    let scores = place.input().join("pred.csv");
    let mut all = vec!["--reputation-scores", scores.to_str().unwrap()];
    all.extend(options);
    let answer = place.run("warehouse", &all).exits(0).json();
    let sql = "SELECT rec_id FROM recommendations WHERE user_id = 1 ORDER BY 1";
    (answer, place.sql("warehouse", sql))
}

fn warnings(answer: &serde_json::Value) -> Vec<String> {
    let checks = answer["report"]["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| check["count"] != 0)
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn quotes_that_do_not_fit_cost_their_record_alone() {
    for (name, broken) in [
        ("backslashes", "\"The \\\"cat\\\", 3\""),
        ("text behind the closing quote", "\"Jo \"JJ\" Cat, 3\""),
        ("never closed", "\"The cat"),
        ("a backslash before the closing quote", "\"The cat\\\""),
        ("blank behind the closing quote", "\"The cat\" "),
        ("broken over two lines", "\"The\ncat\"x"),
    ] {
        let place = day(|id, record| match id {
            3 => user(3, broken, "1"),
            _ => record,
        });
        let (answer, recommended) = run(&place, &[]);
        assert_eq!(recommended, [["rec_id"], ["4"]], "{name}");
        let found = account(&answer, "user");
        let lines = 1 + broken.matches('\n').count() as u64;
        assert_eq!(found["read"], 203 + lines, "{name}: {found:?}");
        assert_eq!(found["used"], 203, "{name}: {found:?}");
        assert!(found["bad_quoting"] >= 1, "{name}: {found:?}");
        assert!(
            warnings(&answer).contains(&"users_readable".to_owned()),
            "{name}"
        );
    }
    // The quote of the record before would swallow user 3, whose name closes it.
    let place = day(|id, record| match id {
        3 => String::new(),
        204 => user(204, "\"The bob", "0") + &user(3, "\", cat\"", "1"),
        _ => record,
    });
    let (answer, recommended) = run(&place, &[]);
    assert_eq!(recommended, [["rec_id"], ["4"]]);
    assert_eq!(account(&answer, "user")["bad_quoting"], 1);
    assert_eq!(account(&answer, "user")["used"], 203);
}

#[test]
fn who_cannot_be_read_counts_as_suspended() {
    for record in [
        user(3, "c", "maybe"),
        "3,c\n".to_owned(),
        user(3, "c,d", "0"),
    ] {
        let place = day(|id, other| if id == 3 { record.clone() } else { other });
        let (answer, recommended) = run(&place, &[]);
        assert_eq!(recommended, [["rec_id"], ["4"]], "{record}");
        assert_eq!(answer["report"]["counts"]["suspended_users"], 1);
        assert_eq!(warnings(&answer), ["users_readable"], "{record}");
    }
    // One record that can be read is enough to know.
    let place = day(|id, other| match id {
        3 => user(3, "c", "maybe") + &user(3, "c", "0"),
        _ => other,
    });
    let (_, recommended) = run(&place, &[]);
    assert_eq!(recommended, [["rec_id"], ["3"], ["4"]]);
    let place = day(|id, other| match id {
        3 => user(3, "c", "True"),
        _ => other,
    });
    let (answer, recommended) = run(&place, &[]);
    assert_eq!(recommended, [["rec_id"], ["4"]]);
    assert_eq!(warnings(&answer), [""; 0]);
}

#[test]
fn a_record_with_other_columns_than_most_is_ragged() {
    let place = day(|id, record| match id {
        3 => user(3, "a,b", "0"),
        _ => record,
    });
    let (answer, recommended) = run(&place, &[]);
    assert_eq!(recommended, [["rec_id"], ["4"]]);
    assert_eq!(account(&answer, "user")["ragged"], 1);
    assert_eq!(answer["report"]["counts"]["columns_user"], 13);
}

#[test]
fn columns_that_moved_stop_the_run_until_it_is_said() {
    let place = day(|_, record| record);
    run(&place, &[]);
    write_users(&place, |_, record| record.replacen(",,,", ",,,,", 1));
    let later = |options: &[&str]| {
        let mut command = program();
        command.args([
            "run",
            "--json",
            "--as-of",
            "2019-10-03T00:00:00Z",
            "--input",
        ]);
        command
            .arg(place.input())
            .arg("--warehouse")
            .arg(place.path("warehouse"));
        command
            .arg("--reputation-scores")
            .arg(place.input().join("pred.csv"));
        crate::support::Outcome::of(command.args(options))
    };
    later(&[])
        .exits(1)
        .says(&["user.csv", "14", "13", "--user-columns 14"]);
    assert_eq!(place.publications("warehouse").len(), 1);
    let answer = later(&["--user-columns", "14"]).exits(0).json();
    let mut found = warnings(&answer);
    found.sort();
    let expected = ["columns_as_in_last_run", "suspended_users_near_last_run"];
    assert_eq!(found, expected);
    // Said to be as before, all of today's records are ragged.
    later(&["--user-columns", "13"])
        .exits(1)
        .says(&["ragged", "user.csv"]);
}

#[test]
fn no_flag_at_all_stops_the_first_run_too() {
    let place = day(|_, record| record.replacen(",,,", ",,,,", 1));
    let scores = place.input().join("pred.csv");
    let options = ["--reputation-scores", scores.to_str().unwrap()];
    let run_it = place.run("warehouse", &options).exits(1);
    run_it.says(&["204 records", "12th column", "--user-columns 14"]);
    let (answer, _) = run(&place, &["--user-columns", "14"]);
    assert_eq!(warnings(&answer), ["suspended_users_near_last_run"]);
}

#[test]
fn who_was_suspended_and_is_gone_is_told() {
    let place = day(|_, record| record);
    run(&place, &[]);
    write_users(&place, |id, record| match id {
        3 => String::new(),
        204 => user(204, "x", "1"),
        _ => record,
    });
    let (answer, _) = run(&place, &[]);
    assert!(
        warnings(&answer).contains(&"suspended_users_known".to_owned()),
        "{answer}"
    );
}

#[test]
fn another_number_of_columns_in_another_source_is_told() {
    let place = day(|_, record| record);
    run(&place, &[]);
    place.write("follow.csv", "1,2,2019-09-01 00:00:00,new\n");
    let (answer, _) = run(&place, &[]);
    assert_eq!(warnings(&answer), ["columns_as_in_last_run"]);
}
