//! Post-load hooks: a program is told of each load, in Stitch's form (`stitch-behaviour.md` 9.3).

use bobbin_core::Result;
use bobbin_core::id::ConnectionId;
use bobbin_engine::ledger::Load;
use serde_json::{Value, json};

use crate::http::Target;

/// A program that is told of loads.
#[derive(Debug)]
pub struct Hook {
    /// Its name in the file; how far it was told is kept by it.
    pub name: String,
    /// Where it is told.
    pub target: Target,
    /// Whose loads it is told of, with the schemas of their tables.
    pub connections: Vec<(ConnectionId, String)>,
}

impl Hook {
    pub(crate) fn takes(&self, connection: &ConnectionId) -> bool {
        self.connections.iter().any(|(id, _)| id == connection)
    }

    pub(crate) fn send(&self, connection: &ConnectionId, load: &Load) -> Result<()> {
        let schema = self.connections.iter().find(|(id, _)| id == connection);
        let schema = schema.map_or(connection.as_str(), |(_, schema)| schema);
        self.target.post(&body(schema, load))
    }
}

fn body(schema: &str, load: &Load) -> Value {
    let bookmarks = match (&load.replication_key, &load.bookmark) {
        (Some(key), Some(span)) => {
            json!([{ "key": key, "min_value": span.min, "max_value": span.max }])
        }
        _ => Value::Null,
    };
    let table = |source: &str, destination: &str, rows: u64, rejected: u64| {
        json!({
            "source_table_name": source,
            "destination_table_name": destination,
            "num_rows": rows,
            "num_rows_rejected": rejected,
            "primary_keys": null,
            "s3_objects": null,
            "bookmark_metadata": bookmarks,
            "max_time_extracted": load.extracted_at,
        })
    };
    let mut tables = vec![table(load.stream.as_str(), &load.table, load.rows, load.rejected)];
    for (name, rows) in &load.subtables {
        // The array's own key is what stands behind its parents' names.
        let source = name.rsplit("__").next().unwrap_or(name);
        tables.push(table(source, name, *rows, 0));
    }
    json!({
        "version": "1.0",
        "integration_name": schema,
        "minimum_sdc_batched_at": load.started,
        "new_version": load.replaced,
        "source_root_table_name": load.stream,
        "destination_root_table_name": load.table,
        "table_version": load.version.unwrap_or(0),
        "tables": tables,
    })
}
