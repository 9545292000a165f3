//! The parts that a run spends its time in, each alone on one thread: `cargo bench --workspace`.
//!
//! Rates are of bytes for texts, of items (records, tokens, rows, paths) for the rest.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use graph_recs_udfs::model::{CandleScorer, Instructions, Model, Scorer, TableScorer};
use graph_recs_udfs::records::{MessageParser, next_plain_engagement};
use graph_recs_udfs::text::clean_text_into;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

/// A word of the shipped model, the frequent ones more often, as in texts.
fn word(random: &mut ChaCha8Rng, model: &Model) -> u32 {
    let words = model.vocabulary().len() as f64;
    // Zipf's law: rank = words^u for uniform u.
    words.powf(random.random_range(0.0..1.0)) as u32 - 1
}

/// Messages as people write them.
fn texts(count: usize) -> Vec<String> {
    let (mut random, model) = (random(), Model::shipped().unwrap());
    (0..count)
        .map(|_| {
            let mut text = String::new();
            for _ in 0..random.random_range(4..24) {
                match random.random_range(0..20) {
                    0 => text.push_str("$AAPL "),
                    1 => text.push_str("@somebody "),
                    2 => text.push_str("https://stks.co/a1B2c "),
                    3 => text.push_str("101.25% "),
                    _ => {
                        let word = word(&mut random, &model);
                        text.push_str(model.vocabulary().word(word).trim_start_matches("d:"));
                        text.push(' ');
                    }
                }
            }
            text
        })
        .collect()
}

#[divan::bench]
fn parse_engagements(bencher: Bencher) {
    let mut random = random();
    let lines: String = (0..10_000)
        .map(|_| {
            format!(
                "{},{},{},2019-0{}-1{} 05:35:42,like\n",
                random.random_range(1..300_000),
                random.random_range(1..300_000),
                random.random_range(1..400_000_000),
                random.random_range(1..9),
                random.random_range(0..9),
            )
        })
        .collect();
    bencher
        .counter(BytesCount::new(lines.len()))
        .bench_local(|| {
            let mut rest = lines.as_bytes();
            // The last lines are left: this way looks at 64 bytes.
            while let Some((engagement, length)) = next_plain_engagement::<false>(rest) {
                black_box(engagement);
                rest = &rest[length..];
            }
            assert!(rest.len() < 64);
        });
}

#[divan::bench]
fn parse_messages(bencher: Bencher) {
    let lines: Vec<String> = texts(10_000)
        .iter()
        .enumerate()
        .map(|(id, body)| {
            format!(
                r#"{{"id": {id}, "body": "{body}", "created_at": "2019-06-23T02:42:06Z", "source": {{"id": 1149, "title": "StockTwits for iOS", "url": "http://www.stocktwits.com/mobile"}}, "entities": {{"sentiment": null}}, "user_id": 1435, "recommended": false}}"#
            )
        })
        .collect();
    let mut parser = MessageParser::new();
    bencher
        .counter(BytesCount::new(
            lines.iter().map(String::len).sum::<usize>(),
        ))
        .bench_local(|| {
            for line in &lines {
                black_box(parser.parse(line.as_bytes()).unwrap());
            }
        });
}

/// Cleans 10,000 texts with `clean`; rates are of their bytes, and of the words that are left, which are scored later.
fn cleaning(bencher: Bencher, clean: impl Fn(&str, &mut String) + Sync) {
    let texts = texts(10_000);
    let mut cleaned = String::new();
    let words = |text: &String| {
        let mut cleaned = String::new();
        clean(text, &mut cleaned);
        cleaned.split_ascii_whitespace().count()
    };
    bencher
        .counter(BytesCount::new(
            texts.iter().map(String::len).sum::<usize>(),
        ))
        .counter(ItemsCount::new(texts.iter().map(words).sum::<usize>()))
        .bench_local(|| {
            for text in &texts {
                cleaned.clear();
                clean(text, &mut cleaned);
                black_box(&cleaned);
            }
        });
}

#[divan::bench]
fn clean_text(bencher: Bencher) {
    cleaning(bencher, clean_text_into);
}

/// As the reference says it: one substitution after the other.
#[divan::bench]
fn clean_text_by_regular_expressions(bencher: Bencher) {
    let rules = [
        (r"@\w+", ""),
        (r"https?://[^\s]+", "http"),
        (r"[!-/:-@\[-`{-~]", ""),
        (r"[^\x00-\x7F]", ""),
        (r"[0-9]", ""),
    ]
    .map(|(pattern, replacement)| (regex::Regex::new(pattern).unwrap(), replacement));
    cleaning(bencher, move |text, cleaned| {
        let mut text = std::borrow::Cow::Borrowed(text);
        for (rule, replacement) in &rules {
            text = std::borrow::Cow::Owned(rule.replace_all(&text, *replacement).into_owned());
        }
        cleaned.push_str(&text.to_lowercase());
    });
}

/// Documents of the shipped model's words, `length` tokens each.
fn documents(count: usize, length: usize) -> (Arc<Model>, Vec<Vec<u32>>) {
    let (mut random, model) = (random(), Model::shipped().unwrap());
    let documents = (0..count)
        .map(|_| (0..length).map(|_| word(&mut random, &model)).collect())
        .collect();
    (model, documents)
}

#[divan::bench]
fn tokenize(bencher: Bencher) {
    let (model, documents) = documents(1_000, 100);
    let texts: Vec<String> = documents
        .iter()
        .map(|document| {
            let words: Vec<&str> = document
                .iter()
                .map(|&id| model.vocabulary().word(id))
                .collect();
            words.join(" ")
        })
        .collect();
    let mut tokens = Vec::new();
    bencher
        .counter(ItemsCount::new(100_000_usize))
        .bench_local(|| {
            tokens.clear();
            for text in &texts {
                model.tokenize(text.as_bytes(), b"", &mut tokens);
            }
            black_box(&tokens);
        });
}

/// A million tokens, which is what is scored together.
#[divan::bench(args = Instructions::available(), consts = [25, 100], sample_count = 20)]
fn score_tokens<const LENGTH: usize>(bencher: Bencher, instructions: Instructions) {
    let (model, documents) = documents(1_000_000 / LENGTH, LENGTH);
    let documents: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
    let scorer = TableScorer::with_instructions(model.spec(), model.weights(), instructions);
    bencher
        .counter(ItemsCount::new(1_000_000_usize))
        .bench_local(|| black_box(scorer.logits(&documents).unwrap()));
}

/// As [`score_tokens`], with all tables in 32 bits.
#[divan::bench(consts = [25, 100], sample_count = 20)]
fn score_tokens_exactly<const LENGTH: usize>(bencher: Bencher) {
    let (model, documents) = documents(1_000_000 / LENGTH, LENGTH);
    let documents: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
    let scorer = TableScorer::exact(model.spec(), model.weights());
    bencher
        .counter(ItemsCount::new(1_000_000_usize))
        .bench_local(|| black_box(scorer.logits(&documents).unwrap()));
}

#[divan::bench(sample_count = 5)]
fn score_tokens_plain_network(bencher: Bencher) {
    let (model, documents) = documents(20, 100);
    let documents: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
    let scorer = CandleScorer::new(model.spec(), model.weights()).unwrap();
    bencher
        .counter(ItemsCount::new(2_000_usize))
        .bench_local(|| black_box(scorer.logits(&documents).unwrap()));
}
