//! Records that were set aside: listing them, and taking them back.

use bobbin_core::Result;
use bobbin_core::id::SchemaName;
use bobbin_core::rejected::{
    CUT_ENDS, Fault, RejectedGroup, RejectedList, RejectedQuery, RejectedRecord, Taken,
    WHOLE_BEGINS, WHOLE_ENDS,
};
use duckdb::{Connection, params};
use jiff::Timestamp;

use crate::config::Config;
use crate::error::Doing;
use crate::family::Family;
use crate::ledger::Ledger;
use crate::plan::{current_catalog, is_loaded};
use crate::query;
use crate::sql;

/// Whether a record was kept whole; the first two parameters are how it begins and ends.
const WHOLE: &str = "(starts_with(record, ?1) AND ends_with(record, ?2))";

/// Lists what was set aside. A file that is not there is not made.
pub(crate) fn list(
    config: &Config,
    connection: &SchemaName,
    query: &RejectedQuery,
) -> Result<RejectedList> {
    let what = "cannot read the records set aside";
    if !config.path.exists() {
        return Ok(RejectedList::default());
    }
    let open = query::open(&config.path)?;
    let db = &open.connection;
    db.execute_batch("BEGIN TRANSACTION READ ONLY").doing("cannot begin a transaction")?;
    let catalog = current_catalog(db)?;
    if !is_loaded(db, &Ledger::new(&catalog, connection), connection)? {
        return Ok(RejectedList::default());
    }
    let place = place(&catalog, connection.as_str());
    let mut statement = db
        .prepare(&format!(
            "SELECT table_name, reason, count(*), epoch_us(max(_sdc_rejected_at)),
                    count(*) FILTER (WHERE {WHOLE}),
                    count(*) FILTER (WHERE ends_with(record, ?3) AND NOT {WHOLE})
             FROM {place} WHERE table_name = coalesce(?4, table_name)
             GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2"
        ))
        .doing(what)?;
    let groups = statement
        .query_map(params![WHOLE_BEGINS, WHOLE_ENDS, CUT_ENDS, query.table], |row| {
            let reason: String = row.get(1)?;
            Ok(RejectedGroup {
                table: row.get(0)?,
                fault: Fault::of(&reason),
                reason,
                records: row.get::<_, i64>(2)? as u64,
                latest: instant(row.get(3)?),
                whole: row.get::<_, i64>(4)? as u64,
                cut: row.get::<_, i64>(5)? as u64,
            })
        })
        .doing(what)?
        .collect::<duckdb::Result<_>>()
        .doing(what)?;
    let mut statement = db
        .prepare(&format!(
            "SELECT epoch_us(_sdc_rejected_at), table_name, reason, strlen(record),
                    CASE WHEN ?1 THEN record END
             FROM {place} WHERE table_name = coalesce(?2, table_name)
             ORDER BY _sdc_rejected_at DESC, table_name, reason LIMIT ?3"
        ))
        .doing(what)?;
    let most = i64::try_from(query.most).unwrap_or(i64::MAX);
    let records = statement
        .query_map(params![query.text, query.table, most], |row| {
            Ok(RejectedRecord {
                at: instant(row.get(0)?),
                table: row.get(1)?,
                reason: row.get(2)?,
                bytes: row.get::<_, i64>(3)? as u64,
                record: row.get(4)?,
            })
        })
        .doing(what)?
        .collect::<duckdb::Result<_>>()
        .doing(what)?;
    Ok(RejectedList { groups, records })
}

/// Deletes the oldest records of `tables` that were kept whole, and gives their text.
pub(crate) fn take(
    db: &Connection,
    catalog: &str,
    schema: &str,
    tables: &[&str],
    before: Timestamp,
    most: u64,
) -> Result<Taken> {
    let what = "cannot take back records that were set aside";
    let place = place(catalog, schema);
    let tables: Vec<String> = tables.iter().map(|table| sql::text(table)).collect();
    let these = format!(
        "{WHOLE} AND table_name IN ({}) AND _sdc_rejected_at < make_timestamptz(?3)",
        tables.join(", ")
    );
    let before = before.as_microsecond();
    let mut taken = Taken::default();
    let mut statement = db
        .prepare(&format!(
            "SELECT rowid, record FROM {place} WHERE {these} ORDER BY _sdc_rejected_at, rowid
             LIMIT ?4"
        ))
        .doing(what)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![WHOLE_BEGINS, WHOLE_ENDS, before, most]).doing(what)?;
    let mut ids: Vec<String> = Vec::new();
    while let Some(row) = rows.next().doing(what)? {
        ids.push(row.get::<_, i64>(0).doing(what)?.to_string());
        taken.push(&row.get::<_, String>(1).doing(what)?);
    }
    if !ids.is_empty() {
        db.execute(&format!("DELETE FROM {place} WHERE rowid IN ({})", ids.join(", ")), [])
            .doing(what)?;
    }
    let left: i64 = db
        .query_row(
            &format!("SELECT count(*) FROM {place} WHERE {these}"),
            params![WHOLE_BEGINS, WHOLE_ENDS, before],
            |row| row.get(0),
        )
        .doing(what)?;
    taken.left = left as u64;
    Ok(taken)
}

/// Where every version is a row, the rows that records have beside what was set aside of them make
/// room, at the round's end: they come again, whole this time. Elsewhere the same version takes its
/// own place.
pub(crate) fn forget_rows(db: &Connection, family: &mut Family, taken: &Taken) -> Result<()> {
    let what = "cannot find the rows of records that were set aside";
    let sequences = taken.sequences();
    let Some(own) = family.tables.first_mut().filter(|own| own.exists && !own.keyed) else {
        return Ok(());
    };
    if sequences.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = sequences.iter().map(i64::to_string).collect();
    let mut statement = db
        .prepare(&format!(
            "SELECT rowid FROM {} WHERE _sdc_sequence IN ({})",
            own.place.sql(),
            list.join(", ")
        ))
        .doing(what)?;
    let rows = statement.query_map([], |row| row.get(0)).doing(what)?;
    for row in rows {
        own.open.doomed.insert(row.doing(what)?);
    }
    Ok(())
}

fn place(catalog: &str, schema: &str) -> String {
    format!("{}.{}._sdc_rejected", sql::name(catalog), sql::name(schema))
}

fn instant(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
