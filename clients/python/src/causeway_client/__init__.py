"""A client of Causeway, a replicated key-value store that never refuses a write.

`Client` (for threads) and `AsyncClient` (for asyncio) know the nodes. A session of one carries what was seen from
answer to answer, reads all `Siblings` of a key, and merges them. A watch tells every change as an `Event`.
"""

from causeway_client._async import AsyncClient, AsyncSession, AsyncWatch
from causeway_client._errors import (
    BadAnswer,
    BadRequest,
    CausewayError,
    ContextNotReached,
    IdempotencyKeyReused,
    NotAllowed,
    OutcomeUnknown,
    Problem,
    SiblingsLeftOut,
    TooLarge,
    TooManySiblings,
    Unavailable,
    Unreachable,
)
from causeway_client._sync import Client, Session, Watch
from causeway_client._values import Entry, Event, Sibling, Siblings, Written

__all__ = [
    "AsyncClient",
    "AsyncSession",
    "AsyncWatch",
    "BadAnswer",
    "BadRequest",
    "CausewayError",
    "Client",
    "ContextNotReached",
    "Entry",
    "Event",
    "IdempotencyKeyReused",
    "NotAllowed",
    "OutcomeUnknown",
    "Problem",
    "Session",
    "Sibling",
    "Siblings",
    "SiblingsLeftOut",
    "TooLarge",
    "TooManySiblings",
    "Unavailable",
    "Unreachable",
    "Watch",
    "Written",
]
