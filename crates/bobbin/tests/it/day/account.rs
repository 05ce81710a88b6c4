//! The account: every slot that was due is there once, with what became of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::START;

pub(super) const OVERRUN: &str = "the job before it was still running";

const FOLLOWS: &str = "one follows as soon as that has ended";

pub(super) fn instant(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Compares what the ledger says of slots, newest first, with what was due: `true` are those that have
/// to be there. Counts what became of them.
pub(super) fn account(
    due: &BTreeMap<Timestamp, bool>,
    rows: &[Value],
    jobs: &[Value],
    problems: &mut Vec<String>,
    counts: &mut BTreeMap<String, u64>,
) {
    let mut missing: BTreeSet<Timestamp> =
        due.iter().filter(|(_, must)| **must).map(|(slot, _)| *slot).collect();
    let known: BTreeMap<&str, &Value> =
        jobs.iter().map(|job| (job["job"].as_str().unwrap(), job)).collect();
    let mut scheduled: BTreeSet<&str> = known
        .iter()
        .filter(|(_, job)| job["trigger"] == "schedule")
        .map(|(name, _)| *name)
        .collect();
    let mut newer: Option<&Value> = None;
    let mut before = Timestamp::MAX;
    for row in rows {
        let row = &row["slot"];
        let (first, last) = (instant(&row["slot"]), instant(&row["last"]));
        let within = || due.range(first..=last);
        let (least, most) = (within().filter(|(_, must)| **must).count(), within().count());
        let count = row["count"].as_u64().unwrap();
        if !(least..=most).contains(&(count as usize))
            || !due.contains_key(&first)
            || !due.contains_key(&last)
        {
            problems.push(format!("{least} to {most} slots were due, and not {count}: {row}"));
        }
        if last >= before {
            problems.push(format!("a slot is there twice: {row}"));
        }
        before = first;
        missing.retain(|slot| !(first..=last).contains(slot));
        let (outcome, reason) = (row["outcome"].as_str().unwrap(), row["reason"].as_str());
        match (outcome, row["job"].as_str()) {
            ("started", Some(job)) => {
                if !scheduled.remove(job) {
                    problems.push(format!("its job is another's, or none: {row}"));
                }
            }
            ("skipped" | "missed", None) if reason.is_some() => {}
            _ => problems.push(format!("it does not say what became of it: {row}")),
        }
        if reason.is_some_and(|reason| reason.ends_with(FOLLOWS)) {
            let then = newer.and_then(|newer| newer["reason"].as_str()).unwrap_or_default();
            // Either it came, or it was taken back with a word.
            if !then.contains(OVERRUN) && !then.ends_with("before its turn came") {
                problems.push(format!("no job followed: {row}, then {newer:?}"));
            }
        }
        newer = Some(row);
        let what = match (outcome, reason) {
            ("started", Some(reason)) => format!("started, {reason}"),
            ("started", None) => "started in time".to_owned(),
            (_, reason) => format!("{outcome}: {}", reason.unwrap_or_default()),
        };
        *counts.entry(what).or_default() += count;
    }
    problems.extend(missing.iter().map(|slot| format!("nothing is known of the slot of {slot}")));
    problems.extend(scheduled.iter().map(|job| format!("no slot has job {job}")));
}

/// What is to be found is found.
#[test]
fn the_account_notices_what_is_wrong_with_a_slot() {
    let at = |minute: i64| START.parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute);
    let due: BTreeMap<Timestamp, bool> =
        [(10, true), (20, true), (30, true), (40, false)].map(|(n, must)| (at(n), must)).into();
    let row = |first: i64,
               last: i64,
               count: u64,
               outcome: &str,
               reason: Option<&str>,
               job: Option<&str>| {
        serde_json::json!({ "slot": {
            "slot": at(first), "last": at(last), "count": count, "outcome": outcome,
            "reason": reason, "job": job,
        }})
    };
    let started = |minute, job| row(minute, minute, 1, "started", None, Some(job));
    let follows = format!("{OVERRUN}; {FOLLOWS}");
    let check = |rows: Vec<Value>, names: &[&str], problem: Option<&str>| {
        let job = |name: &&str| serde_json::json!({ "job": name, "trigger": "schedule" });
        let jobs: Vec<Value> = names.iter().map(job).collect();
        let mut problems = Vec::new();
        account(&due, &rows, &jobs, &mut problems, &mut BTreeMap::new());
        match problem {
            None => assert!(problems.is_empty(), "{problems:?}"),
            Some(part) => {
                assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:?}");
            }
        }
    };
    let missed = |first, last, count| row(first, last, count, "missed", Some("away"), None);
    let all = || vec![started(30, "b"), missed(20, 20, 1), started(10, "a")];
    let with = |at: usize, row: Value| {
        let mut rows = all();
        rows[at] = row;
        rows
    };
    check(all(), &["a", "b"], None);
    check(vec![started(40, "c"), missed(10, 30, 3)], &["c"], None);
    check(vec![missed(10, 30, 2)], &[], Some("and not 2"));
    check(with(0, missed(40, 40, 1)), &["a"], Some("nothing is known"));
    check(with(0, started(31, "b")), &["a", "b"], Some("0 to 0 slots were due"));
    check(with(1, missed(20, 30, 2)), &["a", "b"], Some("twice"));
    check(all(), &["a"], Some("another's, or none"));
    check(with(1, started(20, "a")), &["a", "b"], Some("another's, or none"));
    check(all(), &["a", "b", "c"], Some("no slot has job c"));
    check(with(1, row(20, 20, 1, "started", None, None)), &["a", "b"], Some("does not say"));
    check(with(1, row(20, 20, 1, "skipped", None, None)), &["a", "b"], Some("does not say"));
    let promise = || row(20, 20, 1, "skipped", Some(&follows), None);
    check(with(1, promise()), &["a", "b"], Some("no job followed"));
    let late = row(30, 30, 1, "started", Some(&format!("late: {OVERRUN}")), Some("b"));
    check(vec![late, promise(), started(10, "a")], &["a", "b"], None);
}
