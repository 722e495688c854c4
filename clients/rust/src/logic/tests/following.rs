//! What a watch asks, and what it tells.

use super::*;
use crate::Event;
use crate::logic::watching::{Came, Step, Watching};

/// What a node does to a watch.
enum Says {
    Opens,
    Refuses(Outcome),
    Text(String),
    Ends,
}

use Says::{Ends, Opens, Refuses};

fn text(event: &str, id: &str, data: &Value) -> Says {
    Says::Text(format!("event: {event}\nid: {id}\ndata: {data}\n\n"))
}

fn start(id: &str) -> Says {
    text("start", id, &json!({"node": 0, "context": "c"}))
}

fn change(id: &str, dot: &str) -> Says {
    let entries = json!([{"key": "k", "value": "v", "replaces": []}]);
    let written_at = "2026-11-24T14:08:11.532Z";
    let data = json!({"dot": dot, "node": 0, "written_at": written_at, "trace_id": null, "entries": entries});
    text("change", id, &data)
}

fn told(event: &Event) -> String {
    match event {
        Event::Start { cursor, .. } => format!("start {cursor}"),
        Event::Change(change) => format!("{} {}", change.dot, change.cursor),
        Event::Reset => "reset".to_owned(),
    }
}

impl World {
    /// Follows until all was said; gives what was told, and how it ended if that was an error.
    fn follow(&mut self, watch: &mut Watching, says: Vec<Says>) -> (Vec<String>, Option<Error>) {
        let mut says = says.into_iter().peekable();
        let mut events = Vec::new();
        let mut came = None;
        loop {
            match watch.step(self.now, came.take()) {
                Err(error) => return (events, Some(error)),
                Ok(Step::Tell(event)) => events.push(told(&event)),
                Ok(Step::Pause(pause)) => self.pause(pause),
                Ok(Step::Open(request)) => {
                    match says.next() {
                        None => return (events, None),
                        Some(Opens) => {
                            let headers = [("content-type", "text/event-stream")];
                            came = Some(Came::Opened(Ok(answer(200, &headers, ""))));
                        }
                        Some(Refuses(outcome)) => came = Some(Came::Opened(outcome)),
                        Some(_) => panic!("nothing is open"),
                    }
                    self.note(&request);
                }
                Ok(Step::Receive(within)) => {
                    assert_eq!(within, Duration::from_secs(45));
                    came = Some(Came::Piece(match says.next() {
                        None => return (events, None),
                        Some(Says::Text(text)) => Some(text.into_bytes()),
                        Some(Ends) => None,
                        Some(_) => panic!("something is open"),
                    }));
                }
            }
        }
    }

    fn watch(&self) -> Watching {
        Watching::new(self.settings.clone(), "p/".to_owned())
    }
}

fn urls(world: &World) -> Vec<&str> {
    world.requests.iter().map(|request| request.url.as_str()).collect()
}

#[test]
fn it_goes_on_behind_the_last_event_that_it_told() {
    let mut world = World::new();
    let mut watch = world.watch();
    let says = vec![
        Opens,
        start("1-x"),
        change("2-x", "d2"),
        Ends,
        Refuses(no_connection()),
        Opens,
        start("2-x"),
        text("cursor", "5-x", &json!({})),
        text("closed", "", &json!({"reason": "stopping"})),
        Opens,
        start("5-x"),
        change("6-x", "d6"),
    ];
    let (events, error) = world.follow(&mut watch, says);
    assert!(error.is_none());
    assert_eq!(events, ["start 1-x@http://a", "d2 2-x@http://a", "d6 6-x@http://a"]);
    assert_eq!(watch.cursor().as_deref(), Some("6-x@http://a"));
    let watch = format!("{A}/watch?prefix=p%2F");
    let wanted = ["", "&after=2-x", "&after=2-x", "&after=5-x"].map(|after| format!("{watch}{after}"));
    assert_eq!(urls(&world), wanted);
    // A pause each time, so that it does not ask again and again.
    assert_eq!(world.when(), [(A, 0), (A, 50), (A, 150), (A, 200)]);
}

#[test]
fn after_half_of_its_time_it_begins_anew_at_another_node() {
    let mut world = World::new();
    let mut watch = world.watch();
    let mut says = vec![Opens, start("1-x"), Ends];
    // After 0.05, 0.1, … 1.6 seconds; the next pause is cut off at the half.
    says.extend((0..6).map(|_| Refuses(no_connection())));
    says.extend([Opens, start("8-y"), change("9-y", "d9")]);
    let (events, error) = world.follow(&mut watch, says);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events, ["start 1-x@http://a", "reset", "start 8-y@http://b", "d9 9-y@http://b"]);
    assert_eq!(urls(&world).last(), Some(&"http://b/watch?prefix=p%2F"));
    assert_eq!(world.when().last(), Some(&(B, 5000)));
}

#[test]
fn a_cursor_that_is_gone_and_a_node_that_was_caught_up_begin_anew() {
    let mut world = World::new();
    let mut watch = world.watch();
    watch.goes_on_behind("7-x@http://b");
    let gone = no("cursor-gone", 410, &json!({}));
    let says = vec![Refuses(gone), Opens, start("1-y"), text("reset", "", &json!({})), Opens, start("4-y")];
    let (events, _) = world.follow(&mut watch, says);
    assert_eq!(events, ["reset", "start 1-y@http://b", "reset", "start 4-y@http://b"]);
    let watch = format!("{B}/watch?prefix=p%2F");
    assert_eq!(urls(&world), [format!("{watch}&after=7-x"), watch.clone(), watch]);
}

#[test]
fn a_cursor_of_a_node_that_is_not_known_begins_anew() {
    let mut world = World::new();
    let mut watch = world.watch();
    watch.goes_on_behind("7-x@http://elsewhere");
    let (events, _) = world.follow(&mut watch, vec![Opens, start("1-y")]);
    assert_eq!(events, ["reset", "start 1-y@http://a"]);
    assert_eq!(urls(&world), [format!("{A}/watch?prefix=p%2F")]);
}

#[test]
fn from_the_beginning_of_the_log_it_tells_a_start() {
    let mut world = World::new();
    let mut watch = world.watch();
    watch.goes_on_behind("0");
    let (events, _) = world.follow(&mut watch, vec![Opens, start("0-x"), change("1-x", "d1")]);
    assert_eq!(events, ["start 0-x@http://a", "d1 1-x@http://a"]);
    assert_eq!(urls(&world), [format!("{A}/watch?prefix=p%2F&after=0")]);
}

#[test]
fn when_nobody_answers_it_says_so_and_goes_on_when_asked_again() {
    let mut world = World::new();
    let mut watch = world.watch();
    world.follow(&mut watch, vec![Opens, start("1-x")]);
    let (_, error) = world.follow(&mut watch, {
        let mut says = vec![Ends];
        says.extend((0..1000).map(|_| Refuses(no_connection())));
        says
    });
    assert!(matches!(error, Some(Error::Unreachable { .. })), "{error:?}");
    let (events, _) = world.follow(&mut watch, vec![Opens, start("1-x"), change("2-x", "d2")]);
    assert_eq!(events, ["d2 2-x@http://a"]);
    assert_eq!(urls(&world).last(), Some(&"http://a/watch?prefix=p%2F&after=1-x"));
}

#[test]
fn a_refusal_ends_it_and_others_are_asked_when_one_is_busy() {
    let mut world = World::new();
    let mut watch = world.watch();
    let (_, error) = world.follow(&mut watch, vec![Refuses(no("bad-cursor", 400, &json!({})))]);
    assert_eq!(error.unwrap().kind(), Some(crate::ProblemKind::BadRequest));
    let says = vec![Refuses(no_until("overloaded", 503, "1")), Opens, start("1-y")];
    assert_eq!(world.follow(&mut watch, says).0, ["start 1-y@http://b"]);
}
