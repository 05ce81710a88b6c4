//! The destination as the engine sees it.

use std::sync::Arc;

use bobbin_core::catalog::Stream;
use bobbin_core::clock::{Clock, SystemClock};
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::held::{HeldTable, Sample};
use bobbin_core::id::{JobId, SchemaName};
use bobbin_core::plan::TablePlan;
use bobbin_core::rejected::{RejectedList, RejectedQuery};
use bobbin_core::tap::{Check, Context};
use bobbin_core::{Error, ErrorKind, Result};

use crate::client::connect;
use crate::config::{Config, Tls};
use crate::error::{self, Doing};
use crate::held;
use crate::loader::PostgresLoader;
use crate::plan;
use crate::rejected;
use crate::rights;

/// A PostgreSQL database.
pub struct Postgres {
    config: Config,
    clock: Arc<dyn Clock>,
}

impl Postgres {
    /// The database of `config`. Nothing is connected yet.
    pub fn new(config: Config) -> Self {
        Self { config, clock: Arc::new(SystemClock) }
    }

    /// The same with another clock for `_sdc_received_at` and `_sdc_batched_at`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl Destination for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn rows_per_commit(&self) -> u64 {
        self.config.rows_per_commit
    }

    fn check(&self, _cx: &Context<'_>, schema: &SchemaName) -> Result<Check> {
        let mut db = connect(&self.config)?;
        let what = "cannot ask PostgreSQL about itself";
        let row = db
            .query_one(
                "SELECT current_setting('server_version'), current_user::text,
                        current_setting('default_transaction_read_only')::boolean
                            OR pg_is_in_recovery()",
                &[],
            )
            .doing(what)?;
        let (version, user): (String, String) = (row.get(0), row.get(1));
        if row.get(2) {
            return Err(Error::new(ErrorKind::Permission, "the server is read-only")
                .with("host", &self.config.host)
                .with("database", &self.config.database)
                .hint(error::READ_ONLY));
        }
        let missing = rights::missing(&mut db, &self.config, schema.as_str()).doing(what)?;
        if !missing.is_empty() {
            return Err(Error::new(ErrorKind::Permission, "the user may not write there")
                .with("user", &user)
                .with("database", &self.config.database)
                .with("schema", schema)
                .hint(rights::hint(&missing)));
        }
        let mut facts = vec![
            ("server".to_owned(), format!("PostgreSQL {version}")),
            ("database".to_owned(), format!("{} as {user}", self.config.database)),
            (
                "encrypted".to_owned(),
                match self.config.tls {
                    Tls::Off => "no".to_owned(),
                    Tls::Require => "yes, and the certificate is verified".to_owned(),
                },
            ),
        ];
        if let Some(ssh) = &self.config.ssh {
            facts.push(("tunnel".to_owned(), format!("by way of {}", ssh.host)));
        }
        facts.push(("schema".to_owned(), format!("{schema}, may be written")));
        Ok(Check { facts, streams: Vec::new() })
    }

    fn plan(
        &self,
        _cx: &Context<'_>,
        schema: &SchemaName,
        streams: &[Stream],
    ) -> Result<Vec<TablePlan>> {
        plan::plan(&self.config, schema, streams)
            .map_err(|error| rights::explain(&self.config, schema.as_str(), error))
    }

    fn rejected(
        &self,
        _cx: &Context<'_>,
        schema: &SchemaName,
        query: &RejectedQuery,
    ) -> Result<RejectedList> {
        rejected::list(&self.config, schema, query)
            .map_err(|error| rights::explain(&self.config, schema.as_str(), error))
    }

    fn held(&self, _cx: &Context<'_>, schema: &SchemaName) -> Result<Vec<HeldTable>> {
        held::tables(&self.config, schema)
            .map_err(|error| rights::explain(&self.config, schema.as_str(), error))
    }

    fn sample(
        &self,
        _cx: &Context<'_>,
        schema: &SchemaName,
        table: &str,
        most: usize,
    ) -> Result<Sample> {
        held::sample(&self.config, schema, table, most)
            .map_err(|error| rights::explain(&self.config, schema.as_str(), error))
    }

    fn open(&self, cx: &Context<'_>, schema: &SchemaName, job: &JobId) -> Result<Box<dyn Loader>> {
        let loader = PostgresLoader::open(
            self.config.clone(),
            schema,
            job,
            self.clock.clone(),
            cx.cancel.clone(),
        );
        match loader {
            Ok(loader) => Ok(Box::new(loader)),
            Err(error) => Err(rights::explain(&self.config, schema.as_str(), error)),
        }
    }
}
