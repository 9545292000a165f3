use super::*;
use crate::records::quotes::masks_by_byte;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Cuts the data like a reader whose buffer holds at most so many bytes more than it must.
fn cut(data: &[u8], framing: Framing, step: usize) -> Vec<Vec<u8>> {
    let (mut records, mut from, mut held) = (Vec::new(), 0, 0);
    loop {
        let buffer = &data[from..held];
        if let Some(n) = next_record(buffer, framing) {
            records.push(buffer[..n].to_vec());
            from += n;
        } else if held < data.len() {
            held = data.len().min(held + step);
        } else if let Some(n) = next_record_at_end(buffer, framing) {
            records.push(buffer[..n].to_vec());
            from += n;
        } else {
            return records;
        }
    }
}

fn quoted(data: &str) -> Vec<String> {
    quoted_in(data, Framing::QuotedCsv(None))
}

fn quoted_in(data: &str, framing: Framing) -> Vec<String> {
    let whole = cut(data.as_bytes(), framing, data.len().max(1));
    for step in 1..8 {
        assert_eq!(
            cut(data.as_bytes(), framing, step),
            whole,
            "{data:?} by {step}"
        );
    }
    whole
        .into_iter()
        .map(|record| String::from_utf8(record).unwrap())
        .collect()
}

#[test]
fn lines() {
    assert_eq!(next_record(b"a\"\nb\n", Framing::Line), Some(3));
    assert_eq!(next_record(b"a", Framing::Line), None);
    assert_eq!(next_record(b"", Framing::Line), None);
    assert_eq!(next_record_at_end(b"a", Framing::Line), Some(1));
    assert_eq!(next_record_at_end(b"", Framing::Line), None);
}

#[test]
fn quoted_fields_hold_line_breaks() {
    assert_eq!(quoted("1,\"a\nb\",2\n3\n"), ["1,\"a\nb\",2\n", "3\n"]);
    assert_eq!(
        quoted("1,\"a\"\"\n\"\"\"\r\n3"),
        ["1,\"a\"\"\n\"\"\"\r\n", "3"]
    );
    assert_eq!(quoted("\"\"\n\"\n\"\n\n"), ["\"\"\n", "\"\n\"\n", "\n"]);
    assert_eq!(quoted("1,\"a\nb\""), ["1,\"a\nb\""]);
}

#[test]
fn malformed_quotes_cost_one_line() {
    assert_eq!(quoted("1,\"a\nb\"x\"\nc\n"), ["1,\"a\n", "b\"x\"\n", "c\n"]);
    assert_eq!(quoted("1,\"a\n2,\"b\"\n"), ["1,\"a\n", "2,\"b\"\n"]);
    assert_eq!(
        quoted("1,\"a\\\"\n2,\"b\n\"\n"),
        ["1,\"a\\\"\n", "2,\"b\n\"\n"]
    );
    assert_eq!(quoted("1,\"a\\\\\n\"\n2\n"), ["1,\"a\\\\\n\"\n", "2\n"]);
    assert_eq!(quoted("1,\"a\n\"\r\n2\n"), ["1,\"a\n\"\r\n", "2\n"]);
}

#[test]
fn a_record_of_several_lines_has_the_usual_columns() {
    let data = "1,\"a,x\n2,b\",x\n3,\"c\nd\",x\n";
    let framing = Framing::QuotedCsv(Some(3));
    assert_eq!(
        quoted_in(data, framing),
        ["1,\"a,x\n2,b\",x\n", "3,\"c\nd\",x\n"]
    );
    // It could be one record, but not of this file.
    let data = "1,\"a,x\n2,b\",x,x\n3,\"c\nd\",x";
    assert_eq!(
        quoted_in(data, framing),
        ["1,\"a,x\n", "2,b\",x,x\n", "3,\"c\nd\",x"]
    );
    assert_eq!(quoted_in("1,\"a\nb\"", framing), ["1,\"a\n", "b\""]);
}

#[test]
fn a_quote_inside_a_field_opens_nothing() {
    assert_eq!(quoted("1,a\"b\n2, \"c\n"), ["1,a\"b\n", "2, \"c\n"]);
}

#[test]
fn an_bad_quoting_costs_one_line_at_the_end() {
    assert_eq!(quoted("1,\"a\n2,b\n3"), ["1,\"a\n", "2,b\n", "3"]);
    assert_eq!(quoted("1,\"a"), ["1,\"a"]);
    assert_eq!(quoted("1,\"a\n2,\"\"\n"), ["1,\"a\n", "2,\"\"\n"]);
}

#[test]
fn an_bad_quoting_costs_one_line_in_a_long_file() {
    let line = "2,bb\n";
    let many = line.repeat(2 * MAX_QUOTED_RECORD / line.len());
    let data = format!("1,\"a\n{many}3,\"c\"\n");
    let whole = cut(data.as_bytes(), Framing::QuotedCsv(None), data.len());
    assert_eq!(whole[0], b"1,\"a\n");
    assert_eq!(whole.len(), 2 + many.len() / line.len());
    assert_eq!(
        cut(data.as_bytes(), Framing::QuotedCsv(None), 100_000),
        whole
    );
}

#[test]
fn the_limit_does_not_depend_on_the_buffer() {
    for excess in 0..4 {
        let start = "1,\"\n";
        let filling = "x".repeat(MAX_QUOTED_RECORD - start.len() - 2 - 2 + excess);
        for end in ["\"\n2\n", "\"\n", "\"", "\"\"\n"] {
            let data = format!("{start}{filling}{end}");
            let whole = cut(data.as_bytes(), Framing::QuotedCsv(None), data.len());
            let one = end != "\"\"\n"
                && whole[0].len() <= MAX_QUOTED_RECORD
                && whole[0].len() > start.len();
            assert!(one || whole[0] == start.as_bytes());
            for step in [
                1 << 18,
                MAX_QUOTED_RECORD - 1,
                MAX_QUOTED_RECORD,
                MAX_QUOTED_RECORD + 1,
            ] {
                assert_eq!(cut(data.as_bytes(), Framing::QuotedCsv(None), step), whole);
            }
        }
    }
}

#[test]
fn long_lines_are_records() {
    let long = "x".repeat(MAX_QUOTED_RECORD + 10);
    let data = format!("1,\"a\",{long}\n2\n");
    let records = cut(data.as_bytes(), Framing::QuotedCsv(None), 1 << 16);
    assert_eq!(
        records.iter().map(Vec::len).collect::<Vec<_>>(),
        [long.len() + 7, 2]
    );
}

#[test]
fn blank_records() {
    for blank in ["", "\n", "\r\n", " \t\n"] {
        assert!(is_blank(blank.as_bytes()));
    }
    for record in [",", "0", "\"\"\n", "\u{a0}"] {
        assert!(!is_blank(record.as_bytes()));
    }
}

#[test]
fn fields_of_a_record() {
    type Found = Result<(Vec<String>, usize), Reason>;
    fn found(record: &[u8]) -> Found {
        let (fields, count) = fields::<3>(record)?;
        let text = |f: &&[u8]| String::from_utf8(f.to_vec()).unwrap();
        Ok((fields.iter().take(count).map(text).collect(), count))
    }
    fn ok(fields: &[&str], count: usize) -> Found {
        Ok((fields.iter().map(|f| (*f).to_owned()).collect(), count))
    }
    assert_eq!(found(b"a,b,c\r\n"), ok(&["a", "b", "c"], 3));
    assert_eq!(found(b"a,b,c,d\n"), ok(&["a", "b", "c"], 4));
    assert_eq!(found(b""), ok(&[""], 1));
    assert_eq!(found(b","), ok(&["", ""], 2));
    assert_eq!(
        found(b"\"a,\nb\",\"\",\"c\"\"d\""),
        ok(&["a,\nb", "", "c\"\"d"], 3)
    );
    assert_eq!(found(b"\"a\"b\",c,d"), Err(Reason::BadQuoting));
    assert_eq!(found(b"\"a\" \n"), Err(Reason::BadQuoting));
    assert_eq!(found(b"a,\"b\\\",c"), Err(Reason::BadQuoting));
    assert_eq!(found(b"a,\"b\\\\\",c"), ok(&["a", "b\\\\", "c"], 3));
    assert_eq!(found(b"a,b\\\",c"), ok(&["a", "b\\\"", "c"], 3));
    assert_eq!(found(b"a\",b"), ok(&["a\"", "b"], 2));
    assert_eq!(found(b"a,\"b\n"), Err(Reason::BadQuoting));
    assert_eq!(found(b"a,b,c,d,\"\"\""), Err(Reason::BadQuoting));
    assert_eq!(found(b"a,\"\xff\n"), Err(Reason::NotUtf8));
}

/// What is cut out as one record never has an open quote, unless it is the first line of what has one.
#[test]
fn cutting_agrees_with_splitting() {
    let alphabet = ["\"", "\"", ",", "\n", "a", "\r\n", "\\"];
    let mut state = 7_u64;
    for _ in 0..200_000 {
        let mut data = String::new();
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            data.push_str(alphabet[(state >> 33) as usize % alphabet.len()]);
        }
        let framing = Framing::QuotedCsv([None, Some(2)][(state >> 60) as usize % 2]);
        let records = cut(data.as_bytes(), framing, data.len());
        assert_eq!(records.concat(), data.as_bytes());
        for record in &records {
            let unclosed = fields::<1>(record) == Err(Reason::BadQuoting);
            let one_line = record
                .iter()
                .position(|&b| b == b'\n')
                .is_none_or(|at| at + 1 == record.len());
            assert!(!unclosed || one_line, "{data:?}");
        }
        assert_eq!(cut(data.as_bytes(), framing, 1), records, "{data:?}");
    }
}

/// The way that reads any record must cut and split a plain one as the fast way does.
#[test]
fn plain_records_are_read_as_all_others() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut read_fast = 0;
    for _ in 0..50_000 {
        let mut data = vec![];
        while data.len() < 4 * BLOCK {
            let filling = "x".repeat(random.random_range(0..BLOCK));
            let field = match random.random_range(0..6) {
                0 => filling,
                1 => format!("\"{filling}\""),
                2 => format!("\"{filling},\"\"\n\""),
                3 => format!(
                    "\"{filling}\u{e9}\"{}",
                    ["a", "\r", ""][random.random_range(0..3)]
                ),
                4 => format!("{filling}\""),
                _ => "7".to_owned(),
            };
            data.extend_from_slice(field.as_bytes());
            data.push(b",,,\n"[random.random_range(0..4)]);
        }
        for _ in 0..random.random_range(0..4) {
            let at = random.random_range(0..data.len());
            data[at] = b"\"\",\n\r\xc3\\"[random.random_range(0..7)];
        }
        let mut ends = [0; 3];
        let found = plain_record(&data, &mut ends);
        let mut ends_by_byte = [0; 3];
        let by_byte = plain_record_with(&data, &mut ends_by_byte, masks_by_byte);
        assert_eq!((by_byte, ends_by_byte), (found, ends), "{data:?}");
        #[cfg(target_arch = "x86_64")]
        {
            let mut ends_by_vector = [0; 3];
            // SAFETY: every machine of this architecture has these vectors.
            let masks = |block: &_| unsafe { masks_by_vector(block) };
            let by_vector = plain_record_with(&data, &mut ends_by_vector, masks);
            assert_eq!((by_vector, ends_by_vector), (found, ends), "{data:?}");
        }
        let Some(Plain {
            length,
            lines,
            columns,
        }) = found
        else {
            continue;
        };
        read_fast += 1;
        assert_eq!(
            next_record(&data, Framing::QuotedCsv(None)),
            Some(length),
            "{data:?}"
        );
        let record = &data[..length];
        assert_eq!(
            record.iter().filter(|&&b| b == b'\n').count(),
            lines,
            "{data:?}"
        );
        let (expected, count) = fields::<3>(record).unwrap();
        assert!(count >= 3, "{data:?}");
        assert_eq!(count, columns, "{data:?}");
        let (mut start, text) = (0, without_line_end(record));
        for (end, expected) in ends.into_iter().zip(expected) {
            let (field, _) = split_field(&text[start..end.min(text.len())]).unwrap();
            assert_eq!(field, expected, "{data:?}");
            start = end + 1;
        }
    }
    assert!(read_fast > 4_000, "{read_fast}");
}
