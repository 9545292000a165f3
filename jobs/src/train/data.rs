//! What is learnt from: users with a label and their weekly documents, and who is held out.

use super::{Document, TrainError};
use graph_recs_udfs::model::{Tokenizer, Vocabulary};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};

/// Documents as token ids, with their users' labels.
#[derive(Debug)]
pub(super) struct Corpus {
    /// In order of user, then as given.
    pub documents: Vec<Example>,
}

/// One weekly document.
#[derive(Debug, Clone)]
pub(super) struct Example {
    pub user_id: i32,
    pub positive: bool,
    pub tokens: Vec<u32>,
}

/// What a user is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Validation,
    Test,
}

/// A user's place in [0, 1): evenly spread, the same in every run, unlike its neighbours'.
fn place(user_id: i32, purpose: &str) -> f64 {
    let digest = Sha256::digest(format!("{purpose}:{user_id}"));
    let first = digest
        .iter()
        .take(6)
        .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    first as f64 / (1_u64 << 48) as f64
}

/// Splits by user: the shares of validation and test users are those of the options.
pub(super) fn part(user_id: i32, validation_share: f64, test_share: f64) -> Part {
    let place = place(user_id, "part");
    match place {
        _ if place < validation_share => Part::Validation,
        _ if place < validation_share + test_share => Part::Test,
        _ => Part::Train,
    }
}

/// The fold of a user: SHA-1 of its id in decimal digits, modulo the number of folds.
pub(super) fn fold(user_id: i32, folds: usize) -> usize {
    let digest = sha1(user_id.to_string().as_bytes());
    digest.iter().fold(0, |rest, &byte| {
        (rest * 256 + usize::from(byte)) % folds.max(1)
    })
}

/// SHA-1 (FIPS 180-4) of a message shorter than 56 bytes: one block. It spreads users over folds, nothing more.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut block = [0_u8; 64];
    for (to, from) in block.iter_mut().zip(message.iter().take(55).chain(&[0x80])) {
        *to = *from;
    }
    let bits = (message.len().min(55) * 8) as u64;
    block[56..].copy_from_slice(&bits.to_be_bytes());
    let mut words = [0_u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for t in 16..80 {
        words[t] = (words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1);
    }
    let start = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0_u32,
    ];
    let [mut a, mut b, mut c, mut d, mut e] = start;
    for (t, word) in words.iter().enumerate() {
        let (mix, constant) = match t {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mix)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(*word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    let mut digest = [0; 20];
    for (bytes, (end, begin)) in digest
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip([a, b, c, d, e].iter().zip(start))
    {
        *bytes = end.wrapping_add(begin).to_be_bytes();
    }
    digest
}

/// SHA-256, in hexadecimal, of all documents and labels in the order of user and text, and of further texts.
pub(super) fn hash(documents: &[Document], texts: &[String]) -> String {
    let mut digest = Sha256::new();
    let add = |digest: &mut Sha256, text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    for document in documents {
        digest.update(document.user_id.to_le_bytes());
        digest.update([u8::from(document.positive)]);
        add(&mut digest, &document.clean_body);
        add(&mut digest, &document.clean_link_desc);
    }
    texts.iter().for_each(|text| add(&mut digest, text));
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The documents in an order of their own, whatever order they came in, each with its user's label: a user is a
/// positive example when any of its documents is.
pub(super) fn in_order(documents: &[Document]) -> Result<Vec<Document>, TrainError> {
    let mut positive: BTreeMap<i32, bool> = BTreeMap::new();
    for document in documents {
        *positive.entry(document.user_id).or_default() |= document.positive;
    }
    let good = positive.values().filter(|&&good| good).count();
    if good == 0 || good == positive.len() {
        return Err(TrainError::OneClass {
            users: positive.len(),
            good,
        });
    }
    let mut sorted = documents.to_vec();
    for document in &mut sorted {
        document.positive = positive.get(&document.user_id).copied().unwrap_or_default();
    }
    sorted.sort_by(|a, b| {
        let key = |d: &Document| (d.user_id, d.week);
        key(a)
            .cmp(&key(b))
            .then_with(|| a.clean_body.cmp(&b.clean_body))
            .then_with(|| a.clean_link_desc.cmp(&b.clean_link_desc))
    });
    Ok(sorted)
}

/// Tokens that at least `min_users` different users wrote, by falling number of occurrences, then by the alphabet; at
/// most `most`. Counting users keeps out what a single account repeats.
pub(super) fn vocabulary<'a>(
    documents: impl Iterator<Item = &'a Document>,
    tokenizer: Tokenizer,
    min_users: usize,
    most: usize,
) -> Vec<String> {
    struct Count {
        occurrences: u64,
        users: usize,
        last_user: i32,
    }
    let mut counts: HashMap<Vec<u8>, Count> = HashMap::new();
    for document in documents {
        let (body, desc) = (
            document.clean_body.as_bytes(),
            document.clean_link_desc.as_bytes(),
        );
        tokenizer.for_each_token(body, desc, |token| {
            let count = match counts.get_mut(token) {
                Some(count) => count,
                None => counts.entry(token.to_vec()).or_insert(Count {
                    occurrences: 0,
                    users: 0,
                    last_user: 0,
                }),
            };
            count.occurrences += 1;
            // Documents come in order of user, and ids begin at 1.
            count.users += usize::from(count.last_user != document.user_id);
            count.last_user = document.user_id;
        });
    }
    let mut words: Vec<(u64, String)> = counts
        .into_iter()
        .filter(|(word, count)| count.users >= min_users && word.is_ascii())
        .filter_map(|(word, count)| Some((count.occurrences, String::from_utf8(word).ok()?)))
        .collect();
    words.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    words.into_iter().take(most).map(|(_, word)| word).collect()
}

impl Corpus {
    /// Tokenizes documents; those without a known word are kept, they score 0.
    pub fn new(
        documents: &[Document],
        tokenizer: Tokenizer,
        vocabulary: &Vocabulary,
        max_tokens: usize,
    ) -> Self {
        let example = |document: &Document| {
            let mut tokens = Vec::new();
            let (body, desc) = (
                document.clean_body.as_bytes(),
                document.clean_link_desc.as_bytes(),
            );
            tokenizer.tokenize(vocabulary, max_tokens, body, desc, &mut tokens);
            Example {
                user_id: document.user_id,
                positive: document.positive,
                tokens,
            }
        };
        Self {
            documents: documents.iter().map(example).collect(),
        }
    }

    /// The documents of the users that `keep` chooses.
    pub fn select(&self, keep: impl Fn(i32) -> bool) -> Vec<&Example> {
        self.documents
            .iter()
            .filter(|example| keep(example.user_id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(user_id: i32, body: &str, positive: bool) -> Document {
        Document {
            user_id,
            week: 1,
            clean_body: body.to_owned(),
            clean_link_desc: String::new(),
            positive,
        }
    }

    #[test]
    fn folds_are_those_of_sha1() {
        let hexadecimal = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        assert_eq!(
            hexadecimal(&sha1(b"abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            hexadecimal(&sha1(b"")),
            "da39a3ee5e6b4b0d3255bfef95601890afd80709"
        );
        // int(hashlib.sha1(b"5").hexdigest(), 16) % 5 and so on, in Python
        let folds: Vec<usize> = [5, 39, 170, 1_234_567].map(|id| fold(id, 5)).to_vec();
        assert_eq!(folds, [1, 2, 2, 2]);
    }

    #[test]
    fn splits_have_their_shares_and_never_change() {
        let mut counts = [0; 3];
        for user_id in 1..=10_000 {
            let part = part(user_id, 0.2, 0.1);
            assert_eq!(part, super::part(user_id, 0.2, 0.1));
            counts[part as usize] += 1;
        }
        for (count, share) in counts.into_iter().zip([0.7, 0.2, 0.1]) {
            assert!(
                (f64::from(count) / 10_000.0 - share).abs() < 0.02,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn a_word_counts_once_a_user() {
        let documents = [
            document(1, "spam spam spam the", false),
            document(1, "spam spy", false),
            document(2, "the spy", true),
            document(3, "the", true),
        ];
        let words =
            |min_users, most| vocabulary(documents.iter(), Tokenizer::Plain, min_users, most);
        assert_eq!(words(1, 9), ["spam", "the", "spy"]);
        assert_eq!(words(2, 9), ["the", "spy"]);
        assert_eq!(words(1, 1), ["spam"]);
    }

    #[test]
    fn labels_are_users_and_order_does_not_matter() {
        let mut documents = vec![
            document(2, "b", false),
            document(1, "a", false),
            document(2, "a", true),
        ];
        let sorted = in_order(&documents).unwrap();
        let keys: Vec<_> = sorted
            .iter()
            .map(|d| (d.user_id, d.clean_body.as_str(), d.positive))
            .collect();
        assert_eq!(keys, [(1, "a", false), (2, "a", true), (2, "b", true)]);
        documents.reverse();
        assert_eq!(
            hash(&in_order(&documents).unwrap(), &[]),
            hash(&sorted, &[])
        );
        assert_ne!(hash(&sorted, &["a".to_owned()]), hash(&sorted, &[]));
        documents.pop();
        assert!(matches!(
            in_order(&documents[1..]),
            Err(TrainError::OneClass { users: 1, .. })
        ));
    }
}
