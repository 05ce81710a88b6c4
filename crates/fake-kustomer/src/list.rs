//! The endpoints: what each answers.

use serde_json::Value;

use crate::api::{Refusal, Reply};
use crate::attributes::Vocabulary;
use crate::config::{Merged, PastCap, Ties, TotalMode};
use crate::data::{metadata, render, settings};
use crate::fault::Call;
use crate::out::Out;
use crate::overlay::Rec;
use crate::page::{Included, Page, PageFaults};
use crate::random::mix2;
use crate::route::{Kind, Route};
use crate::search::Search;
use crate::select::{Hit, Selection};
use crate::state::Shared;
use crate::timeline::Id;
use crate::world::{
    CONVERSATION, CUSTOMER, FIXED, KOBJECT, MESSAGE, SCHEDULE, SLA, TEAM, USER, World,
};

/// Answers a request that is allowed.
pub(crate) fn respond(
    shared: &Shared,
    route: &Route,
    call: &Call,
    faults: &PageFaults,
) -> Result<Reply, Refusal> {
    let world = shared.world();
    let now = shared.clock.now();
    match &route.kind {
        Kind::Search { archive } => search(shared, &world, route, call, *archive, now, faults),
        Kind::List => list(shared, &world, route, call, now, faults),
        Kind::Children { parent, id } => {
            children(shared, &world, route, call, parent, id, now, faults)
        }
        Kind::Get(id) => get(shared, &world, &route.stream, id, now),
        Kind::Metadata(resource) => {
            let stream = resource.replacen("kobject.", "kobject_", 1);
            let stream = world.stream_index(&stream).map_err(|_| unknown(resource))?;
            one(shared, |out| metadata::write(out, &world, stream, resource))
        }
        Kind::CurrentToken => one(shared, |out| token(out, shared, &world, now)),
        Kind::Tokens => {
            let mut out = Out::with_buffer(shared.buffer());
            // The one list whose meta is text.
            out.raw("{\"meta\":{\"page\":\"1\",\"pageSize\":\"100\"},\"links\":{\"self\":\"/v1/auth/tokens?page=1&pageSize=100\",\"first\":\"/v1/auth/tokens?page=1&pageSize=100\",\"prev\":null,\"next\":null},\"data\":[");
            token(&mut out, shared, &world, now);
            out.raw("]}");
            Ok(Reply::json(200, shared.bytes(out.buf)))
        }
        Kind::CurrentUser => one(shared, |out| {
            let machine = (0..world.total(USER)).find(|n| n % 9 == 8).unwrap_or(0);
            if let Some(rec) = world.streams[USER].stored(machine) {
                render(out, &world, USER, &rec);
            }
        }),
        Kind::CurrentOrg => one(shared, |out| {
            out.raw("{\"type\":\"org\",\"id\":").id(world.org).raw(",\"attributes\":{\"name\":");
            out.string(&world.org_name).raw(",\"displayName\":").string(&world.org_name);
            out.raw(",\"createdAt\":").ts(world.origin - 2000 * 86_400_000);
            out.raw("},\"relationships\":{},\"links\":{\"self\":\"/v1/orgs/")
                .bare_id(world.org)
                .raw("\"}}");
        }),
        Kind::AuditLogs => audit_logs(shared, &world, route),
        Kind::Merges(id) => merges(shared, &world, id, now),
        Kind::Unknown => Err(Refusal::not_found("Not found.")),
    }
}

fn unknown(what: &str) -> Refusal {
    Refusal::not_found(format!("{what} not found."))
}

/// `{"data": record}`.
fn one(shared: &Shared, write: impl FnOnce(&mut Out)) -> Result<Reply, Refusal> {
    let mut out = Out::with_buffer(shared.buffer());
    out.raw("{\"data\":");
    write(&mut out);
    out.raw("}");
    let mut reply = Reply::json(200, shared.bytes(out.buf));
    reply.records = 1;
    Ok(reply)
}

fn search(
    shared: &Shared,
    world: &World,
    route: &Route,
    call: &Call,
    archive: bool,
    now: i64,
    faults: &PageFaults,
) -> Result<Reply, Refusal> {
    let config = &shared.config.search;
    let (page, page_size) = route.paging(100, config.max_page_size)?;
    let body: Value = serde_json::from_slice(&route.body)
        .map_err(|_| Refusal::bad_request("The body is not valid JSON."))?;
    let vocabulary = Vocabulary {
        archive,
        ids: config.id_criteria,
        klass_forms: config.klass_criteria,
        klasses: &world.klasses,
    };
    let search = Search::parse(world, &body, vocabulary).map_err(Refusal::bad_request)?;
    let horizon = config.horizon_days.map(|days| now - i64::from(days) * 86_400_000);
    let seen = match (archive, horizon) {
        (false, horizon) => (horizon.unwrap_or(i64::MIN), i64::MAX),
        (true, Some(horizon)) => (i64::MIN, horizon),
        (true, None) => (i64::MIN, i64::MIN),
    };
    let rows = search.select(world, now, seen);
    let exact = rows.total();
    let total = match config.total {
        TotalMode::Exact => exact,
        TotalMode::Bounded => exact.min(10_000),
    };
    let mut served = faults.served(page);
    let last = config.max_pages.min((config.max_rows / page_size).max(1));
    let mut empty = false;
    if served > last {
        match config.past_cap {
            PastCap::BadRequest => {
                return Err(Refusal::bad_request("Result window is too large."));
            }
            PastCap::NotFound => return Err(Refusal::not_found("Page not found.")),
            PastCap::Empty => empty = true,
            PastCap::Repeat => served = last,
            PastCap::Serve => {}
        }
    }
    let shuffle = match config.ties {
        Ties::Stable => None,
        Ties::Unstable => Some(mix2(world.seed, call.ordinal)),
    };
    let offset = (served - 1) * page_size;
    // One row more at the front, for faults that repeat it.
    let lead = u64::from(offset > 0);
    let mut hits = rows.page(offset - lead, page_size + lead, search.descending, shuffle);
    let before = if lead == 1 && !hits.is_empty() { Some(hits.remove(0)) } else { None };
    if empty {
        hits.clear();
    }
    let has_next = !empty && offset + page_size < exact;
    faults.bend_rows(&mut hits, before);
    let ids_only = route.query.get("idsOnly") == Some("true");
    let path = if archive { "/v1/customers/archive/search" } else { "/v1/customers/search" };
    let query = if ids_only { "&idsOnly=true" } else { "" }.to_owned();
    let page = Page {
        path,
        query,
        page,
        page_size,
        total: Some(total),
        has_next,
        search: true,
        ids_only,
        hits,
        faults,
    };
    Ok(write_page(shared, world, &page, |hit| world.streams[hit.stream].found(hit.number), None))
}

fn write_page<'w>(
    shared: &Shared,
    world: &'w World,
    page: &Page<'_>,
    find: impl Fn(Hit) -> Option<Rec<'w>>,
    included: Option<Included<'_>>,
) -> Reply {
    let mut out = Out::with_buffer(shared.buffer());
    let records = page.write(&mut out, world, find, included);
    let mut reply = Reply::json(200, shared.bytes(out.buf));
    reply.records = records;
    reply
}

fn list(
    shared: &Shared,
    world: &World,
    route: &Route,
    call: &Call,
    now: i64,
    faults: &PageFaults,
) -> Result<Reply, Refusal> {
    let stream = world.stream_index(&route.stream).map_err(|_| unknown("Klass"))?;
    let state = &world.streams[stream];
    let mut query = String::new();
    let rows = if route.query.get("deleted") == Some("true") && stream < KOBJECT {
        query.push_str("&deleted=true");
        Selection::of(world, stream, state.deleted.iter_from(0))
    } else if FIXED.get(stream) == Some(&"klass") {
        let status = route.query.get("status").unwrap_or("enabled");
        if route.query.get("status").is_some() {
            query = format!("&status={status}");
        }
        let named = world.klasses.iter().filter(|klass| klass.status == status);
        Selection::of(world, stream, named.map(|klass| klass.number))
    } else {
        let rows = Selection::store(world, &[stream], now);
        match (stream, route.query.get("userType")) {
            (USER, Some(wanted)) => {
                query = format!("&userType={wanted}");
                let machine = wanted == "machine";
                rows.filtered(|hit| (hit.number % 9 == 8) == machine, None)
            }
            _ => rows,
        }
    };
    let descending =
        route.query.get("sort") == Some("desc") && matches!(stream, CONVERSATION | MESSAGE);
    if descending {
        query.push_str("&sort=desc");
    }
    list_page(shared, world, route, call, &rows, stream, descending, query, faults)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one answer")]
fn list_page(
    shared: &Shared,
    world: &World,
    route: &Route,
    call: &Call,
    rows: &Selection<'_>,
    stream: usize,
    descending: bool,
    query: String,
    faults: &PageFaults,
) -> Result<Reply, Refusal> {
    let most = if matches!(stream, USER | TEAM) { 500 } else { 100 };
    let (page, page_size) = route.paging(100, most)?;
    let served = faults.served(page);
    let offset = (served - 1).saturating_mul(page_size);
    let lead = u64::from(offset > 0);
    let mut hits = rows.page(offset - lead, page_size + lead, descending, None);
    let before = if lead == 1 && !hits.is_empty() { Some(hits.remove(0)) } else { None };
    let exact = rows.total();
    faults.bend_rows(&mut hits, before);
    let page = Page {
        path: &call.path,
        query,
        page,
        page_size,
        total: (stream == CUSTOMER).then_some(exact),
        has_next: offset.saturating_add(page_size) < exact,
        search: false,
        ids_only: false,
        hits,
        faults,
    };
    let included: Option<Included<'_>> = match stream {
        SLA => Some(&settings::write_sla_version),
        SCHEDULE => Some(&settings::write_holiday),
        _ => None,
    };
    // Deleted records are rows of `deleted=true`.
    Ok(write_page(
        shared,
        world,
        &page,
        |hit| world.streams[hit.stream].stored(hit.number),
        included,
    ))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one request")]
fn children(
    shared: &Shared,
    world: &World,
    route: &Route,
    call: &Call,
    parent: &str,
    id: &str,
    now: i64,
    faults: &PageFaults,
) -> Result<Reply, Refusal> {
    let stream = world.stream_index(&route.stream).map_err(|_| unknown("Klass"))?;
    let parent = world.stream_index(parent).map_err(|_| unknown("Parent"))?;
    let missing = || unknown("Parent");
    let number =
        Id::parse(id).and_then(|id| world.streams[parent].find(id, now)).ok_or_else(missing)?;
    if world.streams[parent].hidden.contains(&number) {
        return Err(missing());
    }
    let state = &world.streams[stream];
    let numbers = if parent == CUSTOMER {
        world.children(number, stream, now)
    } else {
        let end = state.base_end(now);
        world.born_in(number, stream).filter(|n| *n < end).collect()
    };
    let shown = numbers.into_iter().filter(|n| !state.hidden.contains(n));
    let rows = Selection::of(world, stream, shown);
    list_page(shared, world, route, call, &rows, stream, false, String::new(), faults)
}

fn get(shared: &Shared, world: &World, stream: &str, id: &str, now: i64) -> Result<Reply, Refusal> {
    let stream = world.stream_index(stream).map_err(|_| unknown("Klass"))?;
    let state = &world.streams[stream];
    let missing = || unknown(crate::data::type_of(stream));
    if id.contains(',') {
        let mut out = Out::with_buffer(shared.buffer());
        out.raw("{\"data\":[");
        let mut records = 0;
        for id in id.split(',') {
            let number = Id::parse(id).and_then(|id| state.find(id, now));
            let rec = number.filter(|n| !state.hidden.contains(n)).and_then(|n| state.stored(n));
            if let Some(rec) = rec {
                if records > 0 {
                    out.raw(",");
                }
                render(&mut out, world, stream, &rec);
                records += 1;
            }
        }
        out.raw("]}");
        let mut reply = Reply::json(200, shared.bytes(out.buf));
        reply.records = records;
        return Ok(reply);
    }
    let mut number = Id::parse(id).and_then(|id| state.find(id, now)).ok_or_else(missing)?;
    if shared.config.merged == Merged::Redirect && stream == CUSTOMER {
        // A chain of merges ends at the customer that is left.
        for _ in 0..100 {
            let version = state.entries.get(&number).and_then(|entry| entry.latest());
            let Some(target) = version.and_then(|version| version.merged_into) else { break };
            number = target;
        }
    }
    let latest = state.entries.get(&number).and_then(|entry| entry.latest());
    let merged = latest.is_some_and(|version| version.merged_into.is_some());
    if state.deleted.contains(&number) && stream == CONVERSATION && !merged {
        return Err(missing());
    }
    let rec = state.stored(number).ok_or_else(missing)?;
    one(shared, |out| render(out, world, stream, &rec))
}

fn token(out: &mut Out, shared: &Shared, world: &World, now: i64) {
    let roles = shared.config.tokens.first().map(|token| token.roles.clone()).unwrap_or_default();
    let roles = serde_json::to_string(&roles).unwrap_or_default();
    out.raw("{\"type\":\"auth_token\",\"id\":").id(Id::new(world.origin, 1, 7));
    out.raw(",\"attributes\":{\"name\":\"warehouse\",\"lastTokenChars\":\"oken\",\"ipAddress\":\"127.0.0.1\",\"userAgent\":\"simulated\",\"roles\":");
    out.raw(&roles).raw(",\"createdAt\":").ts(world.origin).raw(",\"updatedAt\":").ts(world.origin);
    out.raw(",\"lastAccessedAt\":")
        .ts(now)
        .raw("},\"relationships\":{\"user\":{\"data\":{\"type\":\"user\",\"id\":");
    out.id(world.id(USER, 8)).raw("}},\"org\":{\"data\":{\"type\":\"org\",\"id\":").id(world.org);
    out.raw("}}},\"links\":{\"self\":\"/v1/auth/tokens/current\"}}");
}

/// Newest first; `after` and `before` are ids and come together.
fn audit_logs(shared: &Shared, world: &World, route: &Route) -> Result<Reply, Refusal> {
    let query = &route.query;
    let count = match query.get("count") {
        None => 100,
        Some(text) => match text.parse::<usize>() {
            Ok(count @ 1..=1000) => count,
            _ => return Err(Refusal::bad_request("Invalid value for count.")),
        },
    };
    let cursor = |name: &str| match query.get(name) {
        None => Ok(None),
        Some(text) => Id::parse(text)
            .map(Some)
            .ok_or_else(|| Refusal::bad_request(format!("Invalid value for {name}."))),
    };
    let (after, before) = (cursor("after")?, cursor("before")?);
    if after.is_some() != before.is_some() {
        return Err(Refusal::bad_request("after and before must be sent together."));
    }
    let instant = |name: &str| {
        query
            .get(name)
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .map(|t| t.as_millisecond())
    };
    let (start, end) = (instant("filter[start]"), instant("filter[end]"));
    let same = |name: &str, is: &str| query.get(name).is_none_or(|wanted| wanted == is);
    let mut entries: Vec<_> = world
        .audit
        .iter()
        .filter(|entry| {
            after.is_none_or(|id| entry.id > id) && before.is_none_or(|id| entry.id < id)
        })
        .filter(|entry| {
            start.is_none_or(|ms| entry.at >= ms) && end.is_none_or(|ms| entry.at <= ms)
        })
        .filter(|entry| same("filter[objectType]", &entry.object_type))
        .filter(|entry| same("filter[objectId]", &entry.object_id.to_string()))
        .rev()
        .take(count + 1)
        .collect();
    let more = entries.len() > count;
    entries.truncate(count);
    let mut out = Out::with_buffer(shared.buffer());
    out.raw("{\"meta\":{\"count\":").int(count as u64).raw("},\"links\":{\"self\":\"/v1/audit-logs\",\"first\":\"/v1/audit-logs\",\"previous\":null,\"next\":");
    match entries.last().filter(|_| more) {
        Some(last) => {
            let oldest = after.unwrap_or(Id::new(0, 0, 0));
            out.raw("\"/v1/audit-logs?count=").int(count as u64).raw("&after=").bare_id(oldest);
            out.raw("&before=").bare_id(last.id).raw("\"");
        }
        None => {
            out.raw("null");
        }
    }
    out.raw("},\"data\":[");
    let user = world.id(USER, 0);
    for (place, entry) in entries.iter().enumerate() {
        if place > 0 {
            out.raw(",");
        }
        out.raw("{\"type\":\"audit_log\",\"id\":")
            .id(entry.id)
            .raw(",\"attributes\":{\"eventName\":\"kustomer.");
        out.raw(&entry.object_type)
            .raw(".")
            .raw(entry.verb)
            .raw("\",\"eventVerb\":\"")
            .raw(entry.verb);
        out.raw("\",\"org\":")
            .id(world.org)
            .raw(",\"userId\":")
            .id(user)
            .raw(",\"userType\":\"user\",\"objectId\":");
        out.id(entry.object_id).raw(",\"objectType\":\"").raw(&entry.object_type);
        out.raw("\",\"client\":\"web\",\"ip\":\"203.0.113.9\",\"changes\":{\"attributes\":{},\"relationships\":{}},\"createdAt\":");
        out.ts(entry.at)
            .raw(",\"publishedAt\":")
            .ts(entry.at + 50)
            .raw(",\"expiresAt\":")
            .ts(entry.at + 90 * 86_400_000);
        out.raw("},\"relationships\":{\"user\":{\"data\":{\"type\":\"user\",\"id\":")
            .id(user)
            .raw("}}}}");
    }
    out.raw("]}");
    let mut reply = Reply::json(200, shared.bytes(out.buf));
    reply.records = entries.len() as u64;
    Ok(reply)
}

fn merges(shared: &Shared, world: &World, id: &str, now: i64) -> Result<Reply, Refusal> {
    let number = Id::parse(id).and_then(|id| world.streams[CUSTOMER].find(id, now));
    let number = number.ok_or_else(|| unknown("Customer"))?;
    let mut out = Out::with_buffer(shared.buffer());
    out.raw("{\"meta\":{\"page\":1,\"pageSize\":100},\"links\":{\"self\":\"/v1/customers/").raw(id);
    out.raw("/merges?page=1&pageSize=100\",\"prev\":null,\"next\":null},\"data\":[");
    let of = world.merges.iter().filter(|merge| merge.target == number || merge.source == number);
    for (place, merge) in of.enumerate() {
        if place > 0 {
            out.raw(",");
        }
        out.raw("{\"type\":\"customer_merge\",\"id\":")
            .id(merge.id)
            .raw(",\"attributes\":{\"status\":\"complete\",\"createdAt\":");
        out.ts(merge.at)
            .raw(",\"updatedAt\":")
            .ts(merge.at)
            .raw("},\"relationships\":{\"source\":{\"data\":{\"type\":\"customer\",\"id\":");
        out.id(world.id(CUSTOMER, merge.source))
            .raw("}},\"target\":{\"data\":{\"type\":\"customer\",\"id\":");
        out.id(world.id(CUSTOMER, merge.target))
            .raw("}}},\"links\":{\"self\":\"/v1/customers/merges/")
            .bare_id(merge.id)
            .raw("\"}}");
    }
    out.raw("]}");
    Ok(Reply::json(200, shared.bytes(out.buf)))
}
