//! Hadoop's Writable forms: variable-length numbers, texts, tokens, credentials.

use std::collections::BTreeMap;

use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WritableError {
    /// They end too early.
    #[error("{what} ends after {there} bytes, {wanted} more are wanted")]
    Short {
        /// Which part.
        what: &'static str,
        /// What was left of it.
        there: usize,
        /// What it says of its own length.
        wanted: usize,
    },
    /// A length below zero, a number out of its range.
    #[error("{what} is said to be {value}")]
    Range {
        /// Which part.
        what: &'static str,
        /// The number that was read.
        value: i64,
    },
    /// Not the beginning of a file of credentials, or of a later version.
    #[error("credentials begin with {found:02x?}; only version 0 of them (HDTS 00) is known")]
    Magic {
        /// The first bytes.
        found: Vec<u8>,
    },
}

/// A secret that its holder shows: who it is for (`identifier`), and what proves it (`password`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// A message of its kind.
    pub identifier: Vec<u8>,
    /// Known to whoever made it and to its holder.
    pub password: Vec<u8>,
    /// `YARN_AM_RM_TOKEN`, `NMToken`, `ContainerToken`, `mapreduce.job` …
    pub kind: Vec<u8>,
    /// Where it is good: `host:port`, or empty for anywhere.
    pub service: Vec<u8>,
}

/// What a container gets to show to others: the content of its token file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// By alias.
    pub tokens: BTreeMap<Vec<u8>, Token>,
    /// Keys of the application's own.
    pub secrets: BTreeMap<Vec<u8>, Vec<u8>>,
}

const MAGIC: &[u8] = b"HDTS\0";

impl Credentials {
    /// Reads the form of token files and of `ContainerLaunchContext.tokens`. No bytes at all are no credentials.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, WritableError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(WritableError::Magic { found: bytes[..bytes.len().min(MAGIC.len())].to_vec() });
        };
        let mut reader = Reader::new(rest);
        let mut credentials = Self::default();
        for _ in 0..reader.count("the number of tokens")? {
            let alias = reader.bytes("a token's alias")?.to_vec();
            credentials.tokens.insert(alias, reader.token()?);
        }
        for _ in 0..reader.count("the number of secrets")? {
            let name = reader.bytes("a secret's name")?.to_vec();
            credentials.secrets.insert(name, reader.bytes("a secret")?.to_vec());
        }
        Ok(credentials)
    }

    /// The form of token files.
    pub fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        write_number(&mut out, length(self.tokens.len()));
        for (alias, token) in &self.tokens {
            write_bytes(&mut out, alias);
            token.write(&mut out);
        }
        write_number(&mut out, length(self.secrets.len()));
        for (name, secret) in &self.secrets {
            write_bytes(&mut out, name);
            write_bytes(&mut out, secret);
        }
        out
    }
}

impl Token {
    /// Reads one that stands alone, as in the service data of the shuffle.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, WritableError> {
        Reader::new(bytes).token()
    }

    /// Appends its four parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in [&self.identifier, &self.password, &self.kind, &self.service] {
            write_bytes(out, part);
        }
    }
}

/// Appends a variable-length number (`vint` and `vlong` are written alike).
pub fn write_number(out: &mut Vec<u8>, number: i64) {
    if (-112..=127).contains(&number) {
        return out.push(number.to_le_bytes()[0]);
    }
    let (magnitude, base) = if number < 0 { (!number, -120_i64) } else { (number, -112) };
    let bytes = magnitude.to_be_bytes();
    let digits = &bytes[(magnitude.leading_zeros() / 8) as usize..];
    out.push((base - length(digits.len())).to_le_bytes()[0]);
    out.extend_from_slice(digits);
}

/// Appends bytes or a text, with their length before them.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

fn length(length: usize) -> i64 {
    i64::try_from(length).expect("nothing in memory is longer")
}

/// Reads one part after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From the beginning of these.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// A variable-length number.
    ///
    /// # Errors
    /// The bytes end within it.
    pub fn number(&mut self, what: &'static str) -> Result<i64, WritableError> {
        let first = i8::from_be_bytes([self.take(what, 1)?[0]]);
        if first >= -112 {
            return Ok(i64::from(first));
        }
        let negative = first < -120;
        let size = (if negative { -120 } else { -112 }) - i32::from(first);
        let digits = self.take(what, usize::try_from(size).expect("1 to 8"))?;
        let magnitude = digits.iter().fold(0_i64, |sum, &digit| sum << 8 | i64::from(digit));
        Ok(if negative { !magnitude } else { magnitude })
    }

    /// Bytes or a text, with their length before them.
    ///
    /// # Errors
    /// Their length is negative, or there are fewer.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], WritableError> {
        let length = self.count(what)?;
        self.take(what, length)
    }

    /// A token.
    ///
    /// # Errors
    /// The bytes end within it.
    pub fn token(&mut self) -> Result<Token, WritableError> {
        let mut part = |what| self.bytes(what).map(<[u8]>::to_vec);
        Ok(Token {
            identifier: part("a token's identifier")?,
            password: part("a token's password")?,
            kind: part("a token's kind")?,
            service: part("a token's service")?,
        })
    }

    fn count(&mut self, what: &'static str) -> Result<usize, WritableError> {
        let value = self.number(what)?;
        usize::try_from(value).map_err(|_| WritableError::Range { what, value })
    }

    fn take(&mut self, what: &'static str, wanted: usize) -> Result<&'a [u8], WritableError> {
        let split = self.rest.split_at_checked(wanted);
        let (taken, rest) = split.ok_or(WritableError::Short { what, there: self.rest.len(), wanted })?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_hadoop_s_writable_utils_does() {
        let cases: [(i64, &[u8]); 9] = [
            (0, &[0]),
            (127, &[127]),
            (-112, &[0x90]),
            (128, &[0x8f, 0x80]),
            (-113, &[0x87, 0x70]),
            (255, &[0x8f, 0xff]),
            (256, &[0x8e, 1, 0]),
            (i64::MAX, &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (i64::MIN, &[0x80, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (number, bytes) in cases {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(out, bytes, "{number}");
            assert_eq!(Reader::new(bytes).number("it"), Ok(number));
        }
    }

    fn credentials() -> Credentials {
        let token = Token {
            identifier: vec![1; 300],
            password: vec![2; 20],
            kind: b"mapreduce.job".to_vec(),
            service: b"job_1_0001".to_vec(),
        };
        Credentials {
            tokens: [(b"JobToken".to_vec(), token)].into(),
            secrets: [(b"MapReduceShuffleToken".to_vec(), vec![3; 20])].into(),
        }
    }

    #[test]
    fn credentials_come_back() {
        let written = credentials().write();
        assert_eq!(Credentials::read(&written), Ok(credentials()));
        assert_eq!(Credentials::read(b""), Ok(Credentials::default()));
    }

    #[test]
    fn every_cut_is_an_error() {
        let written = credentials().write();
        for end in 1..written.len() {
            assert!(Credentials::read(&written[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn wrong_lengths_and_versions_are_named() {
        assert_eq!(Credentials::read(b"HDTS\x01"), Err(WritableError::Magic { found: b"HDTS\x01".to_vec() }));
        let negative = WritableError::Range { what: "the number of tokens", value: -1 };
        assert_eq!(Credentials::read(b"HDTS\0\xff"), Err(negative));
        let huge = [b"HDTS\0\x01".as_slice(), &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
        assert!(matches!(Credentials::read(&huge), Err(WritableError::Short { .. })));
    }
}
