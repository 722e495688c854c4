//! What is tried again, where and when.

use serde_json::json;

use super::*;
use crate::ProblemKind;
use crate::logic::nodes::Nodes;

#[test]
fn who_can_not_be_connected_to_is_left_for_another_and_avoided() {
    let mut world = World::new();
    let mut session = Seen::default();
    world.write(&mut session, vec![no_connection(), no_connection(), done()]).unwrap();
    assert_eq!(world.when(), [(A, 0), (B, 0), (C, 0)]);
    // A session stays where it was answered, and another one does not begin with who is away.
    world.write(&mut session, vec![done()]).unwrap();
    world.write(&mut Seen::default(), vec![done()]).unwrap();
    assert_eq!(world.who()[3..], [C, C]);
    world.now += Duration::from_secs(60);
    world.write(&mut Seen::default(), vec![done()]).unwrap();
    world.write(&mut session, vec![done()]).unwrap();
    assert_eq!(world.who()[5..], [A, C]);
}

#[test]
fn each_write_has_one_key_in_all_its_tries_and_the_context_of_its_session() {
    let mut world = World::new();
    let mut session = seen("before");
    world.write(&mut session, vec![no_connection(), done()]).unwrap();
    world.write(&mut session, vec![done()]).unwrap();
    let keys: Vec<_> = world.requests.iter().map(|request| header(request, "idempotency-key").unwrap()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    let contexts: Vec<_> = world.requests.iter().map(|request| header(request, "causal-context")).collect();
    assert_eq!(contexts, [Some("before"), Some("before"), Some("after")]);
}

#[test]
fn a_write_that_may_have_been_made_is_sent_to_the_same_node_only() {
    let nothing = json!({});
    let unknown = [
        lost(),
        no("outcome-unknown", 500, &nothing),
        no("internal", 500, &nothing),
        no("stopping", 503, &nothing),
        Ok(answer(502, &[], "")),
        Ok(answer(503, &[], "")),
    ];
    for unknown in unknown {
        let mut world = World::new();
        let answers = vec![unknown, no_connection(), no("overloaded", 503, &nothing), lost(), done()];
        world.write(&mut Seen::default(), answers).unwrap();
        assert_eq!(world.who(), [A; 5]);
        let first = header(&world.requests[0], "idempotency-key");
        assert!(world.requests.iter().all(|request| header(request, "idempotency-key") == first));
    }
}

#[test]
fn a_write_whose_outcome_stays_unknown_says_so() {
    let mut world = World::new();
    let mut tries = 0;
    let set = Set::new(Values::new().set("k", "v"), WriteOptions::new());
    let unknown = world.run(&mut Seen::default(), set, Some(5), |_| {
        tries += 1;
        if tries == 1 { lost() } else { no_connection() }
    });
    let Err(Error::OutcomeUnknown(unknown)) = unknown else { panic!("{unknown:?}") };
    assert_eq!((unknown.node.as_str(), unknown.reason.as_str()), (A, "refused"));
    assert_eq!(unknown.values, Values::new().set("k", "v"));
    assert_eq!(Some(unknown.idempotency_key.as_str()), header(&world.requests[0], "idempotency-key"));
    assert!(world.who().iter().all(|node| *node == A));
    let took = world.now - world.began;
    assert!(took > Duration::from_secs(3) && took <= Duration::from_secs(5), "{took:?}");
    // By hand it can be sent elsewhere.
    let options = WriteOptions::new().idempotency_key(&unknown.idempotency_key);
    world.write_with(&mut Seen::default(), options, vec![done()]).unwrap();
    assert_eq!(world.who().last(), Some(&B));
}

#[test]
fn a_refusal_does_not_settle_what_was_unknown() {
    let mut world = World::new();
    let unknown = world.write(&mut Seen::default(), vec![lost(), no("token", 401, &json!({}))]);
    let Err(Error::OutcomeUnknown(unknown)) = unknown else { panic!("{unknown:?}") };
    assert_eq!(unknown.refusal.unwrap().kind(), ProblemKind::NotAllowed);
}

#[test]
fn a_read_goes_anywhere() {
    let mut world = World::new();
    let nothing = json!({});
    for failed in
        [lost(), no("internal", 500, &nothing), no("storage-unreadable", 500, &nothing), Ok(answer(503, &[], ""))]
    {
        assert_eq!(world.read(&mut Seen::default(), vec![failed, found(&[])]).unwrap().value(), None);
        world.now += Duration::from_secs(100);
    }
    assert_eq!(world.who(), [A, B].repeat(4));
}

#[test]
fn who_takes_no_writes_is_still_read_from() {
    let mut world = World::new();
    world.write(&mut Seen::default(), vec![no_until("draining", 503, "1"), done()]).unwrap();
    world.read(&mut Seen::default(), vec![found(&[])]).unwrap();
    world.write(&mut Seen::default(), vec![done()]).unwrap();
    assert_eq!(world.who(), [A, B, A, B]);
}

#[test]
fn retry_after_is_heeded_and_pauses_grow() {
    let mut world = World::of(&[A]);
    let answers = vec![no_until("overloaded", 503, "2"), no_connection(), no_connection(), no_connection(), done()];
    world.write(&mut Seen::default(), answers).unwrap();
    assert_eq!(world.when(), [(A, 0), (A, 2000), (A, 2100), (A, 2300), (A, 2700)]);
}

#[test]
fn others_are_asked_before_anybody_is_waited_for() {
    let mut world = World::new();
    let busy = || no_until("overloaded", 503, "1");
    world.write(&mut Seen::default(), vec![busy(), busy(), busy(), done()]).unwrap();
    assert_eq!(world.when(), [(A, 0), (B, 0), (C, 0), (A, 1000)]);
}

#[test]
fn time_ends_a_call_and_nobody_is_waited_for_in_vain() {
    let mut world = World::new();
    let set = Set::new(Values::new().set("k", "v"), WriteOptions::new());
    let unreachable = world.run(&mut Seen::default(), set, None, |_| no_connection());
    let Err(Error::Unreachable { reasons }) = unreachable else { panic!("{unreachable:?}") };
    assert_eq!(reasons, [A, B, C].map(|node| (node.to_owned(), "refused".to_owned())).into());
    let took = world.now - world.began;
    assert!(took > Duration::from_secs(7) && took <= Duration::from_secs(10), "{took:?}");
    for seconds in ["10", "99999999999999999999999"] {
        let mut world = World::of(&[A]);
        let error =
            world.write(&mut Seen::default(), vec![no_until("insufficient-storage", 507, seconds)]).unwrap_err();
        assert_eq!((error.kind(), world.now), (Some(ProblemKind::Unavailable), world.began));
    }
}

#[test]
fn a_refusal_is_final() {
    let mut world = World::new();
    let members = json!({"limit": 5, "detail": "it is", "key": "k", "title": "Too long"});
    let error = world.write(&mut Seen::default(), vec![no("value-too-long", 413, &members)]).unwrap_err();
    assert_eq!(error.to_string(), "Too long: it is (/problems/value-too-long, 413 of http://a)");
    let problem = error.problem().unwrap();
    assert_eq!((problem.kind(), problem.limit(), problem.node.as_str()), (ProblemKind::TooLarge, Some(5), A));
    let bare = world.write(&mut Seen::default(), vec![Ok(answer(431, &[], ""))]).unwrap_err();
    let bare = bare.problem().unwrap();
    assert_eq!((bare.problem_type.as_str(), bare.title.as_str()), ("about:blank", "HTTP status 431"));
}

#[test]
fn what_a_node_lacks_of_a_context_may_be_had_of_another_or_of_none() {
    let mut world = World::new();
    let lacks = |obtainable: bool| {
        let lacking = json!({"lacking": [{"origin": "0.1", "wanted": 1, "obtainable": obtainable}]});
        no("context-not-reached", 503, &lacking)
    };
    let mut session = seen("before");
    world.write(&mut session, vec![lacks(true), done()]).unwrap();
    assert_eq!((world.who(), session.home), (vec![A, B], Some(1)));
    // That is not the node's fault.
    world.write(&mut Seen::default(), vec![done()]).unwrap();
    assert_eq!(world.who().last(), Some(&A));
    let error = world.write(&mut session, vec![lacks(false)]).unwrap_err();
    assert_eq!(error.kind(), Some(ProblemKind::ContextNotReached));
    let lacking = error.problem().unwrap().lacking();
    assert_eq!((lacking[0].origin.as_str(), lacking[0].obtainable), ("0.1", false));
}

#[test]
fn a_node_may_wait_as_long_as_there_is_time_for_its_answer() {
    let seconds = Duration::from_secs_f64;
    let wait = |wait| WriteOptions::new().wait(seconds(wait));
    let asked = |session: &Seen, options: WriteOptions, timeout| {
        let mut world = World::new();
        let set = Set::new(Values::new().set("k", "v"), options);
        world.run(&mut session.clone(), set, timeout, |_| done()).unwrap();
        let request = &world.requests[0];
        (header(request, "prefer").map(str::to_owned), request.answer_within.as_secs_f64(), request.url.clone())
    };
    let told = |prefer: &str, within, path: &str| (Some(prefer.to_owned()), within, format!("{A}{path}"));
    let (new, old) = (Seen::default(), seen("before"));
    let all = asked(&new, wait(60.0).acks(crate::Acks::All), None);
    assert_eq!(all, told("wait=9.000", 10.0, "/set?acks=all"));
    let two = asked(&new, wait(5.0).acks(crate::Acks::Nodes(2)), Some(2));
    assert_eq!(two, told("wait=1.500", 2.0, "/set?acks=2"));
    assert_eq!(asked(&new, WriteOptions::new(), None), (None, 3.0, format!("{A}/set")));
    assert_eq!(asked(&old, wait(0.5), None), told("wait=0.500", 3.0, "/set"));
    let held = asked(&old, wait(4.0).replaces(crate::Replaces::Held), None);
    assert_eq!(held, told("wait=4.000", 5.0, "/set?replaces=held"));
}

#[test]
fn a_request_has_the_token_and_says_who_asks() {
    let mut world = World::new();
    Arc::get_mut(&mut world.settings).unwrap().token = Some("secret".to_owned());
    world.write(&mut Seen::default(), vec![done()]).unwrap();
    let request = &world.requests[0];
    assert_eq!(header(request, "authorization"), Some("Bearer secret"));
    assert_eq!(header(request, "user-agent"), Some("causeway-client/0.1.0"));
    assert_eq!(header(request, "content-type"), Some("application/json"));
    assert_eq!((request.method, str::from_utf8(&request.body).unwrap()), ("PATCH", r#"{"values":{"k":"v"}}"#));
}

#[test]
fn settings_that_can_not_be_are_refused() {
    for urls in [&[][..], &["localhost:8000"], &["ftp://a"], &["http://"], &["http://a?b"]] {
        assert!(matches!(Nodes::new(urls), Err(Error::Unusable(_))), "{urls:?}");
    }
    let nodes = Nodes::new(["http://a/", "http://a", "https://b/x/"]).unwrap();
    assert_eq!(nodes.urls(), ["http://a", "https://b/x"]);
    let client = || crate::Client::builder([A]);
    for timeout in [0, 301] {
        assert!(matches!(client().timeout(Duration::from_secs(timeout)).build(), Err(Error::Unusable(_))));
    }
    assert!(matches!(client().connect_timeout(Duration::ZERO).build(), Err(Error::Unusable(_))));
    assert!(matches!(client().token("a\nb").build(), Err(Error::Unusable(_))));
    assert_eq!(crate::Client::new(["https://a"]).is_ok(), cfg!(feature = "rustls"));
    #[cfg(feature = "rustls")]
    assert!(matches!(client().root_certificates("nothing").build(), Err(Error::Unusable(_))));
    let mut world = World::new();
    assert!(matches!(world.write(&mut seen("a\r\nb"), vec![]), Err(Error::Unusable(_))));
}
