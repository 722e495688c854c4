//! Every kind of refusal, with its status, the end of its `type`, and its title: one table, from which all else is made.

use axum::http::StatusCode;

macro_rules! kinds {
    ($($name:ident $status:ident $slug:literal $title:literal,)*) => {
        /// A documented kind of refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::http) enum Kind {
            $($name,)*
        }

        impl Kind {
            /// Every kind, for the document.
            pub(in crate::http) const ALL: [Self; [$($slug),*].len()] = [$(Self::$name),*];

            /// The end of its `type`.
            pub(in crate::http) const fn slug(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)*
                }
            }

            /// Status, `type`, `title`.
            pub(in crate::http) const fn facts(self) -> (StatusCode, &'static str, &'static str) {
                match self {
                    $(Self::$name => (StatusCode::$status, concat!("/problems/", $slug), $title),)*
                }
            }
        }
    };
}

kinds! {
    MissingKey BAD_REQUEST "missing-key" "No key",
    BadQuery BAD_REQUEST "bad-query" "The query can't be decoded",
    BadParameter BAD_REQUEST "bad-parameter" "A parameter is missing or has a value it can't have",
    UnknownParameter BAD_REQUEST "unknown-parameter" "Unknown parameter",
    DuplicateParameter BAD_REQUEST "duplicate-parameter" "A parameter is given more than once",
    BadDot BAD_REQUEST "bad-dot" "Not a dot",
    BadContext BAD_REQUEST "bad-context" "Not a causal context",
    BadCursor BAD_REQUEST "bad-cursor" "Not a cursor",
    ContextNeeded BAD_REQUEST "context-needed" "A causal context is needed",
    BadHeader BAD_REQUEST "bad-header" "A header has a value it can't have",
    NotSupported BAD_REQUEST "not-supported" "A header asks for what isn't supported",
    NotJson BAD_REQUEST "not-json" "Not JSON",
    BadBody BAD_REQUEST "bad-body" "The body ended early or is framed wrongly",
    NotAuthenticated UNAUTHORIZED "not-authenticated" "No token that this node knows",
    NotAllowed FORBIDDEN "not-allowed" "The token is not for that",
    CrossOrigin FORBIDDEN "cross-origin" "From a page of another origin",
    NotFound NOT_FOUND "not-found" "No such path",
    UnknownWrite NOT_FOUND "unknown-write" "No such write",
    UnknownPeer NOT_FOUND "unknown-peer" "No such peer",
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "Wrong method",
    BodyTooSlow REQUEST_TIMEOUT "body-too-slow" "The body took too long",
    TooManySiblings CONFLICT "too-many-siblings" "Too many siblings",
    CursorGone GONE "cursor-gone" "This node can't go on from the cursor",
    RequestTooLarge PAYLOAD_TOO_LARGE "request-too-large" "The request is too large",
    KeyTooLong PAYLOAD_TOO_LARGE "key-too-long" "A key is too long",
    ValueTooLong PAYLOAD_TOO_LARGE "value-too-long" "A value is too long",
    TooManyEntries PAYLOAD_TOO_LARGE "too-many-entries" "Too many keys in one request",
    UnsupportedContentType UNSUPPORTED_MEDIA_TYPE "unsupported-content-type" "Unsupported content type",
    UnsupportedContentEncoding UNSUPPORTED_MEDIA_TYPE "unsupported-content-encoding" "Unsupported content encoding",
    WrongHost MISDIRECTED_REQUEST "wrong-host" "Not a name of this node",
    BadUtf8 UNPROCESSABLE_ENTITY "bad-utf8" "Not UTF-8",
    WrongType UNPROCESSABLE_ENTITY "wrong-type" "Wrong JSON type",
    UnknownField UNPROCESSABLE_ENTITY "unknown-field" "Unknown field",
    MissingField UNPROCESSABLE_ENTITY "missing-field" "Missing field",
    DuplicateField UNPROCESSABLE_ENTITY "duplicate-field" "A field is given more than once",
    DuplicateKey UNPROCESSABLE_ENTITY "duplicate-key" "A key is given more than once",
    EmptyKey UNPROCESSABLE_ENTITY "empty-key" "A key is empty",
    NoEntries UNPROCESSABLE_ENTITY "no-entries" "No keys in the request",
    TooManyAcks UNPROCESSABLE_ENTITY "too-many-acks" "More acknowledgements wanted than there are nodes",
    IdempotencyKeyReused UNPROCESSABLE_ENTITY "idempotency-key-reused" "The idempotency key is that of another write",
    Internal INTERNAL_SERVER_ERROR "internal" "A bug in this server",
    OutcomeUnknown INTERNAL_SERVER_ERROR "outcome-unknown" "The outcome of this write is unknown",
    StorageUnreadable INTERNAL_SERVER_ERROR "storage-unreadable" "A stored record can't be read",
    ContextNotReached SERVICE_UNAVAILABLE "context-not-reached" "This node lacks what the context includes",
    Overloaded SERVICE_UNAVAILABLE "overloaded" "Too much at once",
    Draining SERVICE_UNAVAILABLE "draining" "This node is being drained",
    ReadOnly SERVICE_UNAVAILABLE "read-only" "This node is read-only",
    TooManyIncarnations SERVICE_UNAVAILABLE "too-many-incarnations" "This node was restarted too often",
    Stopping SERVICE_UNAVAILABLE "stopping" "This node is stopping",
    InsufficientStorage INSUFFICIENT_STORAGE "insufficient-storage" "Too little room on the disk",
}
