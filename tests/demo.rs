//! The demo and the generator.

use std::fs;

use crate::support::{Outcome, Place, account, graph_recs, program};

const SMALL: [&str; 6] = [
    "--users",
    "300",
    "--engagements",
    "10000",
    "--messages",
    "2000",
];

#[test]
fn the_demo_shows_recommendations_with_their_reasons() {
    let place = Place::new();
    let out = place.path("demo");
    let demo = || Outcome::of(program().arg("demo").args(SMALL).arg("--out").arg(&out));
    let page = demo().exits(0).stdout;
    let users: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("user ") && line.contains(", run "))
        .collect();
    assert_eq!(users.len(), 3, "{page}");
    for words in [
        ". follow user ",
        "whom you are close to",
        "reputation 0.",
        "(quarantined)",
    ] {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
    // The commands that it proposes work.
    let proposed = page
        .lines()
        .find_map(|line| line.strip_prefix("More: graph-recs "));
    let explained = graph_recs(proposed.unwrap().split_whitespace())
        .exits(0)
        .stdout;
    assert!(explained.contains(". follow user "), "{explained}");

    // An earlier demo is replaced, by the same.
    fs::write(out.join("left-over"), "").unwrap();
    let again = demo().exits(0).stdout;
    assert!(!out.join("left-over").exists());
    let shown = |page: &str| {
        let lines = page.lines().skip_while(|line| !line.starts_with("Whom"));
        // A run is named after its files, which are others.
        lines
            .filter(|line| !line.starts_with("user "))
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&again), shown(&page));
}

#[test]
fn the_demo_leaves_other_folders_alone() {
    let place = Place::new();
    for (name, file) in [("mine", Some("important.txt")), ("empty", None)] {
        let out = place.path(name);
        fs::create_dir(&out).unwrap();
        if let Some(file) = file {
            fs::write(out.join(file), "mine").unwrap();
        }
        let outcome = Outcome::of(program().arg("demo").args(SMALL).arg("--out").arg(&out));
        outcome.exits(1).says(&[name, "--out"]);
        assert_eq!(
            fs::read_dir(&out).unwrap().count(),
            usize::from(file.is_some())
        );
    }
}

#[test]
fn a_generated_day_is_clean_unless_asked_to_be_dirty() {
    let place = Place::new();
    let generate = |options: &[&str]| {
        let mut command = program();
        command
            .arg("generate")
            .args(SMALL)
            .args(["--as-of", "2019-10-02"])
            .args(options);
        let _ = fs::remove_dir_all(place.input());
        Outcome::of(command.arg("--out").arg(place.input())).exits(0);
        let answer = place.run("warehouse", &[]).exits(0).json();
        ["follow", "reply", "mention", "like", "user", "message"]
            .map(|source| account(&answer, source))
    };
    let clean = generate(&["--seed", "5"]);
    for account in &clean {
        let known = [
            "read",
            "used",
            "before_window",
            "duplicate",
            "self",
            "suspended",
            "outside_weeks",
        ];
        let other = account.keys().find(|name| !known.contains(&name.as_str()));
        assert_eq!(other, None, "{account:?}");
    }
    let read: u64 = clean[..4].iter().map(|account| account["read"]).sum();
    assert_eq!(
        (read, clean[4]["read"], clean[5]["read"]),
        (10_000, 300, 2_000)
    );
    assert_eq!(generate(&["--seed", "5"]), clean);
    assert_ne!(generate(&["--seed", "6"]), clean);
    let dirty = generate(&["--seed", "5", "--dirty"]);
    assert!(dirty.iter().all(|account| account.contains_key("not_a_number") || account.contains_key("not_json")));
}
