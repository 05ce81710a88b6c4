//! The destination as the engine sees it.

use std::sync::Arc;

use bobbin_core::Result;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::{Clock, SystemClock};
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::held::{HeldTable, Sample};
use bobbin_core::id::{JobId, SchemaName};
use bobbin_core::plan::TablePlan;
use bobbin_core::rejected::{RejectedList, RejectedQuery};
use bobbin_core::tap::{Check, Context};

use crate::config::Config;
use crate::database::Database;
use crate::error::Doing;
use crate::held;
use crate::loader::DuckDbLoader;
use crate::plan;
use crate::rejected;

/// A DuckDB database file.
pub struct DuckDb {
    config: Config,
    clock: Arc<dyn Clock>,
}

impl DuckDb {
    /// The file and limits of `config`.
    pub fn new(config: Config) -> Self {
        Self { config, clock: Arc::new(SystemClock) }
    }

    /// The same with another clock for `_sdc_received_at` and `_sdc_batched_at`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Destination for DuckDb {
    fn name(&self) -> &'static str {
        "duckdb"
    }

    fn rows_per_commit(&self) -> u64 {
        self.config.rows_per_commit
    }

    fn check(&self, _cx: &Context<'_>, _schema: &SchemaName) -> Result<Check> {
        let existed = self.config.path.exists();
        let database = Database::open(&self.config, "bobbin_check")?;
        let db = database.connect()?;
        let what = "cannot write to the database file";
        db.execute_batch(
            "BEGIN; CREATE SCHEMA bobbin_check; CREATE TABLE bobbin_check.t (a INTEGER);
             INSERT INTO bobbin_check.t VALUES (1); ROLLBACK;",
        )
        .doing(what)?;
        let version = db.version().doing(what)?;
        drop(db);
        drop(database);
        if !existed {
            // Nothing stays of a check: the file was made by it and holds nothing.
            std::fs::remove_file(&self.config.path).map_err(|error| {
                bobbin_core::Error::io("cannot remove the file made by the check", error)
            })?;
        }
        Ok(Check {
            facts: vec![
                ("database".to_owned(), self.config.path.display().to_string()),
                ("duckdb".to_owned(), version),
            ],
            streams: Vec::new(),
        })
    }

    fn plan(
        &self,
        _cx: &Context<'_>,
        schema: &SchemaName,
        streams: &[Stream],
    ) -> Result<Vec<TablePlan>> {
        plan::plan(&self.config, schema, streams)
    }

    fn rejected(
        &self,
        _cx: &Context<'_>,
        schema: &SchemaName,
        query: &RejectedQuery,
    ) -> Result<RejectedList> {
        rejected::list(&self.config, schema, query)
    }

    fn held(&self, _cx: &Context<'_>, schema: &SchemaName) -> Result<Vec<HeldTable>> {
        held::tables(&self.config, schema)
    }

    fn sample(
        &self,
        _cx: &Context<'_>,
        schema: &SchemaName,
        table: &str,
        most: usize,
    ) -> Result<Sample> {
        held::sample(&self.config, schema, table, most)
    }

    fn open(&self, cx: &Context<'_>, schema: &SchemaName, job: &JobId) -> Result<Box<dyn Loader>> {
        let database = Database::open(&self.config, schema.as_str())?;
        let loader = DuckDbLoader::open(
            database,
            self.config.layout,
            schema,
            job,
            self.clock.clone(),
            cx.cancel.clone(),
        )?;
        Ok(Box::new(loader))
    }
}
