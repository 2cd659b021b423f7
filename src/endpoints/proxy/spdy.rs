//! SPDY/3.1 frames as a client of a kubelet needs them: opening streams, data both ways, pings.
//!
//! # Decisions
//! - Header blocks are sent as stored (uncompressed) deflate blocks behind SPDY's dictionary
//!   identifier: valid zlib, and no dictionary is needed. What a kubelet replies in headers means
//!   nothing, so nothing is inflated.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Control bit and version.
const CONTROL: u16 = 0x8003;
/// Adler-32 of SPDY/3's header dictionary.
const DICTIONARY_ID: u32 = 0xe3c6_a7c2;
/// A zlib header that names a dictionary.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x20];
/// The empty block after which an inflater gives out what it has.
const SYNC: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// Flag of a stream's last frame.
const FIN: u8 = 1;
/// Largest frame that is taken.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Writes frames.
#[derive(Default)]
pub(super) struct Encoder {
    streams: u32,
}

impl Encoder {
    /// A frame that opens the next stream, and the stream's number.
    pub(super) fn open(&mut self, headers: &[(&str, &str)]) -> (u32, Bytes) {
        let id = self.streams * 2 + 1;
        let block = header_block(headers, self.streams == 0);
        self.streams += 1;
        let mut body = BytesMut::with_capacity(block.len() + 10);
        body.put_u32(id);
        body.put_u32(0);
        body.put_u16(0);
        body.put_slice(&block);
        (id, control(1, &body))
    }
}

fn header_block(headers: &[(&str, &str)], is_first: bool) -> Vec<u8> {
    let mut plain = Vec::new();
    plain.put_u32(headers.len() as u32);
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        plain.put_u32(text.len() as u32);
        plain.put_slice(text.as_bytes());
    }
    let mut block = Vec::with_capacity(plain.len() + 16);
    if is_first {
        block.put_slice(&ZLIB_HEADER);
        block.put_u32(DICTIONARY_ID);
    }
    let length = plain.len() as u16;
    block.put_u8(0);
    block.put_u16_le(length);
    block.put_u16_le(!length);
    block.put_slice(&plain);
    block.put_slice(&SYNC);
    block
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(body.len() + 8);
    frame.put_u16(CONTROL);
    frame.put_u16(kind);
    frame.put_u32(body.len() as u32);
    frame.put_slice(body);
    frame.freeze()
}

/// A data frame; an empty last one closes the stream.
pub(super) fn data(stream: u32, payload: &[u8], is_last: bool) -> Bytes {
    let flags = if is_last { FIN } else { 0 };
    let mut frame = BytesMut::with_capacity(payload.len() + 8);
    frame.put_u32(stream);
    frame.put_u32(u32::from(flags) << 24 | payload.len() as u32);
    frame.put_slice(payload);
    frame.freeze()
}

/// What a kubelet sends, as far as it means something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Bytes of a stream.
    Data {
        stream: u32,
        payload: Bytes,
        is_last: bool,
    },
    /// A stream is broken off.
    Reset { stream: u32 },
    /// To be sent back as it is.
    Ping(Bytes),
    /// Anything else.
    Other,
}

/// Reads the next frame; `None` at the end of the connection.
pub(super) async fn read<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Option<Frame>> {
    let mut head = [0; 8];
    match from.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (first, flags) = (word(0), head[4]);
    let length = (word(4) & 0x00ff_ffff) as usize;
    if length > FRAME_BYTES_MAX {
        let why = "a SPDY frame is too large";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut body = BytesMut::zeroed(length);
    from.read_exact(&mut body).await?;
    let body = body.freeze();
    if first >> 31 == 0 {
        return Ok(Some(Frame::Data {
            stream: first,
            payload: body,
            is_last: flags & FIN != 0,
        }));
    }
    Ok(Some(match (first & 0xffff, body.first_chunk::<4>()) {
        (3, Some(id)) => Frame::Reset {
            stream: u32::from_be_bytes(*id) & 0x7fff_ffff,
        },
        (6, Some(_)) => Frame::Ping(control(6, &body)),
        _ => Frame::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_blocks_are_zlib() {
        let block = header_block(&[("streamtype", "stdin")], true);
        // CMF and FLG are a multiple of 31, with FDICT set (RFC 1950 §2.2).
        let check = u16::from_be_bytes([block[0], block[1]]);
        assert_eq!((check % 31, block[1] & 0x20), (0, 0x20));
        // Behind it plain deflate: a stored block and the sync marker.
        let mut inflate = flate2::Decompress::new(false);
        let mut plain = Vec::with_capacity(256);
        inflate
            .decompress_vec(&block[6..], &mut plain, flate2::FlushDecompress::Sync)
            .expect("deflate");
        let mut want = vec![0, 0, 0, 1, 0, 0, 0, 10];
        want.extend(b"streamtype");
        want.extend([0, 0, 0, 5]);
        want.extend(b"stdin");
        assert_eq!(plain, want);
    }

    #[tokio::test]
    async fn frames_are_read_back() {
        let mut encoder = Encoder::default();
        let (first, opened) = encoder.open(&[("streamtype", "error")]);
        let (second, _) = encoder.open(&[("streamtype", "stdout")]);
        assert_eq!((first, second), (1, 3));
        let mut bytes = opened.to_vec();
        bytes.extend_from_slice(&data(3, b"out", true));
        bytes.extend_from_slice(&control(3, &[0, 0, 0, 3, 0, 0, 0, 1]));
        let ping = control(6, &[0, 0, 0, 9]);
        bytes.extend_from_slice(&ping);
        let mut from = &bytes[..];
        let mut frames = Vec::new();
        while let Some(frame) = read(&mut from).await.expect("frames") {
            frames.push(frame);
        }
        let out = Frame::Data {
            stream: 3,
            payload: Bytes::from_static(b"out"),
            is_last: true,
        };
        let want = [
            Frame::Other,
            out,
            Frame::Reset { stream: 3 },
            Frame::Ping(ping),
        ];
        assert_eq!(frames, want);
    }
}
