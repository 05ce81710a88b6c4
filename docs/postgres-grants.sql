-- What bobbin needs in PostgreSQL and no more. Run it as a superuser, connected to the database that
-- bobbin writes to. Change the names first:
--
--     psql -v ON_ERROR_STOP=1 -d warehouse -f postgres-grants.sql
--
-- bobbin_loader   the role bobbin connects as
-- kustomer        the schema: the connection's `schema` in bobbin.toml, or else the connection's name
-- bobbin_reader   a group for people and tools that read

CREATE ROLE bobbin_loader LOGIN;
-- Give it a password with \password bobbin_loader in psql, which keeps it out of logs and history.

-- Nobody but bobbin needs many of its connections: one to write, one to explain an error.
ALTER ROLE bobbin_loader CONNECTION LIMIT 4;

-- The schema belongs to somebody else; bobbin makes and owns the tables in it. So it needs no right
-- to make schemas, and cannot drop or rename this one.
CREATE SCHEMA kustomer;
GRANT USAGE, CREATE ON SCHEMA kustomer TO bobbin_loader;

-- To connect, and for the temporary tables that rows wait in. By default everybody may.
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO bobbin_loader', current_database());
END
$$;

-- Readers: what is there, and what bobbin will make.
CREATE ROLE bobbin_reader NOLOGIN;
GRANT USAGE ON SCHEMA kustomer TO bobbin_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA kustomer TO bobbin_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE bobbin_loader IN SCHEMA kustomer
    GRANT SELECT ON TABLES TO bobbin_reader;
