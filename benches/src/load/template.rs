//! A request that is written down once; only its keys differ from time to time.

/// Where a key has its number: nine digits. A key of some text and this is a plain one, also as base64 (etcd).
pub const KEY: &str = "#########";

/// The bytes of a request with room for the numbers of its keys.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    keys: Vec<usize>,
}

impl Template {
    /// The request of this text; every [`KEY`] in it is the number of a key.
    pub fn new(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), keys: text.match_indices(KEY).map(|(at, _)| at).collect() }
    }

    /// An HTTP request with a body, or without any when it is empty.
    pub fn http(method: &str, path: &str, body: &str) -> Self {
        Self::http_with(method, path, "", body)
    }

    /// The same with more headers, each a line with its end.
    pub fn http_with(method: &str, path: &str, headers: &str, body: &str) -> Self {
        let head = match body {
            "" => String::new(),
            _ => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
        };
        Self::new(&format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{headers}{head}\r\n{body}"))
    }

    /// How many keys it has.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The request with these numbers.
    pub fn with(&mut self, numbers: impl Iterator<Item = u64>) -> &[u8] {
        for (at, number) in self.keys.iter().zip(numbers) {
            let mut rest = number;
            for digit in self.bytes[*at..*at + KEY.len()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_go_where_the_keys_are() {
        let mut template = Template::new("a#########b#########");
        assert_eq!(template.with([7, 123_456_789].into_iter()), b"a000000007b123456789");
        assert_eq!(template.with([1, 2].into_iter()), b"a000000001b000000002");
    }

    #[test]
    fn lengths_count_the_body() {
        let mut template = Template::http("PATCH", "/set", "{}");
        let text = String::from_utf8(template.with(std::iter::empty()).to_vec()).unwrap();
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"), "{text}");
    }
}
