//! Loading one table of a run, and when its keys first appeared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Decimal128Type, Int32Type};
use datafusion::prelude::{col, lit};
use futures::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgConnection, PgCopyIn};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::copy::{Decoder, Encoder};
use super::error::DatabaseError;
use super::slots::hold_claim;
use super::table::{Slot, Stored};
use super::{ANSWER, Database, execute, in_time};
use graph_recs_warehouse::Warehouse;

/// Rows that one connection loads, at most about.
const PART: u64 = 3_000_000;
/// Bytes sent at once.
const CHUNK: usize = 256 << 10;
/// The longest that the server may take nothing, or give nothing, of a stream.
const STALL: Duration = Duration::from_secs(60);
/// Users read ahead of the run that is there.
const AHEAD: usize = 512;
/// Columns of every table in the warehouse.
const COLUMNS: usize = 4;
/// Each row also has created_at and updated_at.
const FIELDS: i16 = COLUMNS as i16 + 2;

/// A table's row: integers, and decimals in their last decimal's unit.
type Row = [i128; COLUMNS];

/// A table to load, or a part of it.
#[derive(Clone)]
pub(super) struct Load {
    pub database: Database,
    pub warehouse: Arc<Warehouse>,
    /// Version of the table in the warehouse.
    pub version: u64,
    pub stored: Stored,
    /// The first and the last user whose rows are loaded.
    pub users: (i32, i32),
    pub slot: Slot,
    /// The slot of the current run, when there is one.
    pub current: Option<Slot>,
    /// The publisher's mark on the slot.
    pub claim: String,
    /// As-of of the run, see [`super::copy::micros`].
    pub as_of: i64,
    /// Counts the rows sent, for all tables.
    pub sent: Arc<AtomicU64>,
}

/// Rows of a table and the sum of each of its columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub rows: u64,
    pub sums: Row,
}

impl Totals {
    /// Adds a part's.
    fn add(&mut self, part: &Self) {
        self.rows += part.rows;
        for (sum, more) in self.sums.iter_mut().zip(part.sums) {
            *sum += more;
        }
    }
}

impl Load {
    /// Makes the index of the key. Not concurrently: nobody else reads or writes the slot, and a concurrent index waits
    /// for every transaction of the database that is older.
    pub(super) async fn index(self) -> Result<(), DatabaseError> {
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        hold_claim(&mut transaction, self.slot, &self.claim).await?;
        let keys: String = self
            .stored
            .key_columns()
            .map(|column| format!(", {column}"))
            .collect();
        // The rows come sorted, nearly: with this much the server need not sort them on its disk.
        let index = format!(
            "SET LOCAL maintenance_work_mem = '256MB'; CREATE UNIQUE INDEX {} ON {} (user_id{keys})",
            self.stored.index(self.slot),
            self.stored.place(self.slot)
        );
        execute(&mut transaction, index).await?;
        in_time(ANSWER, transaction.commit()).await
    }

    /// Loads the table's rows, of which there are so many, and has the planner look at them.
    pub(super) async fn run(self, rows: u64) -> Result<Totals, DatabaseError> {
        // Dropped with an error, it ends the other parts, too.
        let mut parts = JoinSet::new();
        for part in self.clone().in_parts(rows).await? {
            parts.spawn(part.load());
        }
        let mut totals = Totals::default();
        while let Some(part) = parts.join_next().await {
            totals.add(&part??);
        }
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        // A small sample does: the columns are alike all over.
        let place = self.stored.place(self.slot);
        let analyze = format!("SET LOCAL default_statistics_target = 20; ANALYZE {place}");
        execute(&mut transaction, analyze).await?;
        in_time(ANSWER, transaction.commit()).await?;
        Ok(totals)
    }

    /// The same load in parts of about equally many rows, for as many connections.
    async fn in_parts(self, rows: u64) -> Result<Vec<Self>, DatabaseError> {
        let parts = rows.div_ceil(PART).max(1);
        let frame = self.warehouse.rows_by_user(self.stored.table, self.version);
        let users = frame.await?.select_columns(&["user_id"])?;
        let mut loads = Vec::new();
        let mut rest = self;
        for part in 1..parts {
            let row = usize::try_from(rows * part / parts).unwrap_or(usize::MAX);
            let last = users.clone().limit(row, Some(1))?.collect().await?;
            let last = last.iter().find(|batch| batch.num_rows() == 1);
            let Some(last) = last.map(|batch| batch.column(0).as_primitive::<Int32Type>().value(0))
            else {
                continue;
            };
            let (first, end) = rest.users;
            if last < end {
                loads.push(Self {
                    users: (first, last),
                    ..rest.clone()
                });
                rest.users = (last.saturating_add(1), end);
            }
        }
        loads.push(rest);
        Ok(loads)
    }

    /// Copies the part's rows into the slot, all of them or none.
    async fn load(self) -> Result<Totals, DatabaseError> {
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        // Held until the end: nobody takes the slot while a load of it is under way.
        hold_claim(&mut transaction, self.slot, &self.claim).await?;
        let place = self.stored.place(self.slot);
        let columns = self.stored.table.columns().iter();
        let columns: String = columns.map(|column| format!("{}, ", column.name)).collect();
        let copy =
            format!("COPY {place} ({columns}created_at, updated_at) FROM STDIN (FORMAT binary)");
        let mut copy = in_time(ANSWER, transaction.copy_in_raw(&copy)).await?;
        let totals = self.send_rows(&mut copy).await?;
        let stored = in_time(ANSWER, copy.finish()).await?;
        if stored != totals.rows {
            return Err(DatabaseError::Rows(format!(
                "PostgreSQL took {stored} rows of {}, {} were sent",
                self.stored.name(),
                totals.rows
            )));
        }
        in_time(ANSWER, transaction.commit()).await?;
        Ok(totals)
    }

    /// Reads the part's keys in a slot, one row a user.
    async fn read_known(
        &self,
        slot: Slot,
        sender: &mpsc::Sender<Result<Vec<Known>, DatabaseError>>,
    ) -> Result<(), DatabaseError> {
        let mut connection = self.database.connect().await?;
        let mut transaction = self.database.begin(&mut connection).await?;
        // By the index, along which the rows lie: nothing to sort.
        let settings = "SET LOCAL enable_sort = off; SET LOCAL enable_hashagg = off";
        execute(&mut transaction, settings.to_owned()).await?;
        // Each key and its time in as few bytes, made in as few steps, as the server can.
        let keys: String = self
            .stored
            .key_columns()
            .map(|column| format!("int4send({column}) || "))
            .collect();
        let (first, last) = self.users;
        let copy = format!(
            "COPY (SELECT user_id, string_agg({keys}timestamptz_send(created_at), '') FROM {} \
             WHERE user_id BETWEEN {first} AND {last} GROUP BY user_id ORDER BY user_id) \
             TO STDOUT (FORMAT binary)",
            self.stored.place(slot)
        );
        let mut stream = in_time(STALL, transaction.copy_out_raw(&copy)).await?;
        let mut batch = Vec::with_capacity(AHEAD);
        while let Some(message) = in_time(STALL, stream.try_next()).await? {
            let malformed =
                || DatabaseError::Rows("PostgreSQL sent rows of an unknown form".to_owned());
            let mut decoder = Decoder::new(&message);
            if decoder.row().ok_or_else(malformed)? > 0 {
                batch.push(decode(&mut decoder, self.stored.key).ok_or_else(malformed)?);
            }
            if batch.len() == AHEAD {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(AHEAD));
                if sender.send(Ok(full)).await.is_err() {
                    return Ok(());
                }
            }
        }
        // Fails when nobody listens any more.
        let _ = sender.send(Ok(batch)).await;
        Ok(())
    }

    async fn send_rows(
        &self,
        copy: &mut PgCopyIn<&mut PgConnection>,
    ) -> Result<Totals, DatabaseError> {
        let mut first_seen = FirstSeen::of(self);
        let frame = self
            .warehouse
            .rows_by_user(self.stored.table, self.version)
            .await?;
        let (first, last) = self.users;
        let mut batches = frame
            .filter(col("user_id").between(lit(first), lit(last)))?
            .execute_stream()
            .await?;
        let mut totals = Totals::default();
        let mut encoder = Encoder::new();
        // The rows of one user, who may go on in the next batch.
        let mut user: Vec<Row> = Vec::new();
        while let Some(batch) = batches.next().await.transpose()? {
            for row in rows(&batch)? {
                if let Some(last) = user.last()
                    && last[0] != row[0]
                {
                    if last[0] > row[0] {
                        return Err(DatabaseError::Rows(format!(
                            "{} is not sorted by user_id in the warehouse",
                            self.stored.name()
                        )));
                    }
                    self.encode_user(&mut user, &mut first_seen, &mut totals, &mut encoder)
                        .await?;
                    if encoder.len() >= CHUNK {
                        in_time(STALL, copy.send(encoder.take())).await?;
                    }
                }
                user.push(row);
            }
        }
        self.encode_user(&mut user, &mut first_seen, &mut totals, &mut encoder)
            .await?;
        encoder.end();
        in_time(STALL, copy.send(encoder.take())).await?;
        first_seen.end().await?;
        Ok(totals)
    }

    /// Encodes a user's rows and forgets them.
    async fn encode_user(
        &self,
        user: &mut Vec<Row>,
        first_seen: &mut FirstSeen,
        totals: &mut Totals,
        encoder: &mut Encoder,
    ) -> Result<(), DatabaseError> {
        let Some(id) = user.first().map(|row| row[0]) else {
            return Ok(());
        };
        let keys = 1..=self.stored.key;
        let known = first_seen.user(id as i32).await?;
        let columns = self.stored.table.columns();
        for row in user.iter() {
            encoder.row(FIELDS);
            for ((value, column), sum) in row.iter().zip(columns).zip(&mut totals.sums) {
                *sum += value;
                if Stored::is_decimal(&column.data_type) {
                    encoder.numeric(*value);
                } else {
                    encoder.integer(*value as i32);
                }
            }
            let created = known.map_or(self.as_of, |known| {
                known.first(&row[keys.clone()], self.as_of)
            });
            encoder.timestamp(created);
            encoder.timestamp(self.as_of);
            encoder.end_row();
        }
        totals.rows += user.len() as u64;
        self.sent.fetch_add(user.len() as u64, Ordering::Relaxed);
        user.clear();
        Ok(())
    }
}

/// The rows of a batch.
fn rows(batch: &RecordBatch) -> Result<Vec<Row>, DatabaseError> {
    let mut rows = vec![Row::default(); batch.num_rows()];
    if batch.num_columns() != COLUMNS
        || batch.columns().iter().any(|column| column.null_count() > 0)
    {
        return Err(DatabaseError::Rows(
            "the warehouse's table has other columns, or nulls".to_owned(),
        ));
    }
    for (index, column) in batch.columns().iter().enumerate() {
        if let Some(integers) = column.as_primitive_opt::<Int32Type>() {
            for (row, value) in rows.iter_mut().zip(integers.values()) {
                row[index] = i128::from(*value);
            }
        } else if let Some(decimals) = column.as_primitive_opt::<Decimal128Type>() {
            for (row, value) in rows.iter_mut().zip(decimals.values()) {
                row[index] = *value;
            }
        } else {
            return Err(DatabaseError::Rows(format!(
                "the warehouse's table has a column of type {}",
                column.data_type()
            )));
        }
    }
    Ok(rows)
}

/// When the keys of a user first appeared.
#[derive(Debug, Default)]
struct Known {
    user: i32,
    /// Sorted: the rest of the key, and the time.
    keys: Vec<([i32; 2], i64)>,
}

impl Known {
    /// When a key first appeared: no later than now.
    fn first(&self, key: &[i128], now: i64) -> i64 {
        let mut wanted = [0; 2];
        for (part, value) in wanted.iter_mut().zip(key) {
            *part = *value as i32;
        }
        let found = self.keys.binary_search_by_key(&wanted, |(key, _)| *key);
        found
            .ok()
            .and_then(|index| self.keys.get(index))
            .map_or(now, |(_, created)| now.min(*created))
    }
}

/// The keys of the current run with the times when they first appeared, user by user, read as they are needed.
struct FirstSeen {
    users: Option<mpsc::Receiver<Result<Vec<Known>, DatabaseError>>>,
    batch: std::vec::IntoIter<Known>,
    head: Option<Known>,
}

impl FirstSeen {
    fn of(load: &Load) -> Self {
        let users = load.current.map(|current| {
            let (sender, receiver) = mpsc::channel(4);
            let load = load.clone();
            // Ends with the receiver.
            tokio::spawn(async move {
                if let Err(error) = load.read_known(current, &sender).await {
                    // Nobody listens any more when this fails.
                    let _ = sender.send(Err(error)).await;
                }
            });
            receiver
        });
        Self {
            users,
            batch: Vec::new().into_iter(),
            head: None,
        }
    }

    /// A user's keys; users must be asked for in rising order.
    async fn user(&mut self, user: i32) -> Result<Option<&Known>, DatabaseError> {
        while self.head.as_ref().is_none_or(|head| head.user < user) {
            self.head = self.batch.next();
            if self.head.is_none() && !self.next_batch().await? {
                return Ok(None);
            }
        }
        Ok(self.head.as_ref().filter(|head| head.user == user))
    }

    /// Reads what is left, so that an error there is not missed.
    async fn end(&mut self) -> Result<(), DatabaseError> {
        while self.next_batch().await? {}
        Ok(())
    }

    async fn next_batch(&mut self) -> Result<bool, DatabaseError> {
        let Some(users) = &mut self.users else {
            return Ok(false);
        };
        let batch = users.recv().await.transpose()?;
        let there = batch.is_some();
        self.batch = batch.unwrap_or_default().into_iter();
        Ok(there)
    }
}

/// A row that [`Load::read_known`] asks for.
fn decode(decoder: &mut Decoder<'_>, key: usize) -> Option<Known> {
    let user = decoder.integer()?;
    let entries = decoder.bytes()?.chunks_exact(4 * key + 8);
    let mut keys = Vec::with_capacity(entries.len());
    for entry in entries {
        let (key, created) = entry.split_last_chunk::<8>()?;
        let mut parts = [0; 2];
        for (part, bytes) in parts.iter_mut().zip(key.chunks_exact(4)) {
            *part = i32::from_be_bytes(*bytes.first_chunk::<4>()?);
        }
        keys.push((parts, i64::from_be_bytes(*created)));
    }
    // The index gave them in this order.
    if !keys.is_sorted() {
        keys.sort_unstable();
    }
    Some(Known { user, keys })
}
