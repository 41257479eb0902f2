//! Frames on a stream: four bytes of length, then the message.
//! It never sets memory aside for bytes that have not come.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::LARGEST;

/// Reads one message; `None` when the other end has closed between two.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length);
    let fits = usize::try_from(length).is_ok_and(|length| (1..=LARGEST).contains(&length));
    if !fits {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of an impossible length"));
    }
    let mut message = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut message).await?;
    if u32::try_from(message.len()) == Ok(length) {
        Ok(Some(message))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes one message.
pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a message of an impossible length");
    let length = u32::try_from(message.len()).map_err(too_long)?;
    let mut frame = Vec::with_capacity(message.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    stream.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read_frame(&mut &bytes[..]))
    }

    #[test]
    fn an_end_between_two_messages_is_no_fault_and_one_inside_is() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[0, 0]).is_err());
        assert!(read(&[0, 0, 0, 2, 11]).is_err());
    }

    #[test]
    fn a_message_is_of_a_possible_length() {
        assert_eq!(read(&[0, 0, 0, 1, 11]).unwrap().unwrap(), [11]);
        assert!(read(&[0, 0, 0, 0]).is_err());
        let beyond = u32::try_from(LARGEST + 1).unwrap().to_be_bytes();
        assert!(read(&[beyond.as_slice(), &vec![0; LARGEST + 1]].concat()).is_err());
        assert!(read(&[255, 255, 255, 255]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in any::<Vec<u8>>()) {
            let _ = read(&bytes);
        }
    }
}
