//! `docs/postgres-grants.sql` is enough for bobbin, and gives no more.

use fake_kustomer::{Mutation, Pick};

use crate::connecting::Place;
use crate::server::Setup;

#[test]
fn the_script_of_grants_is_enough_and_not_more() {
    let place = Place::new(&Setup {
        rules: "host all bobbin_loader 127.0.0.0/8 trust\nlocal all all trust",
        ..Setup::default()
    });
    // As in a database whose owner has closed what PostgreSQL leaves open.
    place.sql(
        "REVOKE ALL ON DATABASE warehouse FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC",
    );
    place.sql(include_str!("../../../../docs/postgres-grants.sql"));
    let desk = place.desk("user = \"bobbin_loader\"\npassword = \"\"");
    desk.run(&["check"]).assert(0, &["kustomer, may be written"]);
    desk.run(&["run"]).assert(0, &["complete"]);
    place.assert_exact();
    // Upserts, a new column, and a second session.
    place.sim.control().mutate(&Mutation::add_attribute("customer", "newThingStr")).unwrap();
    place.sim.control().advance(3_600_000);
    place.sim.control().mutate(&Mutation::update("customer", Pick::Random(30))).unwrap();
    place.sim.control().advance(3_600_000);
    desk.run(&["run"]).assert(0, &["complete"]);
    place.assert_exact();

    let mut loader = postgres::Client::configure()
        .host(place.server.host())
        .user("bobbin_loader")
        .dbname("warehouse")
        .connect(postgres::NoTls)
        .unwrap();
    for forbidden in [
        "CREATE SCHEMA other",
        "DROP SCHEMA kustomer CASCADE",
        "CREATE TABLE public.t (a int)",
        "CREATE ROLE another",
        "CREATE DATABASE another",
        "COPY kustomer.tags TO PROGRAM 'cat'",
        "SELECT rolpassword FROM pg_authid",
    ] {
        let error = loader.batch_execute(forbidden).unwrap_err();
        let code = error.code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error:?}");
    }
    // Readers read, tables made later, too, and change nothing.
    let mut boss = place.boss("warehouse");
    boss.batch_execute(
        "GRANT CONNECT ON DATABASE warehouse TO bobbin_reader; SET ROLE bobbin_reader",
    )
    .unwrap();
    let row = boss.query_one("SELECT count(*) FROM kustomer.customers", &[]).unwrap();
    assert!(row.get::<_, i64>(0) > 0);
    assert!(boss.batch_execute("DELETE FROM kustomer.customers").is_err());
}
