//! The run's steps as OpenTelemetry spans, sent once at its end: OTLP over HTTP with JSON, which every collector
//! takes on port 4318.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Board, Span};

/// How long a collector may take: a run must not wait for its observers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the run's spans to a collector.
///
/// # Errors
/// When the collector cannot be reached or refuses them.
pub async fn send(board: &Board, endpoint: &str) -> Result<()> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    // Without certificates of authorities on this machine there is no client.
    let client = reqwest::Client::builder().build();
    let answer = client
        .with_context(|| format!("spans cannot be sent to {url}"))?
        .post(&url)
        .timeout(PATIENCE)
        .header("content-type", "application/json")
        .body(message(board).to_string())
        .send()
        .await
        .with_context(|| format!("spans cannot be sent to {url}"))?;
    if !answer.status().is_success() {
        bail!("{url} refuses spans: {}", answer.status());
    }
    Ok(())
}

fn message(board: &Board) -> Value {
    let run_id = board.run_id.clone().unwrap_or_default();
    let began = board.began.unwrap_or(SystemTime::UNIX_EPOCH);
    let ended = board.ended.unwrap_or(began);
    let seed = format!("{run_id} {}", nanoseconds(began));
    // One trace a run, also when its steps are processes of their own.
    let trace = identifier(&run_id, 16);
    let root = identifier(&format!("{seed} run"), 8);
    let failed = board.exit_code.filter(|code| *code != 0);
    let mut spans = vec![json!({
        "traceId": trace, "spanId": root, "name": "run", "kind": 1,
        "startTimeUnixNano": nanoseconds(began), "endTimeUnixNano": nanoseconds(ended),
        "attributes": [attribute("graph_recs.run_id", &run_id)],
        "status": status(failed.map(|code| format!("exit code {code}")).as_deref()),
    })];
    spans.extend(board.spans.iter().enumerate().map(|(index, span): (usize, &Span)| {
        json!({
            "traceId": trace, "spanId": identifier(&format!("{seed} {index}"), 8), "parentSpanId": root,
            "name": span.name, "kind": 1,
            "startTimeUnixNano": nanoseconds(span.began), "endTimeUnixNano": nanoseconds(span.ended),
            "attributes": [attribute("graph_recs.run_id", &run_id)],
            "status": status(span.error.as_deref()),
        })
    }));
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", "graph-recs"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ] },
        "scopeSpans": [{ "scope": { "name": "graph-recs" }, "spans": spans }],
    }] })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// As the protocol has it: 2 is an error, 1 is not.
fn status(error: Option<&str>) -> Value {
    match error {
        Some(error) => json!({ "code": 2, "message": error }),
        None => json!({ "code": 1 }),
    }
}

fn nanoseconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_nanos().to_string()
}

/// So many bytes, in hexadecimal, that are others for every seed.
fn identifier(seed: &str, bytes: usize) -> String {
    let hash = Sha256::digest(seed.as_bytes());
    hash.iter()
        .take(bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
