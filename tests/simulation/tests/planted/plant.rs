//! Plants bugs into the text of source files: each marked expression becomes one that asks whether its bug is awake.

use std::collections::BTreeMap;

use crate::bugs::Bug;

/// What every file with a bug in it can call. It goes to the end of the product's crate.
const SWITCH: &str = r#"
/// Whether this bug is awake.
pub fn planted(bug: &str) -> bool {
    static AWAKE: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("CAUSEWAY_PLANTED").unwrap_or_default());
    *AWAKE == bug
}
"#;

const CRATE: &str = "src/lib.rs";

/// From where to where in a text, in bytes.
type Range = (usize, usize);

/// A bug's name, and its expression.
type Wrong<'a> = (&'a str, &'a str);

/// The files that the bugs change, with all bugs in them. `read` gives a file's text.
pub(crate) fn planted(bugs: &[Bug], read: impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let mut files: BTreeMap<&str, BTreeMap<Range, Vec<Wrong<'_>>>> = BTreeMap::new();
    for bug in bugs {
        for place in bug.places {
            let range = find(&read(place.file), place.find, bug.name);
            files.entry(place.file).or_default().entry(range).or_default().push((bug.name, place.instead));
        }
    }
    let mut texts: BTreeMap<String, String> = BTreeMap::from([(CRATE.to_owned(), read(CRATE) + SWITCH)]);
    for (file, places) in files {
        let mut text = read(file);
        let mut end = text.len();
        // From the last, so that the places of the others stay what they are.
        for ((from, to), bugs) in places.into_iter().rev() {
            assert!(to <= end, "two bugs overlap in {file}");
            end = from;
            let switch = if file.starts_with("src/") { "crate::planted" } else { "causeway::planted" };
            let sound = text[from..to].to_owned();
            let wrong = bugs.iter().map(|(name, instead)| format!("if {switch}({name:?}) {{ {instead} }} else "));
            text.replace_range(from..to, &format!("({}{{ {sound} }})", wrong.collect::<String>()));
        }
        texts.insert(file.to_owned(), text);
    }
    texts
}

/// Where the marked expression is in a file's text.
fn find(text: &str, marked: &str, bug: &str) -> Range {
    let (before, rest) = marked.split_once('«').expect("a place has its marks");
    let (expression, after) = rest.split_once('»').expect("a place has its marks");
    let plain = [before, expression, after].concat();
    let mut found = text.match_indices(&plain);
    let Some((start, _)) = found.next() else { panic!("'{bug}' has its place no more: {plain}") };
    assert!(found.next().is_none(), "'{bug}' has two places: {plain}");
    let from = start + before.len();
    (from, from + expression.len())
}
