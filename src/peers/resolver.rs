//! Looking up names: by the system, anew for every connection. Addresses change and swap when containers are
//! reconnected; a resolver that caches would go on talking to the wrong node.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};

/// Look-ups at once, over all senders. One that hangs outlives the try that wanted it (the system's call
/// can't be stopped), and each has a thread of its own, so that nothing else waits for it, not even the end of
/// the process. Past this bound tries fail at once until some have ended.
const MAX_LOOKUPS: usize = 128;

/// The system's resolver.
#[derive(Clone)]
pub(super) struct SystemResolver {
    free: Arc<Semaphore>,
}

impl SystemResolver {
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let permit = self.free.clone().try_acquire_owned();
        Box::pin(async move {
            let permit = permit.map_err(|_| format!("{MAX_LOOKUPS} look-ups have not ended yet"))?;
            let (reply, found) = oneshot::channel();
            let look_up = move || {
                let _permit = permit;
                // The try that wanted it may have been given up.
                let _ = reply.send((name.as_str(), 0).to_socket_addrs());
            };
            thread::Builder::new().name("look-up".to_owned()).spawn(look_up)?;
            let addresses: Addrs = Box::new(found.await??);
            Ok(addresses)
        })
    }
}
