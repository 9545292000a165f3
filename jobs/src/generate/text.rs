//! What an author writes, by quality: the better, the more analysis and the less noise. All mix
//! the three voices, so that a single post proves little and a quarter's posts prove much.

use super::ink::push_digits;
use super::people::People;
use super::sampling::{Dice, scatter};
use super::words;

/// How somebody talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// Valuation, results, levels, risk.
    Analysis,
    /// What anybody says.
    Chat,
    /// Hype, abuse and spam.
    Noise,
}

/// A link of a post.
#[derive(Default)]
pub(super) struct Link {
    pub(super) url: String,
    pub(super) title: String,
    pub(super) description: Option<String>,
}

/// Writes the posts of one author at a time.
pub(super) struct Writer<'a> {
    people: &'a People,
    /// Index of the author.
    author: u32,
    /// What the post is about.
    topic: &'static str,
}

impl<'a> Writer<'a> {
    /// For one post of an author.
    pub(super) fn new(people: &'a People, author: u32, dice: &mut Dice) -> Self {
        let topic = ticker(people.community(author), dice);
        Self {
            people,
            author,
            topic,
        }
    }

    /// A post, without HTML entities; `reply_to` stands at its beginning.
    pub(super) fn post(&self, reply_to: Option<u32>, dice: &mut Dice, body: &mut String) -> Voice {
        body.clear();
        let voice = self.voice(dice);
        if let Some(other) = reply_to {
            self.push_mention(other, body);
            body.push(' ');
        }
        let start = body.len();
        match voice {
            Voice::Analysis => self.push_analysis(dice, body),
            Voice::Chat => self.push_sentences(words::CHAT, 1 + dice.below(10) / 7, dice, body),
            Voice::Noise => {
                self.push_sentences(words::NOISE, 1 + dice.below(10) / 8, dice, body);
                if dice.below(4) == 0
                    && let Some(text) = body.get_mut(start..)
                {
                    text.make_ascii_uppercase();
                }
            }
        }
        let tail = dice.below(100);
        match voice {
            Voice::Noise if tail < 25 => {
                body.push_str(["!", "!!!", " $$$$", "!?!"][tail as usize % 4])
            }
            Voice::Noise if tail < 45 => self.push_word('j', dice, body),
            Voice::Chat if tail < 6 => self.push_word('j', dice, body),
            Voice::Chat if tail < 20 => {
                body.push_str(if tail.is_multiple_of(2) { ". " } else { "\n\n" });
                body.push_str(dice.one_of(words::FILLERS));
            }
            Voice::Analysis if tail < 4 => body.push_str(" – more below…"),
            Voice::Analysis if tail < 8 => self.fill(" {t} {t} {t} {t}", dice, body),
            _ => {}
        }
        voice
    }

    /// The link of a post, when it has one, which is appended to the body.
    pub(super) fn link(&self, voice: Voice, dice: &mut Dice, body: &mut String) -> Option<Link> {
        // In percent: a link, its description.
        let (linked, described) = match voice {
            Voice::Analysis => (30, 75),
            Voice::Chat => (5, 50),
            Voice::Noise => (4, 25),
        };
        if dice.below(100) >= linked {
            return None;
        }
        let mut link = Link {
            url: dice.one_of(words::SITES).to_owned(),
            ..Link::default()
        };
        push_digits(&mut link.url, dice.bits() >> 34);
        body.push(' ');
        body.push_str(&link.url);
        self.fill(dice.one_of(words::LINK_TITLES), dice, &mut link.title);
        if dice.below(100) < described {
            let list = match voice {
                Voice::Noise => words::HYPE_DESCRIPTIONS,
                _ => words::LINK_DESCRIPTIONS,
            };
            let mut description = String::new();
            self.fill(dice.one_of(list), dice, &mut description);
            link.description = Some(description);
        }
        Some(link)
    }

    fn voice(&self, dice: &mut Dice) -> Voice {
        let quality = self.people.quality(self.author);
        let analysis = 0.04 + 0.62 * quality * quality;
        let noise = 0.58 * (1.0 - quality);
        let random = dice.unit();
        if random < analysis {
            Voice::Analysis
        } else if random < analysis + noise {
            Voice::Noise
        } else {
            Voice::Chat
        }
    }

    fn push_analysis(&self, dice: &mut Dice, body: &mut String) {
        self.fill(dice.one_of(words::ANALYSIS), dice, body);
        for _ in 0..dice.below(5) / 2 {
            body.push_str(". ");
            if dice.below(3) == 0 {
                body.push_str(dice.one_of(words::CONNECTORS));
            }
            self.fill(dice.one_of(words::ANALYSIS), dice, body);
        }
    }

    fn push_sentences(
        &self,
        list: &[&'static str],
        count: u32,
        dice: &mut Dice,
        body: &mut String,
    ) {
        for number in 0..count {
            if number > 0 {
                body.push_str(if dice.below(2) == 0 { ". " } else { " " });
            }
            self.fill(dice.one_of(list), dice, body);
        }
    }

    /// Appends a sentence with a word in each `{x}`; its first ticker is the topic.
    fn fill(&self, sentence: &str, dice: &mut Dice, text: &mut String) {
        let mut rest = sentence;
        let mut topic = Some(self.topic);
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let mut after = after.chars();
            match after.next() {
                Some('t') => {
                    let other = || ticker(self.people.community(self.author), dice);
                    text.push('$');
                    text.push_str(topic.take().unwrap_or_else(other));
                }
                Some(kind) => self.push_word(kind, dice, text),
                None => {}
            }
            // The closing brace.
            after.next();
            rest = after.as_str();
        }
        text.push_str(rest);
    }

    fn push_word(&self, kind: char, dice: &mut Dice, text: &mut String) {
        let list = match kind {
            'a' => words::STRONG,
            'b' => words::WEAK,
            'c' => words::COMPANIES,
            'e' => words::EVENTS,
            'f' => words::FRAMES,
            'g' => words::PATTERNS,
            'h' => words::HYPE,
            'i' => words::INDICATORS,
            'j' => words::EMOJI,
            'k' => words::DAYS,
            'm' => words::METRICS,
            'q' => words::PERIODS,
            's' => words::SECTORS,
            'x' => words::INSULTS,
            'z' => words::FILLERS,
            'u' => {
                let other = self.people.talk_partner(self.author, dice);
                return self.push_mention(other, text);
            }
            'd' => {
                push_hundredths(text, dice.between(20, 6_000));
                return text.push('%');
            }
            'n' => return push_digits(text, dice.between(2, 40).into()),
            'p' => return push_hundredths(text, dice.between(150, 60_000) / 5 * 5),
            'P' => return push_digits(text, u64::from(dice.between(1, 100)) * 5),
            _ => return,
        };
        text.push_str(dice.one_of(list));
    }

    fn push_mention(&self, other: u32, text: &mut String) {
        let mut name = vec![b'@'];
        self.people.push_name(other, &mut name);
        text.push_str(&String::from_utf8_lossy(&name));
    }
}

/// Mostly one of those that the community talks about.
fn ticker(community: u32, dice: &mut Dice) -> &'static str {
    let random = dice.bits();
    let choice = if random % 10 < 7 {
        scatter(u64::from(community) * 4 + (random >> 8) % 4)
    } else {
        random >> 16
    };
    let at = choice % words::TICKERS.len() as u64;
    words::TICKERS.get(at as usize).copied().unwrap_or_default()
}

/// `12.35` of 1235.
fn push_hundredths(text: &mut String, hundredths: u32) {
    push_digits(text, u64::from(hundredths / 100));
    text.push('.');
    push_digits(text, u64::from(hundredths / 10 % 10));
    push_digits(text, u64::from(hundredths % 10));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_known() {
        let people = People::draw(5, 100, crate::generate::Ties::Close);
        let mut dice = Dice::new(5, 5);
        let writer = Writer::new(&people, 3, &mut dice);
        let lists = [
            words::ANALYSIS,
            words::CHAT,
            words::NOISE,
            words::LINK_TITLES,
            words::LINK_DESCRIPTIONS,
            words::HYPE_DESCRIPTIONS,
        ];
        for sentence in lists.iter().flat_map(|list| list.iter()) {
            for part in sentence.split('{').skip(1) {
                let mut chars = part.chars();
                let (kind, close) = (chars.next().unwrap(), chars.next().unwrap());
                assert_eq!(close, '}', "{sentence}");
                let mut word = String::new();
                writer.push_word(kind, &mut dice, &mut word);
                assert!(kind == 't' || !word.is_empty(), "{{{kind}}} in {sentence}");
            }
            let mut text = String::new();
            writer.fill(sentence, &mut dice, &mut text);
            assert!(!text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn better_authors_sound_better() {
        let people = People::draw(5, 5_000, crate::generate::Ties::Close);
        let mut dice = Dice::new(5, 6);
        let mut body = String::new();
        let mut share = |good: bool, wanted: Voice| {
            let authors: Vec<u32> = (0..5_000)
                .filter(|&author| people.recommended(author) == good)
                .collect();
            let hits = (0..4_000).filter(|i| {
                let author = authors[i % authors.len()];
                Writer::new(&people, author, &mut dice).post(None, &mut dice, &mut body) == wanted
            });
            hits.count() as f64 / 4_000.0
        };
        let (good, others) = (share(true, Voice::Analysis), share(false, Voice::Analysis));
        assert!(
            good > 0.45 && others < 0.25 && others > 0.1,
            "{good} {others}"
        );
        let (good, others) = (share(true, Voice::Noise), share(false, Voice::Noise));
        assert!(good < 0.12 && others > 0.2, "{good} {others}");
    }

    #[test]
    fn hundredths_keep_their_zeros() {
        let mut text = String::new();
        push_hundredths(&mut text, 1_205);
        assert_eq!(text, "12.05");
    }
}
