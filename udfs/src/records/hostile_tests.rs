//! Bytes that nobody meant as records: no parser may panic, and what is accepted must hold what it promises.

use super::*;

/// A small generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        const LIKELY: &[u8] =
            b"\"\"\\,,:{}[]0159-+.eEtfnuT Z\n\r\t\0\x1f\x7f\x80\xc3\xa9\xed\xa0\xf0\xff@/";
        if self.below(4) == 0 {
            self.below(256) as u8
        } else {
            LIKELY[self.below(LIKELY.len())]
        }
    }

    fn mutate(&mut self, line: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(line.len() + 1);
            match self.below(5) {
                0 => line.insert(at, self.byte()),
                1 if at < line.len() => line[at] = self.byte(),
                2 if at < line.len() => drop(line.remove(at)),
                3 => line.truncate(at.max(1)),
                _ => {
                    let end = at + self.below(line.len() - at + 1);
                    let part = line[at..end].to_vec();
                    let to = self.below(line.len() + 1);
                    line.splice(to..to, part);
                }
            }
        }
    }
}

fn parse_all(record: &[u8], parser: &mut MessageParser) -> usize {
    let mut read = 0;
    for engagement in [parse_follow(record), parse_engagement(record)]
        .into_iter()
        .flatten()
    {
        assert!(engagement.user_id > 0 && engagement.engaged_with_user_id > 0);
        read += 1;
    }
    let padded = [record, b"\n", &[b'5'; 64]].concat();
    let line = &padded[..next_record(&padded, Framing::Line).unwrap()];
    if let Some((engagement, length)) = next_plain_engagement::<true>(&padded) {
        assert_eq!(length, line.len());
        assert_eq!(parse_follow(line), Ok(engagement), "{record:?}");
    }
    if let Some((engagement, length)) = next_plain_engagement::<false>(&padded) {
        assert_eq!(length, line.len());
        assert_eq!(parse_engagement(line), Ok(engagement), "{record:?}");
    }
    if let Ok(user) = parse_user(record, None).user {
        assert!(user.user_id > 0);
        read += 1;
    }
    let mut fresh = MessageParser::new();
    let message = parser.parse(record);
    assert_eq!(
        message,
        fresh.parse(record),
        "what was read before does not matter"
    );
    if let Ok(message) = message {
        assert!(message.user_id > 0);
        assert!(
            serde_json::from_slice::<serde::de::IgnoredAny>(record).is_ok(),
            "{record:?}"
        );
        read += 1;
    }
    let _ = parse_timestamp(record);
    for framing in [
        Framing::Line,
        Framing::QuotedCsv(None),
        Framing::QuotedCsv(Some(3)),
    ] {
        let mut rest = record;
        while let Some(n) = next_record_at_end(rest, framing) {
            assert!(n > 0);
            rest = &rest[n..];
        }
    }
    read
}

#[test]
fn random_bytes() {
    let mut random = Random(1);
    let mut parser = MessageParser::new();
    for _ in 0..200_000 {
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
        parse_all(&bytes, &mut parser);
    }
}

#[test]
fn mutated_records() {
    let records: [&[u8]; 6] = [
        b"2390,5164,284530305,2019-08-15 05:35:42,like\n",
        b"2390,5164,2019-08-15T05:35:42.5Z\r\n",
        b"\"8\",user8,\"Name, \"\"8\"\"\n\",,,,,,,,,\"0\",2015-01-01\n",
        br#"{"id": 7, "body": "caf\u00e9 \ud83d\ude80 \"x\"", "created_at": "2019-06-23T02:42:06Z", "user_id": 3}"#,
        r#"{"links":[{"description":"dé","n":-1.5e3}],"user":{"id":5},"id":-1,"body":"","created_at":"2019-06-23 02:42:06","recommended":true}"#.as_bytes(),
        br#"{"a":[[{}],null,false,0.5],"id":1,"id":2,"user_id":9,"created_at":"2019-06-23T02:42:06.1Z","body":"\\"}"#,
    ];
    let mut random = Random(2);
    let mut parser = MessageParser::new();
    let mut read = 0;
    for round in 0..300_000 {
        let mut record = records[round % records.len()].to_vec();
        random.mutate(&mut record);
        read += parse_all(&record, &mut parser);
    }
    assert!(
        read > 25_000,
        "too few of the mutated records are still good to show anything: {read}"
    );
}
