//! A batch that the device may still be computing.

use std::fmt;

use super::ForwardError;

/// A batch's results, perhaps still being computed. Dropping it gives the results up; the device
/// goes on with the batch.
pub struct Pending<T>(State<T>);

enum State<T> {
    Ready(T),
    Running(Box<dyn FnOnce() -> Result<T, ForwardError> + Send>),
}

impl<T> Pending<T> {
    /// Results that are there: what a synchronous device answers.
    pub fn ready(results: T) -> Self {
        Self(State::Ready(results))
    }

    /// Results to come. `wait` blocks until the device is done with the batch, then converts them; it
    /// is called at most once, on any thread, and for the batches of one device in the order
    /// in which they were submitted.
    pub fn running(wait: impl FnOnce() -> Result<T, ForwardError> + Send + 'static) -> Self {
        Self(State::Running(Box::new(wait)))
    }

    /// Whether [`Pending::wait`] gives the results without waiting. False says only that nobody
    /// knows.
    pub fn is_ready(&self) -> bool {
        matches!(self.0, State::Ready(_))
    }

    /// As it is, or once it is there, through `f`.
    pub fn map<U>(
        self,
        f: impl FnOnce(T) -> Result<U, ForwardError> + Send + 'static,
    ) -> Result<Pending<U>, ForwardError>
    where
        T: 'static,
    {
        match self.0 {
            State::Ready(results) => f(results).map(Pending::ready),
            State::Running(wait) => Ok(Pending::running(|| wait().and_then(f))),
        }
    }

    /// The results, once the device is done. Blocks for that long.
    ///
    /// # Errors
    /// As those of a forward pass: an asynchronous device reports here what went wrong after the
    /// batch was submitted.
    pub fn wait(self) -> Result<T, ForwardError> {
        match self.0 {
            State::Ready(results) => Ok(results),
            State::Running(wait) => wait(),
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ready() { "Pending(ready)" } else { "Pending(running)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_waited_for_or_there() {
        let ready = Pending::ready(vec![1.0]);
        assert!(ready.is_ready());
        assert_eq!(ready.wait(), Ok(vec![1.0]));
        let failed = ForwardError::Device("gone".into());
        let running = Pending::<()>::running({
            let failed = failed.clone();
            move || Err(failed)
        });
        assert!(!running.is_ready());
        assert_eq!(running.wait(), Err(failed));
    }
}
