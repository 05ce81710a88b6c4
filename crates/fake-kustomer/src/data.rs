//! The bodies of records: each a pure function of seed, stream, number and version, written as
//! bytes straight into the answer.

pub(crate) mod conversation;
pub(crate) mod customer;
pub(crate) mod kobject;
pub(crate) mod message;
pub(crate) mod metadata;
pub(crate) mod people;
pub(crate) mod settings;
pub(crate) mod words;

use crate::out::Out;
use crate::overlay::Rec;
use crate::random::{Dice, mix2};
use crate::timeline::Id;
use crate::world::{
    BRAND, COMPANY, CONVERSATION, CUSTOMER, KLASS, MESSAGE, NOTE, QUEUE, SCHEDULE, SHORTCUT, SLA,
    TAG, TEAM, USER, World, deep_merge,
};

/// Writes the whole record.
pub(crate) fn render(out: &mut Out, world: &World, stream: usize, rec: &Rec<'_>) {
    if world.hostile.has(stream, rec.number) {
        let mut clean = Out::default();
        render_clean(&mut clean, world, stream, rec);
        world.hostile.write(out, stream, rec, &clean.buf);
        return;
    }
    render_clean(out, world, stream, rec);
}

/// Writes the record without its hostile bytes.
fn render_clean(out: &mut Out, world: &World, stream: usize, rec: &Rec<'_>) {
    let Some(patch) = rec.patch else {
        render_plain(out, world, stream, rec);
        return;
    };
    let mut plain = Out::default();
    render_plain(&mut plain, world, stream, rec);
    match serde_json::from_slice::<serde_json::Value>(&plain.buf) {
        Ok(mut value) => {
            deep_merge(&mut value, patch);
            out.buf.extend_from_slice(value.to_string().as_bytes());
        }
        Err(_) => out.buf.extend_from_slice(&plain.buf),
    }
}

fn render_plain(out: &mut Out, world: &World, stream: usize, rec: &Rec<'_>) {
    match stream {
        CUSTOMER => customer::write(out, world, rec),
        CONVERSATION => conversation::write(out, world, rec),
        MESSAGE => message::write(out, world, rec),
        NOTE => message::write_note(out, world, rec),
        COMPANY => customer::write_company(out, world, rec),
        USER => people::write_user(out, world, rec),
        TEAM => people::write_team(out, world, rec),
        TAG => people::write_tag(out, world, rec),
        SHORTCUT => people::write_shortcut(out, world, rec),
        KLASS => kobject::write_klass(out, world, rec),
        BRAND => settings::write_brand(out, world, rec),
        QUEUE => settings::write_queue(out, world, rec),
        SLA => settings::write_sla(out, world, rec),
        SCHEDULE => settings::write_schedule(out, world, rec),
        _ => kobject::write(out, world, stream, rec),
    }
}

/// The JSON:API type of a stream.
pub(crate) fn type_of(stream: usize) -> &'static str {
    crate::world::FIXED.get(stream).copied().unwrap_or("kobject")
}

impl Out {
    /// The start of a record up to and including `"attributes":{`.
    #[inline]
    fn open(&mut self, kind: &str, id: Id) -> &mut Self {
        self.raw("{\"type\":\"").raw(kind).raw("\",\"id\":").id(id).raw(",\"attributes\":{")
    }

    /// `"name":{data, links}`, without a comma.
    #[inline]
    fn rel(&mut self, name: &str, kind: &str, path: &str, id: Id) -> &mut Self {
        self.raw("\"").raw(name).raw("\":{\"data\":{\"type\":\"").raw(kind).raw("\",\"id\":");
        self.id(id).raw("},\"links\":{\"self\":\"/v1/").raw(path).bare_id(id).raw("\"}}")
    }

    /// The end of a record: its own path.
    #[inline]
    fn close(&mut self, path: &str, id: Id) -> &mut Self {
        self.raw(",\"links\":{\"self\":\"/v1/").raw(path).bare_id(id).raw("\"}}")
    }

    /// A few sentences, without quotes.
    #[inline]
    fn prose(&mut self, dice: &mut Dice, count: u64) -> &mut Self {
        for place in 0..count {
            if place > 0 {
                self.raw(" ");
            }
            self.raw(words::SENTENCES[dice.roll(32) as usize]);
        }
        self
    }

    /// Custom attributes that came later, and the closing brace of `custom`.
    #[inline]
    fn end_custom(
        &mut self,
        world: &World,
        stream: usize,
        rec: &Rec<'_>,
        empty: bool,
    ) -> &mut Self {
        let eras = &world.streams[stream].eras;
        if !eras.is_empty() {
            let mut comma = !empty;
            for (place, era) in eras.iter().enumerate() {
                if era.since <= rec.updated {
                    if comma {
                        self.raw(",");
                    }
                    comma = true;
                    self.string(&era.name).raw(":");
                    match &era.value {
                        Some(text) => self.raw(text),
                        None => value_by_suffix(self, &era.name, rec, place as u64),
                    };
                }
            }
        }
        self.raw("}")
    }
}

/// A plausible value for a custom attribute of this name.
fn value_by_suffix<'o>(out: &'o mut Out, name: &str, rec: &Rec<'_>, salt: u64) -> &'o mut Out {
    let mut dice = Dice::new(mix2(rec.edit_hash, salt));
    if dice.one_in(9) {
        return out.raw("null");
    }
    let ends = |suffix: &str| name.ends_with(suffix);
    if ends("Num") {
        let amount = dice.roll(100_000);
        return out.cents(amount);
    }
    if ends("Bool") {
        let yes = dice.one_in(2);
        return out.bool(yes);
    }
    if ends("At") {
        return out.ts(rec.created - rec.created.rem_euclid(1000));
    }
    if ends("Url") {
        return out.raw("\"https://shop.example/i/").int(dice.roll(99_999)).raw("\"");
    }
    if ends("Id") {
        return out.id(rec.id);
    }
    if ends("Tree") {
        return out.raw("\"").raw(words::TREES[dice.roll(8) as usize]).raw("\"");
    }
    out.raw("\"").prose(&mut dice, 1).raw("\"")
}

/// The user number a decision falls on.
#[inline(always)]
fn some_user(world: &World, dice: &mut Dice) -> Id {
    let total = world.total(USER).max(1);
    let number = dice.roll(total);
    world.id(USER, number)
}

#[inline(always)]
fn some_team(world: &World, dice: &mut Dice) -> Id {
    let number = dice.roll(world.total(TEAM).max(1));
    world.id(TEAM, number)
}

#[inline(always)]
fn some_tag(world: &World, dice: &mut Dice) -> Id {
    let number = dice.roll(world.total(TAG).max(1));
    world.id(TAG, number)
}
