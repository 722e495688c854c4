//! The query of a request, taken strictly: what is not known, given twice or malformed is refused.
//!
//! Names and values are `application/x-www-form-urlencoded`: `+` is a space, `%2B` a plus sign.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::problem::{Kind, Problem, shown};

/// What the query of a call with parameters can be refused for.
pub(super) const REFUSALS: &[Kind] = &[Kind::BadQuery, Kind::UnknownParameter, Kind::DuplicateParameter];

/// The same of a call without any.
pub(super) const NONE_KNOWN: &[Kind] = &[Kind::BadQuery, Kind::UnknownParameter];

/// The values of the `known` parameters, in that order.
pub(super) fn params<'q, const N: usize>(
    query: Option<&'q str>,
    known: [&'static str; N],
) -> Result<[Option<Cow<'q, str>>; N], Problem> {
    let mut values = [const { None }; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let Some(index) = known.iter().position(|known| *known == name) else {
            return Err(unknown(&name, &known));
        };
        if values[index].replace(value).is_some() {
            let detail = format!("the parameter '{name}' is given more than once");
            return Err(Problem::new(Kind::DuplicateParameter, detail).with("parameter", known[index]));
        }
    }
    Ok(values)
}

/// A parameter has a value that it can't have.
pub(super) fn bad_value(name: &'static str, value: &str, expected: &str) -> Problem {
    let detail = format!("{name} is {expected}, not '{}'", shown(value));
    Problem::new(Kind::BadParameter, detail).with("parameter", name)
}

/// A parameter that must be there is not.
pub(super) fn missing(name: &'static str, expected: &str) -> Problem {
    let detail = format!("the parameter '{name}' is missing: {expected}");
    Problem::new(Kind::BadParameter, detail).with("parameter", name)
}

fn unknown(name: &str, known: &[&'static str]) -> Problem {
    let known = match known {
        [] => "this call takes none".to_owned(),
        known => format!("this call takes {}", known.join(", ")),
    };
    let detail = format!("there is no parameter '{}'; {known}", shown(name));
    Problem::new(Kind::UnknownParameter, detail).with("parameter", shown(name))
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    // The decoder passes a stray '%' on as it is: that would be another key than the one meant.
    let stray = text.split('%').skip(1).any(|rest| !matches!(rest.as_bytes(), [a, b, ..] if is_hex(*a) && is_hex(*b)));
    if stray {
        return Err(Problem::new(Kind::BadQuery, "a '%' in the query is not followed by two hex digits"));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| Problem::new(Kind::BadQuery, "the query is not UTF-8 once its percent-encoding is undone"))?;
    Ok(Cow::Owned(decoded.into_owned()))
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}
