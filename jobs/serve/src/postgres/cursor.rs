//! Cursors: a query's rows, some at a time, as statements ask for them. They only go forward.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{
    CloseCursor, Declare, DeclareType, FetchDirection, Statement, Value, ValueWithSpan,
};
use futures::{Stream, stream};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::execution::Rows;
use crate::refusal::{Kind, Refusal};

/// An open cursor. It holds its query's place among those that run until it is closed or at its end.
pub struct Cursor {
    /// Its columns.
    pub schema: SchemaRef,
    /// Names of its columns.
    pub names: Vec<String>,
    /// The query's text.
    pub text: String,
    /// Stops the query.
    pub cancel: CancellationToken,
    /// Whether it outlives its transaction.
    pub hold: bool,
    rest: Mutex<Rest>,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cursor({})", self.text)
    }
}

struct Rest {
    /// Until its end, or until it is given up.
    rows: Option<Rows>,
    /// Of the last batch, what nobody has fetched yet.
    batch: Option<RecordBatch>,
    /// Why there are no more.
    refused: Option<Refusal>,
}

impl Cursor {
    /// Over a query's rows.
    pub fn new(rows: Rows, text: &str, cancel: CancellationToken, hold: bool) -> Self {
        Self {
            schema: Arc::clone(&rows.schema),
            names: rows.names.clone(),
            text: text.to_string(),
            cancel,
            hold,
            rest: Mutex::new(Rest {
                rows: Some(rows),
                batch: None,
                refused: None,
            }),
        }
    }

    /// Ends the query when its time is over, whoever waits for what: an idle cursor holds a place that others want.
    pub fn ends_after(self: &Arc<Self>, timeout: Duration) {
        let cursor = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if let Some(cursor) = cursor.upgrade() {
                let mut rest = cursor.rest.lock().await;
                if rest.rows.take().is_some() {
                    let text = "the cursor's time is over: it is that of its statement";
                    rest.refused = Some(Refusal::new(Kind::Timeout, text));
                    rest.batch = None;
                }
            }
        });
    }

    /// The next `count` rows, or those that are left.
    pub fn fetch(
        self: &Arc<Self>,
        count: usize,
    ) -> impl Stream<Item = Result<RecordBatch, Refusal>> + use<> {
        stream::try_unfold((Arc::clone(self), count), |(cursor, count)| async move {
            let next = cursor.rest.lock().await.next(count).await?;
            Ok(next.map(|batch| {
                let left = count - batch.num_rows();
                (batch, (Arc::clone(&cursor), left))
            }))
        })
    }
}

impl Rest {
    async fn more(&mut self) -> Result<Option<RecordBatch>, Refusal> {
        if let Some(refusal) = &self.refused {
            return Err(refusal.clone());
        }
        let Some(rows) = &mut self.rows else {
            return Ok(None);
        };
        let next = rows.next().await.transpose();
        if !matches!(next, Ok(Some(_))) {
            // Its place is free for others.
            self.rows = None;
        }
        self.refused = next.as_ref().err().cloned();
        next
    }

    /// At most so many rows, some if there are any.
    async fn next(&mut self, at_most: usize) -> Result<Option<RecordBatch>, Refusal> {
        if at_most == 0 {
            return Ok(None);
        }
        loop {
            let batch = match self.batch.take() {
                Some(batch) => batch,
                None => match self.more().await? {
                    Some(batch) => batch,
                    None => return Ok(None),
                },
            };
            match batch.num_rows() {
                0 => {}
                rows if rows <= at_most => return Ok(Some(batch)),
                rows => {
                    self.batch = Some(batch.slice(at_most, rows - at_most));
                    return Ok(Some(batch.slice(0, at_most)));
                }
            }
        }
    }
}

/// What is done with a cursor.
#[derive(Debug)]
pub enum Said {
    /// Open it over a query.
    Declare {
        /// Its name.
        name: String,
        /// Whether it outlives its transaction.
        hold: bool,
        /// The query.
        query: Box<Statement>,
    },
    /// The next rows.
    Fetch {
        /// Its name.
        name: String,
        /// How many at most.
        count: usize,
    },
    /// Close it; all when none is named.
    Close(Option<String>),
}

/// What a statement does with a cursor, if it is one that does.
///
/// # Errors
/// What cursors cannot do here.
pub fn said(statement: Statement) -> Result<Result<Said, Statement>, Refusal> {
    Ok(match statement {
        Statement::Declare { mut stmts } if stmts.len() == 1 => Ok(declare(stmts.remove(0))
            .ok_or_else(|| {
                let text =
                    "only cursors over queries, that go forward and give text, are declared here: DECLARE name CURSOR FOR SELECT …";
                Refusal::new(Kind::Unsupported, text)
            })?),
        Statement::Fetch {
            name, direction, ..
        } => Ok(Said::Fetch {
            name: name.value,
            count: forward(&direction)?,
        }),
        Statement::Close { cursor } => Ok(Said::Close(match cursor {
            CloseCursor::All => None,
            CloseCursor::Specific { name } => Some(name.value),
        })),
        other => Err(other),
    })
}

fn declare(declare: Declare) -> Option<Said> {
    let Declare {
        mut names,
        declare_type: Some(DeclareType::Cursor),
        hold,
        binary: None | Some(false),
        scroll: None | Some(false),
        for_query: Some(query),
        ..
    } = declare
    else {
        return None;
    };
    Some(Said::Declare {
        name: names.pop()?.value,
        hold: hold == Some(true),
        query: Box::new(Statement::Query(query)),
    })
}

/// How many rows forward.
fn forward(direction: &FetchDirection) -> Result<usize, Refusal> {
    let number = |limit: &ValueWithSpan| match &limit.value {
        Value::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let count = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Some(1),
        FetchDirection::All | FetchDirection::ForwardAll => Some(usize::MAX),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => {
            number(limit)
        }
        _ => None,
    };
    count.ok_or_else(|| {
        let text = "cursor can only scan forward: FETCH n, FETCH FORWARD n or FETCH ALL";
        Refusal::new(Kind::Unsupported, text)
    })
}
