//! A connection that ends before the machine's memory does.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that one answer may have: the lists of a host with tens of thousands of containers stay far below it. The
/// client library holds an answer as bytes, as text and as objects, so that the memory needed is several times this.
pub(crate) const MAX_ANSWER: usize = 128 << 20;

/// A stream of which no more than [`MAX_ANSWER`] bytes can be read. Each request has a connection of its own.
pub(crate) struct Limited<T> {
    inner: T,
    left: usize,
}

impl<T> Limited<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, left: MAX_ANSWER }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Limited<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        let Some(left) = self.left.checked_sub(read) else {
            let message = format!("the answer is larger than {} MiB", MAX_ANSWER >> 20);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Limited<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T> Connection for Limited<T> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
