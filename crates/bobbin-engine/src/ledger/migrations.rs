//! What the tables of a ledger are, one step after the other.

/// Migrations in order; the ledger's version is how many were applied.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE jobs (
        connection TEXT NOT NULL,
        id TEXT NOT NULL,
        started TEXT NOT NULL,
        ended TEXT,
        outcome TEXT,
        report TEXT,
        PRIMARY KEY (connection, id)
    ) STRICT;
    CREATE TABLE states (
        connection TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        state TEXT NOT NULL,
        saved TEXT NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE jobs ADD COLUMN trigger TEXT NOT NULL DEFAULT 'manual';
    CREATE TABLE schedules (
        connection TEXT PRIMARY KEY,
        base TEXT NOT NULL,
        decided TEXT NOT NULL
    ) STRICT;
    CREATE TABLE slots (
        connection TEXT NOT NULL,
        slot TEXT NOT NULL,
        last TEXT NOT NULL,
        count INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT,
        job TEXT,
        decided TEXT NOT NULL,
        PRIMARY KEY (connection, slot)
    ) STRICT;
",
    "
    ALTER TABLE schedules ADD COLUMN paused TEXT;
",
    "
    CREATE TABLE loads (
        id INTEGER PRIMARY KEY,
        connection TEXT NOT NULL,
        job TEXT NOT NULL,
        stream TEXT NOT NULL,
        started TEXT NOT NULL,
        ended TEXT NOT NULL,
        rows INTEGER NOT NULL,
        unchanged INTEGER NOT NULL,
        rejected INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        replication_key TEXT,
        bookmark TEXT,
        extracted TEXT,
        subtables TEXT,
        changes TEXT,
        error TEXT
    ) STRICT;
    CREATE INDEX loads_of_table ON loads (connection, stream, id);
    CREATE INDEX loads_of_connection ON loads (connection, ended);
    CREATE INDEX loads_by_age ON loads (ended);
    CREATE TABLE loaded_tables (
        connection TEXT NOT NULL,
        stream TEXT NOT NULL,
        replication_key TEXT,
        bookmark TEXT,
        extracted TEXT,
        loaded TEXT,
        error TEXT,
        PRIMARY KEY (connection, stream)
    ) STRICT;
    CREATE TABLE loaded_rows (
        connection TEXT NOT NULL,
        day TEXT NOT NULL,
        stream TEXT NOT NULL,
        subtable TEXT NOT NULL,
        rows INTEGER NOT NULL,
        PRIMARY KEY (connection, day, stream, subtable)
    ) STRICT;
",
    "
    ALTER TABLE loads ADD COLUMN table_name TEXT;
    ALTER TABLE loads ADD COLUMN version INTEGER;
    ALTER TABLE loads ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE notices (
        id INTEGER PRIMARY KEY,
        connection TEXT NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL,
        detail TEXT,
        raised TEXT NOT NULL,
        seen TEXT NOT NULL,
        times INTEGER NOT NULL,
        dismissed TEXT,
        recovered TEXT
    ) STRICT;
    CREATE UNIQUE INDEX notices_that_are_so ON notices (connection, kind) WHERE recovered IS NULL;
    CREATE TABLE tellings (
        channel TEXT NOT NULL,
        notice INTEGER NOT NULL,
        what TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        tried TEXT NOT NULL,
        next TEXT NOT NULL,
        done INTEGER NOT NULL,
        error TEXT,
        PRIMARY KEY (channel, notice, what)
    ) STRICT;
    CREATE TABLE hooks (
        hook TEXT PRIMARY KEY,
        sent INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE INDEX loads_in_order ON loads (connection, id);
    CREATE TABLE numbers (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        made TEXT NOT NULL,
        UNIQUE (kind, name)
    ) STRICT;
    CREATE TABLE keys (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        description TEXT NOT NULL,
        role TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,
        ending TEXT NOT NULL,
        made TEXT NOT NULL,
        disabled TEXT
    ) STRICT;
    CREATE TABLE catalogs (
        connection TEXT PRIMARY KEY,
        streams TEXT NOT NULL,
        unreadable TEXT NOT NULL,
        seen TEXT NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE things (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        sealed BLOB NOT NULL,
        made TEXT NOT NULL,
        changed TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT;
    CREATE TABLE removed_connections (
        name TEXT PRIMARY KEY,
        label TEXT NOT NULL,
        made TEXT NOT NULL,
        removed TEXT NOT NULL
    ) STRICT;
    CREATE TABLE checks (
        side TEXT NOT NULL,
        name TEXT NOT NULL,
        number INTEGER NOT NULL,
        started TEXT NOT NULL,
        ended TEXT,
        error TEXT,
        PRIMARY KEY (side, name)
    ) STRICT;
",
    // Numbers of loads and notices are never given twice; a hook's notices and retries are its own.
    "
    CREATE TABLE loads_anew (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        connection TEXT NOT NULL,
        job TEXT NOT NULL,
        stream TEXT NOT NULL,
        started TEXT NOT NULL,
        ended TEXT NOT NULL,
        rows INTEGER NOT NULL,
        unchanged INTEGER NOT NULL,
        rejected INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        replication_key TEXT,
        bookmark TEXT,
        extracted TEXT,
        subtables TEXT,
        changes TEXT,
        error TEXT,
        table_name TEXT,
        version INTEGER,
        replaced INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    INSERT INTO loads_anew
        SELECT id, connection, job, stream, started, ended, rows, unchanged, rejected, removed, bytes,
               replication_key, bookmark, extracted, subtables, changes, error, table_name, version,
               replaced
        FROM loads ORDER BY id;
    DROP TABLE loads;
    ALTER TABLE loads_anew RENAME TO loads;
    CREATE INDEX loads_of_table ON loads (connection, stream, id);
    CREATE INDEX loads_of_connection ON loads (connection, ended);
    CREATE INDEX loads_by_age ON loads (ended);
    CREATE INDEX loads_in_order ON loads (connection, id);
    CREATE TABLE notices_anew (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        connection TEXT NOT NULL,
        kind TEXT NOT NULL,
        about TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL,
        detail TEXT,
        raised TEXT NOT NULL,
        seen TEXT NOT NULL,
        times INTEGER NOT NULL,
        dismissed TEXT,
        recovered TEXT
    ) STRICT;
    INSERT INTO notices_anew
        SELECT id, connection, kind,
               CASE WHEN kind = 'hook' AND message LIKE '%`%`%'
                    THEN substr(substr(message, instr(message, '`') + 1), 1,
                                instr(substr(message, instr(message, '`') + 1), '`') - 1)
                    ELSE '' END,
               message, detail, raised, seen, times, dismissed, recovered
        FROM notices ORDER BY id;
    DROP TABLE notices;
    ALTER TABLE notices_anew RENAME TO notices;
    CREATE UNIQUE INDEX notices_that_are_so ON notices (connection, kind, about)
        WHERE recovered IS NULL;
    DELETE FROM sqlite_sequence WHERE name IN ('loads', 'notices');
    INSERT INTO sqlite_sequence (name, seq)
        SELECT 'loads', max(coalesce((SELECT max(id) FROM loads), 0),
                            coalesce((SELECT max(sent) FROM hooks), 0));
    INSERT INTO sqlite_sequence (name, seq)
        SELECT 'notices', max(coalesce((SELECT max(id) FROM notices), 0),
                              coalesce((SELECT max(notice) FROM tellings), 0));
    ALTER TABLE hooks ADD COLUMN load INTEGER;
    ALTER TABLE hooks ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE hooks ADD COLUMN next TEXT;
    CREATE TABLE loaded_segments (
        connection TEXT NOT NULL,
        job TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (connection, job, number)
    ) STRICT;
",
    "
    CREATE TABLE tokens (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        connection TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,
        ending TEXT NOT NULL,
        made TEXT NOT NULL
    ) STRICT;
",
    // People, who of them is logged in, what was done by whom, and answers that are given again.
    "
    CREATE TABLE users (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        role TEXT NOT NULL,
        password TEXT NOT NULL,
        made TEXT NOT NULL,
        password_set TEXT NOT NULL,
        disabled TEXT
    ) STRICT;
    CREATE TABLE sessions (
        hash TEXT PRIMARY KEY,
        user INTEGER,
        token TEXT,
        made TEXT NOT NULL,
        seen TEXT NOT NULL
    ) STRICT;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        status INTEGER,
        address TEXT
    ) STRICT;
    CREATE INDEX audit_by_age ON audit (at);
    CREATE TABLE replies (
        who TEXT NOT NULL,
        key TEXT NOT NULL,
        request TEXT NOT NULL,
        at TEXT NOT NULL,
        status INTEGER NOT NULL,
        content_type TEXT,
        body BLOB,
        PRIMARY KEY (who, key)
    ) STRICT;
    CREATE INDEX replies_by_age ON replies (at);
",
    // Who may run a connection's jobs: the fencing token only grows.
    "
    CREATE TABLE leases (
        connection TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        fence INTEGER NOT NULL,
        until TEXT
    ) STRICT;
",
    // When a connection was complete is asked for often, of all of them at once.
    "
    CREATE INDEX jobs_complete ON jobs (connection, ended)
        WHERE outcome = 'complete' AND trigger <> 'backfill';
",
    "
    CREATE TABLE known_columns (
        connection TEXT PRIMARY KEY,
        columns TEXT NOT NULL,
        saved TEXT NOT NULL
    ) STRICT;
",
    // What a list of all connections shows, without their tables.
    "
    CREATE TABLE loaded_days (
        connection TEXT NOT NULL,
        day TEXT NOT NULL,
        rows INTEGER NOT NULL,
        PRIMARY KEY (connection, day)
    ) STRICT;
    INSERT INTO loaded_days (connection, day, rows)
        SELECT connection, day, sum(rows) FROM loaded_rows GROUP BY connection, day;
",
    "
    CREATE TABLE fills (
        connection TEXT NOT NULL,
        stream TEXT NOT NULL,
        version INTEGER,
        since TEXT NOT NULL,
        records INTEGER NOT NULL,
        fields TEXT NOT NULL,
        PRIMARY KEY (connection, stream)
    ) STRICT;
",
    // Whether anything was set aside is asked for with each summary.
    "
    CREATE INDEX loads_set_aside ON loads (connection) WHERE rejected > 0;
",
];
