//! Who likes, answers, mentions and follows whom, in the order of time.

use std::ops::Range;

use super::chunks::{Chunk, Job, Recent, Sheet};
use super::clock::Clock;
use super::ink::push_number;
use super::people::People;
use super::{dirt, messages};

/// Of a million rows: identical to an earlier one.
const DUPLICATES: u32 = 5_000;
/// Of a million rows: with oneself.
const SELVES: u32 = 3_000;

/// A kind of engagement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Follow,
    Reply,
    Mention,
    Like,
}

/// Rows of each kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) follow: u64,
    pub(super) reply: u64,
    pub(super) mention: u64,
    pub(super) like: u64,
}

/// Follows 10 %, replies 25 %, mentions 20 %, likes the rest.
pub(super) fn split(engagements: u64) -> Counts {
    let (follow, reply, mention) = (engagements / 10, engagements / 4, engagements / 5);
    Counts {
        follow,
        reply,
        mention,
        like: engagements - follow - reply - mention,
    }
}

/// The file of one kind.
pub(super) struct Engagements<'a> {
    pub(super) kind: Kind,
    pub(super) people: &'a People,
    pub(super) clock: &'a Clock,
    pub(super) sheet: Sheet,
    /// The id of the last message; engagements go to messages from the first to this.
    pub(super) newest_message: u64,
}

impl Job for Engagements<'_> {
    fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    fn chunk_rows(&self) -> u64 {
        1 << 15
    }

    fn make(&self, rows: Range<u64>) -> Chunk {
        let mut dice = self.sheet.dice(rows.start);
        let mut hand = self.clock.hand();
        let mut recent = Recent::new();
        let mut chunk = Chunk::default();
        chunk.bytes.reserve((rows.end - rows.start) as usize * 52);
        let word: &[u8] = match self.kind {
            Kind::Follow => b"",
            Kind::Reply => b",reply",
            Kind::Mention => b",mention",
            Kind::Like => b",like",
        };
        let oldest = messages::FIRST_ID;
        for row in rows {
            // One row in each share of the whole: the times come out sorted.
            let share = (row as f64 + dice.unit()) / self.sheet.rows as f64;
            let second = hand.at(share);
            if dice.chance(DUPLICATES) && recent.repeat(&mut dice, &mut chunk.bytes) {
                chunk.duplicates += 1;
            } else {
                let start = chunk.bytes.len();
                let user = self.people.active(&mut dice);
                let other = if dice.chance(SELVES) {
                    user
                } else if self.kind == Kind::Follow {
                    // A follow is rarely made again; talk goes to the same few.
                    self.people.partner(user, 20, &mut dice)
                } else {
                    self.people.talk_partner(user, &mut dice)
                };
                push_number(&mut chunk.bytes, self.people.id(user));
                chunk.bytes.push(b',');
                push_number(&mut chunk.bytes, self.people.id(other));
                chunk.bytes.push(b',');
                if self.kind != Kind::Follow {
                    // Messages of the last hours draw most; a few are old.
                    let age = dice.unit() * dice.unit() * 0.02;
                    let position = (0.35 + 0.65 * share) * (1.0 - age);
                    let message = position * self.newest_message.saturating_sub(oldest) as f64;
                    push_number(&mut chunk.bytes, oldest + message as u64);
                    chunk.bytes.push(b',');
                }
                chunk.bytes.extend_from_slice(&hand.stamp(second));
                chunk.bytes.extend_from_slice(word);
                chunk.bytes.push(b'\n');
                recent.push(start..chunk.bytes.len());
            }
            if let Some(number) = self.sheet.dirt_after(row) {
                let moment = hand.stamp(second);
                dirt::engagement(&mut chunk.bytes, number, self.kind == Kind::Follow, &moment);
                chunk.unreadable += 1;
            }
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_add_up() {
        assert_eq!(
            split(0),
            Counts {
                follow: 0,
                reply: 0,
                mention: 0,
                like: 0
            }
        );
        assert_eq!(
            split(3),
            Counts {
                follow: 0,
                reply: 0,
                mention: 0,
                like: 3
            }
        );
        assert_eq!(
            split(101),
            Counts {
                follow: 10,
                reply: 25,
                mention: 20,
                like: 46
            }
        );
    }
}
