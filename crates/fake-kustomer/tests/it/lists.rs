//! Lists, single records, children, and the small endpoints.

use std::collections::BTreeSet;

use fake_kustomer::{Bounds, Config, Merged, Mutation, Pick};
use serde_json::json;

use crate::support::{Client, id, ids};

#[test]
fn lists_hold_every_record_in_order_of_id() {
    let client = Client::new(Config::tiny(1));
    for (path, stream) in [
        ("customers", "customer"),
        ("conversations", "conversation"),
        ("messages", "message"),
        ("notes", "note"),
        ("companies", "company"),
        ("users", "user"),
        ("teams", "team"),
        ("tags", "tag"),
        ("shortcuts", "shortcut"),
        ("brands", "brand"),
        ("routing/queues", "queue"),
        ("slas", "sla"),
        ("schedules", "schedule"),
        ("klasses/ecomm-order", "kobject_ecomm-order"),
    ] {
        let all = ids(&client.list_all(&format!("/v1/{path}?pageSize=37")));
        let held = client.sim.oracle().held(stream, Bounds::all()).unwrap();
        assert_eq!(all, held.iter().map(|held| held.id.clone()).collect::<Vec<_>>(), "{path}");
        assert!(all.is_sorted(), "{path}");
    }
    let down = ids(&client.list_all("/v1/conversations?pageSize=100&sort=desc"));
    assert!(down.is_sorted_by(|a, b| a > b));
    let users = client.get("/v1/users?pageSize=9999").json();
    assert_eq!(users["meta"]["pageSize"], 500);
    assert!(users["meta"]["total"].is_null());
    assert_eq!(client.get("/v1/tags?pageSize=9999").json()["meta"]["pageSize"], 100);
    assert_eq!(client.get("/v1/customers").json()["meta"]["total"], 150);
}

#[test]
fn single_records_equal_their_list_and_search_forms() {
    let client = Client::new(Config::tiny(1));
    for (path, context) in
        [("customers", "customer"), ("conversations", "conversation"), ("notes", "note")]
    {
        let searched =
            client.search(&json!({"queryContext": context}), 1, 1).json()["data"][0].clone();
        let got = client.get(&format!("/v1/{path}/{}", id(&searched))).json()["data"].clone();
        assert_eq!(got, searched);
        let own = client.get(searched["links"]["self"].as_str().unwrap()).json();
        assert_eq!(own["data"], searched);
    }
    let both = ids(client.get("/v1/users?pageSize=2").json()["data"].as_array().unwrap());
    let two = client.get(&format!("/v1/users/{},{}", both[0], both[1])).json();
    assert_eq!(ids(two["data"].as_array().unwrap()), both);
    for path in ["customers/5f0000000000000000000001", "customers/zzz", "planets", "users/"] {
        let status = client.get(&format!("/v1/{path}")).status;
        assert!(status == 404 || path == "users/", "{path}");
    }
}

#[test]
fn children_are_the_records_that_name_their_parent() {
    let client = Client::new(Config::tiny(1));
    let customer = id(&client.search(&json!({"queryContext": "customer"}), 1, 1).json()["data"][0]);
    let all = client.list_all("/v1/conversations");
    let expected: Vec<_> = all
        .iter()
        .filter(|c| c["relationships"]["customer"]["data"]["id"] == customer.as_str())
        .map(id)
        .collect();
    assert_eq!(ids(&client.list_all(&format!("/v1/customers/{customer}/conversations"))), expected);
    let messages = client.list_all("/v1/messages");
    let expected: Vec<_> = messages
        .iter()
        .filter(|m| m["relationships"]["conversation"]["data"]["id"] == expected[0].as_str())
        .map(id)
        .collect();
    let parent =
        &messages.iter().find(|m| id(m) == expected[0]).unwrap()["relationships"]["conversation"];
    let path = format!("/v1/conversations/{}/messages", parent["data"]["id"].as_str().unwrap());
    assert_eq!(ids(&client.list_all(&path)), expected);
}

#[test]
fn soft_deleted_records_leave_lists_and_come_back_when_asked_for() {
    let client = Client::new(Config::tiny(1));
    let gone = Mutation::soft_delete("tag", Pick::Numbers(vec![3, 5]));
    let gone = client.sim.control().mutate(&gone).unwrap().ids;
    let shown = ids(&client.list_all("/v1/tags"));
    assert_eq!(shown.len(), 38);
    let deleted = client.list_all("/v1/tags?deleted=true");
    assert_eq!(ids(&deleted), gone);
    assert_eq!(deleted[0]["attributes"]["deleted"], true);
}

#[test]
fn classes_are_listed_by_status_and_grow() {
    let client = Client::new(Config::tiny(1));
    let names = |status: &str| -> Vec<String> {
        let all = client.list_all(&format!("/v1/klasses{status}"));
        all.iter().map(|k| k["attributes"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(""), ["ecomm-order", "calendly-event"]);
    assert_eq!(names("?status=disabled"), ["survey_2019"]);
    let klass = Mutation::AddKlass { name: "ticket".to_owned(), count: 7 };
    client.sim.control().mutate(&klass).unwrap();
    assert_eq!(names("?status=enabled").len(), 3);
    let body = json!({"queryContext": "kobject_ticket"});
    let (total, objects) = client.search_all(&body, 500);
    assert_eq!(total, 7);
    let klass = objects[0]["relationships"]["klass"]["data"]["id"].as_str().unwrap();
    assert_eq!(
        objects[0]["relationships"]["klass"]["link"]["self"],
        format!("/v1/klasses/{klass}")
    );
    let record = client.get(&format!("/v1/klasses/{klass}")).json();
    assert_eq!(record["data"]["attributes"]["name"], "ticket");
    let every = client.search(&json!({"queryContext": "kobject"}), 1, 1).json();
    assert_eq!(every["meta"]["total"], 97);
}

#[test]
fn metadata_grows_with_new_attributes() {
    let client = Client::new(Config::tiny(1));
    let known = |resource: &str| {
        let record = client.get(&format!("/v1/metadata/{resource}")).json();
        record["data"]["attributes"]["properties"].as_object().unwrap().clone()
    };
    assert!(known("conversation").contains_key("orderNumberStr"));
    assert!(known("kobject.ecomm-order").contains_key("totalPriceNum"));
    let before = client.get("/v1/conversations?pageSize=100").json();
    client.sim.control().advance(1000);
    let add = Mutation::add_attribute("conversation", "shoeSizeNum");
    client.sim.control().mutate(&add).unwrap();
    assert_eq!(known("conversation")["shoeSizeNum"]["type"], "number");
    assert_eq!(client.get("/v1/conversations?pageSize=100").json(), before);
    let update = Mutation::update("conversation", Pick::Numbers(vec![0]));
    client.sim.control().mutate(&update).unwrap();
    let after = client.get("/v1/conversations?pageSize=100").json();
    let custom = |page: &serde_json::Value, row: usize| {
        page["data"][row]["attributes"]["custom"].as_object().unwrap().clone()
    };
    assert!(custom(&after, 0).contains_key("shoeSizeNum"));
    assert!(!custom(&after, 1).contains_key("shoeSizeNum"));
}

#[test]
fn merged_customers_leave_in_three_ways_and_their_children_move() {
    for merged in [Merged::NotFound, Merged::Redirect, Merged::Deleted] {
        let mut config = Config::tiny(2);
        config.merged = merged;
        let client = Client::new(config);
        let oracle = client.sim.oracle();
        let (source, target) =
            (oracle.id("customer", 10).unwrap(), oracle.id("customer", 90).unwrap());
        let children: BTreeSet<_> =
            ids(&client.list_all(&format!("/v1/customers/{source}/messages")))
                .into_iter()
                .collect();
        assert!(!children.is_empty());
        client.sim.control().advance(5000);
        let merge =
            Mutation::Merge { pick: Pick::Ids(vec![source.clone()]), into: Some(target.clone()) };
        client.sim.control().mutate(&merge).unwrap();
        let answer = client.get(&format!("/v1/customers/{source}"));
        match merged {
            Merged::NotFound => assert_eq!(answer.status, 404),
            Merged::Redirect => assert_eq!(id(&answer.json()["data"]), target),
            Merged::Deleted => assert_eq!(answer.json()["data"]["attributes"]["deleted"], true),
        }
        let now = ids(&client.list_all(&format!("/v1/customers/{target}/messages")));
        assert!(children.is_subset(&now.into_iter().collect()));
        let moved = client.get(&format!("/v1/messages/{}", children.first().unwrap())).json();
        assert_eq!(moved["data"]["relationships"]["customer"]["data"]["id"], target.as_str());
        let total = |include: bool| {
            let body = json!({"queryContext": "customer", "includeDeleted": include});
            client.search(&body, 1, 1).json()["meta"]["total"].as_u64().unwrap()
        };
        assert_eq!(total(false), 149);
        assert_eq!(total(true), if merged == Merged::Deleted { 150 } else { 149 });
        let merges = client.get(&format!("/v1/customers/{target}/merges")).json();
        assert_eq!(merges["data"][0]["relationships"]["source"]["data"]["id"], source.as_str());
    }
}

#[test]
fn the_audit_log_tells_of_deletions_by_cursor() {
    let client = Client::new(Config::tiny(1));
    let mut gone = Vec::new();
    for _ in 0..3 {
        client.sim.control().advance(1000);
        let delete = Mutation::hard_delete("conversation", Pick::Random(50));
        gone.extend(client.sim.control().mutate(&delete).unwrap().ids);
    }
    let mut path = "/v1/audit-logs?count=40".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = client.get(&path).json();
        for entry in page["data"].as_array().unwrap() {
            assert_eq!(entry["attributes"]["eventVerb"], "delete");
            seen.push(entry["attributes"]["objectId"].as_str().unwrap().to_owned());
        }
        match page["links"]["next"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => break,
        }
    }
    seen.reverse();
    assert_eq!(seen, gone);
    assert_eq!(client.get("/v1/audit-logs?after=5f0000000000000000000001").status, 400);
    let one = client.get(&format!("/v1/audit-logs?filter[objectId]={}", gone[7])).json();
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    assert_eq!(client.get(&format!("/v1/conversations/{}", gone[0])).status, 404);
}

#[test]
fn the_small_endpoints_answer() {
    let client = Client::new(Config::tiny(1));
    let token = client.get("/v1/auth/tokens/current").json();
    assert_eq!(token["data"]["attributes"]["roles"][0], "*");
    assert_eq!(client.get("/v1/auth/tokens").json()["meta"]["page"], "1");
    assert_eq!(client.get("/v1/users/current").json()["data"]["attributes"]["userType"], "machine");
    assert_eq!(client.get("/v1/orgs/current").json()["data"]["attributes"]["name"], "sim");
    assert_eq!(client.get("/v1/slas").json()["included"][0]["type"], "sla_version");
    assert_eq!(client.get("/v1/schedules").json()["included"][0]["type"], "holiday");
}
