//! One line of reads and writes, and the context that it carries.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_util::stream;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::logic::errands::{Errand, Key, List, Merged, Read, Run, Seen, Set, Step, Update};
use crate::{Client, Siblings, Values, WriteOptions, Written};

/// A list that comes page by page.
pub type Listing<'a, T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send + 'a>>;

/// One line of reads and writes: it reads what it wrote, never sees an older state than before, and its writes come after
/// what it has seen, at whatever node.
///
/// It passes the context of its newest answer on with each request. What it has seen is the whole state of its node as of
/// that answer, not just the keys that it asked for: what you read, change and write back belongs into one
/// [`update`](Session::update), then, not into a `read` and a `set`. Sessions cost nothing.
///
/// A call that is dropped before it is done may have been made.
#[derive(Clone, Debug)]
pub struct Session {
    client: Client,
    seen: Seen,
    timeout: Option<Duration>,
}

impl Session {
    pub(crate) fn new(client: Client, context: Option<String>) -> Self {
        let context = context.filter(|context| !context.is_empty());
        Self { client, seen: Seen { context, home: None }, timeout: None }
    }

    /// With another [overall timeout](crate::ClientBuilder::timeout) than the client's.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What the session has seen, as a text that is safe in URLs and cookies; `None` as long as it is nothing.
    pub fn context(&self) -> Option<&str> {
        self.seen.context.as_deref()
    }

    /// Reads all siblings of a key.
    pub async fn read(&mut self, key: impl Into<String>) -> Result<Siblings, Error> {
        let key = key.into();
        let mut found = self.run(Read::new([key.clone()])).await?;
        found.remove(&key).ok_or_else(|| Error::BadAnswer("it lacks the key that was asked for".to_owned()))
    }

    /// Reads all siblings of many keys, as of one instant unless these are more than 8 MiB.
    pub async fn read_many<K: Into<String>>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<BTreeMap<String, Siblings>, Error> {
        self.run(Read::new(keys.into_iter().map(Into::into))).await
    }

    /// Writes one key. Replaces what the session has seen; while that is nothing, what its node holds.
    pub async fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<Written, Error> {
        self.write(Values::new().set(key, value), WriteOptions::new()).await
    }

    /// Deletes one key. A write that did not know of that stays.
    pub async fn delete(&mut self, key: impl Into<String>) -> Result<Written, Error> {
        self.write(Values::new().delete(key), WriteOptions::new()).await
    }

    /// Writes and deletes keys, all or nothing.
    pub async fn write(&mut self, values: Values, options: WriteOptions) -> Result<Written, Error> {
        self.run(Set::new(values, options)).await
    }

    /// Puts what `merge` makes of a key's siblings into their place; `None` deletes the key.
    ///
    /// What comes between its read and its write stays beside the new value, and is merged by the next `update`. `merge`
    /// may be called more than once.
    pub async fn update<R: Into<Option<String>>>(
        &mut self,
        key: impl Into<String>,
        merge: impl FnMut(&Siblings) -> R,
    ) -> Result<Written, Error> {
        self.update_with(key, WriteOptions::new(), merge).await
    }

    /// Does what [`update`](Session::update) does, with options for the write.
    pub async fn update_with<R: Into<Option<String>>>(
        &mut self,
        key: impl Into<String>,
        options: WriteOptions,
        mut merge: impl FnMut(&Siblings) -> R,
    ) -> Result<Written, Error> {
        let merge = |siblings: &Siblings| merge(siblings).into();
        match self.run(Update::new(key.into(), merge, options)).await? {
            Merged::Written(written) => Ok(written),
            Merged::Left(_) => Err(Error::BadAnswer("nothing was written".to_owned())),
        }
    }

    /// Merges a key's siblings if there are several; gives the value that the key has then.
    pub async fn resolve<R: Into<Option<String>>>(
        &mut self,
        key: impl Into<String>,
        mut merge: impl FnMut(&Siblings) -> R,
    ) -> Result<Option<String>, Error> {
        let merge = |siblings: &Siblings| merge(siblings).into();
        match self.run(Update::new(key.into(), merge, WriteOptions::new()).only_conflicts()).await? {
            Merged::Written(written) => Ok(written.value().map(str::to_owned)),
            Merged::Left(value) => Ok(value),
        }
    }

    /// Lists the keys that begin with `prefix`, in byte order. The timeout is for each thousand of them.
    pub fn keys(&mut self, prefix: impl Into<String>) -> Listing<'_, String> {
        let keys = self.list("/keys", 1000, prefix.into());
        Box::pin(futures_util::TryStreamExt::map_ok(keys, |Key { key }| key))
    }

    /// Lists the keys that begin with `prefix` and have siblings, with them.
    pub fn conflicts(&mut self, prefix: impl Into<String>) -> Listing<'_, Siblings> {
        Box::pin(self.list("/conflicts", 100, prefix.into()))
    }

    fn list<T: DeserializeOwned + Send + 'static>(
        &mut self,
        path: &'static str,
        limit: u32,
        prefix: String,
    ) -> impl Stream<Item = Result<T, Error>> + Send + '_ {
        let begin = (self, VecDeque::new(), Some(None::<String>));
        stream::try_unfold(begin, move |(session, mut page, mut after)| {
            let prefix = prefix.clone();
            async move {
                while page.is_empty()
                    && let Some(from) = after
                {
                    let found = session.run(List::<T>::new(path, limit, &prefix, from.as_deref())).await?;
                    page = found.keys.into();
                    after = found.next.map(Some);
                }
                Ok(page.pop_front().map(|each| (each, (session, page, after))))
            }
        })
    }

    async fn run<E: Errand>(&mut self, errand: E) -> Result<E::Output, Error> {
        let settings = &self.client.settings;
        let deadline = settings.deadline(Instant::now(), self.timeout)?;
        let mut run = Run::begin(settings.clone(), &mut self.seen, errand, deadline);
        let mut outcome = None;
        loop {
            match run.step(Instant::now(), outcome.take())? {
                Step::Send(request) => outcome = Some(self.client.wire.send(request).await),
                Step::Pause(pause) => tokio::time::sleep(pause).await,
                Step::Done(output) => return Ok(output),
            }
        }
    }
}
