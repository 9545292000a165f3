//! What values are read as.

use datafusion::arrow::array::{
    BinaryArray, Date32Array, Date64Array, Decimal128Array, Float64Array,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use datafusion::parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int96, Int96Type,
};

use super::*;

/// The rows of a file of follows whose `user_id` has these values.
fn follows_of(users: ArrayRef) -> Vec<String> {
    let others = numbers(&vec![9; users.len()]);
    let at = times(users.len());
    rows(
        Source::Follow,
        file(&[
            ("user_id", users),
            ("engaged_with_user_id", others),
            ("timestamp", at),
        ]),
    )
}

/// The rows of a file of follows with these times.
fn follows_at(times: ArrayRef) -> Vec<String> {
    let users = numbers(&vec![1; times.len()]);
    let columns = [
        ("user_id", users.clone()),
        ("engaged_with_user_id", users),
        ("timestamp", times),
    ];
    let rows = rows(Source::Follow, file(&columns));
    let shown = |row: String| row.trim_start_matches("1|1|").to_string();
    rows.into_iter().map(shown).collect()
}

#[test]
fn numbers_of_all_types() {
    use DataType::*;
    let given = numbers(&[1, 2, 127]);
    let dictionary = |values| Dictionary(Box::new(Int32), Box::new(values));
    for kind in [
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Decimal32(9, 0),
        Decimal64(18, 6),
        Decimal128(10, 0),
        Decimal128(38, 18),
        Decimal256(76, 40),
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        dictionary(Utf8),
        dictionary(Int64),
        dictionary(UInt16),
    ] {
        let text = match &kind {
            Binary | LargeBinary | BinaryView => cast(&given, &Utf8).unwrap(),
            Dictionary(_, values) => cast(&given, values).unwrap(),
            _ => Arc::clone(&given),
        };
        let users = cast(&text, &kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(
            follows_of(users),
            [
                "1|9|1970-01-01T00:00:05",
                "2|9|1970-01-01T00:00:06",
                "127|9|1970-01-01T00:00:07"
            ],
            "{kind}"
        );
    }
}

#[test]
fn numbers_that_are_none() {
    let of = |users: ArrayRef| -> Vec<String> {
        let rows = follows_of(users).into_iter();
        rows.map(|row| row.split(',').next().unwrap_or_default().to_string())
            .collect()
    };
    // Above 2^53 a DOUBLE may be another number than the one that was written.
    let doubles = [
        Some(5.5),
        Some(f64::NAN),
        Some(9_007_199_254_740_994.0),
        Some(f64::INFINITY),
        Some(-0.0),
        Some(-1.0),
        None,
    ];
    assert_eq!(
        of(Arc::new(Float64Array::from(doubles.to_vec()))),
        [
            "1 not_a_number 5.5",
            "2 not_a_number NaN",
            "3 out_of_range 9007199254740994.0",
            "4 out_of_range inf",
            "5 out_of_range -0.0",
            "6 out_of_range -1.0",
            "7 missing_field ",
        ]
    );
    let decimals = Decimal128Array::from(vec![Some(550), Some(500), Some(10_i128.pow(30)), None]);
    let decimals = decimals.with_precision_and_scale(38, 2).unwrap();
    assert_eq!(
        of(Arc::new(decimals)),
        [
            "1 not_a_number 5.50",
            "5|9|1970-01-01T00:00:06",
            "3 out_of_range 10000000000000000000000000000.00",
            "4 missing_field ",
        ]
    );
    assert_eq!(
        of(Arc::new(UInt64Array::from(vec![u64::MAX, 1 << 31]))),
        [
            "1 out_of_range 18446744073709551615",
            "2 out_of_range 2147483648"
        ]
    );
    assert_eq!(of(numbers(&[-5])), ["1 out_of_range -5"]);
    assert_eq!(
        of(texts(&[Some("5.0"), Some("")])),
        ["1 not_a_number 5.0", "2 missing_field "]
    );
    // A column without any value, as pandas and DuckDB write it.
    let nothing = datafusion::arrow::array::new_null_array(&DataType::Null, 2);
    assert_eq!(of(nothing), ["1 missing_field ", "2 missing_field "]);
}

#[test]
fn times_of_all_types() {
    let seconds = [-62_135_596_800, -1, 0, 1_569_888_000, 253_402_300_799];
    let expected = [
        "0001-01-01T00:00:00",
        "1969-12-31T23:59:59",
        "1970-01-01T00:00:00",
        "2019-10-01T00:00:00",
        "9999-12-31T23:59:59",
    ];
    let given: ArrayRef = Arc::new(TimestampSecondArray::from(seconds.to_vec()));
    for zone in [None, Some("UTC"), Some("+02:00"), Some("Europe/Berlin")] {
        for unit in [
            TimeUnit::Second,
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
        ] {
            let kind = DataType::Timestamp(unit, zone.map(Into::into));
            let times = cast(&given, &DataType::Timestamp(unit, None)).unwrap();
            // The same moment, of which the zone is but another way to show it.
            let times = datafusion::arrow::array::make_array(
                times
                    .to_data()
                    .into_builder()
                    .data_type(kind.clone())
                    .build()
                    .unwrap(),
            );
            assert_eq!(follows_at(times), expected, "{kind}");
        }
    }
    // Fractions are dropped, also before 1970.
    let nanos = TimestampNanosecondArray::from(vec![-1, 1_999_999_999, 1_569_888_000_000_000_000]);
    assert_eq!(
        follows_at(Arc::new(nanos)),
        [
            "1969-12-31T23:59:59",
            "1970-01-01T00:00:01",
            "2019-10-01T00:00:00"
        ]
    );
    let days = [-719_162, 0, 18_170, 2_932_896];
    let expected = [
        "0001-01-01T00:00:00",
        "1970-01-01T00:00:00",
        "2019-10-01T00:00:00",
        "9999-12-31T00:00:00",
    ];
    assert_eq!(
        follows_at(Arc::new(Date32Array::from(days.to_vec()))),
        expected
    );
    let millis: Vec<_> = days
        .iter()
        .map(|day| i64::from(*day) * 86_400_000)
        .collect();
    assert_eq!(follows_at(Arc::new(Date64Array::from(millis))), expected);
    assert_eq!(
        follows_at(texts(&[
            Some("2019-10-01 00:00:00"),
            Some("9999-12-31T00:00:00Z")
        ])),
        ["2019-10-01T00:00:00", "9999-12-31T00:00:00"]
    );
}

/// `infinity` as DuckDB and PostgreSQL have it, and whatever else is no time that can be written.
#[test]
fn times_that_are_none() {
    let extremes = vec![i64::MAX, i64::MIN, -i64::MAX, i64::MAX - 1];
    let columns: [ArrayRef; 3] = [
        Arc::new(TimestampSecondArray::from(extremes.clone())),
        Arc::new(TimestampMillisecondArray::from(extremes.clone())),
        Arc::new(TimestampMicrosecondArray::from(extremes.clone()).with_timezone("UTC")),
    ];
    let expected = [
        "1 no_such_date 1,1,9223372036854775807",
        "2 no_such_date 1,1,-9223372036854775808",
        "3 no_such_date 1,1,-9223372036854775807",
        "4 no_such_date 1,1,9223372036854775806",
    ];
    for column in columns {
        let kind = column.data_type().clone();
        assert_eq!(follows_at(column), expected, "{kind}");
    }
    // In 64 bits, nanoseconds reach from 1677 to 2262.
    assert_eq!(
        follows_at(Arc::new(TimestampNanosecondArray::from(extremes)))[0],
        "2262-04-11T23:47:16"
    );
    assert_eq!(
        follows_at(Arc::new(Date32Array::from(vec![i32::MAX, i32::MIN]))),
        [
            "1 no_such_date 1,1,2147483647",
            "2 no_such_date 1,1,-2147483648"
        ]
    );
    let before_and_after = TimestampSecondArray::from(vec![-62_135_596_801, 253_402_300_800]);
    assert_eq!(
        follows_at(Arc::new(before_and_after)),
        [
            "1 no_such_date 1,1,0000-12-31T23:59:59",
            "2 no_such_date 1,1,+10000-01-01T00:00:00"
        ]
    );
}

/// As Spark, Hive and Impala write times.
#[test]
fn int96_reaches_over_all_years() {
    let int96 = |julian_day: u32, nanos: u64| {
        let mut value = Int96::new();
        value.set_data(nanos as u32, (nanos >> 32) as u32, julian_day);
        value
    };
    let values = [
        int96(1_721_426, 0),
        int96(2_305_448, 1_000_000_000),
        int96(2_440_587, 86_399_999_999_999),
        int96(2_458_758, 20_123_000_000_000),
        int96(5_373_484, 86_399_999_999_999),
        int96(5_373_485, 0),
        int96(i32::MAX as u32, 0),
        int96(u32::MAX, u64::MAX),
    ];
    let bytes = raw_file::<Int96Type>(
        "int96",
        "timestamp",
        &values,
        &[("user_id", 1), ("engaged_with_user_id", 2)],
    );
    assert_eq!(
        rows(Source::Follow, bytes),
        [
            "1|2|0001-01-01T00:00:00",
            "1|2|1600-01-01T00:00:01",
            "1|2|1969-12-31T23:59:59",
            "1|2|2019-10-01T05:35:23",
            "1|2|9999-12-31T23:59:59",
            "6 no_such_date 1,2,+10000-01-01T00:00:00",
            "7 no_such_date 1,2,185331720297600",
            "8 no_such_date 1,2,-4713-11-23T00:00:00",
        ]
    );
}

#[test]
fn flags_of_all_types() {
    let users = |flags: ArrayRef| {
        let ids: Vec<_> = (1..=flags.len() as i64).collect();
        rows(
            Source::User,
            file(&[("user_id", numbers(&ids)), ("suspended", flags)]),
        )
    };
    let given = numbers(&[1, 0]);
    for kind in [
        DataType::Boolean,
        DataType::Int8,
        DataType::UInt64,
        DataType::Float64,
        DataType::Decimal128(10, 0),
        DataType::Utf8,
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
    ] {
        assert_eq!(
            users(cast(&given, &kind).unwrap()),
            ["1|true", "2|false"],
            "{kind}"
        );
    }
    let said = texts(&[
        Some("true"),
        Some("f"),
        Some(""),
        None,
        Some("yes"),
        Some("\u{e9}"),
    ]);
    assert_eq!(
        users(said),
        [
            "1|true",
            "2|false",
            "3|false",
            "4|false",
            "5 bad_flag 5,yes",
            "6 bad_flag 6,\u{e9}"
        ]
    );
    assert_eq!(
        users(numbers(&[2, -1])),
        ["1 bad_flag 1,2", "2 bad_flag 2,-1"]
    );
}

/// As Impala and Hive write texts (bytes), and as engines do that do not look at what they write.
#[test]
fn texts_that_are_no_utf8() {
    let bodies: [&[u8]; 3] = [b"caf\xC3\xA9", b"caf\xE9", b""];
    let mut columns = messages(3);
    let expected = [
        "1|7|1970-01-01T00:00:05|false|caf\u{e9}|",
        "2 not_utf8 2,caf\\xE9,1970-01-01T00:00:06,7,,",
        "3|7|1970-01-01T00:00:07|false||",
    ];
    let plain = BinaryArray::from(bodies.to_vec());
    for kind in [
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary)),
    ] {
        columns[1].1 = cast(&plain, &kind).unwrap();
        assert_eq!(rows(Source::Message, file(&columns)), expected, "{kind}");
    }
    // Of whatever column.
    columns[1].1 = texts(&[Some("a"); 3]);
    columns.push(("link_description", Arc::new(plain)));
    assert_eq!(
        rows(Source::Message, file(&columns))[1],
        "2 not_utf8 2,a,1970-01-01T00:00:06,7,,caf\\xE9"
    );
    let rest = [
        ("user_id", 1),
        ("engaged_with_user_id", 2),
        ("message_id", 3),
    ];
    for column in ["binary", "binary", "binary"]
        .iter()
        .zip(["(UTF8)", "(JSON)", "(ENUM)"])
    {
        let (column, meaning) = column;
        let values = [
            ByteArray::from("2019-10-01 00:00:00"),
            ByteArray::from(&b"\xFF2019"[..]),
        ];
        let bytes =
            raw_file::<ByteArrayType>(column, &format!("timestamp {meaning}"), &values, &rest);
        assert_eq!(
            rows(Source::Like, bytes),
            ["1|2|3|2019-10-01T00:00:00", "2 not_utf8 1,2,3,\\xFF2019"]
        );
    }
    let fixed = [b"2019-10-01 00:00:00", b"2019-10-01 00:00:0\xFF"];
    let fixed = fixed.map(|value| FixedLenByteArray::from(value.to_vec()));
    let bytes =
        raw_file::<FixedLenByteArrayType>("fixed_len_byte_array(19)", "timestamp", &fixed, &rest);
    assert_eq!(
        rows(Source::Like, bytes),
        [
            "1|2|3|2019-10-01T00:00:00",
            "2 not_utf8 1,2,3,2019-10-01 00:00:0\\xFF"
        ]
    );
}
