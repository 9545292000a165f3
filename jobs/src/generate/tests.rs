//! The day as a whole.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::*;

/// 2019-10-02T00:00:00Z
const AS_OF: i64 = 1_569_974_400;

fn options(out: &Path, seed: u64, dirty: bool) -> Options {
    let out = out.to_owned();
    Options {
        out,
        users: 3_000,
        engagements: 120_000,
        messages: 20_000,
        ties: Ties::Close,
        seed,
        as_of: AS_OF,
        dirty,
    }
}

fn make(threads: usize, seed: u64, dirty: bool) -> (tempfile::TempDir, Made) {
    let folder = tempfile::tempdir().unwrap();
    let made = generate_on(threads, &options(folder.path(), seed, dirty), &mut |_| {}).unwrap();
    (folder, made)
}

fn same_bytes(one: &Path, other: &Path, name: &str) -> bool {
    fs::read(one.join(name)).unwrap() == fs::read(other.join(name)).unwrap()
}

/// The records of a CSV file: lines, but for line breaks within quotes; blank ones are none.
fn csv(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), Vec::new(), false);
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                field.push(b'"');
                bytes.next();
            }
            b'"' => quoted = !quoted,
            b',' if !quoted => row.push(std::mem::take(&mut field)),
            b'\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                if row != [b""] {
                    rows.push(std::mem::take(&mut row));
                }
                row.clear();
            }
            byte => field.push(byte),
        }
    }
    assert!(!quoted && field.is_empty());
    rows
}

fn user_id(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|_| digits)?;
    (1..=people::MAX_ID).contains(&id).then_some(id)
}

fn moment(field: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(field).ok()?.replace('T', " ");
    let text = text.strip_suffix('Z').unwrap_or(&text);
    let moment = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    Some(moment.and_utc().timestamp())
}

/// The two users and the time of a row that can be read.
fn engagement(name: &str, row: &[Vec<u8>]) -> Option<(u32, u32, i64)> {
    let follow = name == "follow.csv";
    if row.len() != if follow { 3 } else { 5 } {
        return None;
    }
    if !follow {
        std::str::from_utf8(&row[2]).ok()?.parse::<i64>().ok()?;
        std::str::from_utf8(&row[4]).ok()?;
    }
    let time = moment(&row[if follow { 2 } else { 3 }])?;
    Some((user_id(&row[0])?, user_id(&row[1])?, time))
}

const KINDS: [(&str, u64); 4] = [
    ("follow.csv", 12_000),
    ("reply.csv", 30_000),
    ("mention.csv", 24_000),
    ("like.csv", 54_000),
];

#[test]
fn one_seed_gives_one_day_on_any_number_of_threads() {
    let (one, made_by_one) = make(1, 7, true);
    let (three, made_by_three) = make(3, 7, true);
    let (other, _) = make(3, 8, true);
    assert_eq!(made_by_one, made_by_three);
    for file in &made_by_one.files {
        assert!(
            same_bytes(one.path(), three.path(), file.name),
            "{}",
            file.name
        );
        assert!(
            !same_bytes(one.path(), other.path(), file.name),
            "{}",
            file.name
        );
    }
}

#[test]
fn the_bytes_are_these() {
    // Another platform or release must give the same day: the hash of all of its bytes.
    let (folder, made) = make(2, 1, true);
    let mut hash = 0_u64;
    for file in &made.files {
        for &byte in &fs::read(folder.path().join(file.name)).unwrap() {
            hash = sampling::scatter(hash ^ u64::from(byte));
        }
    }
    assert_eq!(
        hash, EXPECTED_HASH,
        "if the day was changed on purpose, write the new hash here"
    );
}

#[test]
fn engagements_are_as_described() {
    for dirty in [false, true] {
        let (folder, made) = make(2, 11, dirty);
        let mut by_user: HashMap<u32, u64> = HashMap::new();
        let (mut selves, mut repeats, mut late, mut old, mut recent) = (0, 0, 0, 0, 0);
        let mut pairs = HashSet::new();
        for (name, rows) in KINDS {
            let file = made.files.iter().find(|file| file.name == name).unwrap();
            let bytes = fs::read(folder.path().join(name)).unwrap();
            assert_eq!((file.rows, file.bytes), (rows, bytes.len() as u64));
            let all = csv(&bytes);
            let readable: Vec<_> = all.iter().filter_map(|row| engagement(name, row)).collect();
            assert_eq!(readable.len() as u64, rows, "{name}");
            assert_eq!(
                (all.len() - readable.len()) as u64,
                file.unreadable,
                "{name}"
            );
            assert!(file.unreadable * 100 < rows);
            assert_eq!(file.unreadable > 0, dirty);
            let distinct: HashSet<_> = all
                .iter()
                .filter(|r| engagement(name, r).is_some())
                .collect();
            let copies = rows - distinct.len() as u64;
            // Chance alone makes a few more.
            assert!(
                (file.duplicates..=file.duplicates + 5).contains(&copies),
                "{copies} {file:?}"
            );
            assert!(
                (rows / 300..rows / 140).contains(&file.duplicates),
                "{file:?}"
            );
            for (user, other, time) in readable {
                *by_user.entry(user).or_default() += 1;
                selves += u64::from(user == other);
                repeats += u64::from(!pairs.insert((user, other)));
                late += u64::from(time > AS_OF);
                old += u64::from(time <= AS_OF - 90 * 86_400);
                recent += u64::from(time > AS_OF - 30 * 86_400);
            }
        }
        assert!((200..550).contains(&selves), "{selves}");
        assert!((40_000..100_000).contains(&repeats), "{repeats}");
        assert!((20_000..60_000).contains(&old), "{old}");
        assert!((25_000..50_000).contains(&recent), "{recent}");
        assert_eq!(late > 0, dirty);
        assert!(late < 1_200, "{late}");
        let mut counts: Vec<u64> = by_user.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let top: u64 = counts.iter().take(30).sum();
        // Even shares would give the top hundredth 1 %.
        assert!(top > 120_000 / 5, "{top}");
    }
}

#[test]
fn users_are_as_described() {
    for dirty in [false, true] {
        let (folder, made) = make(2, 11, dirty);
        let file = made
            .files
            .iter()
            .find(|file| file.name == "user.csv")
            .unwrap();
        let all = csv(&fs::read(folder.path().join("user.csv")).unwrap());
        let utf8 = |row: &[Vec<u8>]| row.iter().all(|field| std::str::from_utf8(field).is_ok());
        let readable: Vec<(u32, bool)> = (all.iter())
            .filter(|row| row.len() >= 12 && utf8(row))
            .filter_map(|row| match row[11].as_slice() {
                b"1" | b"true" | b"t" => Some((user_id(&row[0])?, true)),
                b"0" | b"false" | b"f" | b"" => Some((user_id(&row[0])?, false)),
                _ => None,
            })
            .collect();
        assert_eq!(readable.len(), 3_000);
        assert_eq!(all.len() as u64 - 3_000, file.unreadable);
        assert_eq!(file.unreadable, if dirty { 7 } else { 0 });
        assert!(readable.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let suspended = readable.iter().filter(|(_, suspended)| *suspended).count();
        assert!((25..70).contains(&suspended), "{suspended}");
        let holds = |what: &[u8]| {
            all.iter()
                .flatten()
                .any(|field| field.windows(what.len()).any(|w| w == what))
        };
        assert!(holds(b", ") && holds(b"\n") && holds(b"\""));
    }
}

#[test]
fn messages_are_as_described() {
    for dirty in [false, true] {
        let (folder, made) = make(2, 11, dirty);
        let file = made
            .files
            .iter()
            .find(|file| file.name == "st_messages.data")
            .unwrap();
        let bytes = fs::read(folder.path().join("st_messages.data")).unwrap();
        let (mut readable, mut unreadable, mut links, mut early) = (0, 0, 0, 0);
        let (mut ids, mut good, mut kinds) = (HashSet::new(), HashMap::new(), HashSet::new());
        for line in bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let value: Option<serde_json::Value> = serde_json::from_slice(line).ok();
            let fields = value.as_ref().and_then(|value| {
                let author = value
                    .get("user_id")
                    .or_else(|| value.get("user")?.get("id"))?;
                let id = value.get("id")?.as_i64()?;
                let body = value.get("body")?.as_str()?;
                let time = moment(value.get("created_at")?.as_str()?.as_bytes())?;
                let author = u32::try_from(author.as_u64()?)
                    .ok()
                    .filter(|id| *id <= people::MAX_ID)?;
                Some((id, body, time, author, value.get("recommended")?.as_bool()?))
            });
            let Some((id, body, time, author, recommended)) = fields else {
                unreadable += 1;
                kinds.insert(line.to_vec());
                continue;
            };
            readable += 1;
            ids.insert(id);
            assert!(!body.is_empty() && body.len() < 1_000);
            assert!(time < AS_OF + if dirty { OVERRUN } else { 0 });
            early += u32::from(time < AS_OF - 189 * 86_400);
            links += u32::from(
                value
                    .as_ref()
                    .is_some_and(|value| value.get("links").is_some()),
            );
            assert_eq!(*good.entry(author).or_insert(recommended), recommended);
        }
        assert_eq!((readable, unreadable), (20_000, file.unreadable));
        assert_eq!(
            kinds.len() as u64,
            if dirty { dirt::MESSAGE_KINDS } else { 0 }
        );
        assert!(unreadable * 100 < readable);
        assert_eq!(readable - ids.len() as u64, file.duplicates);
        assert!((20..90).contains(&file.duplicates), "{file:?}");
        assert!(early > 100 && early < 2_000, "{early}");
        assert!((1_200..5_000).contains(&links), "{links}");
        let recommended = good.values().filter(|recommended| **recommended).count();
        let share = recommended as f64 / good.len() as f64;
        assert!((0.015..0.06).contains(&share), "{share}");
    }
}

#[test]
fn progress_counts_all_rows_and_ends_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut heard = Vec::new();
    let made = generate(&options(folder.path(), 1, true), &mut |rows| {
        heard.push(rows)
    })
    .unwrap();
    assert!(heard.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(heard.last(), Some(&143_000));
    assert_eq!(made.rows(), 143_000);
}

#[test]
fn small_days_and_impossible_ones() {
    let folder = tempfile::tempdir().unwrap();
    let try_with = |users, engagements, messages, as_of| {
        let day = Options {
            users,
            engagements,
            messages,
            as_of,
            ..options(folder.path(), 1, true)
        };
        generate(&day, &mut |_| {}).map(|made| made.rows())
    };
    assert_eq!(try_with(0, 0, 0, AS_OF).unwrap(), 0);
    assert_eq!(try_with(1, 0, 30, AS_OF).unwrap(), 31);
    assert_eq!(try_with(2, 50, 3, AS_OF + 1_234).unwrap(), 55);
    assert!(matches!(
        try_with(1, 1, 0, AS_OF),
        Err(GenerateError::TooFewUsers(1))
    ));
    assert!(matches!(
        try_with(0, 0, 1, AS_OF),
        Err(GenerateError::TooFewUsers(0))
    ));
    assert!(matches!(
        try_with(u32::MAX, 1, 0, AS_OF),
        Err(GenerateError::TooManyUsers(_))
    ));
    assert!(matches!(
        try_with(9, 1, 0, i64::MAX),
        Err(GenerateError::AsOf(_))
    ));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = generate(&options(&file, 1, false), &mut |_| {});
    assert!(matches!(error, Err(GenerateError::Io { .. })));
}

/// See `the_bytes_are_these`.
const EXPECTED_HASH: u64 = 16_277_391_991_763_504_480;
