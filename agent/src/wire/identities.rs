//! SSH_AGENT_IDENTITIES_ANSWER: the list of keys that an agent holds.
//! It never takes a list with a byte too many or a count that does not fit.

use super::LARGEST;
use super::fields::{Fields, Malformed, put_string};

/// The most keys of one agent; OpenSSH has the same.
const MOST: usize = 2048;
const ANSWER: u8 = 12;

/// Keys and their comments, in the order they are offered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Identities(Vec<(Vec<u8>, Vec<u8>)>);

impl Identities {
    /// Reads an answer.
    pub fn parse(answer: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::of(answer);
        if fields.byte()? != ANSWER {
            return Err(Malformed);
        }
        let count = usize::try_from(fields.number()?).map_err(|_| Malformed)?;
        if count > MOST {
            return Err(Malformed);
        }
        let mut list = Vec::new();
        for _ in 0..count {
            list.push((fields.string()?.to_vec(), fields.string()?.to_vec()));
        }
        fields.end()?;
        Ok(Self(list))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Puts a key before all others.
    pub fn lead(&mut self, key: &[u8], comment: &str) {
        self.0.insert(0, (key.to_vec(), comment.as_bytes().to_vec()));
    }

    /// The answer; keys at the end that do not fit into one message or one list are left out.
    pub fn answer(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut count = 0_u32;
        for (key, comment) in self.0.iter().take(MOST) {
            if 5 + body.len() + 8 + key.len() + comment.len() > LARGEST {
                break;
            }
            put_string(&mut body, key);
            put_string(&mut body, comment);
            count += 1;
        }
        let mut answer = vec![ANSWER];
        answer.extend_from_slice(&count.to_be_bytes());
        answer.extend_from_slice(&body);
        answer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_device_leads_and_what_does_not_fit_is_left_out() {
        let mut list = Identities((0..3).map(|at| (vec![at; 100 * 1024], Vec::new())).collect());
        list.lead(b"device", "c");
        let read = Identities::parse(&list.answer()).unwrap();
        assert_eq!(read.0.len(), 3);
        assert_eq!(read.0[0], (b"device".to_vec(), b"c".to_vec()));
        assert!(list.answer().len() <= LARGEST);
    }

    #[test]
    fn a_count_that_is_not_held_is_refused() {
        assert!(Identities::parse(&[12, 255, 255, 255, 255]).is_err());
        assert!(Identities::parse(&[12, 0, 0, 0, 1]).is_err());
        assert!(Identities::parse(&[12, 0, 0, 0, 0, 0]).is_err());
        assert!(Identities::parse(&[5]).is_err());
        assert_eq!(Identities::parse(&[12, 0, 0, 0, 0]), Ok(Identities::default()));
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_is_written(list in proptest::collection::vec(any::<(Vec<u8>, Vec<u8>)>(), 0..9)) {
            let list = Identities(list);
            prop_assert_eq!(Identities::parse(&list.answer()), Ok(list));
        }

        #[test]
        fn no_bytes_make_it_fall_over(mut bytes in any::<Vec<u8>>()) {
            let _ = Identities::parse(&bytes);
            bytes.insert(0, 12);
            let _ = Identities::parse(&bytes);
        }
    }
}
