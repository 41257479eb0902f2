//! Public keys as `known_hosts` writes them, whole and of a kind that can prove a host.
//! Never checks a signature, and never takes a key for another algorithm than it says.

use data_encoding::BASE64;

/// The longest host key line, in bytes: RSA of 8192 bits is below 1500.
const LONGEST_KEY: usize = 4_096;

const ALGORITHMS: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// `algorithm base64 [comment]` to `algorithm base64`, when the key inside says the same algorithm and is whole
/// (RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4).
pub(super) fn public_key(text: &str) -> Option<String> {
    if text.len() > LONGEST_KEY || text.contains(['\n', '\r']) {
        return None;
    }
    let mut words = text.split_ascii_whitespace();
    let (algorithm, body) = (words.next()?, words.next()?);
    let blob = BASE64.decode(body.as_bytes()).ok()?;
    let fields = fields(&blob)?;
    let whole = match *fields.as_slice() {
        [inside, point] => inside == b"ssh-ed25519" && point.len() == 32,
        [inside, curve, _] if inside.starts_with(b"ecdsa-sha2-") => {
            inside.ends_with(curve) && !curve.is_empty()
        }
        [inside, exponent, modulus] => inside == b"ssh-rsa" && !exponent.is_empty() && modulus.len() >= 256,
        _ => false,
    };
    let same = ALGORITHMS.contains(&algorithm)
        && fields.first().is_some_and(|inside| *inside == algorithm.as_bytes());
    (whole && same).then(|| format!("{algorithm} {body}"))
}

/// The strings of RFC 4251 section 5 that a key is made of, when they fill it to the end.
fn fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (field, left) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        fields.push(field);
        blob = left;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFGX0ClJqFtS6uTaOpbUaZGGOjq+WeBmm8tPQWs6Rr/n";

    #[test]
    fn a_host_key_is_kept_without_its_comment() {
        assert_eq!(public_key(&format!("{KEY} root@web-1")).as_deref(), Some(KEY));
    }

    #[test]
    fn a_host_key_of_every_kind_is_taken() {
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDgyP+MafiZgyPInVmOfb5NPDX29+cSy\
                     A47zcu/FD8kJyuv54XRiUixfymKZnhu9C0ExHtdN/6vk5fvBXV6khpY=";
        assert_eq!(public_key(ecdsa).as_deref(), Some(ecdsa));
        let rsa = |bytes: u8| {
            let modulus = vec![0x5a; usize::from(bytes) * 16];
            let parts: [&[u8]; 3] = [b"ssh-rsa", &[1, 0, 1], &modulus];
            let length = |part: &[u8]| u32::try_from(part.len()).unwrap().to_be_bytes();
            let blob: Vec<u8> = parts.iter().flat_map(|part| [&length(part)[..], part].concat()).collect();
            format!("ssh-rsa {}", BASE64.encode(&blob))
        };
        assert!(public_key(&rsa(24)).is_some());
        assert!(public_key(&rsa(8)).is_none(), "1024 bits prove nothing");
    }

    #[test]
    fn a_host_key_that_is_not_what_it_says_is_refused() {
        let other = KEY.replace("ssh-ed25519", "ssh-rsa");
        let cut = KEY.replace("Rr/n", "");
        let longer = format!("{KEY}AAAA");
        for bad in [
            "",
            &cut,
            &longer,
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-dss AAAAB3NzaC1kc3MAAAAA",
            &other,
            &format!("@revoked {KEY}"),
        ] {
            assert_eq!(public_key(bad), None, "{bad}");
        }
    }
}
