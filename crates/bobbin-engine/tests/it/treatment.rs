//! Rules for columns reach what waits on a disk, and say where they cannot hold.

use std::fs;
use std::sync::Mutex;

use bobbin_core::ErrorKind;
use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Catalog;
use bobbin_core::clock::SystemClock;
use bobbin_core::report::{Event, JobLog, Level, NoLog};
use bobbin_core::secret::Secret;
use bobbin_core::selection::{
    ColumnRule, NewColumns, Pattern, Selection, StreamSelection, Treatment,
};
use bobbin_core::tap::Context;
use bobbin_engine::choice::verify_selection;
use bobbin_engine::{ResetRequest, RetryRequest};
use serde_json::Value;

use crate::support::{Fault, Memory, Script, Step, engine, run_chosen, spool_files, stream};

const EMAIL: &str = "a@b.c";

/// Worked out with `printf a@b.c | openssl dgst -sha256 -hmac key`.
const HASHED: &str = "39ae49c50426b2bd08543508b376ed900cccf8729da709864ff1e0ef842c25b6";

fn rules(rules: &[(&str, &str, Treatment)]) -> Selection {
    let rule = |(stream, path, treatment): &(&str, &str, Treatment)| ColumnRule {
        stream: Pattern::new(*stream),
        path: Pattern::new(*path),
        treatment: *treatment,
    };
    Selection {
        treatments: rules.iter().map(rule).collect(),
        hash_key: Some(Secret::new("key")),
        ..Selection::all()
    }
}

const STEPS: [Step; 2] =
    [Step::Record("a", r#""email":"a@b.c","preview":"hello","note":"n""#), Step::State(1)];

fn lines(memory: &Memory) -> Vec<Value> {
    memory.durable.lock().unwrap().lines.clone()
}

/// Rules that came while segments waited for the destination hold for them, too.
#[test]
fn new_rules_reach_what_waits_in_the_spool() {
    let before = rules(&[("a", "email", Treatment::Hash)]);
    let mut now = rules(&[("a", "email", Treatment::Hash), ("a", "preview", Treatment::Drop)]);
    let excluded = ["note".to_owned()].into();
    now.streams.insert("a".into(), StreamSelection { selected: true, excluded });
    for (before, earlier_release) in
        [(&before, false), (&before, true), (&Selection::all(), false), (&Selection::all(), true)]
    {
        for reset in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let (engine, memory) = (engine(&directory), Memory::default());
            memory.faults.lock().unwrap().push(Fault::Load(1, ErrorKind::Permission));
            run_chosen(&SystemClock, &engine, &STEPS, &memory, before).unwrap();
            let spool = directory.path().join("spool");
            for path in spool_files(&spool).iter().filter(|p| p.extension().unwrap() == "json") {
                let mut manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
                assert!(manifest["passed"].is_object());
                if earlier_release {
                    manifest.as_object_mut().unwrap().remove("passed");
                    fs::write(path, manifest.to_string()).unwrap();
                }
            }
            if reset {
                let cancel = Cancel::new();
                let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
                let request = ResetRequest {
                    connection: &"test".into(),
                    schema: &"test".into(),
                    destination: &memory,
                    selection: &now,
                    streams: &[],
                    replace: false,
                };
                engine.reset(cx, &request).unwrap();
            } else {
                let report = run_chosen(&SystemClock, &engine, &STEPS, &memory, &now).unwrap();
                assert_eq!(report.resumed_segments, 1, "{report:?}");
            }
            let lines = lines(&memory);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(lines[0]["email"], HASHED, "earlier release: {earlier_release}");
            assert!(lines[0].get("preview").is_none(), "{lines:?}");
            assert!(lines[0].get("note").is_none(), "{lines:?}");
            assert!(spool_files(&spool).is_empty());
        }
    }
}

/// New columns do not reach the disk; what waits from a time when they were on loses them before it is loaded.
#[test]
fn f49_what_waits_loses_columns_that_are_not_known() {
    let off = Selection { new_columns: NewColumns::Off, ..Selection::all() };
    let on = Selection::all();
    for then in [&on, &off] {
        let directory = tempfile::tempdir().unwrap();
        let (mut engine, memory) = (engine(&directory), Memory::default());
        engine.seal_spool = false;
        // The stream declares its id alone.
        run_chosen(&SystemClock, &engine, &[], &memory, &off).unwrap();
        memory.faults.lock().unwrap().push(Fault::Load(1, ErrorKind::Permission));
        run_chosen(&SystemClock, &engine, &STEPS, &memory, then).unwrap();
        let files = spool_files(&directory.path().join("spool"));
        let data = files.iter().find(|path| path.extension().unwrap() != "json").unwrap();
        let text = zstd::decode_all(fs::File::open(data).unwrap()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.contains(EMAIL), then.new_columns == NewColumns::On, "{text}");
        let report = run_chosen(&SystemClock, &engine, &STEPS, &memory, &off).unwrap();
        assert_eq!(report.resumed_segments, 1, "{report:?}");
        let lines = lines(&memory);
        assert_eq!((lines.len(), &lines[0]["id"].is_string()), (1, &true), "{lines:?}");
        assert!(lines[0].get("email").is_none(), "{lines:?}");
    }
}

/// Records that the destination set aside before a rule came.
#[test]
fn new_rules_reach_what_was_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, memory) = (engine(&directory), Memory::default());
    let line = |n: u32, email: &str| {
        format!(
            "{{\"_sdc_extracted_at\":\"2026-01-01T00:00:00Z\",\"_sdc_sequence\":{n},\"id\":\"{n}\",\
             \"email\":\"{email}\",\"preview\":\"hello\"}}"
        )
    };
    memory.durable.lock().unwrap().set_aside = vec![line(1, EMAIL), line(2, HASHED)];
    let now = rules(&[("a", "email", Treatment::Hash), ("*", "prev*", Treatment::Drop)]);
    let cancel = Cancel::new();
    let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
    let tap = Script { steps: Vec::new(), memory: memory.clone(), spool: engine.home().into() };
    let request = RetryRequest {
        connection: &"test".into(),
        schema: &"test".into(),
        tap: &tap,
        destination: &memory,
        selection: &now,
        table: None,
    };
    let retried = engine.retry_rejected(cx, &request).unwrap();
    assert_eq!((retried[0].tried, retried[0].loaded), (2, 2), "{retried:?}");
    let lines = lines(&memory);
    assert!(lines.iter().all(|line| line["email"] == HASHED), "{lines:?}");
    assert!(lines.iter().all(|line| line.get("preview").is_none()), "{lines:?}");
    assert_eq!(lines[1]["_sdc_sequence"], 2);
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl JobLog for Warnings {
    fn event(&self, event: Event) {
        if let Event::Notice { level: Level::Warn, message, .. } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

/// What tells records apart stays readable: nobody is to believe otherwise.
#[test]
fn a_rule_on_a_column_that_has_to_stay_is_refused_or_told() {
    let catalog = Catalog { streams: vec![stream("a"), stream("b")] };
    let verify = |selection: &Selection| {
        let warnings = Warnings::default();
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &warnings };
        let result = verify_selection(cx, selection, &catalog, &[]);
        (result, warnings.0.into_inner().unwrap().join("\n"))
    };
    for field in ["id", "updated_at", "rev"] {
        let (result, _) = verify(&rules(&[("a", field, Treatment::Hash)]));
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let report = error.report();
        assert!(report.contains(&format!("`a.{field}` cannot be hashed")), "{report}");
        assert!(report.contains("versions apart") && report.contains("hint"), "{report}");
        // Of a table that is not chosen nothing is readable.
        let mut without = rules(&[("a", field, Treatment::Hash)]);
        without.streams.insert("a".into(), StreamSelection::default());
        assert!(verify(&without).0.is_ok());
    }
    for (stream, path) in [("*", "id"), ("a", "i*")] {
        let (result, told) = verify(&rules(&[(stream, path, Treatment::Mask)]));
        assert!(result.is_ok());
        assert!(told.contains("is to be masked") && told.contains("stay readable"), "{told}");
        assert!(told.contains("a.id") && told.contains("b.id") == (stream == "*"), "{told}");
    }
    let mut excluded = Selection::all();
    let choice = StreamSelection { selected: true, excluded: ["rev".to_owned()].into() };
    excluded.streams.insert("a".into(), choice);
    let (result, told) = verify(&excluded);
    assert!(result.is_ok() && told.contains("`a.rev` is excluded, but stays"), "{told}");
    let (result, told) = verify(&rules(&[("a", "ident*", Treatment::Mask)]));
    assert!(result.is_ok() && !told.contains("readable"), "{told}");
}
