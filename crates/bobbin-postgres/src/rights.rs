//! What a person has to do so that bobbin may write, and whom it waits for.
//!
//! PostgreSQL says only which object it refused. These questions, asked over a connection of their
//! own, give the statements that help, with the real names in them.

use bobbin_core::{Error, ErrorKind};
use postgres::Client;
use postgres::error::SqlState;

use crate::client::connect;
use crate::config::Config;
use crate::error;
use crate::sql;

/// The statements that give the connected user what it lacks to write `schema`'s tables; none when
/// it lacks nothing.
pub(crate) fn missing(
    db: &mut Client,
    config: &Config,
    schema: &str,
) -> Result<Vec<String>, postgres::Error> {
    let row = db.query_one(
        "SELECT current_user::text,
                has_database_privilege(current_database(), 'CREATE'),
                has_database_privilege(current_database(), 'TEMPORARY'),
                n.oid IS NOT NULL,
                coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
                coalesce(has_schema_privilege(n.oid, 'CREATE'), false)
         FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = $1",
        &[&schema],
    )?;
    let user = sql::name(row.get(0));
    let (create, temporary, there): (bool, bool, bool) = (row.get(1), row.get(2), row.get(3));
    let (usage, tables): (bool, bool) = (row.get(4), row.get(5));
    let mut statements = Vec::new();
    let on_database = lacking(&[("CREATE", create || there), ("TEMPORARY", temporary)]);
    if !on_database.is_empty() {
        let database = sql::name(&config.database);
        statements.push(format!("GRANT {on_database} ON DATABASE {database} TO {user}"));
    }
    if !there {
        return Ok(statements);
    }
    let on_schema = lacking(&[("USAGE", usage), ("CREATE", tables)]);
    if !on_schema.is_empty() {
        let schema = sql::name(schema);
        statements.push(format!("GRANT {on_schema} ON SCHEMA {schema} TO {user}"));
    }
    // bobbin's tables; what else stands in the schema is not its business. Only an owner may add a
    // column.
    let rows = db.query(
        "SELECT c.relname::text, pg_has_role(c.relowner, 'USAGE'),
                has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
                has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
               AND (c.relname LIKE '\\_bobbin\\_%' OR c.relname = '_sdc_rejected' OR EXISTS (
                   SELECT FROM pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attname = '_sdc_sequence'))
         ORDER BY 1",
        &[&schema],
    )?;
    for row in rows {
        let table = format!("{}.{}", sql::name(schema), sql::name(row.get(0)));
        if !row.get::<_, bool>(1) {
            statements.push(format!("ALTER TABLE {table} OWNER TO {user}"));
            continue;
        }
        let rights = lacking(&[
            ("SELECT", row.get(2)),
            ("INSERT", row.get(3)),
            ("UPDATE", row.get(4)),
            ("DELETE", row.get(5)),
        ]);
        if !rights.is_empty() {
            statements.push(format!("GRANT {rights} ON TABLE {table} TO {user}"));
        }
    }
    Ok(statements)
}

/// The rights of a list that are not there.
fn lacking(rights: &[(&'static str, bool)]) -> String {
    let missing: Vec<_> = rights.iter().filter(|(_, has)| !has).map(|(right, _)| *right).collect();
    missing.join(", ")
}

/// The hint that gives these statements.
pub(crate) fn hint(statements: &[String]) -> String {
    format!("as a superuser or the owner: {}", statements.join("; "))
}

/// Adds to an error what only the server can tell: the missing grants, or who holds the lock. Where
/// it cannot be asked, the error stays as it is.
pub(crate) fn explain(config: &Config, schema: &str, error: Error) -> Error {
    if error.kind() == ErrorKind::Permission {
        let asked = connect(config).ok().and_then(|mut db| missing(&mut db, config, schema).ok());
        let error = error.with("schema", schema).with("user", &config.user);
        return match asked {
            Some(statements) if !statements.is_empty() => error.hint(hint(&statements)),
            _ => error.hint(
                "the server names the object above; \\dp in psql shows its grants, \\d its owner",
            ),
        };
    }
    if error::code(&error) != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return error;
    }
    match connect(config).ok().and_then(|mut db| holders(&mut db, schema).ok()) {
        Some(holders) if !holders.is_empty() => error.hint(format!(
            "{}; end that session (SELECT pg_terminate_backend(pid)), or raise \
             lock_timeout_seconds",
            holders.join("; ")
        )),
        _ => error,
    }
}

/// Who holds locks on the schema's tables, in words. bobbin's own failed transaction holds none.
fn holders(db: &mut Client, schema: &str) -> Result<Vec<String>, postgres::Error> {
    let rows = db.query(
        "SELECT DISTINCT ON (l.pid, c.relname)
                format('session %s (user %s%s, %s since %s) holds a lock on %I.%I', l.pid,
                       a.usename, nullif(', program ' || a.application_name, ', program '), a.state,
                       to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'),
                       n.nspname, c.relname)
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
              JOIN pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND l.granted
               AND l.locktype = 'relation' AND l.pid <> pg_backend_pid()
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         ORDER BY l.pid, c.relname LIMIT 5",
        &[&schema],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
