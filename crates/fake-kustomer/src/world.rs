//! The organisation: all its streams, and how changes reach them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::clock::When;
use crate::config::{Config, Merged};
use crate::hostile::HostileMap;
use crate::mutation::{Activity, Mutation, Outcome, Pick};
use crate::overlay::{Era, Stream, Version};
use crate::random::{below, mix, mix2};
use crate::timeline::{ADDED, Id, Span, Timeline};

pub(crate) const CUSTOMER: usize = 0;
pub(crate) const CONVERSATION: usize = 1;
pub(crate) const MESSAGE: usize = 2;
pub(crate) const NOTE: usize = 3;
pub(crate) const COMPANY: usize = 4;
pub(crate) const USER: usize = 5;
pub(crate) const TEAM: usize = 6;
pub(crate) const TAG: usize = 7;
pub(crate) const SHORTCUT: usize = 8;
pub(crate) const KLASS: usize = 9;
pub(crate) const BRAND: usize = 10;
pub(crate) const QUEUE: usize = 11;
pub(crate) const SLA: usize = 12;
pub(crate) const SCHEDULE: usize = 13;
/// The first stream of custom objects.
pub(crate) const KOBJECT: usize = 14;

/// Streams every organisation has.
pub(crate) const FIXED: [&str; KOBJECT] = [
    "customer",
    "conversation",
    "message",
    "note",
    "company",
    "user",
    "team",
    "tag",
    "shortcut",
    "klass",
    "brand",
    "queue",
    "sla",
    "schedule",
];

/// A merge moves at most this many children of each stream.
const MAX_CHILDREN: u64 = 5000;
/// An outcome names at most this many ids.
const MAX_IDS: usize = 50_000;
const DAY: i64 = 86_400_000;

/// One line of the audit log.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    pub(crate) id: Id,
    pub(crate) at: i64,
    pub(crate) verb: &'static str,
    pub(crate) object_type: String,
    pub(crate) object_id: Id,
}

/// One merge of two customers.
#[derive(Clone, Debug)]
pub(crate) struct MergeRecord {
    pub(crate) id: Id,
    pub(crate) at: i64,
    pub(crate) source: u64,
    pub(crate) target: u64,
}

/// An activity and when it is next due.
struct Due {
    activity: Activity,
    next: i64,
    period: i64,
}

/// A class of custom objects.
pub(crate) struct Klass {
    pub(crate) name: String,
    pub(crate) status: String,
    /// Its record in the `klass` stream.
    pub(crate) number: u64,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) org: Id,
    pub(crate) org_name: String,
    pub(crate) origin: i64,
    pub(crate) streams: Vec<Stream>,
    pub(crate) klasses: Vec<Klass>,
    pub(crate) audit: Vec<Audit>,
    pub(crate) merges: Vec<MergeRecord>,
    pub(crate) hostile: HostileMap,
    pub(crate) max_lag: i64,
    merged: Merged,
    /// Versions the index has not seen: visible at, stream, number, how many versions.
    pending: BinaryHeap<Reverse<(i64, usize, u64, usize)>>,
    due: Vec<Due>,
    /// Children by the customer a merge gave them to.
    adopted: HashMap<u64, HashSet<(usize, u64)>>,
    /// Grows with every change.
    pub(crate) generation: u64,
    /// Changes applied so far; the chance of each depends on it.
    applied: u64,
}

impl World {
    pub(crate) fn new(config: &Config, origin: i64) -> Result<Self, String> {
        let names = config.stream_names();
        for name in config.counts.keys().chain(config.spans.keys()) {
            if !names.contains(name) && name != "kobject" {
                return Err(format!("there is no stream {name:?}; there are {}", names.join(", ")));
            }
        }
        let mut streams = Vec::with_capacity(names.len());
        for (index, name) in names.into_iter().enumerate() {
            let spans = spans_of(config, index, &name);
            let salt = mix2(mix(config.seed), index as u64 + 1);
            let timeline = Timeline::new(&spans, origin, salt, age_of(index))
                .map_err(|error| format!("stream {name}: {error}"))?;
            streams.push(Stream::new(index, name, timeline));
        }
        let klasses = config
            .klasses
            .iter()
            .enumerate()
            .map(|(number, klass)| Klass {
                name: klass.name.clone(),
                status: klass.status.clone(),
                number: number as u64,
            })
            .collect();
        let due = config.activity.iter().filter(|activity| activity.per_minute > 0.0);
        let due = due.map(|activity| {
            let period = ((60_000.0 / activity.per_minute) as i64).max(1);
            Due { activity: activity.clone(), next: origin + period, period }
        });
        let due = due.collect();
        let mut world = Self {
            seed: config.seed,
            org: Id::new(origin - 2000 * DAY, 1, mix(config.seed)),
            org_name: config.org.clone(),
            origin,
            streams,
            klasses,
            audit: Vec::new(),
            merges: Vec::new(),
            hostile: HostileMap::default(),
            max_lag: config.search.max_lag_ms as i64,
            merged: config.merged,
            pending: BinaryHeap::new(),
            due,
            adopted: HashMap::new(),
            generation: 0,
            applied: 0,
        };
        world.hostile = HostileMap::new(&world, &config.hostile)?;
        Ok(world)
    }

    /// The stream of this name; singular and plural both do.
    pub(crate) fn stream_index(&self, name: &str) -> Result<usize, String> {
        let trimmed = match name {
            "companies" => "company",
            "klasses" => "klass",
            "kobject" | "kobjects" => {
                return match self.streams.len() {
                    n if n > KOBJECT => Ok(KOBJECT),
                    _ => Err("this organisation has no classes".to_owned()),
                };
            }
            _ => name,
        };
        let found = |wanted: &str| self.streams.iter().position(|stream| stream.name == wanted);
        found(trimmed).or_else(|| found(trimmed.strip_suffix('s')?)).ok_or_else(|| {
            let names: Vec<_> = self.streams.iter().map(|stream| stream.name.as_str()).collect();
            format!("there is no stream {name:?}; there are {}", names.join(", "))
        })
    }

    /// The streams a search context or oracle name covers.
    pub(crate) fn streams_of(&self, name: &str) -> Result<Vec<usize>, String> {
        if matches!(name, "kobject" | "kobjects") {
            return Ok((KOBJECT..self.streams.len()).collect());
        }
        self.stream_index(name).map(|index| vec![index])
    }

    /// The class of a custom object stream.
    pub(crate) fn klass_of(&self, stream: usize) -> Option<&Klass> {
        self.klasses.get(stream.checked_sub(KOBJECT)?)
    }

    #[inline]
    pub(crate) fn id(&self, stream: usize, number: u64) -> Id {
        self.streams[stream].id(number)
    }

    #[inline]
    pub(crate) fn total(&self, stream: usize) -> u64 {
        self.streams[stream].timeline.total()
    }

    /// The parent of a base child when `children` are shared out evenly among `parents`.
    #[inline(always)]
    pub(crate) fn share(number: u64, children: u64, parents: u64) -> u64 {
        if children == 0 || parents == 0 {
            return 0;
        }
        // Both counts fit 32 bits, so the product fits 64.
        ((number.min(children - 1)) * parents / children).min(parents - 1)
    }

    /// The children `share` gives to `parent`.
    fn shared(parent: u64, children: u64, parents: u64) -> std::ops::Range<u64> {
        if children == 0 || parents == 0 {
            return 0..0;
        }
        (parent * children).div_ceil(parents)..((parent + 1) * children).div_ceil(parents)
    }

    /// The conversation a message or note was written in.
    #[inline]
    pub(crate) fn conversation_of(&self, stream: usize, number: u64) -> u64 {
        Self::share(number, self.total(stream), self.total(CONVERSATION))
    }

    /// The customer a base child was born with.
    #[inline]
    pub(crate) fn birth_customer(&self, stream: usize, number: u64) -> u64 {
        let (number, stream) = match stream {
            MESSAGE | NOTE => (self.conversation_of(stream, number), CONVERSATION),
            _ => (number, stream),
        };
        Self::share(number, self.total(stream), self.total(CUSTOMER))
    }

    /// The base children of a customer.
    pub(crate) fn born_to(&self, customer: u64, stream: usize) -> std::ops::Range<u64> {
        if customer >= ADDED {
            return 0..0;
        }
        let conversations = self.total(CONVERSATION);
        let range = match stream {
            MESSAGE | NOTE => {
                let own = Self::shared(customer, conversations, self.total(CUSTOMER));
                let total = self.total(stream);
                (own.start * total).div_ceil(conversations.max(1))
                    ..(own.end * total).div_ceil(conversations.max(1))
            }
            _ => Self::shared(customer, self.total(stream), self.total(CUSTOMER)),
        };
        range.start..range.end.min(range.start + MAX_CHILDREN)
    }

    /// The base messages or notes of a conversation.
    pub(crate) fn born_in(&self, conversation: u64, stream: usize) -> std::ops::Range<u64> {
        if conversation >= ADDED {
            return 0..0;
        }
        Self::shared(conversation, self.total(stream), self.total(CONVERSATION))
    }

    /// The live children of a customer in one stream, merged-in ones included.
    pub(crate) fn children(&self, customer: u64, stream: usize, now: i64) -> Vec<u64> {
        let state = &self.streams[stream];
        let end = state.base_end(now);
        let born = self.born_to(customer, stream);
        let adopted = self.adopted.get(&customer).into_iter().flatten();
        let adopted = adopted.filter(|(of, _)| *of == stream).map(|(_, number)| *number);
        let mut numbers: Vec<u64> = born.filter(|number| *number < end).chain(adopted).collect();
        numbers.retain(|number| {
            state.stored(*number).is_some_and(|rec| {
                rec.customer.unwrap_or_else(|| self.birth_customer(stream, *number)) == customer
            }) && (stream < KOBJECT || !crate::data::kobject::is_orphan(state, *number))
        });
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Whether [`World::advance`] has anything to do.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.due.iter().any(|due| due.next <= now)
            || self.pending.peek().is_some_and(|Reverse((at, ..))| *at <= now)
    }

    /// Brings the organisation up to `now`.
    pub(crate) fn advance(&mut self, now: i64) {
        while let Some(which) = (0..self.due.len())
            .filter(|at| self.due[*at].next <= now)
            .min_by_key(|at| (self.due[*at].next, *at))
        {
            let due = &mut self.due[which];
            let at = due.next;
            due.next += due.period;
            let mutation = due.activity.mutation.clone();
            // A configured activity was checked when the organisation was made.
            let _ = self.apply(&mutation, at);
        }
        while let Some(Reverse((at, stream, number, versions))) = self.pending.peek().copied() {
            if at > now {
                break;
            }
            self.pending.pop();
            self.streams[stream].index_version(number, versions);
            self.generation += 1;
        }
    }

    /// How long the index takes to show a version.
    pub(crate) fn lag(&self, stream: usize, number: u64, rev: u64) -> i64 {
        if self.max_lag == 0 {
            return 0;
        }
        let hash = mix2(mix2(self.streams[stream].timeline.salt(), number), rev);
        below(hash, self.max_lag as u64 + 1) as i64
    }

    fn write(&mut self, stream: usize, number: u64, version: Version) {
        let shown = version.updated.max(version.written) + self.lag(stream, number, version.rev);
        let now = version.written;
        let versions = self.streams[stream].write(number, version);
        self.generation += 1;
        if shown <= now {
            self.streams[stream].index_version(number, versions);
        } else {
            self.pending.push(Reverse((shown, stream, number, versions)));
        }
    }

    /// The version after the present one, not yet written.
    fn next_version(&self, stream: usize, number: u64, now: i64) -> Option<Version> {
        let state = &self.streams[stream];
        let mut version = match state.entries.get(&number) {
            Some(entry) => entry.latest()?.clone(),
            None if number < state.timeline.total() => state.base_version(number),
            None => return None,
        };
        if version.gone {
            return None;
        }
        version.written = now;
        version.updated = now;
        version.rev += 1;
        version.edit += 1;
        Some(version)
    }

    /// Makes a change at `now`.
    pub(crate) fn apply(&mut self, mutation: &Mutation, now: i64) -> Result<Outcome, String> {
        let mut outcome = Outcome { at_ms: now, ids: Vec::new(), versions: 0 };
        self.applied += 1;
        match mutation {
            Mutation::Update { stream, pick, at, spread_ms, bump, set } => {
                let stream = self.stream_index(stream)?;
                let numbers = self.pick(stream, pick, now)?;
                let patch = set.clone().map(Arc::new);
                let at = at.map_or(now, |at| at.resolve(self.origin));
                outcome.at_ms = at;
                let count = numbers.len() as u64;
                for (place, number) in numbers.into_iter().enumerate() {
                    let Some(mut version) = self.next_version(stream, number, now) else {
                        continue;
                    };
                    let earlier = spread_ms * (count - 1 - place as u64) / count;
                    let updated = at - earlier as i64;
                    version.updated = if *bump { updated } else { self.updated(stream, number) };
                    version.patch = merged_patch(version.patch.take(), patch.as_ref());
                    self.note(&mut outcome, stream, number);
                    self.write(stream, number, version);
                }
            }
            Mutation::Delete { stream, pick, soft, bump } => {
                let stream = self.stream_index(stream)?;
                for number in self.pick(stream, pick, now)? {
                    let Some(mut version) = self.next_version(stream, number, now) else {
                        continue;
                    };
                    if !bump {
                        version.updated = self.updated(stream, number);
                    }
                    version.deleted = *soft;
                    version.gone = !soft;
                    self.note(&mut outcome, stream, number);
                    self.write(stream, number, version);
                    self.log(stream, number, "delete", now);
                }
            }
            Mutation::Merge { pick, into } => {
                let sources = self.pick(CUSTOMER, pick, now)?;
                for source in sources {
                    let target = match into {
                        Some(id) => self.pick(CUSTOMER, &Pick::Ids(vec![id.clone()]), now)?,
                        None => self.pick(CUSTOMER, &Pick::Random(2), now)?,
                    };
                    if let Some(target) = target.into_iter().find(|target| *target != source) {
                        self.merge(source, target, now, &mut outcome);
                    }
                }
            }
            Mutation::Add { stream, count, set } => {
                let stream = self.stream_index(stream)?;
                if stream == KLASS {
                    return Err("add classes with add_klass".to_owned());
                }
                self.add(stream, *count, set.as_ref(), now, &mut outcome);
            }
            Mutation::AddAttribute { stream, name, value, backfill, hidden } => {
                for stream in self.streams_of(stream)? {
                    self.streams[stream].eras.push(Era {
                        name: name.clone(),
                        value: value.as_ref().map(Value::to_string),
                        since: if *backfill { i64::MIN } else { now },
                        added_at: now,
                        hidden: *hidden,
                    });
                }
                self.generation += 1;
            }
            Mutation::AddKlass { name, count } => {
                if self.klasses.iter().any(|klass| klass.name == *name) {
                    return Err(format!("there is a class {name:?} already"));
                }
                self.add(KLASS, 1, None, now, &mut outcome);
                let number = ADDED + self.streams[KLASS].added.len() as u64 - 1;
                let klass = Klass { name: name.clone(), status: "enabled".to_owned(), number };
                self.klasses.push(klass);
                let index = self.streams.len();
                let salt = mix2(mix(self.seed), index as u64 + 1);
                let timeline = Timeline::new(&[], now, salt, 0)?;
                self.streams.push(Stream::new(index, format!("kobject_{name}"), timeline));
                self.add(index, *count, None, now, &mut outcome);
            }
        }
        Ok(outcome)
    }

    fn note(&self, outcome: &mut Outcome, stream: usize, number: u64) {
        outcome.versions += 1;
        if outcome.ids.len() < MAX_IDS {
            outcome.ids.push(self.id(stream, number).to_string());
        }
    }

    fn updated(&self, stream: usize, number: u64) -> i64 {
        let state = &self.streams[stream];
        match state.entries.get(&number).and_then(|entry| entry.latest()) {
            Some(version) => version.updated,
            None => state.timeline.updated(number),
        }
    }

    fn add(
        &mut self,
        stream: usize,
        count: u64,
        set: Option<&Value>,
        now: i64,
        outcome: &mut Outcome,
    ) {
        let patch = set.cloned().map(Arc::new);
        for _ in 0..count {
            self.streams[stream].added.push(now);
            let number = ADDED + self.streams[stream].added.len() as u64 - 1;
            let version = Version {
                updated: now,
                written: now,
                rev: 1,
                edit: 0,
                deleted: false,
                gone: false,
                merged_into: None,
                customer: None,
                patch: patch.clone(),
            };
            self.note(outcome, stream, number);
            self.write(stream, number, version);
        }
    }

    fn merge(&mut self, source: u64, target: u64, now: i64, outcome: &mut Outcome) {
        let Some(mut loser) = self.next_version(CUSTOMER, source, now) else { return };
        let Some(winner) = self.next_version(CUSTOMER, target, now) else { return };
        for stream in [CONVERSATION, MESSAGE, NOTE].into_iter().chain(KOBJECT..self.streams.len()) {
            for number in self.children(source, stream, now) {
                let Some(mut version) = self.next_version(stream, number, now) else { continue };
                version.customer = Some(target);
                outcome.versions += 1;
                self.write(stream, number, version);
                self.adopted.entry(target).or_default().insert((stream, number));
            }
        }
        loser.merged_into = Some(target);
        loser.gone = self.merged != Merged::Deleted;
        loser.deleted = self.merged == Merged::Deleted;
        self.note(outcome, CUSTOMER, source);
        self.write(CUSTOMER, source, loser);
        self.write(CUSTOMER, target, winner);
        outcome.versions += 1;
        self.log(CUSTOMER, source, "delete", now);
        let id = Id::new(now, self.merges.len() as u64, mix(self.seed ^ 0x4d));
        self.merges.push(MergeRecord { id, at: now, source, target });
    }

    fn log(&mut self, stream: usize, number: u64, verb: &'static str, now: i64) {
        let object_type = if stream >= KOBJECT { "kobject" } else { FIXED[stream] };
        self.audit.push(Audit {
            id: Id::new(now, self.audit.len() as u64, mix(self.seed ^ 0x4e)),
            at: now,
            verb,
            object_type: object_type.to_owned(),
            object_id: self.id(stream, number),
        });
    }

    /// The numbers a pick means; records that are gone are left out.
    fn pick(&self, stream: usize, pick: &Pick, now: i64) -> Result<Vec<u64>, String> {
        let state = &self.streams[stream];
        let base = state.base_end(now);
        let added = state.added.len() as u64;
        let population = base + added;
        let nth = |place: u64| if place < base { place } else { ADDED + (place - base) };
        let alive = |number: &u64| !state.hidden.contains(number);
        Ok(match pick {
            Pick::Random(count) => {
                let wanted = (*count).min(population.saturating_sub(state.hidden.len() as u64));
                let base_hash = mix2(mix2(self.seed, self.applied), stream as u64);
                let mut seen = HashSet::new();
                let mut numbers = Vec::new();
                let mut draw = 0;
                while (numbers.len() as u64) < wanted && draw < wanted * 50 + 1000 {
                    let number = nth(below(mix2(base_hash, draw), population));
                    draw += 1;
                    if alive(&number) && seen.insert(number) {
                        numbers.push(number);
                    }
                }
                numbers
            }
            Pick::Oldest(count) => {
                (0..population).map(nth).filter(alive).take(*count as usize).collect()
            }
            Pick::Newest(count) => {
                let newest = (0..population).rev().map(nth).filter(alive).take(*count as usize);
                let mut numbers: Vec<u64> = newest.collect();
                numbers.reverse();
                numbers
            }
            Pick::Ids(ids) => {
                let numbers = ids.iter().filter_map(|id| state.find(Id::parse(id)?, now));
                numbers.filter(alive).collect()
            }
            Pick::Numbers(numbers) => {
                numbers.iter().copied().filter(|n| *n < base || *n >= ADDED).filter(alive).collect()
            }
            Pick::Range(from, to) => (*from..(*to).min(base)).filter(alive).collect(),
        })
    }
}

fn merged_patch(old: Option<Arc<Value>>, new: Option<&Arc<Value>>) -> Option<Arc<Value>> {
    match (old, new) {
        (None, new) => new.cloned(),
        (old, None) => old,
        (Some(old), Some(new)) => {
            let mut merged = (*old).clone();
            deep_merge(&mut merged, new);
            Some(Arc::new(merged))
        }
    }
}

/// Merges objects member by member; anything else is replaced.
pub(crate) fn deep_merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(key) {
                    Some(present) => deep_merge(present, value),
                    None => {
                        into.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn spans_of(config: &Config, index: usize, name: &str) -> Vec<Span> {
    if let Some(spans) = config.spans.get(name) {
        return spans.clone();
    }
    let count = if index == KLASS {
        config.klasses.len() as u64
    } else if index >= KOBJECT && !config.counts.contains_key(name) {
        let all = config.counts.get("kobject").copied().unwrap_or(0);
        let classes = config.klasses.len() as u64;
        all / classes + u64::from(((index - KOBJECT) as u64) < all % classes)
    } else {
        config.counts.get(name).copied().unwrap_or(0)
    };
    let days = i64::from(config.history_days.max(1));
    // One second short of the start, so that a frozen clock shows every record.
    let end = When::relative(-1000);
    let mut spans = vec![Span::Uniform { count, from: When::days_ago(days), to: end }];
    if config.live && !(COMPANY..KOBJECT).contains(&index) {
        let ahead = 400_u64;
        let more = (u128::from(count) * u128::from(ahead) / days as u128) as u64;
        spans.push(Span::Uniform { count: more, from: end, to: When::days_ago(-(ahead as i64)) });
    }
    spans
}

/// How long before its last update a record of the stream was created.
fn age_of(stream: usize) -> i64 {
    match stream {
        CUSTOMER => 20 * DAY,
        CONVERSATION => 2 * DAY,
        MESSAGE => 5_000,
        NOTE => 60_000,
        KOBJECT.. => 3 * DAY,
        _ => 30 * DAY,
    }
}
