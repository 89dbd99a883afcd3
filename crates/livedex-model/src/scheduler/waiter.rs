//! The thread that waits for an asynchronous device, so that the device thread need not.
//!
//! It waits for one batch after the other, in the order of their submission, has the results
//! converted, and hands them back through the device thread's inbox. It never touches a model.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{SyncSender, sync_channel},
    thread::Builder,
};

use super::{
    activity::Turn,
    device::panic_message,
    execute::DeviceFailure,
    job::{Landed, Message},
    limits::BATCHES_IN_FLIGHT,
    models::Outputs,
};
use crate::backend::{ForwardError, Pending};

type Task = (Turn, Pending<Outputs>);

/// The device thread's end. The waiter ends, after the batch that it waits for, when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiter(SyncSender<Task>);

impl Waiter {
    /// `inbox` has room for every batch in flight.
    pub(crate) fn spawn(inbox: SyncSender<Message>) -> std::io::Result<Self> {
        let (to_waiter, tasks) = sync_channel::<Task>(BATCHES_IN_FLIGHT);
        Builder::new().name("livedex-waiter".to_owned()).spawn(move || {
            for (turn, pending) in tasks {
                let outcome = catch_unwind(AssertUnwindSafe(|| pending.wait()));
                let outcome = outcome
                    .unwrap_or_else(|panic| Err(ForwardError::Device(panic_message(&*panic))));
                let (turn, took) = (turn.id(), turn.end());
                if inbox.send(Message::Landed(Landed { turn, outcome, took })).is_err() {
                    // The device thread has ended: nobody wants it.
                    return;
                }
            }
        })?;
        Ok(Self(to_waiter))
    }

    /// Hands over a batch that has begun; it comes back as [`Message::Landed`].
    pub(crate) fn wait_for(
        &self,
        turn: Turn,
        pending: Pending<Outputs>,
    ) -> Result<(), DeviceFailure> {
        let gone = |_| DeviceFailure("the thread that waits for the device has ended".to_owned());
        self.0.send((turn, pending)).map_err(gone)
    }
}
