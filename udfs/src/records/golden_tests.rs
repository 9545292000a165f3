//! The golden input: how many records are good, and why the others are not.

use super::*;

/// Good records and the reasons of the others, in the order of the file.
fn count(
    file: &str,
    framing: Framing,
    mut read: impl FnMut(&[u8]) -> Result<(), Reason>,
) -> (usize, Vec<Reason>) {
    let path = format!(
        "{}/../tests/golden/input/{file}",
        env!("CARGO_MANIFEST_DIR")
    );
    let data = std::fs::read(path).unwrap();
    let (mut rest, mut good, mut reasons) = (&data[..], 0, Vec::new());
    while let Some(length) = next_record_at_end(rest, framing) {
        let (record, after) = rest.split_at(length);
        rest = after;
        if is_blank(record) {
            continue;
        }
        match read(record) {
            Ok(()) => good += 1,
            Err(reason) => reasons.push(reason),
        }
    }
    (good, reasons)
}

#[test]
fn engagements() {
    use Reason::{NoSuchDate, NotANumber, OutOfRange, Ragged};
    for (file, good) in [
        ("reply.csv", 7576),
        ("mention.csv", 6061),
        ("like.csv", 13636),
    ] {
        let reasons = vec![NotANumber, Ragged, Ragged, OutOfRange, NoSuchDate];
        let counted = count(file, Framing::Line, |line| parse_engagement(line).map(drop));
        assert_eq!(counted, (good, reasons), "{file}");
    }
}

#[test]
fn follows() {
    use Reason::{MissingField, NoSuchDate, NotANumber, OutOfRange, Ragged};
    let counted = count("follow.csv", Framing::Line, |line| {
        parse_follow(line).map(drop)
    });
    assert_eq!(
        counted,
        (
            3031,
            vec![NotANumber, Ragged, MissingField, OutOfRange, NoSuchDate]
        )
    );
}

#[test]
fn users() {
    let mut suspended = 0;
    let columns = Some(13);
    let (good, reasons) = count("user.csv", Framing::QuotedCsv(columns), |record| {
        let user = parse_user(record, columns).user;
        user.map(|user| suspended += usize::from(user.suspended))
    });
    assert_eq!((good, suspended), (1501, 23));
    assert_eq!(reasons, [Reason::Ragged; 3]);
}

#[test]
fn messages() {
    use Reason::{MissingField, NoSuchDate, NotJson, NotUtf8, WrongType};
    let mut parser = MessageParser::new();
    let counted = count("st_messages.data", Framing::Line, |line| {
        parser.parse(line).map(drop)
    });
    let reasons = vec![
        NotJson,
        NotJson,
        MissingField,
        WrongType,
        MissingField,
        NoSuchDate,
        NotUtf8,
    ];
    assert_eq!(counted, (6000, reasons));
}
