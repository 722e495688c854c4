//! The rules of the source that no compiler checks: which module may import which, what the pure modules must
//! not use, and how long functions and files may be. Reads the source as text, formatted by rustfmt.

use std::fs;
use std::path::{Path, PathBuf};

/// Every top-level module, and which others it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("causality", &[]),
    ("replica", &["causality"]),
    ("format", &["causality", "replica"]),
    ("storage", &["causality", "replica", "format"]),
    ("node", &["causality", "replica", "format", "storage"]),
    ("backup", &["causality", "replica", "format", "storage"]),
    ("http", &["causality", "replica", "format", "storage", "node", "auth"]),
    ("peers", &["causality", "replica", "format", "storage", "node", "auth", "tls"]),
    ("telemetry", &["causality", "replica", "format", "storage", "node"]),
    ("metrics", &["causality", "replica", "format", "storage", "node"]),
    ("console", &[]),
    ("listen", &["tls"]),
    ("auth", &[]),
    ("tls", &[]),
    ("secrets", &["auth", "tls"]),
    ("config", &["causality", "auth", "tls", "secrets"]),
    ("cli", &["backup", "auth", "tls"]),
];

/// Modules that only compute, and what would be more than that.
const PURE: &[&str] = &["causality", "replica", "format"];
const IMPURE: &[&str] = &[
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "std::thread",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "getrandom",
    "tokio",
    "tracing",
    "println!",
    "eprintln!",
];

/// What stands nowhere outside tests.
const NOWHERE: &[&str] = &[".unwrap()", "todo!", "unimplemented!", "dbg!", "unsafe "];

const MAX_FUNCTION_LINES: usize = 70;
/// At most one function in twenty is longer than this.
const LONG_FUNCTION_LINES: usize = 50;
const MAX_FILE_LINES: usize = 400;
/// Longer tests go into a file of their own.
const MAX_INLINE_TEST_LINES: usize = 150;

/// A file of the source.
struct Source {
    path: PathBuf,
    /// The top-level module, if the file is part of one.
    module: Option<String>,
    /// Whether the whole file is tests.
    is_test: bool,
    text: String,
}

impl Source {
    fn new(path: &Path, text: String) -> Self {
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        let module = match parts[..] {
            ["src", file] => file.strip_suffix(".rs").filter(|name| !["lib", "main"].contains(name)),
            ["src", directory, ..] => Some(directory),
            _ => None,
        };
        let is_source = parts[0] == "src" || parts.starts_with(&["clients", "rust", "src"]);
        let is_test = !is_source || parts.iter().any(|part| ["tests", "tests.rs"].contains(part));
        Self { path: path.to_owned(), module: module.map(str::to_owned), is_test, text }
    }

    /// Its lines without the tests at its end, without comments; empty lines stay, so that numbers fit.
    fn code(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = self.inline_tests_start().unwrap_or(lines.len());
        lines[..end].iter().map(|line| without_comment(line)).collect()
    }

    fn inline_tests_start(&self) -> Option<usize> {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_start =
            |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
        lines.windows(2).position(is_start)
    }

    fn problem(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path.display(), line + 1)
    }
}

fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(start, _)| !line[..*start].ends_with(':'));
    comment.map_or(line, |(start, _)| &line[..start]).trim_end()
}

/// All files below `src`, `tests`, `benches` and the Rust client.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut directories = ["src", "tests", "benches", "clients/rust"].map(|part| root.join(part)).to_vec();
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push(Source::new(path.strip_prefix(root).unwrap(), text));
            }
        }
    }
    let tests: Vec<PathBuf> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        source.is_test |= tests.iter().any(|test| source.path.with_extension("").starts_with(test));
    }
    assert!(sources.len() > 30, "the source is somewhere else: {}", sources.len());
    sources
}

/// The modules that a file declares for tests only, as paths without extension.
fn test_modules(source: &Source) -> Vec<PathBuf> {
    let own = source.path.with_extension("");
    let is_root = ["mod", "lib", "main"].iter().any(|root| own.ends_with(root));
    let directory = if is_root { source.path.parent().unwrap() } else { &own };
    let lines: Vec<&str> = source.text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let name = |pair: &[&str]| Some(pair[1].strip_suffix(';')?.rsplit_once("mod ")?.1.to_owned());
    declared.filter_map(name).map(|name| directory.join(name)).collect()
}

fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// The top-level modules that a line imports, by `crate::name` or `crate::{name, name::x}`.
fn imported(code: &str) -> Vec<String> {
    let name = |text: &str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    let mut names = Vec::new();
    for (start, found) in code.match_indices("crate::") {
        if code[..start].ends_with('$') {
            continue;
        }
        let rest = &code[start + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut part = String::new();
                for letter in group.chars() {
                    match letter {
                        '}' if depth == 0 => break,
                        ',' if depth == 0 => names.push(name(&std::mem::take(&mut part))),
                        _ => part.push(letter),
                    }
                    depth += i32::from(letter == '{') - i32::from(letter == '}');
                }
                names.push(name(&part));
            }
            None => names.push(name(rest)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn wrong_imports(source: &Source) -> Vec<String> {
    let (false, Some(module)) = (source.is_test, &source.module) else { return Vec::new() };
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| name == module) else {
        return vec![source.problem(0, &format!("module {module} has no place in the order of imports"))];
    };
    let imports = imported(&source.code().join("\n"));
    let wrong = imports.iter().filter(|name| *name != module && !allowed.contains(&name.as_str()));
    wrong.map(|name| source.problem(0, &format!("{module} must not import {name}"))).collect()
}

/// Lines of code in which one of `words` stands as a word.
fn lines_with(source: &Source, words: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in source.code().iter().enumerate() {
        for word in words {
            let is_part = |at: usize| {
                let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                let starts_or_ends_open = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
                (starts_or_ends_open(word.chars().next()) && letter(line[..at].chars().next_back()))
                    || (starts_or_ends_open(word.chars().next_back()) && letter(line[at + word.len()..].chars().next()))
            };
            if line.match_indices(word).any(|(at, _)| !is_part(at)) {
                problems.push(source.problem(number, &format!("'{}' has no place here", word.trim())));
            }
        }
    }
    problems
}

/// Every function: the line it starts in, its name, and how many lines it has.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = source.text.lines().map(without_comment).collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let Some(name) = function_name(line.trim_start()) else { continue };
        let opening = lines[start..].iter().position(|line| line.ends_with(['{', ';', '}'])).unwrap() + start;
        let end = match lines[opening].ends_with('{') {
            true => lines[opening..].iter().position(|line| *line == format!("{indent}}}")).unwrap() + opening,
            false => opening,
        };
        functions.push((start, name.to_owned(), end - start + 1));
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| word.starts_with("pub") || ["const", "async", "super)", "crate)"].contains(&word);
    before.split_whitespace().all(is_qualifier).then(|| after.split(['(', '<']).next().unwrap())
}

fn too_long(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (line, name, lines) in functions(source) {
        if lines > MAX_FUNCTION_LINES {
            problems.push(source.problem(line, &format!("{name} has {lines} lines, at most {MAX_FUNCTION_LINES}")));
        }
    }
    let lines = source.code().iter().filter(|line| !line.trim().is_empty()).count();
    if lines > MAX_FILE_LINES {
        problems.push(source.problem(0, &format!("{lines} lines of code, at most {MAX_FILE_LINES}")));
    }
    let tests = source.inline_tests_start().map_or(0, |start| source.text.lines().count() - start);
    if tests > MAX_INLINE_TEST_LINES {
        problems.push(source.problem(0, &format!("{tests} lines of tests: put them into a file of their own")));
    }
    problems
}

#[test]
fn imports_point_left_only() {
    assert_none(sources().iter().flat_map(wrong_imports).collect());
}

#[test]
fn pure_modules_only_compute() {
    let is_pure = |source: &&Source| !source.is_test && PURE.iter().any(|pure| source.module.as_deref() == Some(pure));
    assert_none(sources().iter().filter(is_pure).flat_map(|source| lines_with(source, IMPURE)).collect());
}

#[test]
fn nothing_unfinished_and_nothing_that_may_panic_unexplained() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test) {
        problems.extend(lines_with(source, NOWHERE));
        let unfinished = ["TODO", "FIXME", "XXX"];
        let lines =
            source.text.lines().enumerate().filter(|(_, line)| unfinished.iter().any(|word| line.contains(word)));
        problems.extend(lines.map(|(number, _)| source.problem(number, "is unfinished")));
    }
    assert_none(problems);
}

#[test]
fn every_module_says_what_it_is() {
    let sources = sources();
    let silent = sources.iter().filter(|source| !source.text.starts_with("//! ") && !source.is_test);
    assert_none(silent.map(|source| source.problem(0, "no '//!' at the top")).collect());
}

#[test]
fn functions_and_files_are_short() {
    let sources = sources();
    assert_none(sources.iter().flat_map(too_long).collect());
    let lines: Vec<usize> = sources.iter().flat_map(functions).map(|(_, _, lines)| lines).collect();
    let long = lines.iter().filter(|lines| **lines > LONG_FUNCTION_LINES).count();
    assert!(long * 20 <= lines.len(), "{long} of {} functions have more than {LONG_FUNCTION_LINES} lines", lines.len());
}

/// Each dependency has its reason in docs/dependencies.md.
#[test]
fn every_dependency_has_a_reason() {
    let reasons = include_str!("../../docs/dependencies.md");
    let manifests = [include_str!("../../Cargo.toml"), include_str!("../../clients/rust/Cargo.toml")];
    let tables = manifests
        .into_iter()
        .flat_map(|manifest| manifest.split("\n["))
        .filter(|table| table.split(']').next().unwrap().ends_with("dependencies"));
    let names = tables.flat_map(|table| table.lines().skip(1)).filter_map(|line| Some(line.split_once(" =")?.0));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    assert_none(names.into_iter().filter(|name| !reasons.contains(&format!("`{name}`"))).map(str::to_owned).collect());
}

/// The table of attacks names tests that there are.
#[test]
fn every_attack_has_its_test() {
    let (_, table) = include_str!("../../docs/security.md").split_once("| attack |").unwrap();
    let rows = table.split("\n\n").next().unwrap().lines();
    let tests = rows.filter_map(|row| Some(row.trim_end_matches(" |").rsplit_once("| ")?.1));
    let names = tests.flat_map(|tests| tests.split('`')).filter(|name| name.contains('_') && !name.contains('.'));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let sources = sources();
    let is_there = |name: &&str| sources.iter().any(|source| source.text.contains(&format!("fn {name}()")));
    assert_none(names.into_iter().filter(|name| !is_there(name)).map(str::to_owned).collect());
}

/// A checker that never failed proves nothing.
#[test]
fn planted_breaches_are_found() {
    let source = |path: &str, text: &str| Source::new(Path::new(path), text.to_owned());
    let imports = |path: &str, text: &str| wrong_imports(&source(path, text)).len();
    assert_eq!(imports("src/replica/x.rs", "use crate::{causality::Dot,\n    storage::{A, B}, node};"), 2);
    assert_eq!(imports("src/http/x.rs", "fn f() { crate::peers::g() }"), 1);
    assert_eq!(imports("src/http/x.rs", "// crate::peers\nuse crate::node::NodeHandle;\nuse crate::http::y;"), 0);
    assert_eq!(imports("src/new/mod.rs", ""), 1);
    assert_eq!(imports("src/replica/x.rs", "#[cfg(test)]\nmod tests {\n    use crate::storage::A;\n}"), 0);

    let declaring = |path: &str| test_modules(&source(path, "#[cfg(test)]\npub(super) mod c;\nmod d;"));
    assert_eq!(declaring("src/storage/mod.rs"), [PathBuf::from("src/storage/c")]);
    assert_eq!(declaring("src/listen.rs"), [PathBuf::from("src/listen/c")]);

    let words = |text: &str| lines_with(&source("src/replica/x.rs", text), IMPURE).len();
    assert_eq!(words("use std::collections::{BTreeMap, HashMap};\nlet t = Instant::now();"), 2);
    assert_eq!(words("let my_Instant = 1; // Instant\nlet url = \"http://x\";"), 0);
    assert_eq!(lines_with(&source("src/x.rs", "x.unwrap();\nx.unwrap_or(1);"), NOWHERE).len(), 1);

    let body = "    let x = 1;\n";
    let long = format!("    pub(super) async fn f(\n        a: u8,\n    ) -> u8 {{\n{}    }}\n", body.repeat(67));
    assert_eq!(too_long(&source("src/x.rs", &format!("impl X {{\n{long}}}"))).len(), 1);
    assert_eq!(
        too_long(&source("src/x.rs", &format!("trait T {{\n    fn g();\n}}\nfn h() {{}}\n{}", body.repeat(69)))).len(),
        0
    );
    assert_eq!(too_long(&source("src/x.rs", &body.repeat(401))).len(), 1);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", body.repeat(150));
    assert_eq!(too_long(&source("src/x.rs", &tests)).len(), 1);
}
