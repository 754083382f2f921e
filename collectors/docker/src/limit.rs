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

/// Objects and lists that they may hold; of real lists there is one for some hundred bytes. An empty one is two bytes and
/// takes up to a thousand when it is decoded. They are counted as they pass, which tells nothing of a connection under TLS.
const MAX_NODES: usize = 2_000_000;

/// How long an answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// As said above.
    Bounded,
    /// It has no end; who reads it bounds what is kept of it.
    Endless,
}

/// A stream of which no more can be read than one answer may have. Each request has a connection of its own.
pub(crate) struct Limited<T> {
    inner: T,
    /// Bytes and objects that may still come. None if there is no end to them.
    left: Option<(usize, usize)>,
}

impl<T> Limited<T> {
    pub(crate) fn new(inner: T, length: Length) -> Self {
        let left = match length {
            Length::Bounded => Some((MAX_ANSWER, MAX_NODES)),
            Length::Endless => None,
        };
        Self { inner, left }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Limited<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let Some((left, nodes_left)) = self.left else { return Poll::Ready(Ok(())) };
        let read = &buffer.filled()[before..];
        let nodes = read.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
        let too_large = |message| Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        let Some(left) = left.checked_sub(read.len()) else {
            return too_large(format!("the answer is larger than {} MiB", MAX_ANSWER >> 20));
        };
        let Some(nodes_left) = nodes_left.checked_sub(nodes) else {
            return too_large(format!("the answer has more than {MAX_NODES} JSON objects"));
        };
        self.left = Some((left, nodes_left));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<()> {
        let mut limited = Limited::new(bytes, Length::Bounded);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut part = vec![0; 1 << 16];
        loop {
            let mut buffer = ReadBuf::new(&mut part);
            match Pin::new(&mut limited).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => panic!("bytes are always ready"),
            }
        }
    }

    #[test]
    fn an_answer_of_empty_objects_ends_before_the_memory_does() {
        assert!(read(&b"{},".repeat(MAX_NODES)).is_ok());
        let error = read(&b"[{},{}],".repeat(MAX_NODES / 2)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("2000000 JSON objects"), "{error}");
    }
}
