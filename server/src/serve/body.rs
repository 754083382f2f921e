//! Bodies of requests: those that come too slowly, and what is left of those that nobody wants.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// What has to arrive in each span of waiting, so that a body that trickles does not take for ever.
const LEAST: usize = 8 * 1024;

/// A body whose sender has so long for each part of it.
pub(super) struct Punctual {
    inner: Body,
    patience: Duration,
    /// Since when the next part is waited for, and what ends that.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// How long was waited in this span, and for how many bytes.
    waited: Duration,
    arrived: usize,
    /// Set when the sender took too long.
    is_late: Arc<AtomicBool>,
}

/// The sender took too long.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly: less than {LEAST} bytes in {0:?}")]
struct TooSlow(Duration);

impl Punctual {
    pub(super) fn new(inner: Body, patience: Duration, is_late: Arc<AtomicBool>) -> Self {
        Self { inner, patience, waiting: None, waited: Duration::ZERO, arrived: 0, is_late }
    }

    /// Ends a span of waiting, in which enough has to have arrived.
    fn end_of_span(&mut self) -> Result<(), axum::Error> {
        if self.arrived < LEAST {
            self.is_late.store(true, Relaxed);
            return Err(axum::Error::new(TooSlow(self.patience)));
        }
        (self.waited, self.arrived) = (Duration::ZERO, 0);
        Ok(())
    }
}

impl HttpBody for Punctual {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            // Only waiting counts: a handler that takes its time is not the sender's fault.
            if let Some((since, _)) = this.waiting.take() {
                this.waited += since.elapsed();
            }
            if let Some(Ok(frame)) = &frame {
                this.arrived += frame.data_ref().map_or(0, Bytes::len);
                if this.waited >= this.patience {
                    this.end_of_span()?;
                }
            }
            return Poll::Ready(frame);
        }
        loop {
            let left = this.patience.saturating_sub(this.waited);
            let (since, end) = this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
            ready!(end.as_mut().poll(context));
            this.waited += since.elapsed();
            this.waiting = None;
            this.end_of_span()?;
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body of which what its handler does not read can be read all the same.
pub(super) struct Shared(Arc<Mutex<Body>>);

/// What is left of a body.
pub(super) struct Rest(Arc<Mutex<Body>>);

impl Shared {
    pub(super) fn new(body: Body) -> (Self, Rest) {
        let body = Arc::new(Mutex::new(body));
        (Self(Arc::clone(&body)), Rest(body))
    }
}

impl Rest {
    /// Reads and forgets it, `most` bytes at the most. Who sends a body looks for the answer behind it, and if the connection ends
    /// while they send, sees that and no answer.
    pub(super) async fn forget(self, most: usize) {
        let mut body = Shared(self.0);
        let mut read = 0;
        while read < most && !body.is_end_stream() {
            let Some(Ok(frame)) = body.frame().await else { return };
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt as _, stream};

    use super::*;

    /// A body of parts, each of which comes a second after the other.
    async fn read(parts: usize, size: usize) -> Result<usize, String> {
        let parts = stream::iter(0..parts).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; size]))
        });
        let body = Punctual::new(Body::from_stream(parts), Duration::from_secs(10), Arc::default());
        body.collect().await.map(|whole| whole.to_bytes().len()).map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_refused_and_one_that_flows_is_not() {
        assert_eq!(read(100, 1024).await, Ok(102_400));
        assert_eq!(read(9, 1).await, Ok(9));
        assert!(read(100, 1).await.unwrap_err().contains("too slowly"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_refused() {
        let stuck = stream::pending::<Result<Bytes, Infallible>>();
        let body = Punctual::new(Body::from_stream(stuck), Duration::from_secs(10), Arc::default());
        assert!(body.collect().await.unwrap_err().to_string().contains("too slowly"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_takes_its_time_does_no_harm() {
        let parts = stream::iter(0..20).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"x")));
        let mut body = Punctual::new(Body::from_stream(parts), Duration::from_secs(10), Arc::default());
        while let Some(part) = body.frame().await {
            part.unwrap();
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
    }
}
