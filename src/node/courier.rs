//! Couriers: how answers get from the owner's thread to the threads whose requests wait for them.
//!
//! To wake a task of another thread takes a system call. A commit answers many requests at once, most of them on the
//! same few threads; so a thread can have a courier, a task that takes all answers of a commit in one piece and hands them
//! out where waking costs nothing. Threads without one get theirs one by one. Must not hold answers back.

use std::cell::RefCell;

use tokio::sync::{mpsc, oneshot};

/// Brings answers to one thread.
pub(super) type Courier = mpsc::UnboundedSender<Vec<Delivery>>;

/// Gives an answer to who waits for it.
pub(super) type Delivery = Box<dyn FnOnce() + Send>;

thread_local! {
    static HERE: RefCell<Option<Courier>> = const { RefCell::new(None) };
}

/// Is this thread's courier for as long as it runs. To be run on a runtime that has one thread.
pub async fn run_courier() {
    let (courier, mut deliveries) = mpsc::unbounded_channel();
    let _here = Here::set(courier);
    while let Some(batch) = deliveries.recv().await {
        batch.into_iter().for_each(|deliver| deliver());
    }
}

/// Takes the courier away again when its task ends.
struct Here;

impl Here {
    fn set(courier: Courier) -> Self {
        HERE.with_borrow_mut(|here| *here = Some(courier));
        Self
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // The thread may be ending, and with it what belongs to it.
        let _ = HERE.try_with(|here| here.borrow_mut().take());
    }
}

/// An answer that is awaited, and the way to who awaits it.
pub(super) struct Reply<T> {
    to: oneshot::Sender<T>,
    courier: Option<Courier>,
}

impl<T: Send + 'static> Reply<T> {
    /// To this thread.
    pub(super) fn here() -> (Self, oneshot::Receiver<T>) {
        let (to, answer) = oneshot::channel();
        (Self { to, courier: HERE.with_borrow(Clone::clone) }, answer)
    }

    /// Sends the answer, or puts it into the bag of a courier.
    pub(super) fn give(self, answer: T, bags: &mut Bags) {
        let Self { to, courier } = self;
        // Who went away doesn't need the answer.
        let deliver = move || drop(to.send(answer));
        match courier {
            Some(courier) => bags.put(courier, Box::new(deliver)),
            None => deliver(),
        }
    }
}

/// Answers on their way to couriers.
#[derive(Default)]
pub(super) struct Bags(Vec<(Courier, Vec<Delivery>)>);

impl Bags {
    fn put(&mut self, courier: Courier, delivery: Delivery) {
        match self.0.iter_mut().find(|(known, _)| known.same_channel(&courier)) {
            Some((_, bag)) => bag.push(delivery),
            None => self.0.push((courier, vec![delivery])),
        }
    }

    /// Lets the couriers have them.
    pub(super) fn send(&mut self) {
        for (courier, bag) in self.0.drain(..) {
            if let Err(mpsc::error::SendError(bag)) = courier.send(bag) {
                // That courier has ended, its thread may still be there.
                bag.into_iter().for_each(|deliver| deliver());
            }
        }
    }
}
