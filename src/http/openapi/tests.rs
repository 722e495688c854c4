#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::http::problem::Kind;
use crate::http::routes::PATHS;

fn document() -> Value {
    let document = Document::new(&HttpOptions::default(), 3);
    serde_json::from_slice(&document.bytes).unwrap()
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    operations.collect()
}

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let document = document();
    let documented: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(documented, BTreeSet::from_iter(PATHS.iter().copied()));
}

#[test]
fn every_schema_that_is_named_is_there_and_used() {
    let document = document();
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in &named {
        assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name}");
    }
    // What the router answers before any operation does.
    let of_no_operation = ["NotFoundProblem", "MethodNotAllowedProblem"];
    for name in schemas.keys().filter(|name| !of_no_operation.contains(&name.as_str())) {
        assert!(named.contains(&format!("#/components/schemas/{name}")), "{name} is not used");
    }
}

#[test]
fn operations_are_told_apart_and_described() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}: its id is another's too");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{name}");
        let tags = operation["tags"].as_array().unwrap();
        let known = document["tags"].as_array().unwrap();
        assert!(tags.iter().all(|tag| known.iter().any(|known| known["name"] == *tag)), "{name}: {tags:?}");
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["info"]["license"]["identifier"], "MIT OR Apache-2.0");
}

#[test]
fn limits_are_those_of_the_node() {
    let mut options = HttpOptions::default();
    options.limits.page_keys = 7;
    let document: Value = serde_json::from_slice(&Document::new(&options, 5).bytes).unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["PageLimit"]["maximum"], 7);
    assert_eq!(schemas["Acks"]["oneOf"][0]["maximum"], 5);
}

#[test]
fn every_kind_of_problem_has_its_schema_with_the_members_that_the_documentation_names() {
    let documented = include_str!("../../../docs/http-api.md");
    let rows: Vec<&str> = documented.lines().filter(|line| line.starts_with("| `/problems/")).collect();
    assert_eq!(rows.len(), Kind::ALL.len());
    for kind in Kind::ALL {
        let name = kind.facts().1;
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{name}` |"))).unwrap();
        let members = row.split('|').nth(4).unwrap();
        let told: BTreeSet<&str> = members.split('`').skip(1).step_by(2).collect();
        assert_eq!(told, BTreeSet::from_iter(refusals::members(kind).iter().copied()), "{name}");
    }
}
