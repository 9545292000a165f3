//! What a file is, is told from its first bytes: read, or refused by name, and never taken for something else.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::rewrite;
use crate::support::{AS_OF, Place, account, graph_recs, small_day};

const LIKES: &str = "1,2,13,2019-09-30 00:00:00,like\n2,3,14,2019-10-01 00:00:00,like\n";

/// A day whose likes are these files.
fn day_with(files: &[(&str, &[u8])]) -> Place {
    let place = small_day();
    place.remove("like.csv");
    for (name, bytes) in files {
        place.write(name, bytes);
    }
    place
}

/// Runs such a day: how many likes are read.
#[track_caller]
fn likes_of(files: &[(&str, &[u8])]) -> u64 {
    let run = day_with(files).run("warehouse", &[]).exits(0);
    account(&run.json(), "like")["used"]
}

/// Fails unless such a day is refused, exit code 1, with these words.
#[track_caller]
fn refuses(files: &[(&str, &[u8])], words: &[&str]) {
    let place = day_with(files);
    place.run("warehouse", &[]).exits(1).says(words);
    assert_eq!(place.publications("warehouse"), [""; 0]);
}

#[test]
fn every_known_form_is_read_under_every_name() {
    let text = LIKES.as_bytes();
    let parquet = rewrite::parquet(&small_day(), "like.csv");
    let forms = [
        text.to_vec(),
        rewrite::gzip(text),
        rewrite::zstd(text),
        rewrite::bzip2(text),
        rewrite::xz(text),
        parquet,
    ];
    let names = [
        "like.csv",
        "LIKE.CSV",
        "like.csv.gz",
        "like.csv.zst",
        "like.csv.bz2",
        "like.csv.xz",
        "like.parquet",
        "Like.txt",
        "like",
        "like/part-0.csv",
        "like/part-0",
        "like.csv/part-00000-1b2c-c000.csv",
        "like.parquet/part-0.snappy.parquet",
        "LIKE/dt=2019-09-30/000000_0",
    ];
    // Every form under two names, every name with two forms.
    for (number, name) in names.iter().enumerate() {
        for form in [number, number + 3] {
            let form = form % forms.len();
            assert_eq!(likes_of(&[(name, &forms[form])]), 2, "{form} as {name}");
        }
    }
}

#[test]
fn messages_are_found_under_their_usual_endings() {
    for name in [
        "st_messages.json",
        "st_messages.ndjson.gz",
        "st_messages.jsonl",
        "st_messages.data/part-0",
    ] {
        let place = small_day();
        let bytes = place.read("st_messages.data");
        place.remove("st_messages.data");
        place.write(
            name,
            if name.ends_with("gz") {
                rewrite::gzip(&bytes)
            } else {
                bytes
            },
        );
        let run = place.run("warehouse", &[]).exits(0);
        assert_eq!(account(&run.json(), "message")["used"], 3, "{name}");
    }
}

#[test]
fn a_part_of_another_form_is_refused_by_name() {
    let many = "1,2,13,2019-09-30 00:00:00,like\n".repeat(2000);
    for (bytes, words) in [
        (&b"\x04\x22\x4d\x18\x64\x40\xa7aaaaaaaaa"[..], "LZ4"),
        (b"PK\x03\x04\x14\0\0\0\x08\0aaaaaaaaaaaaa", "zip"),
        (b"Obj\x01\x04\x14avro.codec", "Avro"),
        (b"ORC\x0a\x0b\x08\x03\x10", "ORC"),
        (b"\xff\xfe1\0,\x002\0,\0", "UTF-16"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (b"<html><body>503 Service Unavailable", "HTML"),
        (b"[{\"user_id\": 1}]", "JSON"),
        (
            b"1,2,3,2019-09-30 00:00:00,like\r1,2,4,2019-09-30 00:00:00,like\r",
            "carriage return",
        ),
    ] {
        // So small beside the others that its unreadable records would be below the limit.
        let files = [("like/p0.csv", many.as_bytes()), ("like/p1.csv", bytes)];
        refuses(&files, &["like/p1.csv", words]);
        // The same behind compression.
        let packed = rewrite::gzip(bytes);
        let files = [("like/p0.csv", many.as_bytes()), ("like/p1.csv", &packed)];
        refuses(&files, &["like/p1.csv", words]);
    }
    let twice = rewrite::gzip(&rewrite::gzip(LIKES.as_bytes()));
    refuses(
        &[("like.csv.gz", &twice)],
        &["like.csv.gz", "compressed twice"],
    );
}

#[test]
fn an_empty_part_is_nothing_in_every_form() {
    for name in [
        "p1.csv",
        "p1.csv.gz",
        "p1.csv.zst",
        "p1.parquet",
        "p1.csv.bz2",
        "p1.csv.xz",
        "p1",
    ] {
        let files = [
            ("like/p0.csv", LIKES.as_bytes()),
            (&format!("like/{name}"), &b""[..]),
        ];
        assert_eq!(likes_of(&files), 2, "{name}");
    }
    for packed in [
        rewrite::gzip(b""),
        rewrite::zstd(b""),
        rewrite::bzip2(b""),
        rewrite::xz(b""),
    ] {
        assert_eq!(
            likes_of(&[("like/p0.csv", LIKES.as_bytes()), ("like/p1", &packed)]),
            2
        );
    }
}

#[test]
fn padding_behind_gzip_is_read_over() {
    let mut padded = rewrite::gzip(LIKES.as_bytes());
    padded.extend([0; 512]);
    assert_eq!(likes_of(&[("like.csv.gz", &padded)]), 2);
}

#[test]
fn tables_of_table_formats_are_no_part_folders() {
    let parquet = rewrite::parquet(&small_day(), "like.csv");
    for (marker, format) in [
        ("like/_delta_log/00000000000000000000.json", "Delta Lake"),
        ("like/.hoodie/hoodie.properties", "Hudi"),
        ("like/metadata/v1.metadata.json", "Iceberg"),
        ("like/snapshot/LATEST", "Paimon"),
    ] {
        let files = [("like/part-0.parquet", &parquet[..]), (marker, b"{}")];
        refuses(&files, &["like", format, "Export its current rows"]);
    }
}

#[test]
fn what_cannot_be_read_is_refused_when_it_could_be_data() {
    let place = day_with(&[("like/p0.csv", LIKES.as_bytes())]);
    symlink("/not/mounted/p1.csv", place.input().join("like/p1.csv")).unwrap();
    let refused = place.run("warehouse", &[]).exits(1);
    refused.says(&["like/p1.csv", "/not/mounted/p1.csv", "not there"]);

    let place = day_with(&[("like/p0.csv", LIKES.as_bytes())]);
    symlink(place.input().join("like"), place.input().join("like/again")).unwrap();
    let refused = place.run("warehouse", &[]).exits(1);
    refused.says(&["like/again", "a folder that it lies in"]);

    let place = day_with(&[("like/p0.csv", LIKES.as_bytes())]);
    let name = std::ffi::OsString::from_vec(b"p\xe9.csv".to_vec());
    fs::write(place.input().join("like").join(name), LIKES).unwrap();
    place
        .run("warehouse", &[])
        .exits(1)
        .says(&["like/p", "UTF-8"]);

    let place = day_with(&[("like/p0.csv", LIKES.as_bytes()), ("like/a\nb.csv", b"")]);
    place.run("warehouse", &[]).exits(1).says(&["rename it"]);

    // A source that the run does not need may be whatever it is.
    let place = small_day();
    place.write("st_messages.data", b"PK\x03\x04 of old");
    place.run_with_scores("warehouse", &[]).exits(0);
    place
        .run("with-model", &[])
        .exits(1)
        .says(&["st_messages.data", "zip"]);
}

#[test]
fn what_lies_beside_is_passed_over_and_told() {
    let place = small_day();
    let input = place.input();
    for name in [
        "like.csv.md5",
        "like.csv~",
        "like.csv._COPYING_",
        "follow.csv.tmp",
        "README.md",
        "user.yml",
    ] {
        place.write(name, "PK\x03\x04");
    }
    place.write("like.csv.old/part-0.csv", LIKES);
    fs::write(
        input.join(std::ffi::OsString::from_vec(b"caf\xe9.txt".to_vec())),
        "",
    )
    .unwrap();
    fs::write(input.join("a\nb.txt"), "").unwrap();
    symlink(".", input.join("loop")).unwrap();
    symlink("/not/there", input.join("user.yaml")).unwrap();
    let run = place.run("warehouse", &[]).exits(0);
    assert_eq!(account(&run.json(), "like")["used"], 2);
    for name in [
        "like.csv.md5",
        "like.csv._COPYING_",
        "user.yml",
        "user.yaml",
    ] {
        assert!(run.stderr.contains(name), "{name}: {}", run.stderr);
    }
    let place = day_with(&[
        ("like/p0.csv", LIKES.as_bytes()),
        ("like/p1.csv.tmp", LIKES.as_bytes()),
        ("like/_temporary/0/p2.csv", LIKES.as_bytes()),
        ("like/.p0.csv.crc", b"crc\0"),
        ("like/p3.csv._COPYING_", LIKES.as_bytes()),
    ]);
    let run = place.run("warehouse", &[]).exits(0);
    assert_eq!(account(&run.json(), "like")["used"], 2);
}

#[test]
fn there_but_unknown_is_no_reason_to_wait() {
    refuses(&[("like.dvc", b"md5: 1")], &["like.dvc", "ending"]);
    for name in ["like.csv.md5", "like/_temporary/p0.csv", "likes.csv"] {
        let place = day_with(&[(name, LIKES.as_bytes())]);
        place
            .run("warehouse", &[])
            .exits(4)
            .says(&["like is missing"]);
    }
}

#[test]
fn a_folder_without_permission_is_not_a_missing_one() {
    let place = Place::new();
    fs::create_dir_all(place.path("closed/input")).unwrap();
    fs::set_permissions(place.path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let allowed = fs::read_dir(place.path("closed")).is_ok();
    let input = place.path("closed/input");
    let run = graph_recs([
        "run",
        "--as-of",
        AS_OF,
        "--input",
        input.to_str().unwrap(),
        "--warehouse",
        place.path("w").to_str().unwrap(),
    ]);
    fs::set_permissions(place.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    // Root may enter any folder: then it is an empty one.
    if allowed {
        run.exits(4);
    } else {
        run.exits(1).says(&["closed/input", "Permission denied"]);
    }
}
