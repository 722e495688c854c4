//! A stream of all changes of a prefix.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;
use reqwest::Response;

use crate::error::Error;
use crate::http::Wire;
use crate::logic::watching::{Came, Step, Watching};
use crate::{Client, Event};

/// Events, one after the other: each change once, after all that it knew of.
///
/// A connection that breaks, a node that is restarted: the watch goes on behind the last event that it told. Cursors are of
/// one node's log. So a watch asks its own node for half of `timeout`, then begins at another one with [`Event::Reset`].
/// When no node answers for `timeout`, it gives [`Error::Unreachable`]; whoever polls on goes on where it was. It never
/// ends by itself, and nothing is lost when a wait for the next event is dropped.
///
/// ```no_run
/// use causeway_client::{Client, Event};
/// use futures_util::StreamExt;
///
/// # async fn run(client: Client) -> Result<(), causeway_client::Error> {
/// let mut watch = client.watch("order/");
/// while let Some(event) = watch.next().await {
///     match event? {
///         Event::Start { context, .. } => println!("read what there is with client.session_from({context:?})"),
///         Event::Change(change) => println!("{} changes {:?}", change.dot, change.entries),
///         _ => println!("changes may have been missed"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a watch does nothing until it is polled"]
pub struct Watch {
    wire: Wire,
    logic: Watching,
    response: Option<Response>,
    doing: Option<Pin<Box<dyn Future<Output = Done> + Send>>>,
}

/// What came of a step, and the answer to read on in.
type Done = (Option<Response>, Option<Came>);

impl Watch {
    pub(crate) fn new(client: Client, prefix: String) -> Self {
        let logic = Watching::new(client.settings, prefix);
        Self { wire: client.wire, logic, response: None, doing: None }
    }

    /// Goes on behind a [cursor](Watch::cursor); `"0"` begins with the first op of the node's log.
    pub fn from_cursor(mut self, cursor: &str) -> Self {
        self.logic.goes_on_behind(cursor);
        self
    }

    /// How long it may take to go on when it was cut off (the client's `timeout`).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.logic.timeout = timeout;
        self
    }

    /// How long its node may say nothing (45 seconds; nodes speak every 15).
    pub fn silence(mut self, silence: Duration) -> Self {
        self.logic.silence = silence;
        self
    }

    /// How far it has come: a watch that begins with that goes on from there.
    pub fn cursor(&self) -> Option<String> {
        self.logic.cursor()
    }

    fn begin(&mut self, step: Step) -> Result<Event, Pin<Box<dyn Future<Output = Done> + Send>>> {
        let wire = self.wire.clone();
        let response = self.response.take();
        match step {
            Step::Tell(event) => {
                self.response = response;
                Ok(event)
            }
            Step::Open(request) => Err(Box::pin(async move {
                match wire.open_good(request).await {
                    Ok((answer, response)) => (response, Some(Came::Opened(Ok(answer)))),
                    Err(failure) => (None, Some(Came::Opened(Err(failure)))),
                }
            })),
            Step::Receive(within) => Err(Box::pin(receive(response, within))),
            Step::Pause(pause) => Err(Box::pin(async move {
                tokio::time::sleep(pause).await;
                (None, None)
            })),
        }
    }
}

async fn receive(response: Option<Response>, within: Duration) -> Done {
    let Some(mut response) = response else { return (None, Some(Came::Piece(None))) };
    match tokio::time::timeout(within, response.chunk()).await {
        Ok(Ok(Some(piece))) => (Some(response), Some(Came::Piece(Some(piece.to_vec())))),
        _ => (None, Some(Came::Piece(None))),
    }
}

impl Stream for Watch {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let mut came = None;
            if let Some(doing) = &mut self.doing {
                let (response, what) = ready!(doing.as_mut().poll(context));
                self.doing = None;
                self.response = response;
                came = what;
            }
            let step = match self.logic.step(Instant::now(), came) {
                Ok(step) => step,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            match self.begin(step) {
                Ok(event) => return Poll::Ready(Some(Ok(event))),
                Err(doing) => self.doing = Some(doing),
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}
