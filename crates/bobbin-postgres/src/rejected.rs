//! Records that were set aside: listing them, and taking them back.

use bobbin_core::Result;
use bobbin_core::id::SchemaName;
use bobbin_core::rejected::{
    CUT_ENDS, Fault, RejectedGroup, RejectedList, RejectedQuery, RejectedRecord, Taken,
    WHOLE_BEGINS, WHOLE_ENDS,
};
use jiff::Timestamp;
use postgres::Client;

use crate::client::connect;
use crate::config::Config;
use crate::error::Doing;
use crate::family::Family;
use crate::ledger::Ledger;
use crate::sql;

/// Microseconds since 1970 of the column.
const AT: &str = "(extract(epoch FROM _sdc_rejected_at) * 1000000)::bigint";

/// Whether a record was kept whole; `$1` and `$2` are how it begins and ends.
const WHOLE: &str = "(starts_with(record, $1) AND right(record, length($2)) = $2)";

/// Lists what was set aside.
pub(crate) fn list(
    config: &Config,
    connection: &SchemaName,
    query: &RejectedQuery,
) -> Result<RejectedList> {
    let what = "cannot read the records set aside";
    let mut db = connect(config)?;
    db.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .doing("cannot begin a transaction")?;
    if !Ledger::new(connection).is_there(&mut db)? {
        return Ok(RejectedList::default());
    }
    let place = format!("{}._sdc_rejected", sql::name(connection.as_str()));
    let groups = db
        .query(
            &format!(
                "SELECT table_name, reason, count(*), max({AT}), count(*) FILTER (WHERE {WHOLE}),
                        count(*) FILTER (WHERE right(record, length($3)) = $3 AND NOT {WHOLE})
                 FROM {place} WHERE table_name = coalesce($4, table_name)
                 GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2"
            ),
            &[&WHOLE_BEGINS, &WHOLE_ENDS, &CUT_ENDS, &query.table],
        )
        .doing(what)?;
    let groups = groups.iter().map(|row| RejectedGroup {
        table: row.get(0),
        fault: Fault::of(row.get(1)),
        reason: row.get(1),
        records: row.get::<_, i64>(2) as u64,
        latest: instant(row.get(3)),
        whole: row.get::<_, i64>(4) as u64,
        cut: row.get::<_, i64>(5) as u64,
    });
    let records = db
        .query(
            &format!(
                "SELECT {AT}, table_name, reason, octet_length(record)::bigint,
                        CASE WHEN $1 THEN record END
                 FROM {place} WHERE table_name = coalesce($2, table_name)
                 ORDER BY _sdc_rejected_at DESC, table_name, reason LIMIT $3"
            ),
            &[&query.text, &query.table, &i64::try_from(query.most).unwrap_or(i64::MAX)],
        )
        .doing(what)?;
    let records = records.iter().map(|row| RejectedRecord {
        at: instant(row.get(0)),
        table: row.get(1),
        reason: row.get(2),
        bytes: row.get::<_, i64>(3) as u64,
        record: row.get(4),
    });
    Ok(RejectedList { groups: groups.collect(), records: records.collect() })
}

/// Deletes the oldest records of a family that were kept whole, and gives their text.
pub(crate) fn take(
    db: &mut Client,
    schema: &str,
    family: &Family,
    before: Timestamp,
    most: u64,
) -> Result<Taken> {
    let what = "cannot take back records that were set aside";
    let place = format!("{}._sdc_rejected", sql::name(schema));
    let tables: Vec<&str> = family.tables.iter().map(|table| table.name.as_str()).collect();
    let these = format!(
        "{WHOLE} AND table_name = ANY ($3::text[])
         AND _sdc_rejected_at < to_timestamp(0) + $4::bigint * interval '1 microsecond'"
    );
    let before = before.as_microsecond();
    let rows = db
        .query(
            &format!(
                "DELETE FROM {place} WHERE ctid = ANY (ARRAY(
                     SELECT ctid FROM {place} WHERE {these} ORDER BY _sdc_rejected_at LIMIT $5))
                 RETURNING record"
            ),
            &[
                &WHOLE_BEGINS,
                &WHOLE_ENDS,
                &tables,
                &before,
                &i64::try_from(most).unwrap_or(i64::MAX),
            ],
        )
        .doing(what)?;
    let mut taken = Taken::default();
    for row in &rows {
        taken.push(row.get(0));
    }
    let left: i64 = db
        .query_one(
            &format!("SELECT count(*) FROM {place} WHERE {these}"),
            &[&WHOLE_BEGINS, &WHOLE_ENDS, &tables, &before],
        )
        .doing(what)?
        .get(0);
    taken.left = left as u64;
    forget_rows(db, family, &taken)?;
    Ok(taken)
}

/// Where every version is a row, the rows that records have beside what was set aside of them make
/// room: they come again, whole this time. Elsewhere the same version takes its own place.
fn forget_rows(db: &mut Client, family: &Family, taken: &Taken) -> Result<()> {
    if family.tables.first().is_none_or(|own| own.keyed) || taken.records == 0 {
        return Ok(());
    }
    let sequences = taken.sequences();
    for table in family.tables.iter().filter(|table| table.exists) {
        db.execute(
            &format!("DELETE FROM {} WHERE _sdc_sequence = ANY ($1)", table.sql()),
            &[&sequences],
        )
        .doing("cannot replace rows of records that were set aside")
        .map_err(|error| error.with("table", &table.name))?;
    }
    Ok(())
}

fn instant(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
