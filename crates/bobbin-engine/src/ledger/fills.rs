//! How filled the fields of a stream are, as its loads tell.

use std::collections::BTreeMap;

use bobbin_core::Result;
use bobbin_core::id::{ConnectionId, StreamName};
use bobbin_core::receipt::Fill;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::loads::packed;
use super::slots::{instant, text};
use super::{Load, SqliteLedger};

/// How filled fields are.
pub trait Fills {
    /// In how many of the records that were loaded of each stream a field had a value, and since when that is
    /// counted: since the first load after it began to be, of the newest version of the table where it has versions.
    /// A record counts with each load that wrote rows, those that were loaded again after they were set aside
    /// excepted. Streams whose destination does not tell are left out.
    fn fills(&self, connection: &ConnectionId) -> Result<BTreeMap<StreamName, (Timestamp, Fill)>>;
}

impl Fills for SqliteLedger {
    fn fills(&self, connection: &ConnectionId) -> Result<BTreeMap<StreamName, (Timestamp, Fill)>> {
        let failed = |error| self.error("cannot read how filled fields are", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT stream, since, records, fields FROM fills WHERE connection = ?1")
            .map_err(failed)?;
        let mut rows = statement.query(params![connection.as_str()]).map_err(failed)?;
        let mut fills = BTreeMap::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let (stream, since): (String, String) =
                (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            let fill = fill(row.get(2).map_err(failed)?, &row.get::<_, String>(3).map_err(failed)?);
            fills.insert(stream.into(), (instant(&since)?, fill));
        }
        Ok(fills)
    }
}

/// Counts what a load tells.
pub(super) fn add(transaction: &Connection, of: &str, load: &Load) -> rusqlite::Result<()> {
    // What was only read again, because runs overlap, says nothing new.
    if load.fill.records == 0 || load.rows == 0 {
        return Ok(());
    }
    let stream = load.stream.as_str();
    let known = transaction
        .query_row(
            "SELECT version, since, records, fields FROM fills WHERE connection = ?1 AND stream = ?2",
            params![of, stream],
            |row| {
                let fill = fill(row.get(2)?, &row.get::<_, String>(3)?);
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, String>(1)?, fill))
            },
        )
        .optional()?;
    // Once another version of the table is there nothing is left of the one before; rows without one go into
    // the version that is there.
    let known = known.filter(|(version, ..)| load.version.is_none() || load.version == *version);
    let (version, since, mut sum) =
        known.unwrap_or_else(|| (load.version, text(load.started), Fill::default()));
    sum.add(&load.fill);
    transaction.execute(
        "INSERT OR REPLACE INTO fills (connection, stream, version, since, records, fields)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![of, stream, version, since, sum.records, packed(&sum.fields).unwrap_or_default()],
    )?;
    Ok(())
}

/// A sum as it is stored. One that cannot be read is told as nothing: it says nothing about rows.
fn fill(records: u64, fields: &str) -> Fill {
    match serde_json::from_str(fields) {
        Ok(fields) => Fill { records, fields },
        Err(_) => Fill::default(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    fn load(at: Timestamp) -> Load {
        Load {
            job: "j".into(),
            stream: "s".into(),
            table: "s".to_owned(),
            version: None,
            replaced: false,
            started: at,
            ended: at,
            rows: 1,
            unchanged: 0,
            rejected: 0,
            removed: 0,
            bytes: 0,
            replication_key: None,
            bookmark: None,
            extracted_at: None,
            subtables: BTreeMap::new(),
            changes: Vec::new(),
            fill: Fill::default(),
            error: None,
        }
    }

    #[test]
    fn records_are_counted_over_loads_and_anew_with_a_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        let ledger: &dyn Ledger = &SqliteLedger::open(&path).unwrap();
        let (connection, now) = ("c".into(), Timestamp::UNIX_EPOCH);
        let lease = ledger.lease(&connection, "here", now, now).unwrap();
        let loaded = |version, second, records, filled: u64| {
            let at = Timestamp::from_second(second).unwrap();
            let fill = Fill { records, fields: [("a.b".to_owned(), filled)].into() };
            ledger.loaded(&lease, &Load { version, fill, ..load(at) }, None).unwrap();
            let told = ledger.fills(&connection).unwrap().remove(&"s".into());
            told.map(|(since, fill)| (since.as_second(), fill.records, fill.fields["a.b"]))
        };
        assert_eq!(loaded(None, 1, 4, 1), Some((1, 4, 1)));
        assert_eq!(loaded(None, 2, 3, 3), Some((1, 7, 4)));
        assert_eq!(loaded(None, 3, 0, 0), Some((1, 7, 4)), "nothing came");
        assert_eq!(loaded(Some(7), 4, 2, 1), Some((4, 2, 1)));
        assert_eq!(loaded(Some(7), 5, 2, 1), Some((4, 4, 2)));
        assert_eq!(loaded(Some(8), 6, 1, 1), Some((6, 1, 1)));
        assert_eq!(loaded(None, 7, 3, 1), Some((6, 4, 2)), "into the version that is there");
        assert_eq!(loaded(Some(8), 8, 1, 0), Some((6, 5, 2)));
        assert!(ledger.fills(&"other".into()).unwrap().is_empty());
    }
}
