//! How a gRPC message becomes bytes, and how much memory a call holds for that.
//!
//! tonic's own codec begins each call with two buffers of 8 KiB and gathers up to 32 KiB of a stream before
//! it hands them on. A watch that waits keeps both buffers for as long as it lives, and one whose client does
//! not read keeps the 32 KiB as well; most messages of this API have less than 512 bytes.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{self, BufferSettings, EncodeBuf};
use tonic_prost::{ProstCodec, ProstDecoder};

/// The size of a call's buffers at its beginning, in bytes. They grow with a message that has more.
const BEGIN_BYTES: usize = 512;
/// How many bytes of a stream's messages are gathered before they go into a frame: each message has its own. A
/// buffer that gathers several grows by doubling, and what is left of it is held until the client has read.
const GATHERED_BYTES: usize = 1;

fn settings() -> BufferSettings {
    BufferSettings::new(BEGIN_BYTES, GATHERED_BYTES)
}

/// The codec of all services: messages of type `T` go out, of type `U` come in.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Codec<T, U> {
        Codec(PhantomData)
    }
}

impl<T, U> codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Encoder<T> {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

/// Writes messages of one type.
#[derive(Debug)]
pub struct Encoder<T>(PhantomData<T>);

impl<T: Message> codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // At once: a buffer that grows by doubling would copy a large answer several times, and hold up to
        // twice its bytes until a slow client has read it.
        buf.reserve(message.encoded_len());
        message.encode(buf).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of any size is the same on the other side.
    #[test]
    fn messages_longer_than_the_buffers_pass() {
        use http_body_util::BodyExt;
        use tonic::codec::{Codec as _, EncodeBody, Streaming};

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let sent = [0, 1, BEGIN_BYTES, 3_000_000].map(|len| vec![7_u8; len]);
            let mut codec = Codec::<Vec<u8>, Vec<u8>>::default();
            let source = tokio_stream::iter(sent.clone().map(Ok));
            let body =
                EncodeBody::new_server(codec.encoder(), source, None, Default::default(), None);
            let body = body.collect().await.unwrap();
            let mut read = Streaming::new_request(codec.decoder(), body, None, None);
            for message in sent {
                assert_eq!(read.message().await.unwrap(), Some(message));
            }
            assert_eq!(read.message().await.unwrap(), None);
        });
    }
}
