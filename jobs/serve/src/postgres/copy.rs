//! The formats of COPY … TO STDOUT.

use bytes::{BufMut, Bytes, BytesMut};
use datafusion::arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption};

use super::values::Columns;
use crate::refusal::{Kind, Refusal};

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    kind: CopyKind,
    delimiter: u8,
    null: String,
    header: bool,
    quote: u8,
    escape: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyKind {
    Text,
    Csv,
    Binary,
}

/// What comes before the first row of binary copies: signature, flags, no extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl CopyFormat {
    /// By its options.
    ///
    /// # Errors
    /// For options that are not offered.
    pub fn new(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<Self, Refusal> {
        let unsupported = |what: String| {
            let text = format!(
                "COPY with {what} is not offered: FORMAT, DELIMITER, NULL, HEADER, QUOTE, ESCAPE are"
            );
            Refusal::new(Kind::Unsupported, text)
        };
        let mut kind = CopyKind::Text;
        for option in options {
            if let CopyOption::Format(format) = option {
                kind = match format.value.to_lowercase().as_str() {
                    "text" => CopyKind::Text,
                    "csv" => CopyKind::Csv,
                    "binary" => CopyKind::Binary,
                    other => return Err(unsupported(format!("format {other}"))),
                };
            }
        }
        for option in legacy {
            match option {
                CopyLegacyOption::Binary => kind = CopyKind::Binary,
                CopyLegacyOption::Csv(_) => kind = CopyKind::Csv,
                _ => {}
            }
        }
        let mut format = Self {
            kind,
            delimiter: if kind == CopyKind::Csv { b',' } else { b'\t' },
            null: if kind == CopyKind::Csv { "" } else { "\\N" }.to_string(),
            header: false,
            quote: b'"',
            escape: b'"',
        };
        let mut escape = None;
        let byte =
            |sign: char| u8::try_from(sign).map_err(|_| unsupported(format!("the sign {sign}")));
        for option in options {
            match option {
                CopyOption::Format(_) => {}
                CopyOption::Delimiter(sign) => format.delimiter = byte(*sign)?,
                CopyOption::Null(null) => format.null = null.clone(),
                CopyOption::Header(header) => format.header = *header,
                CopyOption::Quote(sign) => format.quote = byte(*sign)?,
                CopyOption::Escape(sign) => escape = Some(byte(*sign)?),
                CopyOption::Encoding(encoding)
                    if ["utf8", "utf-8"].contains(&encoding.to_lowercase().as_str()) => {}
                other => return Err(unsupported(other.to_string())),
            }
        }
        for option in legacy {
            match option {
                CopyLegacyOption::Binary => {}
                CopyLegacyOption::Delimiter(sign) => format.delimiter = byte(*sign)?,
                CopyLegacyOption::Null(null) => format.null = null.clone(),
                CopyLegacyOption::Header => format.header = true,
                CopyLegacyOption::Csv(options) => {
                    for option in options {
                        match option {
                            CopyLegacyCsvOption::Header => format.header = true,
                            CopyLegacyCsvOption::Quote(sign) => format.quote = byte(*sign)?,
                            CopyLegacyCsvOption::Escape(sign) => escape = Some(byte(*sign)?),
                            other => return Err(unsupported(other.to_string())),
                        }
                    }
                }
                other => return Err(unsupported(other.to_string())),
            }
        }
        format.escape = escape.unwrap_or(format.quote);
        Ok(format)
    }

    /// Whether values are in binary.
    pub fn is_binary(&self) -> bool {
        self.kind == CopyKind::Binary
    }

    /// What comes before the first row, if anything does.
    pub fn head(&self, schema: &Schema) -> Option<Bytes> {
        if self.is_binary() {
            return Some(Bytes::from_static(SIGNATURE));
        }
        self.header.then(|| {
            let mut line = BytesMut::new();
            for (place, field) in schema.fields().iter().enumerate() {
                if place > 0 {
                    line.put_u8(self.delimiter);
                }
                self.put(field.name().as_bytes(), &mut line);
            }
            line.put_u8(b'\n');
            line.freeze()
        })
    }

    /// What comes after the last row, if anything does.
    pub fn tail(&self) -> Option<Bytes> {
        self.is_binary().then(|| Bytes::from_static(&[0xff, 0xff]))
    }

    /// Writes a row.
    pub fn write_row(&self, columns: &Columns, row: usize, out: &mut BytesMut) {
        if self.is_binary() {
            out.put_i16(columns.iter().count() as i16);
            columns.write_row(row, out);
            return;
        }
        let mut value = BytesMut::new();
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.put_u8(self.delimiter);
            }
            value.clear();
            match column.write_text(row, &mut value) {
                true => self.put(&value, out),
                false => out.put_slice(self.null.as_bytes()),
            }
        }
        out.put_u8(b'\n');
    }

    fn put(&self, value: &[u8], out: &mut BytesMut) {
        if self.kind == CopyKind::Csv {
            let special = |byte: &u8| {
                *byte == self.delimiter || *byte == self.quote || matches!(byte, b'\n' | b'\r')
            };
            if !value.iter().any(special) && value != self.null.as_bytes() && value != b"\\." {
                out.put_slice(value);
                return;
            }
            out.put_u8(self.quote);
            for byte in value {
                if *byte == self.quote || *byte == self.escape {
                    out.put_u8(self.escape);
                }
                out.put_u8(*byte);
            }
            out.put_u8(self.quote);
            return;
        }
        for byte in value {
            match byte {
                b'\\' => out.put_slice(b"\\\\"),
                b'\n' => out.put_slice(b"\\n"),
                b'\r' => out.put_slice(b"\\r"),
                b'\t' => out.put_slice(b"\\t"),
                byte if *byte == self.delimiter => {
                    out.put_u8(b'\\');
                    out.put_u8(*byte);
                }
                byte => out.put_u8(*byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};

    use super::*;

    fn copied(format: &CopyFormat) -> Vec<u8> {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a,\"b\"\tc\\", ""]));
        let batch =
            RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("t", texts, true)])
                .unwrap();
        let columns = Columns::new(&batch, |_| format.is_binary()).unwrap();
        let mut out = BytesMut::new();
        out.extend(format.head(&batch.schema()));
        (0..2).for_each(|row| format.write_row(&columns, row, &mut out));
        out.extend(format.tail());
        out.to_vec()
    }

    #[test]
    fn copies_in_text_csv_and_binary() {
        let text = CopyFormat::new(&[], &[]).unwrap();
        assert_eq!(copied(&text), b"1\ta,\"b\"\\tc\\\\\n\\N\t\n");
        let csv = [CopyOption::Format("csv".into()), CopyOption::Header(true)];
        let csv = CopyFormat::new(&csv, &[]).unwrap();
        assert_eq!(copied(&csv), b"n,t\n1,\"a,\"\"b\"\"\tc\\\"\n,\"\"\n");
        let binary = CopyFormat::new(&[CopyOption::Format("binary".into())], &[]).unwrap();
        let bytes = copied(&binary);
        assert!(bytes.starts_with(SIGNATURE) && bytes.ends_with(&[0xff, 0xff]));
        assert_eq!(bytes.get(19..29).unwrap(), [0, 2, 0, 0, 0, 4, 0, 0, 0, 1]);
        assert!(CopyFormat::new(&[CopyOption::Freeze(true)], &[]).is_err());
    }
}
