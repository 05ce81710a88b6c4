//! Records set aside, listed and loaded again, by the real program.

use bobbin_core::crash;
use postgres::NoTls;

use super::Bench;
use crate::server::Server;
use crate::support::Told;

/// Sends each line of the file `records` as a record of `users`.
const TAP: &str = r#"
schema = {"type": "object", "properties": {"id": {"type": ["null", "integer"]}, "name": {"type": ["null", "string"]}}}
if "--discover" in args:
    say({"streams": [{"tap_stream_id": "users", "stream": "users", "key_properties": ["id"],
        "schema": schema, "metadata": []}]})
    sys.exit(0)
say({"type": "SCHEMA", "stream": "users", "key_properties": ["id"], "schema": schema})
for line in open(here("records")):
    sys.stdout.write('{"type":"RECORD","stream":"users","record":%s}\n' % line.strip())
say({"type": "STATE", "value": {"n": 1}})
"#;

const SOURCE: &str = "type = \"singer\"\nexecutable = \"./tap\"";

fn bench(destination: &str, records: &[String]) -> Bench {
    let bench = Bench::new();
    bench.script("tap", TAP);
    std::fs::write(bench.path("records"), records.join("\n")).unwrap();
    bench.file(SOURCE, destination, "");
    bench
}

impl Bench {
    fn verb(&self, arguments: &[&str]) -> Told {
        Told::of(self.command(arguments).output().unwrap())
    }

    fn by_hand(&self, sql: &str) {
        duckdb::Connection::open(self.path("out.duckdb")).unwrap().execute_batch(sql).unwrap();
    }
}

struct Postgres {
    server: Server,
}

impl Postgres {
    fn new() -> Self {
        Self { server: Server::start() }
    }

    fn destination(&self, more: &str) -> String {
        format!(
            "type = \"postgres\"\nhost = \"{}\"\nuser = \"boss\"\ndatabase = \"postgres\"\n{more}",
            self.server.host()
        )
    }

    fn client(&self) -> postgres::Client {
        let mut config = postgres::Client::configure();
        config.host(self.server.host()).user("boss").dbname("postgres").connect(NoTls).unwrap()
    }

    fn count(&self, what: &str) -> i64 {
        self.client().query_one(&format!("SELECT count(*) FROM {what}"), &[]).unwrap().get(0)
    }
}

/// A key that a person puts into the record by hand; it comes with a column that is new.
#[test]
fn in_duckdb_a_mended_record_becomes_a_row() {
    let records = [r#"{"id":1,"name":"a"}"#, r#"{"name":"b","more":true}"#, r#"{"name":"c"}"#];
    let bench = bench("type = \"duckdb\"\npath = \"out.duckdb\"", &records.map(str::to_owned));
    bench.verb(&["rejected", "list"]).assert(0, &["nothing is set aside"]);
    bench.verb(&["rejected", "retry"]).assert(0, &["nothing is set aside"]);
    assert!(!bench.path("out.duckdb").exists());
    bench.run().assert(0, &["complete"]);
    let list = bench.verb(&["rejected", "list", "--limit", "1"]);
    list.assert(0, &["users", "the key `id` is missing or null", "the newest 1 of 2"]);
    assert!(!list.stdout.contains("\"name\""), "{list:?}");
    bench.verb(&["rejected", "list", "--records"]).assert(0, &[r#""name":"b""#]);
    let json = bench.verb(&["rejected", "list", "--format", "json"]);
    let group: serde_json::Value =
        serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(group["group"]["records"], 2);
    assert_eq!(group["group"]["whole"], 2);

    // Nothing is mended yet, and nothing gets lost.
    bench.verb(&["rejected", "retry"]).assert(3, &["Still set aside", "is missing or null"]);
    assert_eq!(bench.query("select count(*) from c._sdc_rejected"), ["2"]);
    bench.by_hand(
        r#"UPDATE c._sdc_rejected SET record = replace(record, '"name":"b"', '"id":2,"name":"b"');
           INSERT INTO c._sdc_rejected VALUES
               (now(), 'users', 'by the tap', '{"raw":1}'),
               (now(), 'users', 'too long', '{"_sdc_extracted_at":"2026… (99999 bytes in all)')"#,
    );
    let mut command = bench.command(&["rejected", "retry"]);
    let output = command.env("BOBBIN_CRASH_AT", "rows-written").output().unwrap();
    assert_eq!(output.status.code(), None, "{output:?}");
    assert_eq!(bench.query("select count(*) from c._sdc_rejected"), ["4"]);
    assert_eq!(bench.query("select count(*) from c.users"), ["1"]);

    let told = bench.verb(&["rejected", "retry", "--table", "users"]);
    told.assert(3, &["too long to be kept whole", "as the source sent them", "is missing"]);
    assert_eq!(bench.query("select count(*) from c._sdc_rejected"), ["3"]);
    assert_eq!(
        bench.query("select id, name, more from c.users order by id"),
        ["1 | a | null", "2 | b | true"]
    );
    bench.by_hand("DELETE FROM c._sdc_rejected");
    bench.verb(&["rejected", "retry"]).assert(0, &["nothing is set aside"]);
    bench.verb(&["rejected", "retry", "--table", "x"]).assert(0, &["nothing is set aside"]);
}

/// Names that clash under Stitch's naming alone; more records than one round takes.
#[test]
fn in_postgres_records_come_back_at_any_crash() {
    let postgres = Postgres::new();
    let record = |n| format!("{{\"id\":{n},\"name\":\"n{n}\",\"a\":1,\"a!\":2}}");
    let records: Vec<String> = (0..1200).map(record).collect();
    let stitch = postgres.destination("naming = \"stitch\"");
    let bench = bench(&stitch, &[r#"{"id":1,"name":"1"}"#.to_owned()]);
    bench.verb(&["rejected", "list"]).assert(0, &["nothing is set aside"]);
    assert_eq!(postgres.count("pg_namespace WHERE nspname = 'c'"), 0);
    bench.run().assert(0, &["complete"]);
    std::fs::write(bench.path("records"), records.join("\n")).unwrap();
    bench.run().assert(0, &["complete"]);
    assert_eq!((postgres.count("c.users"), postgres.count("c._sdc_rejected")), (1, 1200));
    bench.verb(&["rejected", "retry"]).assert(3, &["1,200", "set aside again"]);
    assert_eq!((postgres.count("c.users"), postgres.count("c._sdc_rejected")), (1, 1200));

    bench.file(SOURCE, &postgres.destination(""), "");
    for (point, rows) in [("rows-written:1", 1), ("rows-written:2", 500), ("after-commit:1", 1000)]
    {
        assert!(crash::POINTS.contains(&point.split(':').next().unwrap()));
        let mut command = bench.command(&["rejected", "retry"]);
        let output = command.env("BOBBIN_CRASH_AT", point).output().unwrap();
        assert_eq!(output.status.code(), None, "{point}: {output:?}");
        // Record 1 was there already, and is in one of the rounds.
        let held = postgres.count("c.users");
        assert!(held == rows || held == rows + 1, "{point}: {held}");
        let waiting = postgres.count(
            "c._sdc_rejected r WHERE NOT EXISTS (
             SELECT FROM c.users u WHERE (r.record::json->>'id')::bigint = u.id)",
        );
        assert_eq!(held + waiting, 1200, "{point}");
    }
    bench.verb(&["rejected", "retry"]).assert(0, &["nothing is set aside any more"]);
    assert_eq!((postgres.count("c.users"), postgres.count("c._sdc_rejected")), (1200, 0));
    assert_eq!(postgres.count("c.users WHERE name = 'n' || id"), 1200);
}

/// Under Stitch's naming records clash, lack a value, or have items without a place.
#[test]
fn in_postgres_what_had_no_name_gets_one() {
    for mode in ["upsert", "append"] {
        let postgres = Postgres::new();
        let destination = |naming: &str| {
            postgres.destination(&format!(
                "naming = \"{naming}\"\narrays = \"tables\"\nload_mode = \"{mode}\""
            ))
        };
        let records = [
            r#"{"id":1,"a":1,"a!":2}"#,
            r#"{"id":2,"x__st":"kept"}"#,
            r#"{"id":3,"items__st":[{"v":1},{"v":2}]}"#,
            r#"{"id":4,"a":4}"#,
        ];
        let bench = bench(&destination("stitch"), &records.map(str::to_owned));
        bench.run().assert(0, &["complete"]);
        assert_eq!(postgres.count("c._sdc_rejected"), 3, "{mode}");
        assert_eq!(postgres.count("c.users"), 3, "{mode}");

        bench.file(SOURCE, &destination("bobbin"), "");
        let mut command = bench.command(&["rejected", "retry"]);
        let output = command.env("BOBBIN_CRASH_AT", "rows-written").output().unwrap();
        assert_eq!(output.status.code(), None, "{output:?}");
        assert_eq!((postgres.count("c._sdc_rejected"), postgres.count("c.users")), (3, 3));
        bench.verb(&["rejected", "retry"]).assert(0, &["nothing is set aside any more"]);
        assert_eq!(postgres.count("c._sdc_rejected"), 0, "{mode}");
        assert_eq!(postgres.count("c.users"), 4, "{mode}");
        assert_eq!(postgres.count(r#"c.users WHERE id = 1 AND a = 1 AND "a!" = 2"#), 1);
        assert_eq!(postgres.count("c.users WHERE id = 2 AND x__st = 'kept'"), 1);
        assert_eq!(postgres.count("c.users__items__st WHERE _sdc_source_key_id = 3"), 2);
    }
}

#[test]
fn a_running_job_and_a_foreign_target_are_respected() {
    let bench = bench("type = \"duckdb\"\npath = \"out.duckdb\"", &[r#"{"name":"b"}"#.to_owned()]);
    bench.run().assert(0, &["complete"]);
    let lock =
        std::fs::File::options().write(true).open(bench.path(".bobbin/spool/c/lock")).unwrap();
    lock.try_lock().unwrap();
    bench.verb(&["rejected", "retry"]).assert(8, &["another job of this connection is running"]);
    drop(lock);
    bench.verb(&["rejected", "retry", "--table", "user"]).assert(0, &["nothing is set aside"]);
    bench.file(SOURCE, "type = \"singer\"\nexecutable = \"true\"", "");
    bench.verb(&["rejected", "list"]).assert(2, &["rejected_records"]);
    bench.verb(&["plan"]).assert(2, &["foreign target"]);
}
