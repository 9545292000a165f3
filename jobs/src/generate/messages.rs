//! `st_messages.data`: one JSON object a line, ids ascending, in the order of time.

use std::ops::Range;

use super::chunks::{Chunk, Job, Recent, Sheet};
use super::clock::Clock;
use super::dirt;
use super::ink::{push_json_text, push_number};
use super::names;
use super::people::People;
use super::sampling::Dice;
use super::text::{Link, Writer};

/// The id of the first message.
pub(super) const FIRST_ID: u64 = 40_000_000;
/// Ids from one message to the next, on average.
const STRIDE: u32 = 3;
/// Of a million lines: identical to an earlier one.
const DUPLICATES: u32 = 2_000;
/// Of a million lines: an earlier id with another text.
const EDITS: u32 = 500;

/// About the id of the last of so many messages; of none, as if there were a million.
pub(super) fn last_id(messages: u64) -> u64 {
    let messages = if messages == 0 { 1_000_000 } else { messages };
    FIRST_ID + messages * u64::from(STRIDE)
}

/// The messages' file.
pub(super) struct Messages<'a> {
    pub(super) people: &'a People,
    pub(super) clock: &'a Clock,
    pub(super) sheet: Sheet,
}

impl Job for Messages<'_> {
    fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    fn chunk_rows(&self) -> u64 {
        1 << 12
    }

    fn make(&self, rows: Range<u64>) -> Chunk {
        let mut dice = self.sheet.dice(rows.start);
        let mut hand = self.clock.hand();
        let mut recent = Recent::new();
        let mut chunk = Chunk::default();
        chunk.bytes.reserve((rows.end - rows.start) as usize * 520);
        let mut body = String::new();
        let mut last = None;
        for row in rows {
            let share = (row as f64 + dice.unit()) / self.sheet.rows as f64;
            let second = hand.at(share);
            let mut created = hand.stamp(second);
            created[10] = b'T';
            if dice.chance(DUPLICATES) && recent.repeat(&mut dice, &mut chunk.bytes) {
                chunk.duplicates += 1;
            } else {
                let start = chunk.bytes.len();
                let fresh = FIRST_ID + row * u64::from(STRIDE) + u64::from(dice.below(STRIDE));
                let message = match last {
                    Some((id, author)) if dice.chance(EDITS) => {
                        chunk.duplicates += 1;
                        Message {
                            id,
                            author,
                            created,
                        }
                    }
                    _ => Message {
                        id: fresh,
                        author: self.people.author(&mut dice),
                        created,
                    },
                };
                self.write(&message, &mut dice, &mut body, &mut chunk.bytes);
                last = Some((message.id, message.author));
                recent.push(start..chunk.bytes.len());
            }
            if let Some(number) = self.sheet.dirt_after(row) {
                dirt::message(&mut chunk.bytes, number);
                chunk.unreadable += 1;
            }
        }
        chunk
    }
}

/// A message without its text.
struct Message {
    id: u64,
    author: u32,
    /// `2019-10-01T14:03:59`.
    created: [u8; 19],
}

impl Messages<'_> {
    fn write(&self, message: &Message, dice: &mut Dice, body: &mut String, bytes: &mut Vec<u8>) {
        let writer = Writer::new(self.people, message.author, dice);
        let reply_to = (dice.below(5) == 0 && self.people.has_others())
            .then(|| self.people.talk_partner(message.author, dice));
        let voice = writer.post(reply_to, dice, body);
        let link = writer.link(voice, dice, body);
        // Some exports escape what is not ASCII.
        let ascii = dice.below(4) == 0;

        bytes.extend_from_slice(b"{\"id\": ");
        push_number(bytes, message.id);
        bytes.extend_from_slice(b", \"body\": ");
        push_json_text(bytes, body, ascii);
        bytes.extend_from_slice(b", \"created_at\": \"");
        bytes.extend_from_slice(&message.created);
        bytes.extend_from_slice(b"Z\", \"source\": ");
        push_source(bytes, dice);
        push_conversation(bytes, message.id, reply_to.is_some(), dice);
        bytes.extend_from_slice(b", \"reshares\": {\"reshared_count\": 0, \"user_ids\": []}");
        let sentiment: &[u8] = match dice.below(10) {
            0..2 => b"{\"basic\": \"Bullish\"}",
            2 => b"{\"basic\": \"Bearish\"}",
            _ => b"null",
        };
        bytes.extend_from_slice(b", \"entities\": {\"sentiment\": ");
        bytes.extend_from_slice(sentiment);
        bytes.push(b'}');
        self.push_author(bytes, message.author, dice);
        if let Some(link) = &link {
            push_link(bytes, link, &message.created, ascii);
        }
        bytes.extend_from_slice(b"}\n");
    }

    fn push_author(&self, bytes: &mut Vec<u8>, author: u32, dice: &mut Dice) {
        // The public API names the author so.
        if self.sheet.dirt.is_some() && dice.below(100) == 0 {
            bytes.extend_from_slice(b", \"user\": {\"id\": ");
            push_number(bytes, self.people.id(author));
            bytes.extend_from_slice(b", \"username\": \"");
            self.people.push_name(author, bytes);
            bytes.extend_from_slice(b"\"}");
        } else {
            bytes.extend_from_slice(b", \"user_id\": ");
            push_number(bytes, self.people.id(author));
        }
        bytes.extend_from_slice(b", \"recommended\": ");
        let recommended = self.people.recommended(author);
        bytes.extend_from_slice(if recommended { b"true" } else { b"false" });
    }
}

fn push_source(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(names::SOURCES.len() as u32) as usize;
    let Some((id, title, url)) = names::SOURCES.get(at) else {
        return;
    };
    bytes.extend_from_slice(b"{\"id\": ");
    push_number(bytes, u64::from(*id));
    bytes.extend_from_slice(b", \"title\": \"");
    bytes.extend_from_slice(title.as_bytes());
    bytes.extend_from_slice(b"\", \"url\": \"");
    bytes.extend_from_slice(url.as_bytes());
    bytes.extend_from_slice(b"\"}");
}

fn push_conversation(bytes: &mut Vec<u8>, id: u64, reply: bool, dice: &mut Dice) {
    bytes.extend_from_slice(b", \"conversation\": ");
    if !reply && dice.below(5) > 0 {
        return bytes.extend_from_slice(b"null");
    }
    let answered = id - u64::from(dice.between(1, 30_000));
    bytes.extend_from_slice(b"{\"parent_message_id\": ");
    if reply {
        push_number(bytes, answered - u64::from(dice.below(2_000)));
        bytes.extend_from_slice(b", \"in_reply_to_message_id\": ");
        push_number(bytes, answered);
        bytes.extend_from_slice(b", \"parent\": false, \"replies\": ");
    } else {
        push_number(bytes, id);
        bytes.extend_from_slice(
            b", \"in_reply_to_message_id\": null, \"parent\": true, \"replies\": ",
        );
    }
    push_number(bytes, u64::from(dice.between(1, 12)));
    bytes.push(b'}');
}

fn push_link(bytes: &mut Vec<u8>, link: &Link, created: &[u8], ascii: bool) {
    bytes.extend_from_slice(b", \"links\": [{\"title\": ");
    push_json_text(bytes, &link.title, ascii);
    bytes.extend_from_slice(b", \"url\": ");
    push_json_text(bytes, &link.url, ascii);
    bytes.extend_from_slice(b", \"created_at\": \"");
    bytes.extend_from_slice(created);
    bytes.extend_from_slice(b"Z\", \"description\": ");
    match &link.description {
        Some(description) => push_json_text(bytes, description, ascii),
        None => bytes.extend_from_slice(b"null"),
    }
    bytes.extend_from_slice(b", \"video_url\": null}]");
}
