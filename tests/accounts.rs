//! What counts and what is left out, at every boundary, on days small enough to count by hand.

use crate::support::{AS_OF, Place, account, accounts_of, message, rows, small_day};

#[test]
fn engagements_at_every_boundary() {
    let place = small_day();
    place.write("reply.csv", "1,2,11,2019-09-30 00:00:00,reply\n");
    place.write("mention.csv", "2,3,12,2019-09-30 00:00:00,mention\n");
    place.write(
        "follow.csv",
        "1,2,2018-01-01 00:00:00\n1,2,2018-01-01 00:00:00\n",
    );
    let likes = [
        // 90 days before as-of: no longer; a second later: a 7,776,000th.
        "1,10,1,2019-07-04 00:00:00,like",
        "1,11,1,2019-07-04 00:00:01,like",
        // As-of itself counts in full, a second later not at all.
        "1,12,1,2019-10-02 00:00:00,like",
        "1,13,1,2019-10-02 00:00:01,like",
        // Half of the days, written in three ways: copies.
        "1,14,1,2019-08-18 00:00:00,like",
        "1,14,1,2019-08-18T00:00:00Z,like",
        "1,14,1,2019-08-18T00:00:00.999,other",
        // The same at another message is another engagement.
        "1,14,2,2019-08-18 00:00:00,like",
        "1,1,1,2019-09-30 00:00:00,like",
        "1,9,1,2019-09-30 00:00:00,like",
        "9,1,1,2019-09-30 00:00:00,like",
    ];
    place.write("like.csv", likes.join("\n"));
    // The second row says so.
    place.write(
        "user.csv",
        "9,x,,,,,,,,,,0\n9,x,,,,,,,,,,t\n1,y,,,,,,,,,,\n",
    );
    let answer = place.run_with_scores("warehouse", &[]).exits(0).json();

    assert_eq!(
        account(&answer, "like"),
        accounts_of(&[
            ("read", 11),
            ("used", 4),
            ("before_window", 1),
            ("after_as_of", 1),
            ("duplicate", 2),
            ("self", 1),
            ("suspended", 2),
        ])
    );
    assert_eq!(
        account(&answer, "follow"),
        accounts_of(&[("read", 2), ("used", 0), ("before_window", 2)])
    );
    assert_eq!(
        account(&answer, "user"),
        accounts_of(&[("read", 3), ("used", 3)])
    );
    assert_eq!(
        place.sql(
            "warehouse",
            "SELECT * FROM closest_connections WHERE user_id = 1"
        )[1..],
        rows(&[
            // Of equal weights, 1 = 2 x 0.5, the smaller id is first.
            &["1", "12", "1.00000000", "1"],
            &["1", "14", "1.00000000", "2"],
            &["1", "2", "0.97777778", "3"],
            &["1", "11", "0.00000013", "4"],
        ])
    );
}

#[test]
fn records_after_as_of_are_left_out_and_counted() {
    let place = small_day();
    let options = ["--as-of", "2019-09-30T00:00:00Z"];
    let mut command = crate::support::program();
    command
        .args(["run", "--json", "--input"])
        .arg(place.input());
    command
        .arg("--warehouse")
        .arg(place.path("warehouse"))
        .args(options);
    let answer = crate::support::Outcome::of(&mut command).exits(0).json();
    assert_eq!(
        account(&answer, "like"),
        accounts_of(&[("read", 2), ("used", 1), ("after_as_of", 1)])
    );
    assert_eq!(
        account(&answer, "message"),
        accounts_of(&[("read", 3), ("used", 3)])
    );
    let found = place.sql("warehouse", "SELECT * FROM closest_connections");
    assert_eq!(
        found[1..],
        rows(&[
            &["1", "2", "2.67777778", "1"],
            &["2", "1", "1.00000000", "1"]
        ])
    );
}

#[test]
fn of_messages_with_one_id_the_smallest_counts() {
    let place = small_day();
    // Week 1 begins on 2019-03-28; as-of is 2019-10-02.
    let mut messages = String::new();
    for (id, user, created_at, body) in [
        // By user, before body.
        (1, 5, "2019-09-10T10:00:00Z", "five a"),
        (1, 4, "2019-09-10T10:00:00Z", "four z"),
        // By body.
        (2, 5, "2019-09-10T11:00:00Z", "b"),
        (2, 5, "2019-09-10T11:00:00Z", "a"),
        // Copies that are the same.
        (3, 5, "2019-09-10T12:00:00Z", "same"),
        (3, 5, "2019-09-10T12:00:00Z", "same"),
        (3, 5, "2019-09-10T12:00:00Z", "same"),
        // By time, before user: the week before.
        (4, 6, "2019-09-02T10:00:00Z", "earlier"),
        (4, 5, "2019-09-10T13:00:00Z", "later"),
        // The one that counts is outside of the weeks.
        (6, 7, "2019-03-27T23:59:59Z", "too old"),
        (6, 7, "2019-03-28T00:00:00Z", "not the smallest"),
        // Both are.
        (7, 7, "2019-03-01T00:00:00Z", "too old"),
        (7, 7, "2019-03-02T00:00:00Z", "too old as well"),
        // Copies after as-of are not known yet.
        (8, 7, "2019-10-02T00:00:00Z", "just known"),
        (8, 7, "2019-10-02T00:00:01Z", "not yet known"),
    ] {
        messages.push_str(&message(id, user, created_at, body));
    }
    place.write("st_messages.data", &messages);
    let answer = place.run("warehouse", &[]).exits(0).json();
    assert_eq!(
        account(&answer, "message"),
        accounts_of(&[
            ("read", 15),
            ("used", 5),
            ("duplicate", 7),
            ("outside_weeks", 2),
            ("after_as_of", 1),
        ])
    );
    let documents = "SELECT user_id, week, clean_body FROM weekly_messages ORDER BY 1, 2";
    assert_eq!(
        place.sql_of_input(AS_OF, documents)[1..],
        rows(&[
            &["4", "24", "four z"],
            &["5", "24", "a same"],
            &["6", "23", "earlier"],
            &["7", "27", "just known"],
        ])
    );
}

#[test]
fn weekly_documents_are_in_order_of_time_and_id() {
    let place = small_day();
    let mut messages = message(9, 1, "2019-09-10T10:00:00Z", "Second, of 2 with @you.");
    messages.push_str(&message(8, 1, "2019-09-10T10:00:00Z", "FIRST"));
    messages.push_str(&message(
        10,
        1,
        "2019-09-11T23:59:59Z",
        "third https://x.y/?z=1",
    ));
    messages.push_str(&message(7, 1, "2019-09-12T00:00:00Z", "next week"));
    messages.push_str(
        "{\"id\":11,\"body\":\"\",\"created_at\":\"2019-09-12T00:00:01Z\",\"user\":{\"id\":1},\
         \"links\":[{\"title\":\"x\",\"description\":\"The 1st.\"},{\"description\":\"not this\"}]}\n",
    );
    place.write("st_messages.data", &messages);
    let sql =
        "SELECT week, clean_body, clean_link_desc, messages FROM weekly_messages ORDER BY week";
    assert_eq!(
        place.sql_of_input(AS_OF, sql)[1..],
        rows(&[
            &["24", "first second of  with  third http", "  ", "3"],
            &["25", "next week ", " the st", "2"],
        ])
    );
}

#[test]
fn candidates_are_dropped_for_one_reason_each() {
    // 1 is close to 2 and 3; they are close to 4 (good), 5 (followed long ago), 6 (suspended: no connection at all),
    // 7 (without score), 8 (low reputation), 9 (just good enough) and 1 itself. By way of 1, 2 is a candidate for
    // itself, and 3 for 2.
    let place = Place::new();
    let time = "2019-10-02 00:00:00";
    let mut likes = String::new();
    for (user, others) in [(1, "2 3"), (2, "1 4 5 6 7 8 9"), (3, "4 9")] {
        for other in others.split(' ') {
            likes.push_str(&format!("{user},{other},1,{time},like\n"));
        }
    }
    for (name, contents) in [
        ("like.csv", likes.as_str()),
        ("reply.csv", "2,4,1,2019-10-02 00:00:00,reply\n"),
        ("mention.csv", "3,4,1,2019-08-18 00:00:00,mention\n"),
        ("follow.csv", "1,5,2012-01-01 00:00:00\n"),
        ("user.csv", "6,x,,,,,,,,,,1\n"),
        (
            "scores.csv",
            "user_id,pred\n1,1\n4,0.75\n5,0.9\n6,0.9\n8,0.499999\n9,0.5\n2,0.1\n3,0.1\n",
        ),
    ] {
        place.write(name, contents);
    }
    let scores = place.input().join("scores.csv");
    let options = ["--reputation-scores", scores.to_str().unwrap()];
    let answer = place.run("warehouse", &options).exits(0).json();
    let counts = &answer["report"]["counts"];
    for (name, count) in [
        ("candidates", 8),
        ("self", 2),
        ("followed", 1),
        ("suspended", 0),
        ("without_score", 1),
        ("low_reputation", 2),
        ("beyond_limit", 0),
        ("recommended", 2),
    ] {
        assert_eq!(counts[name], count, "{name} in {counts}");
    }
    let recommended = "SELECT * FROM recommendations WHERE user_id = 1";
    assert_eq!(
        place.sql("warehouse", recommended)[1..],
        // 0.75 x (2 + 1.5) and 0.5 x (1 + 1)
        rows(&[
            &["1", "4", "1", "2.62500000"],
            &["1", "9", "2", "1.00000000"]
        ])
    );
    assert_eq!(
        place.sql("warehouse", "SELECT * FROM rec_reasons WHERE user_id = 1")[1..],
        rows(&[
            &["1", "4", "2", "2.00000000"],
            &["1", "4", "3", "1.50000000"],
            &["1", "9", "2", "1.00000000"],
            &["1", "9", "3", "1.00000000"],
        ])
    );

    // No more than two connections each, and one recommendation.
    let options = [&options[..], &["--recommendations", "1", "--closest", "2"]].concat();
    let answer = place.run("other", &options).exits(0).json();
    let counts = &answer["report"]["counts"];
    assert_eq!(counts["beyond_limit"], 1, "{counts}");
    let longest = "SELECT max(rank) FROM closest_connections";
    assert_eq!(place.sql("other", longest)[1..], rows(&[&["2"]]));
}
