//! Makes inputs and tries them.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::watch::largest_allocation;

/// How many inputs are tried: `fuzz/run` sets it. Without it, as many as there is time for.
const INPUTS: &str = "GRAPH_RECS_FUZZ_INPUTS";
/// How long a target takes without that.
const TIME: Duration = Duration::from_secs(4);
/// Inputs are not made longer than this, or than twice the longest seed.
const LONG: usize = 512;
/// No input is worth an allocation larger than this.
const MOST_MEMORY: usize = 256 << 20;
/// So many inputs of new kinds are kept.
const KEPT: usize = 10_000;

/// What came of an input: its kind, or what is wrong.
pub type Outcome = Result<u64, String>;

/// The kind of an outcome: what is hashed alike is of one kind.
pub fn kind(outcome: impl Hash) -> Outcome {
    let mut hasher = DefaultHasher::new();
    outcome.hash(&mut hasher);
    Ok(hasher.finish())
}

/// Fails an input unless `holds`.
pub fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(otherwise()),
    }
}

/// Tries the seeds of a target and inputs made of them, with words that are put into them.
///
/// # Panics
/// At the first input that fails or panics; it is in a file then.
pub fn fuzz(name: &str, words: &[&str], mut check: impl FnMut(&[u8]) -> Outcome) {
    let mut corpus = seeds(name);
    assert!(!corpus.is_empty(), "{name} has no seeds");
    let seeds = corpus.len();
    let longest = corpus.iter().map(|seed| 2 * seed.len()).max();
    let longest = longest.unwrap_or_default().max(LONG);
    let limit: Option<u64> = std::env::var(INPUTS).ok().map(|text| text.parse().unwrap());
    let began = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(seeds as u64);
    let mut kinds = HashSet::new();
    let mut tried = 0;
    while limit.map_or_else(|| began.elapsed() < TIME, |limit| tried < limit)
        || tried < seeds as u64
    {
        let input = match corpus.get(tried as usize) {
            Some(seed) if tried < seeds as u64 => seed.clone(),
            _ => changed(&corpus, words, longest, &mut random),
        };
        tried += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input)));
        let memory = largest_allocation();
        let kind = match outcome {
            _ if memory > MOST_MEMORY => fail(
                name,
                &input,
                &format!("it makes an allocation of {memory} bytes"),
            ),
            Ok(Ok(kind)) => kind,
            Ok(Err(wrong)) => fail(name, &input, &wrong),
            Err(_) => fail(name, &input, "it panics, see above"),
        };
        if kinds.insert(kind) && tried > seeds as u64 && corpus.len() < seeds + KEPT {
            corpus.push(input);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{name}: {tried} inputs in {seconds:.1} s ({:.0} a second), outcomes of {} kinds",
        tried as f64 / seconds,
        kinds.len()
    );
}

fn fail(name: &str, input: &[u8], wrong: &str) -> ! {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let folder = std::env::temp_dir().join("graph-recs-fuzz").join(name);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{:016x}", hasher.finish()));
    fs::write(&file, input).unwrap();
    panic!(
        "{name}: {wrong}\nthe input is in {}; when it is mended, keep it in fuzz/seeds/{name}\n{}",
        file.display(),
        String::from_utf8_lossy(&input[..input.len().min(1000)])
    );
}

/// The folder of a target's seeds.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(name);
    let mut files: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(files) => files.map(|file| file.unwrap().path()).collect(),
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// An input of the corpus with a few changes.
fn changed(corpus: &[Vec<u8>], words: &[&str], longest: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut input = corpus[random.random_range(0..corpus.len())].clone();
    let most = [1, 1, 2, 4, 8][random.random_range(0..5)];
    for _ in 0..most {
        change(&mut input, corpus, words, random);
    }
    input.truncate(longest);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str], random: &mut ChaCha8Rng) {
    const LIKELY: &[u8] =
        b"\"\"'\\,,:;{}[]()<>=0159-+.eEtfnuT Z@/%$#\n\r\t\0\x01\x1f\x7f\x80\xc3\xa9\xe9\xff";
    let at = random.random_range(0..=input.len());
    let upto = input
        .len()
        .min(at + [1, 4, 16, 256][random.random_range(0..4)]);
    let to = random.random_range(at..=upto);
    match random.random_range(0..10) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 if at < input.len() => input[at] = LIKELY[random.random_range(0..LIKELY.len())],
        3 => input.insert(at, LIKELY[random.random_range(0..LIKELY.len())]),
        4 => drop(input.drain(at..to)),
        5 => {
            let part = input[at..to].to_vec();
            let to = random.random_range(0..=input.len());
            input.splice(to..to, part);
        }
        6 if !words.is_empty() => {
            let word = words[random.random_range(0..words.len())].bytes();
            let to = if random.random() { at } else { to };
            input.splice(at..to, word);
        }
        // A number's bytes, as in a length.
        7 if at + 4 <= input.len() => {
            let number: u32 = [0, 1, 0x7F, 0xFF, 0x7FFF_FFFF, u32::MAX, random.random()]
                [random.random_range(0..7)];
            let bytes = if random.random() {
                number.to_be_bytes()
            } else {
                number.to_le_bytes()
            };
            input[at..at + 4].copy_from_slice(&bytes);
        }
        // A part of another input.
        8 => {
            let other = &corpus[random.random_range(0..corpus.len())];
            let from = random.random_range(0..=other.len());
            let end = random.random_range(from..=other.len().min(from + 256));
            input.splice(at..to, other[from..end].iter().copied());
        }
        _ => input.truncate(at.max(1)),
    }
}
