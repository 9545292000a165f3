//! The rows of a file of scores, as their bytes come.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Result, bail};
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use graph_recs_udfs::text::shown;
use sha2::{Digest, Sha256};

use super::refused;
use crate::pipeline::identity::hex;

const HEADER: [&str; 2] = ["user_id", "pred"];
/// What a file has to look like.
const WANTED: &str = "it needs the header user_id,pred and a row a user: an id from 1 to 2147483647, a pred from 0 to 1";
/// Bytes of the longest line that is one: an id and a probability take a few dozen.
const LONGEST_LINE: usize = 4096;

/// Rows read so far.
#[derive(Default)]
pub(super) struct Rows {
    hash: Sha256,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
    /// Lines that have ended.
    lines: u64,
    users: Vec<i64>,
    preds: Vec<f64>,
    /// The line of each row.
    places: Vec<u64>,
    unfit: u64,
    /// Line, text and what is wrong with it.
    first_unfit: Option<(u64, String, &'static str)>,
}

impl Rows {
    /// The rows as columns user_id and pred, and the hash of all bytes.
    pub(super) fn end(mut self) -> Result<(RecordBatch, String)> {
        let last = std::mem::take(&mut self.begun);
        if !last.is_empty() || self.lines == 0 {
            self.line(&last)?;
        }
        if let Some((line, text, what)) = &self.first_unfit {
            let (unfit, text) = (self.unfit, shown(text));
            bail!(
                "{unfit} rows cannot be used, the first is line {line}, \"{text}\": {what}; {WANTED}"
            );
        }
        self.require_one_row_a_user()?;
        let schema = Schema::new(vec![
            Field::new("user_id", DataType::Int64, true),
            Field::new("pred", DataType::Float64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.users)),
            Arc::new(Float64Array::from(self.preds)),
        ];
        let rows = RecordBatch::try_new(Arc::new(schema), columns)?;
        Ok((rows, hex(&self.hash.finalize())))
    }

    fn require_one_row_a_user(&self) -> Result<()> {
        let mut places: Vec<(i64, u64)> = self
            .users
            .iter()
            .copied()
            .zip(self.places.iter().copied())
            .collect();
        places.sort_unstable();
        let twice = places.windows(2).find_map(|pair| match pair {
            [(user, first), (again, second)] if user == again => Some((user, first, second)),
            _ => None,
        });
        match twice {
            Some((user, first, second)) => {
                bail!("user {user} has more than one row: lines {first} and {second}")
            }
            None => Ok(()),
        }
    }

    /// A line without its end.
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        if self.lines == 1 {
            let text = text.trim_start_matches('\u{feff}');
            let is_header = fields(text).is_some_and(|fields| {
                fields
                    .iter()
                    .zip(HEADER)
                    .all(|(field, name)| field.eq_ignore_ascii_case(name))
            });
            return match is_header {
                true => Ok(()),
                false => Err(refused(format!(
                    "its first line is \"{}\": {WANTED}",
                    shown(text)
                ))),
            };
        }
        if text.trim().is_empty() {
            return Ok(());
        }
        match row(&text) {
            Ok((user, pred)) => {
                self.users.push(user);
                self.preds.push(pred);
                self.places.push(self.lines);
            }
            Err(what) => {
                self.unfit += 1;
                let place = self.lines;
                self.first_unfit
                    .get_or_insert_with(|| (place, text.into_owned(), what));
            }
        }
        Ok(())
    }

    fn require_short(&self, line: &[u8]) -> io::Result<()> {
        match line.len() > LONGEST_LINE {
            true => Err(refused(format!(
                "line {} is longer than {LONGEST_LINE} bytes: {WANTED}, each on a line that ends with LF or CR LF",
                self.lines + 1
            ))),
            false => Ok(()),
        }
    }
}

impl Write for Rows {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            if self.begun.is_empty() {
                self.require_short(head)?;
                self.line(head)?;
            } else {
                self.begun.extend_from_slice(head);
                let line = std::mem::take(&mut self.begun);
                self.require_short(&line)?;
                self.line(&line)?;
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        self.begun.extend_from_slice(rest);
        self.require_short(&self.begun)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The two fields of a line, without white space and quotes around them.
fn fields(line: &str) -> Option<[&str; 2]> {
    let (first, second) = line.split_once(',')?;
    Some([plain(first)?, plain(second)?])
}

fn plain(field: &str) -> Option<&str> {
    let field = field.trim();
    let inner = field
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let field = inner.unwrap_or(field);
    (!field.contains(['"', ','])).then_some(field)
}

fn row(line: &str) -> Result<(i64, f64), &'static str> {
    let [user, pred] = fields(line).ok_or("two fields are needed")?;
    let digits = user.bytes().all(|byte| byte.is_ascii_digit());
    let user = user.parse::<i64>().ok().filter(|_| digits);
    let user = user.filter(|user| (1..=i64::from(i32::MAX)).contains(user));
    let pred = pred.parse::<f64>().ok();
    let pred = pred.filter(|pred| (0.0..=1.0).contains(pred));
    Ok((
        user.ok_or("that is no user id")?,
        pred.ok_or("that is no pred")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::{Float64Type, Int64Type};

    fn read(text: &[u8], piece: usize) -> Result<(Vec<i64>, Vec<f64>), String> {
        let mut rows = Rows::default();
        for piece in text.chunks(piece) {
            rows.write_all(piece).map_err(|error| error.to_string())?;
        }
        let (rows, _) = rows.end().map_err(|error| error.to_string())?;
        Ok((
            rows.column(0).as_primitive::<Int64Type>().values().to_vec(),
            rows.column(1)
                .as_primitive::<Float64Type>()
                .values()
                .to_vec(),
        ))
    }

    #[test]
    fn rows_are_read_as_programs_write_them_in_pieces_of_any_size() {
        let expected = Ok((vec![7, 2147483647], vec![0.5, 1e-3]));
        for text in [
            "user_id,pred\n7,0.5\n2147483647,1e-3\n",
            "user_id,pred\n7,0.5\n2147483647,1e-3",
            "\u{feff}user_id,pred\r\n7,0.5\r\n2147483647,1e-3\r\n",
            "\"user_id\",\"pred\"\n\"7\",\"0.5\"\n\n\"2147483647\",0.001\n \n",
            "USER_ID, Pred\n7, 0.5\n 2147483647,.001\n",
        ] {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(read(text.as_bytes(), piece), expected, "{text:?} {piece}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_text() {
        for (text, words) in [
            (
                "user_id,pred\n1,0.5\n\n2,1.5\n0,0.5\n",
                &["2 rows", "line 4", "\"2,1.5\""][..],
            ),
            ("user_id,pred\n1,NaN\n", &["line 2", "\"1,NaN\"", "no pred"]),
            (
                "user_id,pred\n+1,0\n",
                &["line 2", "\"+1,0\"", "no user id"],
            ),
            ("user_id,pred\n1.0,0\n", &["no user id"]),
            ("user_id,pred\n1,\"0,5\"\n", &["two fields"]),
            (
                "user_id,pred\n1,0.5\n2,0.5\n1,0.5\n",
                &["user 1", "lines 2 and 4"],
            ),
            (
                "user_id;pred\n",
                &["\"user_id;pred\"", "header user_id,pred"],
            ),
            ("pred,user_id\n", &["header user_id,pred"]),
            ("", &["header user_id,pred"]),
            ("user_id,pred\r1,0.5\r", &["header user_id,pred", r"\r"]),
            ("user_id,pred\n1,\u{1b}[31m\n", &[r"\u001b"]),
        ] {
            let told = read(text.as_bytes(), 5).unwrap_err();
            for word in words {
                assert!(told.contains(word), "{word:?} is not in: {told}");
            }
        }
        let endless = [b"user_id,pred\n".to_vec(), vec![b'1'; 5000]].concat();
        assert!(
            read(&endless, 100)
                .unwrap_err()
                .contains("line 2 is longer")
        );
    }
}
