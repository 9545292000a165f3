//! What options' values look like.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// A date, 2019-10-01 or 20191001.
///
/// # Errors
/// A sentence that clap shows with the option's name, as with all functions here.
pub fn parse_date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .or_else(|_| NaiveDate::parse_from_str(text, "%Y%m%d"))
        .map_err(|_| "not a date like 2019-10-01".to_string())
}

/// A UTC time; a date is its first moment.
///
/// # Errors
/// See [`parse_date`].
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let plain = text.strip_suffix('Z').unwrap_or(text);
    ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(plain, form).ok())
        .map(|time| time.and_utc())
        .or_else(|| parse_date(plain).ok().map(start_of_day))
        .ok_or_else(|| "not a UTC time like 2019-10-01T00:00:00Z".to_string())
}

/// How many columns the records of user.csv have: enough for the flag of suspension.
pub fn parse_user_columns(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(columns) if columns >= 12 => Ok(columns),
        _ => Err("not a number of columns, at least 12".to_owned()),
    }
}

/// A share, from 0 to 1.
///
/// # Errors
/// See [`parse_date`].
pub fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".to_string()),
    }
}

/// A size of memory, at least 64 MiB: less than that nothing can be done with.
///
/// # Errors
/// See [`parse_date`].
pub fn parse_size(text: &str) -> Result<u64, String> {
    match parse_any_size(text)? {
        bytes if bytes < 64 << 20 => Err("too small: 64MiB is the least".to_string()),
        bytes => Ok(bytes),
    }
}

/// Bytes: 512, 4GB, 128MiB.
///
/// # Errors
/// See [`parse_date`].
pub fn parse_any_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text
        .get(digits.len()..)
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err("not a size like 4GB or 512MiB".to_string()),
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "not a size like 4GB or 512MiB".to_string())?;
    Ok(number.checked_mul(unit).ok_or("a size beyond 64 bits")?)
}

/// A setting, name=value.
///
/// # Errors
/// See [`parse_date`].
pub fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form name=value")?;
    Ok((name.trim().to_string(), value.trim().to_string()))
}

/// A day's first moment.
pub fn start_of_day(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

/// The moment as of which a day is known: as options say it, or else the day's first.
///
/// # Errors
/// When neither is given.
pub fn moment(
    as_of: Option<DateTime<Utc>>,
    date: Option<NaiveDate>,
) -> anyhow::Result<DateTime<Utc>> {
    as_of
        .or_else(|| date.map(start_of_day))
        .ok_or_else(|| missing("--as-of or --date"))
}

/// Wrong usage: an option that this command cannot do without.
pub fn missing(option: &str) -> anyhow::Error {
    let kind = clap::error::ErrorKind::MissingRequiredArgument;
    let error = clap::Error::raw(kind, format!("{option} is needed"));
    anyhow::Error::new(error).context("wrong usage")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse_size("4GB"), Ok(4_000_000_000));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert!(parse_size("1").is_err());
        assert!(parse_size("4 parsecs").is_err());
        assert!(parse_size("99999999999999GB").is_err());
    }

    #[test]
    fn times_are_read_in_all_forms() {
        let expected = parse_time("2019-10-02T00:00:00Z");
        assert!(expected.is_ok());
        assert_eq!(parse_time("2019-10-02 00:00:00"), expected);
        assert_eq!(parse_time("2019-10-02"), expected);
        assert!(parse_time("2019-02-30").is_err());
    }
}
