//! What Ballista gets wrong, on its own: why no job of ours has a shuffle (docs/cluster.md).

use std::fmt::Write;
use std::time::{Duration, Instant};

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::CsvReadOptions;
use futures::TryStreamExt;
use graph_recs::cluster::{Client, JobState, state_of};
use graph_recs_sql::Engine;
use graph_recs_sql::cluster::Codec;
use graph_recs_sql::cluster::tls::TlsOptions;
use graph_recs_udfs::model::Model;

use crate::cluster_support::Cluster;
use crate::support::Place;

/// Users and edges of each: enough paths to kill somebody on the way.
const USERS: i64 = 12_000;
const EDGES: i64 = 60;

/// Sums over paths of two edges, in three stages: scan, join, add up.
const PATHS: &str = "SELECT count(*) AS groups, CAST(sum(paths) AS BIGINT) AS paths, CAST(sum(weight) AS BIGINT) AS weight \
     FROM (SELECT a.user % 50000 AS user, b.other % 100 AS other, count(*) AS paths, sum(b.weight) AS weight \
           FROM edges AS a JOIN edges AS b ON a.other = b.user GROUP BY 1, 2)";

/// What became of a job.
#[derive(Debug, PartialEq)]
enum Fate {
    Right,
    Wrong(Vec<i64>),
    Failed(String),
    Hung,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_job_of_a_lost_executor_cannot_be_trusted() {
    let place = Place::new();
    std::fs::create_dir_all(place.input()).unwrap();
    for part in 0..4 {
        let mut text = String::new();
        for user in (0..USERS).filter(|user| user % 4 == part) {
            for edge in 0..EDGES {
                let other = (user * 31 + edge * edge * 7) % USERS;
                writeln!(text, "{user},{other},{}", 1 + (user + edge) % 1000).unwrap();
            }
        }
        place.write(&format!("part-{part}.csv"), text);
    }
    // Joins and aggregates that divide their rows, as Ballista plans them by default.
    let engine = Engine {
        threads: 4,
        ..Engine::default()
    };
    let context = engine.travelling(Model::shipped().unwrap()).unwrap();
    for (name, value) in [
        ("optimizer.hash_join_single_partition_threshold", "0"),
        ("optimizer.hash_join_single_partition_threshold_rows", "0"),
    ] {
        let set = format!("SET datafusion.{name} = {value}");
        context.sql(&set).await.unwrap().collect().await.unwrap();
    }
    let schema = datafusion::arrow::datatypes::Schema::new(
        ["user", "other", "weight"]
            .map(|name| {
                let kind = datafusion::arrow::datatypes::DataType::Int64;
                datafusion::arrow::datatypes::Field::new(name, kind, false)
            })
            .to_vec(),
    );
    let options = CsvReadOptions::new().has_header(false).schema(&schema);
    let folder = place.input().display().to_string();
    context
        .register_csv("edges", folder, options)
        .await
        .unwrap();
    let frame = context.sql(PATHS).await.unwrap();
    let expected = numbers(&frame.clone().collect().await.unwrap());
    let plan = frame.create_physical_plan().await.unwrap();
    let plan = Codec::driver(None).encode(plan).unwrap();

    let mut fates = Vec::new();
    let mut cluster = Cluster::start(2);
    for _ in 0..6 {
        let client = Client::new(&cluster.url(), &TlsOptions::default()).unwrap();
        let settings = engine.travelling_settings();
        let name = format!("reproduction-{}", fates.len());
        let mut states = client
            .submit(&name, &name, &settings, plan.clone())
            .await
            .unwrap();
        let begun = Instant::now();
        let mut killed = false;
        let mut job = None;
        let fate = loop {
            let message = tokio::time::timeout(Duration::from_millis(20), states.message()).await;
            if let Ok(message) = message {
                let message = message.unwrap().unwrap();
                job = message.status.as_ref().map(|status| status.job_id.clone());
                match state_of(message) {
                    JobState::Done(locations) => {
                        let mut rows = Vec::new();
                        for location in locations {
                            let batches = client.fetch(location).await.unwrap();
                            rows.extend(batches.try_collect::<Vec<_>>().await.unwrap());
                        }
                        let found = numbers(&rows);
                        break if found == expected {
                            Fate::Right
                        } else {
                            Fate::Wrong(found)
                        };
                    }
                    JobState::Failed(why) => break Fate::Failed(why),
                    JobState::Waiting | JobState::Unknown => {}
                }
            }
            // The first stage has written what the second reads: one of those who hold it is lost.
            if let (false, Some(job)) = (killed, &job)
                && client.finished_stages(job).await.unwrap_or(0) >= 1
            {
                killed = true;
                let victim = cluster.running()[0];
                cluster.kill(victim);
            }
            if begun.elapsed() > Duration::from_secs(40) {
                break Fate::Hung;
            }
        };
        println!(
            "killed: {killed}, {fate:?} after {:.1} s, expected {expected:?}",
            begun.elapsed().as_secs_f64()
        );
        if killed {
            fates.push(fate);
        }
        if fates
            .iter()
            .any(|fate| matches!(fate, Fate::Wrong(_) | Fate::Hung))
        {
            return;
        }
        cluster.add();
        cluster.wait_for(2);
    }
    panic!("Ballista has become better: {fates:?}. Try how far, and say so in docs/cluster.md");
}

fn numbers(rows: &[datafusion::arrow::array::RecordBatch]) -> Vec<i64> {
    let row = rows.iter().find(|batch| batch.num_rows() == 1).unwrap();
    let columns = row.columns().iter();
    columns
        .map(|column| column.as_primitive::<Int64Type>().value(0))
        .collect()
}
