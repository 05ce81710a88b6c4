//! What is on disk, and when.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bobbin_core::ErrorKind;
use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::report::{Level, NoLog};
use bobbin_core::selection::Selection;
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Tap as _};
use bobbin_import::inbox::{Inbox, Limits, Waiting};
use bobbin_import::tap::ImportTap;

use crate::support::{Home, batch, now, push, upserts};

fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    String::from_utf8(zstd(&bytes)).unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    // As a person would read it.
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut ::zstd::Decoder::new(bytes).unwrap(), &mut out).unwrap();
    out
}

#[test]
fn a_request_is_one_file_that_a_person_can_read() {
    let home = Home::new();
    let inbox = home.open();
    let accepted = inbox
        .accept(
            &batch(
                r#"{"table_name":"orders","schema":{"type":"object","properties":{"id":{"type":"integer"},"at":{"type":"string","format":"date-time"}}},"key_names":["id"],"bookmark_names":["at"],"table_version":7,"messages":[
                    {"action":"upsert","sequence":1764321000000000001,"data":{"id":1, "total": 12345678901234567890.10,
                        "e": 1E+2}},
                    {"action":"upsert","sequence":2,"time_extracted":"2026-11-28T09:00:00.5Z","data":{"id":2}},
                    {"action":"upsert","sequence":3,"data":{"id":3}},
                    {"action":"activate_version","sequence":4}]}"#,
            ),
            now(),
        )
        .unwrap();
    assert_eq!((accepted.number, accepted.rows), (1, 3));
    let path = home.request();
    let all = text(&path);
    let (header, lines) = all.split_once('\n').unwrap();
    let mut header: serde_json::Value = serde_json::from_str(header).unwrap();
    assert_eq!(header["mark"].as_str().unwrap().len(), 16);
    header["mark"] = "…".into();
    insta::assert_snapshot!(serde_json::to_string(&header).unwrap(), @r#"
    {"form":1,"mark":"…","received":"2026-11-28T09:30:00Z","tables":[{"stream":{"name":"orders","fields":{"properties":[["_import_sequence",{"kind":"integer","required":true}],["id",{"kind":"integer","required":true}],["at",{"kind":"date_time","required":true}]],"open":true},"key":["id"],"replication_key":"at","version_fields":["_import_sequence"]},"declared":true,"version":7,"rows":3,"activations":1,"bytes":205}]}
    "#);
    insta::assert_snapshot!(lines, @r#"
    {"_import_sequence":1764321000000000001,"id":1, "total": 12345678901234567890.10,                         "e": 1E+2}
    @2026-11-28T09:00:00.5Z
    {"_import_sequence":2,"id":2}
    @
    {"_import_sequence":3,"id":3}
    ^
    "#);
    let name = path.file_name().unwrap().to_str().unwrap();
    let size = fs::metadata(&path).unwrap().len();
    assert_eq!(name, format!("000000000001-20261128T093000.000000Z-3r-{size}b.ndjson.zst"));
    assert_eq!(home.names(""), ["inbox.json", "tables.json", "writer.lock"]);
    assert_eq!(
        inbox.waiting(&State::default()).unwrap(),
        Waiting { requests: 1, rows: 3, bytes: size, oldest: Some(now()), damaged: 0 }
    );
}

#[test]
fn a_push_of_several_tables_is_one_file() {
    let home = Home::new();
    let accepted = home.accept(&push(
        r#"[{"table_name":"a","sequence":1,"action":"upsert","key_names":["id"],"data":{"id":1,"x":true}},
            {"table_name":"b","sequence":2,"action":"upsert","data":{"id":1}},
            {"table_name":"a","sequence":3,"action":"upsert","key_names":["id"],"data":{"id":2,"y":"z"}}]"#,
    ));
    assert_eq!(accepted.rows, 3);
    assert_eq!(accepted.tables, ["a".into(), "b".into()]);
    let ran = home.run(&State::default());
    insta::assert_snapshot!(ran.text().replace(id(&ran.text()), "MARK"), @r#"
    a (_import_sequence id x y) key id
    a 2026-11-28T09:30:00Z: {"_import_sequence":1,"id":1,"x":true}
    a 2026-11-28T09:30:00Z: {"_import_sequence":3,"id":2,"y":"z"}
    b (_import_sequence _import_id id) key _import_id
    b 2026-11-28T09:30:00Z: {"_import_id":"MARK-1","_import_sequence":2,"id":1}
    state 1
    "#);
}

/// The random part of the first id in a text.
fn id(text: &str) -> &str {
    let start = text.find("_import_id\":\"").unwrap() + 13;
    &text[start..start + 16]
}

#[test]
fn what_a_crash_left_half_written_goes_and_nothing_else() {
    let home = Home::new();
    home.accept(&upserts("t", &[(1, 1)]));
    let before = home.names("requests");
    let requests = home.path().join("requests");
    fs::write(requests.join("0123456789abcdef.partial"), b"half").unwrap();
    fs::write(home.path().join("tables.partial"), b"half").unwrap();
    let inbox = home.open();
    assert_eq!(home.names("requests"), before);
    // While somebody writes, nobody else may, who would delete what is being written.
    let second = Inbox::open(&home.path(), Limits::default(), None).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Conflict);
    assert_eq!(inbox.accept(&upserts("t", &[(2, 2)]), now()).unwrap().number, 2);
    assert_eq!(home.run(&State::default()).ids(), [1, 2]);
}

#[test]
fn beyond_its_bounds_an_inbox_takes_nothing_and_keeps_what_it_has() {
    let home = Home::new();
    let limits = Limits { most_waiting_bytes: 1000, reserve_bytes: 0 };
    let inbox = Inbox::open(&home.path(), limits, None).unwrap();
    let mut taken = 0;
    let error = loop {
        match inbox.accept(&upserts("t", &[(taken, 1)]), now()) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(taken > 1);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains("most_waiting_bytes: 1000"), "{}", error.report());
    assert_eq!(home.names("requests").len(), taken as usize);
    // A job makes room, in whichever process it runs.
    let ran = home.run(&State::default());
    assert_eq!(ran.ids().len(), taken as usize);
    assert!(inbox.accept(&upserts("t", &[(0, 1)]), now()).is_err());
    home.run(&ran.state);
    inbox.accept(&upserts("t", &[(0, 1)]), now()).unwrap();
}

#[test]
fn a_disk_that_is_nearly_full_takes_nothing() {
    let home = Home::new();
    let limits = Limits { reserve_bytes: u64::MAX, ..Limits::default() };
    let inbox = Inbox::open(&home.path(), limits, None).unwrap();
    // A twentieth of the disk is the most that is kept free: only a disk that lacks it refuses.
    match inbox.accept(&upserts("t", &[(1, 1)]), now()) {
        Ok(_) => assert_eq!(home.names("requests").len(), 1),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::DiskFull);
            assert!(home.names("requests").is_empty());
        }
    }
}

#[test]
fn a_request_that_cannot_be_written_leaves_nothing_behind() {
    let home = Home::new();
    let inbox = home.open();
    let tables = home.path().join("tables.json");
    // Nobody can replace a directory that is not empty by a file.
    fs::create_dir(&tables).unwrap();
    fs::write(tables.join("x"), b"").unwrap();
    let error = inbox.accept(&upserts("t", &[(1, 1)]), now()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(home.names("requests").is_empty());
    fs::remove_dir_all(&tables).unwrap();
    assert_eq!(inbox.accept(&upserts("t", &[(1, 1)]), now()).unwrap().number, 1);
}

/// Whoever sees a number has seen every smaller one.
#[test]
fn numbers_become_visible_in_their_order() {
    let home = Home::new();
    let inbox = Arc::new(home.open());
    let done = Arc::new(AtomicBool::new(false));
    let requests = home.path().join("requests");
    let reader = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let listed = || -> BTreeSet<u64> {
                let numbers = fs::read_dir(&requests).unwrap().filter_map(|entry| {
                    let name = entry.unwrap().file_name().into_string().unwrap();
                    name.split_once('-')?.0.parse().ok()
                });
                numbers.collect()
            };
            let mut looked = 0;
            loop {
                let last = done.load(Ordering::SeqCst);
                let highest = listed().last().copied().unwrap_or(0);
                let after = listed();
                for number in 1..=highest {
                    assert!(after.contains(&number), "{highest} was there before {number}");
                }
                looked += 1;
                if last {
                    return (highest, looked);
                }
            }
        }
    });
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let mut last = 0;
                for n in 0..25 {
                    let number = inbox
                        .accept(&upserts("t", &[(writer * 100 + n, n)]), now())
                        .unwrap()
                        .number;
                    assert!(number > last);
                    last = number;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let (highest, looked) = reader.join().unwrap();
    assert_eq!(highest, 200);
    assert!(looked > 1);
    let mut ids = home.run(&State::default()).ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

/// Jobs run while requests come: each record arrives exactly once, whatever a job saw.
#[test]
fn jobs_beside_writers_miss_nothing_and_repeat_nothing() {
    let home = Home::new();
    let inbox = Arc::new(home.open());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                for n in 0..40 {
                    inbox.accept(&upserts("t", &[(writer * 1000 + n, n)]), now()).unwrap();
                }
            })
        })
        .collect();
    let mut state = State::default();
    let mut ids = Vec::new();
    loop {
        let last = writers.iter().all(|writer| writer.is_finished());
        let ran = home.run(&state);
        ids.extend(ran.ids());
        state = ran.state;
        if last {
            break;
        }
    }
    assert_eq!(ids.len(), 160);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 160);
    assert!(home.names("damaged").is_empty());
    home.run(&state);
    assert!(home.names("requests").is_empty());
}

#[test]
fn a_check_tells_what_waits() {
    let home = Home::new();
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let tap = ImportTap::new(home.path(), home.path());
    // Nothing ever came: there is not even a directory.
    assert!(tap.discover(&cx).unwrap().catalog.streams.is_empty());
    let facts = tap.check(&cx).unwrap().facts;
    assert_eq!(facts[1].1, "0 requests, 0 records, 0 bytes");
    assert!(home.run(&State::default()).told.is_empty());
    let bytes = home.accept(&upserts("t", &[(1, 1), (2, 2)])).bytes;
    let check = tap.check(&cx).unwrap();
    assert_eq!(check.streams, [("t".into(), None)]);
    assert_eq!(check.facts[1].1, format!("1 request, 2 records, {bytes} bytes"));
    assert_eq!(check.facts[2], ("oldest".to_owned(), "2026-11-28T09:30:00Z".to_owned()));
}

#[test]
fn an_inbox_has_so_many_tables_and_those_it_has_go_on() {
    let home = Home::new();
    let inbox = home.open();
    let push_into = |tables: std::ops::Range<usize>| {
        let messages: Vec<String> = tables
            .map(|n| {
                format!(
                    r#"{{"table_name":"t{n}","sequence":1,"action":"upsert","key_names":["id"],"data":{{"id":1}}}}"#
                )
            })
            .collect();
        inbox.accept(&push(&format!("[{}]", messages.join(","))), now())
    };
    push_into(0..990).unwrap();
    let error = push_into(985..1001).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let report = error.report();
    assert!(report.contains("1000 tables at most") && report.contains("table: t1000"), "{report}");
    assert_eq!(home.names("requests").len(), 1, "nothing of it was taken");
    push_into(985..1000).unwrap();
    push_into(1000..1001).unwrap_err();
    push_into(0..1000).unwrap();
}

/// F-103: who has the disk alone reads nothing of a sealed request; one of an earlier release is read beside it.
#[test]
fn f103_what_was_pushed_waits_sealed_and_opens_with_its_key() {
    const CANARY: &str = "canary-5d1e";
    let home = Home::new();
    let body = |id: u32| {
        format!(
            r#"{{"table_name":"t","schema":{{"properties":{{"id":{{"type":"integer"}}}}}},"key_names":["id"],"messages":[{{"action":"upsert","sequence":1,"data":{{"id":{id},"name":"{CANARY}"}}}}]}}"#
        )
    };
    home.accept(&batch(&body(1)));
    let plain = home.request();
    assert!(text(&plain).contains(CANARY));
    home.accept_sealed(&batch(&body(2)));
    let sealed = home.path().join("requests").join(&home.names("requests")[1]);
    let bytes = fs::read(&sealed).unwrap();
    assert!(::zstd::decode_all(&bytes[..]).is_err(), "it is no plain request");
    // Nor is one hidden behind its head.
    let frame = [0x28, 0xb5, 0x2f, 0xfd];
    assert!(!bytes.windows(4).any(|window| window == frame));
    for name in home.names("").iter().filter(|name| *name != "store-key") {
        let text = fs::read(home.path().join(name)).unwrap();
        assert!(!text.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{name}");
    }
    assert_eq!(home.run(&State::default()).ids(), [1, 2]);

    // While the key is away, or another one is in its place, nothing is called damaged and nothing is touched.
    let key = home.path().join("store-key");
    let elsewhere = home.path().join("away");
    fs::rename(&key, &elsewhere).unwrap();
    let (ran, result) = home.try_run(&State::default(), &Selection::all());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Config);
    assert!(ran.told.is_empty() && home.names("damaged").is_empty());
    fs::write(&key, "ab".repeat(32)).unwrap();
    let (ran, result) = home.try_run(&State::default(), &Selection::all());
    let error = result.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.report().contains("nothing was touched"));
    assert!(ran.told.is_empty() && home.names("damaged").is_empty());
    // Where that key opens others, whatever it does not open is damaged.
    home.accept_sealed(&batch(&body(3)));
    let ran = home.run(&State::default());
    assert!(ran.notice(Level::Error, "request 2 of"), "told");
    assert_eq!((ran.ids(), home.names("damaged").len()), (vec![1, 3], 1));
    fs::rename(&elsewhere, &key).unwrap();
    let aside = home.path().join("damaged").join(&home.names("damaged")[0]);
    assert_eq!(fs::read(aside).unwrap(), bytes, "it is kept as it was");
}
