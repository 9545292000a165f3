//! The protocol as a whole, on a local disk.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use datafusion::arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, RecordBatch, RecordBatchOptions,
};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::stream;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tempfile::TempDir;

use super::*;

/// A folder that goes with the test, with characters that URLs escape.
pub(super) fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("ware house é")
        .tempdir()
        .unwrap()
}

pub(super) fn open(folder: &TempDir) -> Warehouse {
    Warehouse::open(folder.path().to_str().unwrap()).unwrap()
}

pub(super) fn noon(day: i64) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2026-11-01T12:00:00.123456Z".parse().unwrap();
    start + TimeDelta::days(day)
}

/// Users 1 to `n`; all other columns are derived from them.
fn users(table: Table, n: i32) -> RecordBatch {
    let columns = table.columns().iter().map(|column| -> ArrayRef {
        match column.data_type {
            DataType::Int32 => Arc::new(Int32Array::from_iter_values(1..=n)),
            DataType::Float64 => {
                let values = (1..=n).map(|i| f64::from(i) / f64::from(n));
                Arc::new(Float64Array::from_iter_values(values))
            }
            DataType::Decimal128(precision, scale) => {
                let values = (1..=n).map(|i| i128::from(i) * 100_000_001);
                let array = Decimal128Array::from_iter_values(values);
                Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
            }
            _ => unreachable!(),
        }
    });
    let rows = usize::try_from(n).unwrap();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(table.schema(), columns.collect(), &options).unwrap()
}

/// Writes a run with `n` users in each table, in two files where there are two or more.
async fn write_run(warehouse: &Warehouse, run_id: &str, n: i32) -> Candidate {
    let mut files: PerTable<Vec<DataFile>> = PerTable::default();
    for table in Table::ALL {
        let rows = users(table, n);
        let half = rows.num_rows() / 2;
        for (part, range) in [(0, 0..half), (1, half..rows.num_rows())] {
            if range.is_empty() {
                continue;
            }
            let batch = rows.slice(range.start, range.len());
            let rows = RecordBatchStreamAdapter::new(table.schema(), stream::iter([Ok(batch)]));
            let path = Warehouse::data_path(table, run_id, part).unwrap();
            let store = warehouse.object_store();
            let file = write_parquet(store, &path, table.schema(), Box::pin(rows));
            files.get_mut(table).push(file.await.unwrap());
        }
    }
    Candidate {
        run_id: run_id.to_owned(),
        as_of: noon(0),
        model_hash: Some("c0ffee".to_owned()),
        report: r#"{"rows": "§"}"#.to_owned(),
        files,
    }
}

async fn publish(warehouse: &Warehouse, candidate: &Candidate, day: i64) -> Published {
    warehouse
        .publish(candidate, PublicationKind::Publish, noon(day))
        .await
        .unwrap()
}

/// What a reader finds at the versions of a publication.
async fn read_rows(warehouse: &Warehouse, publication: &Publication) -> PerTable<u64> {
    let mut rows = PerTable::default();
    for table in Table::ALL {
        let version = *publication.versions.get(table);
        let provider = warehouse.table_provider(table, version).await.unwrap();
        assert_eq!(provider.schema(), table.schema());
        let session = SessionContext::new();
        let frame = session.read_table(provider).unwrap();
        *rows.get_mut(table) = frame.count().await.unwrap() as u64;
    }
    rows
}

fn all(n: u64) -> PerTable<u64> {
    PerTable::try_from_fn(|_| Ok::<_, ()>(n)).unwrap()
}

async fn head(warehouse: &Warehouse, name: &'static str) -> u64 {
    let log = DeltaLog::new(warehouse, name).unwrap();
    log.load(None).await.unwrap().unwrap().version()
}

#[tokio::test]
async fn a_new_warehouse_is_empty_and_opening_it_writes_nothing() {
    let folder = folder();
    let path = folder.path().join("new").join("er");
    let warehouse = Warehouse::open(path.to_str().unwrap()).unwrap();
    assert_eq!(warehouse.current().await.unwrap(), None);
    assert_eq!(warehouse.publications().await.unwrap(), vec![]);
    assert!(warehouse.files(Table::RecReasons, 0).await.is_err());
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_two_runs_that_both_stay_readable() {
    let folder = folder();
    let warehouse = open(&folder);
    let one = write_run(&warehouse, "20261101", 10).await;
    assert_eq!(warehouse.current().await.unwrap(), None);
    let first = publish(&warehouse, &one, 1).await;
    let two = write_run(&warehouse, "20261102", 7).await;
    assert_eq!(
        warehouse.current().await.unwrap().as_ref(),
        Some(first.publication())
    );
    let second = publish(&warehouse, &two, 2).await;

    assert!(matches!(second, Published::New(_)));
    let publications = open(&folder).publications().await.unwrap();
    assert_eq!(
        publications,
        vec![first.publication().clone(), second.publication().clone()]
    );
    let [first, second] = publications.try_into().unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(second.published_at, noon(2));
    assert_eq!(second.model_hash.as_deref(), Some("c0ffee"));
    assert_eq!(second.report, r#"{"rows": "§"}"#);
    assert_eq!(second.rows, all(7));
    assert_eq!(read_rows(&warehouse, &first).await, all(10));
    assert_eq!(read_rows(&warehouse, &second).await, all(7));
    assert_eq!(warehouse.candidate_of(&first).await.unwrap(), one);
}

#[tokio::test]
async fn publishing_the_current_run_again_changes_nothing() {
    let folder = folder();
    let warehouse = open(&folder);
    let run = write_run(&warehouse, "a", 3).await;
    let first = publish(&warehouse, &run, 1).await;
    let again = publish(&warehouse, &run, 2).await;
    assert_eq!(
        again,
        Published::AlreadyCurrent(first.publication().clone())
    );
    assert_eq!(head(&warehouse, "runs").await, 1);
    assert_eq!(head(&warehouse, "recommendations").await, 1);
}

#[tokio::test]
async fn tables_of_other_types_get_those_of_today() {
    let folder = folder();
    let warehouse = open(&folder);
    let log = DeltaLog::new(&warehouse, "recommendations").unwrap();
    let today = Table::Recommendations.described_schema();
    let fields = today.fields().iter().map(|field| {
        let field = field.as_ref().clone();
        match field.data_type() {
            DataType::Decimal128(..) => field.with_data_type(DataType::Decimal128(20, 8)),
            _ => field,
        }
    });
    let before = Schema::new(fields.collect::<Vec<_>>());
    let made = log.load_or_create(&before, "before").await.unwrap();
    assert!(log.columns(&made, &before).unwrap().is_none());

    let run = write_run(&warehouse, "a", 3).await;
    let published = publish(&warehouse, &run, 1).await;
    assert_eq!(read_rows(&warehouse, published.publication()).await, all(3));
    let now = log.load(None).await.unwrap().unwrap();
    assert!(log.columns(&now, &today).unwrap().is_none());
    assert_eq!(now.metadata().id(), made.metadata().id());
    assert_ne!(now.schema(), made.schema());
    assert_eq!(now.version(), 1, "types and files change at once");
}

#[tokio::test]
async fn rolls_back_and_forth() {
    let folder = folder();
    let warehouse = open(&folder);
    for (run_id, n) in [("a", 4), ("b", 9)] {
        let run = write_run(&warehouse, run_id, n).await;
        publish(&warehouse, &run, 1).await;
    }
    let publications = warehouse.publications().await.unwrap();
    let a = warehouse.candidate_of(&publications[0]).await.unwrap();
    let rollback = PublicationKind::Rollback;
    let back = warehouse.publish(&a, rollback, noon(3)).await.unwrap();
    let back = back.publication();
    assert_eq!((back.number, back.run_id.as_str()), (3, "a"));
    assert_eq!(back.kind, PublicationKind::Rollback);
    assert_eq!(read_rows(&warehouse, back).await, all(4));
    // Whoever reads the newest version without asking runs sees it too.
    let newest = head(&warehouse, "closest_connections").await;
    assert_eq!(newest, back.versions.closest_connections);

    let b = warehouse.candidate_of(&publications[1]).await.unwrap();
    let forth = publish(&warehouse, &b, 4).await;
    assert_eq!(read_rows(&warehouse, forth.publication()).await, all(9));
    assert_eq!(read_rows(&warehouse, &publications[0]).await, all(4));

    let unknown = write_run(&warehouse, "c", 1).await;
    let result = warehouse.publish(&unknown, rollback, noon(5)).await;
    assert!(matches!(result, Err(WarehouseError::NeverPublished { .. })));
}

#[tokio::test]
async fn a_publication_cut_off_before_its_row_is_not_seen_and_can_be_repeated() {
    let folder = folder();
    let warehouse = open(&folder);
    let a = write_run(&warehouse, "a", 4).await;
    let first = publish(&warehouse, &a, 1).await;
    let b = write_run(&warehouse, "b", 6).await;
    let versions = warehouse.commit_tables(&b, noon(2)).await.unwrap();

    let current = warehouse.current().await.unwrap().unwrap();
    assert_eq!(&current, first.publication());
    assert_eq!(read_rows(&warehouse, &current).await, all(4));

    let second = publish(&warehouse, &b, 3).await;
    assert_eq!(second.publication().number, 2);
    // The commits made before the cut are used, not repeated.
    assert_eq!(second.publication().versions, versions);
    assert_eq!(read_rows(&warehouse, second.publication()).await, all(6));
}

#[tokio::test]
async fn a_run_cut_off_and_given_up_leaves_no_trace_in_the_next() {
    let folder = folder();
    let warehouse = open(&folder);
    let lost = write_run(&warehouse, "lost", 6).await;
    warehouse.commit_tables(&lost, noon(1)).await.unwrap();
    let next = write_run(&warehouse, "next", 2).await;
    let next = publish(&warehouse, &next, 2).await;
    assert_eq!(next.publication().number, 1);
    assert_eq!(read_rows(&warehouse, next.publication()).await, all(2));
}

#[tokio::test]
async fn a_file_written_again_after_a_cut_replaces_its_entry() {
    let folder = folder();
    let warehouse = open(&folder);
    let early = write_run(&warehouse, "a", 4).await;
    warehouse.commit_tables(&early, noon(1)).await.unwrap();
    let late = write_run(&warehouse, "a", 5_000).await;
    assert_ne!(early.files, late.files);
    let published = publish(&warehouse, &late, 2).await;
    let current = published.publication();
    assert_eq!(
        warehouse.candidate_of(current).await.unwrap().files,
        late.files
    );
    assert_eq!(read_rows(&warehouse, current).await, all(5_000));
}

#[tokio::test]
async fn of_two_publications_that_began_together_the_later_is_refused() {
    let folder = folder();
    let warehouse = open(&folder);
    let a = write_run(&warehouse, "a", 4).await;
    let b = write_run(&warehouse, "b", 6).await;
    let began = warehouse.load_runs().await.unwrap();
    publish(&warehouse, &b, 1).await;
    let versions = warehouse.commit_tables(&a, noon(2)).await.unwrap();
    let publish_kind = PublicationKind::Publish;
    let result = warehouse
        .append_run(began, &a, publish_kind, versions, noon(2))
        .await;
    assert!(matches!(
        result,
        Err(WarehouseError::Conflict { table: "runs" })
    ));
    assert_eq!(warehouse.current().await.unwrap().unwrap().run_id, "b");

    let retried = publish(&warehouse, &a, 3).await;
    assert_eq!(retried.publication().number, 2);
    assert_eq!(read_rows(&warehouse, retried.publication()).await, all(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_writers_number_their_publications_without_gaps() {
    let folder = folder();
    let mut racers = tokio::task::JoinSet::new();
    for n in 1..=4 {
        let warehouse = open(&folder);
        let run = write_run(&warehouse, &format!("run-{n}"), n).await;
        racers.spawn(async move {
            loop {
                let kind = PublicationKind::Publish;
                match warehouse.publish(&run, kind, noon(1)).await {
                    Ok(published) => break published,
                    Err(WarehouseError::Conflict { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }
    let published = racers.join_all().await;
    assert_eq!(published.len(), 4);
    let warehouse = open(&folder);
    let publications = warehouse.publications().await.unwrap();
    assert_eq!(publications.len(), 4);
    for publication in &publications {
        let n = publication.run_id.strip_prefix("run-").unwrap();
        let n: u64 = n.parse().unwrap();
        assert_eq!(read_rows(&warehouse, publication).await, all(n));
    }
}

#[tokio::test]
async fn every_run_stays_readable_across_checkpoints() {
    let folder = folder();
    let warehouse = open(&folder);
    for n in 1..=12 {
        let run = write_run(&warehouse, &format!("run-{n}"), n).await;
        publish(&warehouse, &run, n.into()).await;
    }
    let checkpoint = folder
        .path()
        .join("runs/_delta_log/00000000000000000009.checkpoint.parquet");
    assert!(checkpoint.exists());
    for publication in warehouse.publications().await.unwrap() {
        let rows = read_rows(&warehouse, &publication).await;
        assert_eq!(rows, all(publication.number));
    }
}

#[tokio::test]
async fn empty_tables_are_tables() {
    let folder = folder();
    let warehouse = open(&folder);
    let full = write_run(&warehouse, "full", 2).await;
    publish(&warehouse, &full, 1).await;
    // Without files, and with files without rows.
    let nothing = write_run(&warehouse, "nothing", 0).await;
    assert!(nothing.files.recommendations.is_empty());
    let published = publish(&warehouse, &nothing, 2).await;
    assert_eq!(read_rows(&warehouse, published.publication()).await, all(0));

    let mut hollow = write_run(&warehouse, "hollow", 0).await;
    for table in Table::ALL {
        let path = Warehouse::data_path(table, "hollow", 0).unwrap();
        let rows = RecordBatchStreamAdapter::new(table.schema(), stream::empty());
        let store = warehouse.object_store();
        let file = write_parquet(store, &path, table.schema(), Box::pin(rows));
        hollow.files.get_mut(table).push(file.await.unwrap());
    }
    let published = publish(&warehouse, &hollow, 3).await;
    assert_eq!(read_rows(&warehouse, published.publication()).await, all(0));
}

#[tokio::test]
async fn refuses_candidates_that_are_not_what_they_say() {
    let folder = folder();
    let warehouse = open(&folder);
    let run = write_run(&warehouse, "a", 4).await;
    let result_of = |candidate: Candidate| {
        let warehouse = warehouse.clone();
        async move {
            let kind = PublicationKind::Publish;
            warehouse
                .publish(&candidate, kind, noon(1))
                .await
                .unwrap_err()
        }
    };

    for run_id in ["", "..", "a/b", "a b", "_a", "é"] {
        let mut candidate = run.clone();
        candidate.run_id = run_id.to_owned();
        assert!(matches!(
            result_of(candidate).await,
            WarehouseError::RunId { .. }
        ));
    }
    let mut candidate = run.clone();
    candidate.files.rec_reasons = candidate.files.recommendations.clone();
    assert!(matches!(
        result_of(candidate).await,
        WarehouseError::ForeignFile { .. }
    ));
    let mut candidate = run.clone();
    let twice = candidate.files.rec_reasons[0].clone();
    candidate.files.rec_reasons.push(twice);
    assert!(matches!(
        result_of(candidate).await,
        WarehouseError::ForeignFile { .. }
    ));
    let mut candidate = run.clone();
    candidate.files.rec_reasons[0].size += 1;
    assert!(matches!(
        result_of(candidate).await,
        WarehouseError::FileMismatch { found: Some(_), .. }
    ));
    let mut candidate = run.clone();
    candidate.files.rec_reasons[0].path = "rec_reasons/a/part-9.parquet".to_owned();
    assert!(matches!(
        result_of(candidate).await,
        WarehouseError::FileMismatch { found: None, .. }
    ));
    assert_eq!(warehouse.current().await.unwrap(), None);

    publish(&warehouse, &run, 1).await;
    let mut candidate = run.clone();
    candidate.files.rec_reasons.pop();
    assert!(matches!(
        result_of(candidate).await,
        WarehouseError::RunChanged { .. }
    ));
}

#[tokio::test]
async fn paths_are_relative_to_the_warehouse() {
    let folder = folder();
    let warehouse = open(&folder);
    let path = Warehouse::work_path("a", "report.json").unwrap();
    let store = warehouse.object_store();
    store.put(&path, "{}".into()).await.unwrap();
    assert!(folder.path().join("_runs/a/report.json").exists());
    assert_eq!(path, Path::from("_runs/a/report.json"));
    assert!(Warehouse::work_path("..", "x").is_err());
    assert!(warehouse.url().path().ends_with('/'));
    let by_url = Warehouse::open(warehouse.url().as_str()).unwrap();
    assert_eq!(by_url.url(), warehouse.url());
    assert!(Warehouse::open("ftp://example.com/warehouse").is_err());
}

#[tokio::test]
async fn works_in_an_object_store() {
    let store = Arc::new(object_store::memory::InMemory::new());
    let url = Url::parse("memory:///some/prefix").unwrap();
    let warehouse = Warehouse::new(url, store).unwrap();
    let a = write_run(&warehouse, "a", 4).await;
    let first = publish(&warehouse, &a, 1).await;
    let b = write_run(&warehouse, "b", 5).await;
    publish(&warehouse, &b, 2).await;
    assert_eq!(warehouse.current().await.unwrap().unwrap().number, 2);
    let files = warehouse.candidate_of(first.publication()).await.unwrap();
    assert_eq!(files, a);
}
