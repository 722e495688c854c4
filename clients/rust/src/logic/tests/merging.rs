//! Sessions: what they read, and how they merge.

use super::*;
use crate::logic::errands::{Key, List, Merged, Update};

fn joined(siblings: &crate::Siblings) -> Option<String> {
    Some(siblings.values().collect::<Vec<_>>().join("+"))
}

#[test]
fn an_update_merges_again_when_siblings_came_in_between() {
    let mut world = World::new();
    let too_many = no("too-many-siblings", 409, &json!({}));
    let mut answers = vec![found(&["a", "b"]), too_many, found(&["a", "b", "c"]), done()].into_iter();
    let update = Update::new("k".to_owned(), joined, WriteOptions::new());
    let merged = world.run(&mut Seen::default(), update, None, |_| answers.next().unwrap()).unwrap();
    let Merged::Written(written) = merged else { panic!("nothing was written") };
    assert_eq!(written.value(), Some("a+b+c"));
    let writes = [&world.requests[1], &world.requests[3]];
    assert_eq!(writes.map(|request| header(request, "causal-context").unwrap()), ["seen 2", "seen 3"]);
    assert_ne!(header(writes[0], "idempotency-key"), header(writes[1], "idempotency-key"));
    for read in [&world.requests[0], &world.requests[2]] {
        assert_eq!(str::from_utf8(&read.body).unwrap(), r#"{"keys":["k"]}"#);
    }
}

#[test]
fn resolving_writes_only_where_there_are_several() {
    let mut world = World::new();
    let resolve = || Update::new("k".to_owned(), joined, WriteOptions::new()).only_conflicts();
    let one = world.run(&mut Seen::default(), resolve(), None, |_| found(&["a"])).unwrap();
    assert!(matches!(one, Merged::Left(Some(value)) if value == "a"));
    let mut answers = vec![found(&["a", "b"]), done()].into_iter();
    let two = world.run(&mut Seen::default(), resolve(), None, |_| answers.next().unwrap()).unwrap();
    assert!(matches!(two, Merged::Written(written) if written.value() == Some("a+b")));
}

#[test]
fn what_is_not_shown_whole_is_not_merged() {
    let mut world = World::new();
    let body = r#"{"keys":[{"key":"k","siblings":[],"left_out":2}],"context":"c"}"#;
    let update = Update::new("k".to_owned(), joined, WriteOptions::new());
    let error = world
        .run(&mut Seen::default(), update, None, |_| Ok(answer(200, &[("causal-context", "c")], body)))
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::SiblingsLeftOut { left_out: 2, .. }), "{error}");
}

#[test]
fn keys_that_do_not_fit_into_one_answer_are_asked_for_again() {
    let mut world = World::new();
    let keys = ["a", "b", "a", "c"].map(str::to_owned);
    let mut shown = vec!["a", "b", "c"].into_iter();
    let found = world
        .run(&mut Seen::default(), Read::new(keys), None, |_| {
            let body = json!({"keys": [{"key": shown.next(), "siblings": []}], "context": "c"}).to_string();
            Ok(answer(200, &[("causal-context", "c")], &body))
        })
        .unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    let asked: Vec<_> = world.requests.iter().map(|request| str::from_utf8(&request.body).unwrap()).collect();
    assert_eq!(asked, [r#"{"keys":["a","b","c"]}"#, r#"{"keys":["b","c"]}"#, r#"{"keys":["c"]}"#]);
}

#[test]
fn lists_are_asked_for_as_forms_are() {
    let mut world = World::new();
    let body = r#"{"keys":[{"key":"a b&/1","siblings":1}],"context":"c","next":null}"#;
    let list = List::<Key>::new("/keys", 1000, "a b&", Some("ä+"));
    let page =
        world.run(&mut Seen::default(), list, None, |_| Ok(answer(200, &[("causal-context", "c")], body))).unwrap();
    assert_eq!((page.keys[0].key.as_str(), page.next), ("a b&/1", None));
    assert_eq!(world.requests[0].url, format!("{A}/keys?prefix=a+b%26&after=%C3%A4%2B&limit=1000"));
}

#[test]
fn what_is_no_node_is_told() {
    let mut world = World::new();
    for bad in [answer(200, &[], "{}"), answer(200, &[("causal-context", "c")], "<html>")] {
        let error = world.write(&mut Seen::default(), vec![Ok(bad)]).unwrap_err();
        assert!(matches!(error, Error::BadAnswer(_)), "{error}");
    }
}
