//! WebSocket messages (RFC 6455), the server's side: reading masked frames, writing unmasked ones.
//!
//! Used by watches, logs and port forwards over WebSocket. Extensions are never negotiated, so the
//! reserved bits must be zero.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use ring::digest;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What the accept key is made with (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Largest message that is taken.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Largest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Frame types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message.
    Continuation,
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// The end.
    Close,
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// A whole message or control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Never a continuation.
    pub opcode: Opcode,
    /// Unmasked.
    pub payload: Bytes,
}

/// The value of `Sec-WebSocket-Accept` for a client's key.
pub fn accept_key(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(GUID.as_bytes());
    STANDARD.encode(context.finish())
}

/// A frame with a whole message.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 10);
    out.extend_from_slice(&[0x80 | opcode.bits()]);
    match payload.len() {
        n @ 0..=125 => out.extend_from_slice(&[n as u8]),
        n @ 126..=0xffff => {
            out.extend_from_slice(&[126]);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.extend_from_slice(&[127]);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out.freeze()
}

/// Reads messages from a client.
pub struct Reader<R> {
    inner: R,
    partial: Option<(Opcode, BytesMut)>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Reader {
            inner,
            partial: None,
        }
    }

    /// The next message; `None` at the end of the connection. Not safe to cancel half-way.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            let mut head = [0; 2];
            match self.inner.read_exact(&mut head).await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
            let (is_last, opcode) = parse_head(head[0])?;
            let payload = self.payload(head[1], opcode).await?;
            if opcode.is_control() {
                let payload = payload.freeze();
                return Ok(Some(Message { opcode, payload }));
            }
            if let Some(message) = self.add(is_last, opcode, payload)? {
                return Ok(Some(message));
            }
        }
    }

    async fn payload(&mut self, second: u8, opcode: Opcode) -> io::Result<BytesMut> {
        if second & 0x80 == 0 {
            return Err(invalid("a client's frame is not masked"));
        }
        let length = match second & 0x7f {
            126 => u64::from(self.inner.read_u16().await?),
            127 => self.inner.read_u64().await?,
            n => u64::from(n),
        };
        let limit = match opcode.is_control() {
            true => CONTROL_BYTES_MAX,
            false => MESSAGE_BYTES_MAX,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(invalid("a frame is too large"));
        }
        let mut mask = [0; 4];
        self.inner.read_exact(&mut mask).await?;
        let mut payload = BytesMut::zeroed(length);
        self.inner.read_exact(&mut payload).await?;
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        Ok(payload)
    }

    /// Adds a data frame; answers the message that it completes.
    fn add(
        &mut self,
        is_last: bool,
        opcode: Opcode,
        payload: BytesMut,
    ) -> io::Result<Option<Message>> {
        let (opcode, mut whole) = match (self.partial.take(), opcode) {
            (Some((first, whole)), Opcode::Continuation) => (first, whole),
            (None, Opcode::Text | Opcode::Binary) => (opcode, BytesMut::new()),
            _ => return Err(invalid("a frame continues nothing")),
        };
        if whole.len() + payload.len() > MESSAGE_BYTES_MAX {
            return Err(invalid("a message is too large"));
        }
        match whole.is_empty() {
            true => whole = payload,
            false => whole.extend_from_slice(&payload),
        }
        if !is_last {
            self.partial = Some((opcode, whole));
            return Ok(None);
        }
        let payload = whole.freeze();
        Ok(Some(Message { opcode, payload }))
    }
}

fn parse_head(first: u8) -> io::Result<(bool, Opcode)> {
    if first & 0x70 != 0 {
        return Err(invalid("a reserved bit is set"));
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or_else(|| invalid("an unknown frame type"))?;
    let is_last = first & 0x80 != 0;
    if opcode.is_control() && !is_last {
        return Err(invalid("a control frame is cut into pieces"));
    }
    Ok((is_last, opcode))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        out.extend(
            payload
                .iter()
                .enumerate()
                .map(|(i, b)| b ^ [1, 2, 3, 4][i % 4]),
        );
        out
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(&frame(Opcode::Text, b"Hello")[..], b"\x81\x05Hello");
        assert_eq!(&frame(Opcode::Binary, &[0; 256])[..4], b"\x82\x7e\x01\x00");
        assert_eq!(frame(Opcode::Binary, &[0; 65536])[1], 127);
    }

    #[tokio::test]
    async fn fragments_become_messages() {
        let mut bytes = masked(0x01, b"Hel");
        bytes.extend(masked(0x89, b"?"));
        bytes.extend(masked(0x80, b"lo"));
        let mut reader = Reader::new(&bytes[..]);
        let mut next = async || reader.next().await.expect("valid frames");
        let ping = next().await.expect("a ping");
        assert_eq!((ping.opcode, &ping.payload[..]), (Opcode::Ping, &b"?"[..]));
        let text = next().await.expect("a message");
        assert_eq!(
            (text.opcode, &text.payload[..]),
            (Opcode::Text, &b"Hello"[..])
        );
        assert_eq!(next().await, None);
    }

    #[tokio::test]
    async fn broken_frames_are_refused() {
        let huge = [0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        for bytes in [
            &b"\x81\x05Hello"[..],
            b"\xc1\x80",
            b"\x83\x80",
            b"\x09\x80",
            &huge,
        ] {
            assert!(Reader::new(bytes).next().await.is_err(), "{bytes:?}");
        }
        let lone = masked(0x80, b"x");
        assert!(Reader::new(&lone[..]).next().await.is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let mut reader = Reader::new(&bytes[..]);
                while let Ok(Some(_)) = reader.next().await {}
            });
        }
    }
}
