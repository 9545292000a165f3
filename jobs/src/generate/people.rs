//! The users: their ids, communities, habits and quality; and `user.csv`.

use std::ops::Range;

use super::Ties;
use super::chunks::{Chunk, Job, Sheet};
use super::clock::stamp;
use super::ink::push_number;
use super::sampling::{Dice, Slot, alias_table, draw, scatter};
use super::{dirt, names};

/// The largest user id.
pub(super) const MAX_ID: u32 = i32::MAX as u32;
/// Users in a community, on average.
const COMMUNITY: u32 = 200;
/// Those whom a user turns to again and again.
const REGULARS: u64 = 12;
/// Of a million users: suspended.
const SUSPENDED: u32 = 15_000;
/// Of a million users: recommended by the platform.
const RECOMMENDED: u32 = 30_000;

impl Ties {
    /// Users for one more step of Zipf's soft head of activity: the fewer, the more the most active stand out.
    fn users_a_step(self) -> f64 {
        match self {
            Ties::Close => 1_000.0,
            Ties::Loose => 10.0,
        }
    }

    /// Of 65,536 engagements: inside the community.
    fn inside(self) -> u64 {
        match self {
            Ties::Close => 52_429,
            Ties::Loose => 45_875,
        }
    }

    /// Of a hundred replies, mentions and likes: towards a regular.
    fn talk_with_regulars(self) -> u64 {
        match self {
            Ties::Close => 55,
            Ties::Loose => 39,
        }
    }
}

/// All users, by index in the order of their ids.
pub(super) struct People {
    seed: u64,
    ties: Ties,
    ids: Vec<u32>,
    communities: Vec<u32>,
    /// In steps of 1/255, with the two flags.
    traits: Vec<Traits>,
    /// Draws those who engage.
    activity: Vec<Slot>,
    /// Draws those with whom others engage.
    popularity: Vec<Slot>,
    /// Draws those who post: the active and the popular.
    posting: Vec<Slot>,
    /// Users grouped by community, where each group starts (and the end), and each group's own
    /// table of popularity, laid one after another.
    members: Vec<u32>,
    groups: Vec<u32>,
    inside: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Traits {
    quality: u8,
    recommended: bool,
    suspended: bool,
}

impl People {
    pub(super) fn draw(seed: u64, users: u32, ties: Ties) -> Self {
        let mut dice = Dice::new(seed, 0);
        let ids = draw_ids(users, &mut dice);
        let traits: Vec<Traits> = (0..users).map(|_| draw_traits(&mut dice)).collect();

        // Zipf with a soft head: the most active do some hundreds of times the mean, the most
        // popular some thousands; good authors are more popular, suspended users less.
        let many = f64::from(users);
        let activity = ranked(users, 1.0 + many / ties.users_a_step(), &mut dice);
        let mut popularity = ranked(users, 1.0 + many / 10_000.0, &mut dice);
        for (weight, traits) in popularity.iter_mut().zip(&traits) {
            let quality = f64::from(traits.quality) / 255.0;
            *weight *= if traits.suspended {
                0.3
            } else {
                0.4 + 1.2 * quality
            };
        }
        let sums: (f64, f64) = (activity.iter().sum(), popularity.iter().sum());
        let posting: Vec<f64> = (activity.iter().zip(&popularity))
            .map(|(active, popular)| active / sums.0 + popular / sums.1)
            .collect();

        let sizes: Vec<f64> = (0..(users / COMMUNITY).max(1))
            .map(|rank| 1.0 / (f64::from(rank) + 10.0))
            .collect();
        let count = sizes.len();
        let sizes = alias_table(&sizes);
        let communities: Vec<u32> = (0..users).map(|_| draw(&sizes, dice.bits())).collect();
        let (members, groups) = group(&communities, count);
        let inside = (groups.windows(2))
            .flat_map(|edges| {
                let group = &members[edges[0] as usize..edges[1] as usize];
                let weights: Vec<f64> = group.iter().map(|&i| popularity[i as usize]).collect();
                alias_table(&weights)
            })
            .collect();
        Self {
            seed,
            ties,
            ids,
            communities,
            traits,
            activity: alias_table(&activity),
            popularity: alias_table(&popularity),
            posting: alias_table(&posting),
            members,
            groups,
            inside,
        }
    }

    /// The id of the user at `index`.
    pub(super) fn id(&self, index: u32) -> u64 {
        self.ids.get(index as usize).copied().unwrap_or(1).into()
    }

    /// Community of the user at `index`, counted from 0.
    pub(super) fn community(&self, index: u32) -> u32 {
        self.communities
            .get(index as usize)
            .copied()
            .unwrap_or_default()
    }

    /// In [0, 1]: how much the author's posts are worth reading.
    pub(super) fn quality(&self, index: u32) -> f64 {
        let traits = self.traits.get(index as usize);
        f64::from(traits.map_or(0, |traits| traits.quality)) / 255.0
    }

    /// Whether the platform recommends the author.
    pub(super) fn recommended(&self, index: u32) -> bool {
        self.traits
            .get(index as usize)
            .is_some_and(|traits| traits.recommended)
    }

    fn suspended(&self, index: u32) -> bool {
        self.traits
            .get(index as usize)
            .is_some_and(|traits| traits.suspended)
    }

    /// Whether there is more than one user.
    pub(super) fn has_others(&self) -> bool {
        self.ids.len() > 1
    }

    /// One who engages with others.
    pub(super) fn active(&self, dice: &mut Dice) -> u32 {
        draw(&self.activity, dice.bits())
    }

    /// One who posts.
    pub(super) fn author(&self, dice: &mut Dice) -> u32 {
        draw(&self.posting, dice.bits())
    }

    /// With whom `user` talks: never with itself.
    pub(super) fn talk_partner(&self, user: u32, dice: &mut Dice) -> u32 {
        self.partner(user, self.ties.talk_with_regulars(), dice)
    }

    /// With whom `user` engages: never with itself. `regulars` of a hundred times one of its
    /// regulars, whom it always has, some more often than others.
    pub(super) fn partner(&self, user: u32, regulars: u64, dice: &mut Dice) -> u32 {
        let random = dice.bits();
        if random % 100 >= regulars {
            return self.pick(user, dice.bits());
        }
        let (a, b) = ((random >> 32) % REGULARS, (random >> 48) % REGULARS);
        let regular = u64::from(user) * REGULARS + a.min(b);
        self.pick(user, scatter(regular ^ scatter(self.seed)))
    }

    /// Someone other than `user`, by popularity, mostly of its community.
    fn pick(&self, user: u32, random: u64) -> u32 {
        let community = self.community(user) as usize;
        if random & 0xffff < self.ties.inside()
            && let Some(&[start, end]) = self.groups.get(community..community + 2)
            && let Some(slots) = self.inside.get(start as usize..end as usize)
            && let Some(&other) = self.members.get((start + draw(slots, random)) as usize)
            && other != user
        {
            return other;
        }
        match draw(&self.popularity, scatter(random)) {
            other if other != user => other,
            // The next one, in a circle.
            _ => (user + 1) % self.ids.len().max(1) as u32,
        }
    }

    /// Appends the name that stands after the `@` in posts.
    pub(super) fn push_name(&self, index: u32, text: &mut Vec<u8>) {
        let id = self.id(index);
        let random = scatter(id) as usize;
        text.extend_from_slice(names::NAMES[random % names::NAMES.len()].as_bytes());
        push_number(text, id);
    }
}

/// Ascending ids with gaps, as many deleted accounts leave them.
fn draw_ids(users: u32, dice: &mut Dice) -> Vec<u32> {
    let step = (MAX_ID / users.max(1)).clamp(1, 12);
    let mut id = 0;
    (0..users)
        .map(|_| {
            id += 1 + dice.below(step);
            id
        })
        .collect()
}

fn draw_traits(dice: &mut Dice) -> Traits {
    let recommended = dice.chance(RECOMMENDED);
    let suspended = dice.chance(SUSPENDED);
    let quality = match (recommended, suspended) {
        (true, _) => 0.75 + 0.25 * dice.unit(),
        // Few are good and few are hopeless.
        (false, false) => 0.9 * (dice.unit() + dice.unit()) / 2.0,
        (false, true) => 0.4 * dice.unit(),
    };
    Traits {
        quality: (quality * 255.0) as u8,
        recommended,
        suspended,
    }
}

/// The weight 1 / (rank + `head`) for each user, the ranks shuffled.
fn ranked(users: u32, head: f64, dice: &mut Dice) -> Vec<f64> {
    let mut ranks: Vec<u32> = (0..users).collect();
    dice.shuffle(&mut ranks);
    ranks
        .iter()
        .map(|&rank| 1.0 / (f64::from(rank) + head))
        .collect()
}

/// Users by community, and where each community starts (counting sort).
fn group(communities: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let mut edges = vec![0_u32; count + 1];
    for &community in communities {
        edges[community as usize + 1] += 1;
    }
    for i in 0..count {
        edges[i + 1] += edges[i];
    }
    let mut next = edges.clone();
    let mut members = vec![0; communities.len()];
    for (user, &community) in (0..).zip(communities) {
        let at = &mut next[community as usize];
        members[*at as usize] = user;
        *at += 1;
    }
    (members, edges)
}

/// `user.csv`: id, name, full name, official, classification, joined, followers, following, ideas,
/// biography, website, suspended, updated.
pub(super) struct Users<'a> {
    pub(super) people: &'a People,
    pub(super) as_of: i64,
    pub(super) sheet: Sheet,
}

impl Job for Users<'_> {
    fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    fn chunk_rows(&self) -> u64 {
        1 << 14
    }

    fn make(&self, rows: Range<u64>) -> Chunk {
        let mut dice = self.sheet.dice(rows.start);
        let mut chunk = Chunk::default();
        chunk.bytes.reserve((rows.end - rows.start) as usize * 140);
        for row in rows {
            self.write(row as u32, &mut dice, &mut chunk.bytes);
            if let Some(number) = self.sheet.dirt_after(row) {
                dirt::user(&mut chunk.bytes, number);
                chunk.unreadable += 1;
            }
        }
        chunk
    }
}

impl Users<'_> {
    fn write(&self, index: u32, dice: &mut Dice, bytes: &mut Vec<u8>) {
        let people = self.people;
        push_number(bytes, people.id(index));
        bytes.push(b',');
        people.push_name(index, bytes);
        bytes.extend_from_slice(b",\"");
        let (first, last) = (
            dice.one_of(names::FIRST_NAMES),
            dice.one_of(names::LAST_NAMES),
        );
        let parts = match dice.below(20) {
            0..3 => [last, ", ", first],
            3 => [first, " \"\"the Chart\"\" ", last],
            4 => [last, " Capital, ", "LLC"],
            _ => [first, " ", last],
        };
        parts
            .iter()
            .for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        bytes.extend_from_slice(b"\",");
        let recommended = people.recommended(index);
        bytes.push(b'0' + u8::from(recommended && dice.below(3) == 0));
        bytes.extend_from_slice(if recommended { b",suggested," } else { b",," });
        // Ids were given out in the order of joining, over nine years.
        let share = (f64::from(index) + dice.unit()) / self.sheet.rows as f64;
        let age = (1.0 - share) * (9 * 365 * 86_400) as f64;
        bytes.extend_from_slice(&stamp(self.as_of - 1 - age as i64)[..10]);
        for most in [4_000, 900, 9_000] {
            bytes.push(b',');
            let skewed = dice.unit() * dice.unit() * dice.unit();
            push_number(bytes, (skewed * f64::from(most)) as u64);
        }
        bytes.extend_from_slice(b",\"");
        if dice.below(3) == 0 {
            bytes.extend_from_slice(dice.one_of(names::BIOS).as_bytes());
            let between: &[u8] = match dice.below(8) {
                0 => b"\n",
                1 => b", ",
                _ => b". ",
            };
            bytes.extend_from_slice(between);
            bytes.extend_from_slice(dice.one_of(names::BIOS).as_bytes());
        }
        bytes.extend_from_slice(b"\",");
        if dice.below(10) == 0 {
            bytes.extend_from_slice(b"http://www.example.com/");
            people.push_name(index, bytes);
        }
        bytes.push(b',');
        bytes.extend_from_slice(self.suspended_word(index, dice));
        bytes.push(b',');
        bytes.extend_from_slice(&stamp(self.as_of - 1 - i64::from(dice.below(86_400))));
        bytes.push(b'\n');
    }

    /// `0` or `1`; a dirty file knows the other spellings too.
    fn suspended_word(&self, index: u32, dice: &mut Dice) -> &'static [u8] {
        let odd = self.sheet.dirt.is_some() && dice.below(50) == 0;
        let words: [&[u8]; 3] = match (self.people.suspended(index), odd) {
            (false, false) => [b"0"; 3],
            (true, false) => [b"1"; 3],
            (false, true) => [b"false", b"f", b""],
            (true, true) => [b"true", b"t", b"1"],
        };
        words[dice.below(3) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_with_gaps() {
        let people = People::draw(3, 2_000, Ties::Close);
        assert!(people.ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(people.ids.windows(2).any(|pair| pair[0] + 1 < pair[1]));
        assert!(people.ids[0] >= 1 && people.ids[1_999] > 8_000);
    }

    #[test]
    fn most_partners_are_of_the_community_and_many_come_again() {
        let people = People::draw(3, 20_000, Ties::Close);
        let mut dice = Dice::new(3, 9);
        let (mut inside, mut pairs) = (0, Vec::new());
        for _ in 0..50_000 {
            let user = people.active(&mut dice);
            let other = people.talk_partner(user, &mut dice);
            assert_ne!(user, other);
            inside += u32::from(people.community(user) == people.community(other));
            pairs.push((user, other));
        }
        assert!((36_000..44_000).contains(&inside), "{inside}");
        pairs.sort_unstable();
        pairs.dedup();
        assert!((15_000..45_000).contains(&pairs.len()), "{}", pairs.len());
    }

    #[test]
    fn communities_are_of_skewed_sizes() {
        let people = People::draw(3, 20_000, Ties::Close);
        let mut sizes: Vec<u32> = people
            .groups
            .windows(2)
            .map(|edge| edge[1] - edge[0])
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes.len(), 100);
        assert_eq!(sizes.iter().sum::<u32>(), 20_000);
        assert!(sizes[99] > 4 * sizes[50], "{sizes:?}");
    }

    #[test]
    fn two_users_have_each_other() {
        let people = People::draw(1, 2, Ties::Close);
        let mut dice = Dice::new(1, 1);
        for _ in 0..100 {
            assert_eq!(people.partner(0, 50, &mut dice), 1);
            assert_eq!(people.partner(1, 50, &mut dice), 0);
        }
    }
}
