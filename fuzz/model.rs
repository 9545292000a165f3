//! Model folders that need not be trusted.

use graph_recs_udfs::model::{Model, ModelFiles};

use super::driver::{fuzz, kind, must};

/// Between the three files of a folder.
const BETWEEN: &[u8] = b"\n---\n";

const WORDS: &[&str] = &[
    "\n---\n",
    "0",
    "1",
    "16",
    "1048576",
    "18446744073709551615",
    "-1",
    "1e308",
    "null",
    "[]",
    "{}",
    "\"F32\"",
    "\"F16\"",
    "\"I64\"",
    "\"shape\":[",
    "\"data_offsets\":[0,18446744073709551615]",
    "embedding.weight",
    "\n",
];

#[test]
fn model() {
    fuzz("model", WORDS, |input| {
        let (spec, rest) = split(input);
        let (vocabulary, weights) = split(rest);
        let files = ModelFiles {
            spec: spec.to_vec(),
            weights: weights.to_vec(),
            vocabulary: vocabulary.to_vec(),
        };
        let model = match Model::from_files(&files) {
            Ok(model) => model,
            Err(error) => {
                let told = error.to_string();
                must(!told.is_empty() && told.len() < 2000, || {
                    format!("it is told in {} bytes", told.len())
                })?;
                return kind(told.split_whitespace().take(3).collect::<Vec<_>>());
            }
        };
        let mut tokens = Vec::new();
        model.tokenize(b"to the moon", b"a", &mut tokens);
        let scores = model
            .millionths(&[tokens.as_slice(), &[]])
            .map_err(|error| error.to_string())?;
        must(
            scores.iter().all(|score| (0..=1_000_000).contains(score)),
            || format!("{scores:?}"),
        )?;
        kind((tokens.len(), scores.first().map(|score| score / 10_000)))
    });
}

/// What comes before the first mark, and what after it.
fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let at = input
        .windows(BETWEEN.len())
        .position(|bytes| bytes == BETWEEN);
    match at {
        Some(at) => (&input[..at], &input[at + BETWEEN.len()..]),
        None => (input, &[]),
    }
}
