//! Frames of a recording, made by the words of `docs/recording-format.md` and not by the code under test.
//! Never careful: whatever head, flag and payload it is given, it encrypts and chains.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};

/// The streams that there are.
pub const CODE: std::ops::RangeInclusive<u8> = 1..=7;

/// A recording of the header in `front` (with its digest at the end) and these frames: stream, flags and payload, as they are.
pub fn forge<'f>(front: &[u8], key: &[u8; 32], frames: impl Iterator<Item = (u8, u8, &'f [u8])>) -> Vec<u8> {
    let mut head: [u8; 32] = *front.last_chunk().expect("a header's digest");
    let extracted = Salt::new(HKDF_SHA256, &head).extract(key);
    let purpose: [&[u8]; 1] = [b"bartizan recording v1 frames"];
    let okm = extracted.expand(&purpose, &AES_256_GCM).expect("a key");
    let cipher = LessSafeKey::new(UnboundKey::from(okm));
    let mut file = front.to_vec();
    for (number, (stream, flags, payload)) in (1_u64..).zip(frames) {
        let length = u32::try_from(payload.len() + 16).expect("a length");
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend([stream, flags, 0, 0]);
        frame.extend(number.to_be_bytes());
        frame.extend([0; 16]);
        let parity =
            frame.chunks(2).fold(0xb7a5, |parity, two| parity ^ u16::from_be_bytes([two[0], two[1]]));
        frame[6..8].copy_from_slice(&parity.to_be_bytes());
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        let mut sealed = payload.to_vec();
        let aad = Aad::from(frame.clone());
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("sealed");
        frame.extend(sealed);
        let chained = digest(&SHA256, &[&head[..], &frame].concat());
        head = chained.as_ref().try_into().expect("32 bytes");
        frame.extend(&head[..16]);
        file.extend(frame);
    }
    file
}
