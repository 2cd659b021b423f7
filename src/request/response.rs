//! `ApiRequest` and `ApiResponse`: what filters and handlers pass to each other.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use smallvec::SmallVec;

use crate::request::RequestContext;

/// A request on its way down the chain: the context and the unread body.
pub struct ApiRequest {
    /// Everything known about the request.
    pub ctx: RequestContext,
    /// The body, not yet read.
    pub body: axum::body::Body,
    /// hyper's upgrade handle, for exec, attach, port-forward and WebSocket watches.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// The filter `wait-group` counts it, until it is answered or dropped.
    pub counted: Option<Box<dyn Held>>,
    /// The filter `flow-control` lets it run, until it is answered or dropped.
    pub permit: Option<Box<dyn Held>>,
}

/// Something that a request occupies while it is handled; dropping it frees that.
pub trait Held: Send + Sync {
    /// Says so in the headers of the answer.
    fn mark(&self, _: &mut HeaderMap) {}
}

impl ApiRequest {
    /// A request that holds nothing yet.
    pub fn new(ctx: RequestContext, body: axum::body::Body) -> Self {
        ApiRequest {
            ctx,
            body,
            upgrade: None,
            counted: None,
            permit: None,
        }
    }
}

/// What stands behind the last filter.
#[async_trait]
pub trait Endpoint: Send + Sync {
    /// Answers a request that passed all filters.
    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse;
}

/// Bytes as they become ready; an error cuts the connection off.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Slices>> + Send>>;

/// What runs on a connection once it has left HTTP; it ends when either side does, or when dropped.
pub type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an answer.
#[derive(Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// The whole body, sent in [`Blocks`].
    Segments(Vec<Bytes>),
    /// A body that is produced over time (watch, log, proxy).
    Stream(ByteStream),
    /// No body but another protocol, behind `101 Switching Protocols`.
    Switching(Tunnel),
}

/// Bytes in several parts that are sent as one piece, and not copied together for it: a connection takes
/// a piece's parts with one system call, as it takes those of several pieces.
#[derive(Clone, Debug, Default)]
pub struct Slices {
    parts: SmallVec<[Bytes; 1]>,
    /// The first part that is not sent.
    at: usize,
    bytes: usize,
}

impl Slices {
    /// Adds bytes to the end.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push(part);
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The bytes in one part.
    pub fn into_bytes(mut self) -> Bytes {
        let bytes = self.bytes;
        self.copy_to_bytes(bytes)
    }
}

impl From<Bytes> for Slices {
    fn from(part: Bytes) -> Self {
        let mut slices = Slices::default();
        slices.push(part);
        slices
    }
}

impl Buf for Slices {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.parts.get(self.at).map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let parts = self.parts.iter().skip(self.at);
        let mut filled = 0;
        for (part, slice) in parts.zip(into) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "no further than to the end");
        self.bytes -= count;
        while count > 0 {
            let part = &mut self.parts[self.at];
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            // What is sent is not kept until all is.
            *part = Bytes::new();
            self.at += 1;
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        if let Some(part) = self.parts.get(self.at)
            && part.len() == count
        {
            let part = part.clone();
            self.advance(count);
            return part;
        }
        let mut out = BytesMut::with_capacity(count);
        out.put(self.take(count));
        out.freeze()
    }
}

/// Bytes of a block: a few TLS records, and what rustls takes at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// The segments of a body on their way to the connection, in blocks. A connection writes after so many
/// pieces, however small they are: the thousands of slices that a list consists of would each cost a good
/// part of a TLS record and a system call.
pub struct Blocks {
    segments: std::vec::IntoIter<Bytes>,
    /// What the last block had no room for.
    rest: Bytes,
    bytes: u64,
}

impl Blocks {
    /// Of a whole body.
    pub fn new(segments: Vec<Bytes>) -> Self {
        Blocks {
            bytes: segments.iter().map(|s| s.len() as u64).sum(),
            segments: segments.into_iter(),
            rest: Bytes::new(),
        }
    }

    /// Bytes that are still to be handed out.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn segment(&mut self) -> Option<Bytes> {
        if !self.rest.is_empty() {
            return Some(std::mem::take(&mut self.rest));
        }
        self.segments.next()
    }
}

impl Iterator for Blocks {
    type Item = Slices;

    fn next(&mut self) -> Option<Slices> {
        let mut block = Slices::default();
        while block.len() < BLOCK_BYTES
            && let Some(mut segment) = self.segment()
        {
            let room = BLOCK_BYTES - block.len();
            if segment.len() > room {
                self.rest = segment.split_off(room);
            }
            block.push(segment);
        }
        self.bytes -= block.len() as u64;
        (!block.is_empty()).then_some(block)
    }
}

/// An answer on its way up the chain.
#[derive(Default)]
pub struct ApiResponse {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Body,
}

impl ApiResponse {
    /// A whole body of one media type.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        ApiResponse {
            status,
            headers,
            body: Body::Segments(vec![body.into()]),
        }
    }

    /// Plain text, with `X-Content-Type-Options: nosniff` as Go's `http.Error` sets it.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut response = Self::new(status, "text/plain; charset=utf-8", body);
        response.headers.insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_all_bytes_in_order() {
        let text = |bytes: usize, n: u8| Bytes::from(vec![n; bytes]);
        let list: Vec<Bytes> = (0..200).flat_map(|n| [text(2, 0), text(2600, n)]).collect();
        let cases = [
            vec![],
            vec![Bytes::new(), text(1, 1), Bytes::new()],
            vec![text(2600, 1), text(1, 2)],
            vec![text(3 * BLOCK_BYTES + 1, 1), text(1, 2)],
            vec![text(BLOCK_BYTES - 1, 1), text(2 * BLOCK_BYTES, 2)],
            (0..100).map(|n| text(3, n)).collect(),
            list,
        ];
        for segments in cases {
            let whole = segments.concat();
            let mut blocks = Blocks::new(segments);
            let mut sent = Vec::new();
            assert_eq!(blocks.bytes(), whole.len() as u64);
            let mut count = 0;
            while let Some(block) = blocks.next() {
                assert!(!block.is_empty() && block.len() <= BLOCK_BYTES);
                sent.extend_from_slice(&block.into_bytes());
                assert_eq!(blocks.bytes() as usize, whole.len() - sent.len());
                count += 1;
            }
            assert_eq!(sent, whole);
            assert!(count <= whole.len() / BLOCK_BYTES + 3, "{count} blocks");
        }
    }

    #[test]
    fn what_is_sent_as_it_is_is_not_copied() {
        let object = Bytes::from(vec![b'x'; 2600]);
        let mut blocks = Blocks::new(vec![object.clone(), Bytes::from_static(b"\n")]);
        let mut sent = blocks.next().expect("a block");
        let mut parts = [IoSlice::new(&[]); 4];
        assert_eq!(sent.chunks_vectored(&mut parts), 2);
        assert_eq!(parts[0].as_ptr(), object.as_ptr());
        sent.advance(2599);
        assert_eq!((sent.chunk(), sent.remaining()), (&b"x"[..], 2));
        sent.advance(1);
        assert_eq!(sent.chunk(), b"\n");
        assert_eq!(sent.into_bytes(), "\n");
        let one = Slices::from(object.clone()).into_bytes();
        assert_eq!(one.as_ptr(), object.as_ptr());
    }
}
