//! Records that cannot be read, of every kind: the number of the record says which.

/// How often one comes: every so many rows, so that each of the `kinds` occurs even in small
/// files, at most once in 110 rows (0.9 %), and once in a thousand in large ones.
pub(super) fn period(rows: u64, kinds: u64) -> u64 {
    (rows / kinds).clamp(110, 1_000)
}

/// Kinds of [`engagement`].
pub(super) const ENGAGEMENT_KINDS: u64 = 14;

/// A row of reply, mention or like, or of follow, that cannot be read, and now and then a blank
/// line after it. `moment` is a date that can be read.
pub(super) fn engagement(bytes: &mut Vec<u8>, number: u64, follow: bool, moment: &[u8]) {
    // The two ids, the message id, the date; None: as it should be.
    let (ids, message, date): (&[u8], Option<&[u8]>, Option<&[u8]>) =
        match number % ENGAGEMENT_KINDS {
            0 => (b"abc,3", None, None),
            1 => (b"12,7.5", None, None),
            2 => (b"99999999999,5", None, None),
            3 => (b"5,2147483648", None, None),
            4 => (b"0,5", None, None),
            5 => (b"12,-5", None, None),
            6 => (b",31", None, None),
            7 => (b"12\xff\xfe,5", None, None),
            8 => (b"8,10", None, Some(b"not-a-date")),
            9 => (b"8,10", None, Some(b"2019-02-30 10:00:00")),
            10 => (b"8,10", None, Some(b"")),
            11 => (b"8,10", None, Some(b"2019-02-03 24:60:00")),
            12 if !follow => (b"8,10", Some(b"m12"), None),
            12 => (b"8 10,12", None, None),
            // Cut off after the first field.
            _ => {
                bytes.extend_from_slice(b"12\n");
                return blank(bytes, number);
            }
        };
    bytes.extend_from_slice(ids);
    bytes.push(b',');
    if !follow {
        bytes.extend_from_slice(message.unwrap_or(b"284530305"));
        bytes.push(b',');
    }
    bytes.extend_from_slice(date.unwrap_or(moment));
    bytes.extend_from_slice(if follow { b"\n" } else { b",x\n" });
    blank(bytes, number);
}

/// Kinds of [`user`].
pub(super) const USER_KINDS: u64 = 7;

/// A row of `user.csv` that cannot be read.
pub(super) fn user(bytes: &mut Vec<u8>, number: u64) {
    let row: &[u8] = match number % USER_KINDS {
        0 => b"78,short\n",
        1 => b"abc,x,\"X, Y\",0,,2015-01-01,1,2,3,\"\",,0,\n",
        2 => b"4294967296,x,\"X\",0,,2015-01-01,1,2,3,\"\",,0,\n",
        3 => b"79,x,\"X\",0,,2015-01-01,1,2,3,\"\",,maybe,\n",
        4 => b"80,x,\"caf\xe9\",0,,2015-01-01,1,2,3,\"\",,0,\n",
        5 => b",x,\"X\",0,,2015-01-01,1,2,3,\"two\nlines\",,0,\n",
        _ => b"0,x,\"X\",0,,2015-01-01,1,2,3,\"\",,0,\n",
    };
    bytes.extend_from_slice(row);
    blank(bytes, number);
}

/// Kinds of [`message`].
pub(super) const MESSAGE_KINDS: u64 = 14;

/// A line of `st_messages.data` that cannot be read.
pub(super) fn message(bytes: &mut Vec<u8>, number: u64) {
    let line: &[u8] = match number % MESSAGE_KINDS {
        0 => b"not json",
        1 => b"{\"id\": 2}",
        2 => b"[1, 2]",
        3 => br#"{"id": 3, "body": null, "created_at": "2019-09-30T00:00:00Z", "user_id": 5}"#,
        4 => br#"{"id": 4, "body": "bad date", "created_at": "yesterday", "user_id": 5}"#,
        5 => b"{\"id\": 5, \"body\": \"\xff\xfe\", \"created_at\": \"2019-09-30T00:00:00Z\", \"user_id\": 5}",
        6 => br#"{"id": 6, "body": "cut off in the mid"#,
        7 => br#"{"body": "no id", "created_at": "2019-09-30T00:00:00Z", "user_id": 5}"#,
        8 => br#"{"id": 8, "body": "no author", "created_at": "2019-09-30T00:00:00Z"}"#,
        9 => br#"{"id": 9, "body": "no date", "user_id": 5}"#,
        10 => br#"{"id": 10, "body": 10, "created_at": "2019-09-30T00:00:00Z", "user_id": 5}"#,
        11 => br#"{"id": 11, "body": "no such day", "created_at": "2019-02-30T00:00:00Z", "user_id": 5}"#,
        12 => br#"{"id": 12, "body": "no such user", "created_at": "2019-09-30T00:00:00Z", "user_id": 99999999999}"#,
        _ => br#"{"id": 99999999999999999999, "body": "id of 67 bits", "created_at": "2019-09-30T00:00:00Z", "user_id": 5}"#,
    };
    bytes.extend_from_slice(line);
    bytes.push(b'\n');
    blank(bytes, number);
}

/// After every third of them a blank line, which is nothing.
fn blank(bytes: &mut Vec<u8>, number: u64) {
    if number.is_multiple_of(3) {
        bytes.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_below_one_percent() {
        for rows in [0, 1, 54, 55, 109, 110, 164, 165, 1_000, 54_321, 10_000_000] {
            assert!(rows / period(rows, 14) * 100 <= rows, "{rows}");
        }
        assert_eq!(14_000 / period(14_000, 14), 14);
    }
}
