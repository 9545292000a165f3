//! `why`: the words that made a text's score.

use std::collections::BTreeMap;

use anyhow::Result;
use graph_recs_udfs::model::{Model, Reasons, Window};
use graph_recs_udfs::text::clean_text_into;

use crate::cli::WhyOptions;

/// Shows which word sequences raised and which lowered a text's score.
pub async fn run(options: &WhyOptions) -> Result<()> {
    let model = Model::open(options.model.as_deref()).await?;
    let mut cleaned = String::new();
    clean_text_into(&options.text, &mut cleaned);
    let mut tokens = Vec::new();
    model.tokenize(cleaned.as_bytes(), b"", &mut tokens);
    let words: Vec<&str> = tokens
        .iter()
        .map(|&id| model.vocabulary().word(id))
        .collect();
    let reasons = model.reasons(&tokens)?;
    match options.json {
        true => say_line!("{}", json(&cleaned, &words, &reasons)),
        false => say!("{}", page(&cleaned, &words, &reasons, options.top)),
    }
    Ok(())
}

fn words_of(words: &[&str], window: &Window) -> String {
    let words = words.get(window.tokens.clone()).unwrap_or(&[]);
    words.join(" ")
}

fn page(cleaned: &str, words: &[&str], reasons: &Reasons, top: usize) -> String {
    let mut page = format!(
        "probability {:.6}\n\ncleaned   {cleaned}\n",
        reasons.probability
    );
    if words.is_empty() {
        page.push_str("No word of it is known to the model: such a text scores 0.\n");
        return page;
    }
    page.push_str(&format!("tokens    {}\n\n", words.join(" ")));
    page.push_str(&format!(
        "log odds  {:+.4} = {:+.4} for any text, and what {} filters find:\n",
        reasons.log_odds,
        reasons.base,
        reasons.windows.len()
    ));
    // Filters that chose the same words are told as one.
    let mut found: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for window in reasons
        .windows
        .iter()
        .filter(|window| window.contribution != 0.0)
    {
        let (sum, filters) = found.entry(words_of(words, window)).or_default();
        *sum += window.contribution;
        *filters += 1;
    }
    let mut found: Vec<(String, (f64, usize))> = found.into_iter().collect();
    found.sort_by(|(_, (one, _)), (_, (other, _))| other.total_cmp(one));
    let (raising, lowering): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, (sum, _))| *sum > 0.0);
    let side = |page: &mut String,
                name: &str,
                shown: &mut dyn Iterator<Item = &(String, (f64, usize))>,
                all: usize| {
        page.push_str(&format!("\n{name}\n"));
        for (words, (sum, filters)) in shown.take(top) {
            page.push_str(&format!("  {sum:+8.4}  {filters:>3} filters  {words}\n"));
        }
        if all > top {
            page.push_str(&format!("  and {} more (--top)\n", all - top));
        }
    };
    side(&mut page, "raise it", &mut raising.iter(), raising.len());
    side(
        &mut page,
        "lower it",
        &mut lowering.iter().rev(),
        lowering.len(),
    );
    page
}

fn json(cleaned: &str, words: &[&str], reasons: &Reasons) -> serde_json::Value {
    let window = |window: &Window| {
        serde_json::json!({
            "words": words_of(words, window),
            "start": window.tokens.start,
            "width": window.width,
            "filter": window.filter,
            "contribution": window.contribution,
        })
    };
    serde_json::json!({
        "probability": reasons.probability,
        "log_odds": reasons.log_odds,
        "base": reasons.base,
        "cleaned": cleaned,
        "tokens": words,
        "windows": reasons.windows.iter().map(window).collect::<Vec<_>>(),
    })
}
