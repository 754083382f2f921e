//! Connections whose other side does nothing.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Until so much has come hyper does not know which HTTP is spoken, and waits without an end.
const PREFACE: usize = 24;

/// A connection that ends if its other side does not begin to speak, or does not read what it is sent.
pub(super) struct Patient<T> {
    inner: T,
    header: Duration,
    body: Duration,
    read: usize,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    pub(super) fn new(inner: T, header: Duration, body: Duration) -> Self {
        Self { inner, header, body, read: 0, reading: None, writing: None }
    }

    fn written<R>(&mut self, result: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.writing = None;
            return result;
        }
        let body = self.body;
        wait(self.writing.get_or_insert_with(|| Box::pin(sleep(body))), context, "it does not read what it asked for")
    }
}

fn wait<R>(timer: &mut Pin<Box<Sleep>>, context: &mut Context<'_>, what: &'static str) -> Poll<io::Result<R>> {
    timer.as_mut().poll(context).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, what)))
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(context, buffer);
        if this.read >= PREFACE {
            return result;
        }
        this.read += buffer.filled().len() - before;
        if result.is_ready() {
            return result;
        }
        let header = this.header;
        wait(this.reading.get_or_insert_with(|| Box::pin(sleep(header))), context, "it does not say what it wants")
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.written(result, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(context, buffers);
        this.written(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(context);
        this.written(result, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_shutdown(context);
        this.written(result, context)
    }
}
