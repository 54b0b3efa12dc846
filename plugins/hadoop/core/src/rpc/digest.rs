//! SASL DIGEST-MD5 (RFC 2831) as far as Hadoop uses it: one round, `qop="auth"`, names and passwords of tokens in base64.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use crate::tokens::{from_sasl_text, sasl_text};

const REALM: &str = "default";

/// What the server sends first.
pub(super) fn challenge(nonce: &str) -> String {
    format!(r#"realm="{REALM}",nonce="{nonce}",qop="auth",charset=utf-8,algorithm=md5-sess"#)
}

/// Checks a client's response: the identifier that it has proved to hold the password of, and what proves to the client that the
/// server knows it too. None if it is wrong in any way.
pub(super) fn check(
    response: &[u8],
    nonce: &str,
    password: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let fields = fields(response);
    let field = |name: &str| fields.get(name.as_bytes()).map(Vec::as_slice);
    let username = field("username")?;
    let identifier = from_sasl_text(username)?;
    let password = password(&identifier)?;
    if field("nonce")? != nonce.as_bytes() || field("qop")? != b"auth" {
        return None;
    }
    let proof = Proof {
        username,
        realm: field("realm").unwrap_or_default(),
        password: sasl_text(&password).into_bytes(),
        nonce: nonce.as_bytes(),
        count: field("nc")?,
        client_nonce: field("cnonce")?,
        uri: field("digest-uri")?,
    };
    let is_right = proof.hex("AUTHENTICATE:").as_bytes().ct_eq(field("response")?);
    bool::from(is_right).then(|| (identifier, format!("rspauth={}", proof.hex(":")).into_bytes()))
}

/// A client's response to a challenge.
pub(super) fn respond(challenge: &[u8], identifier: &[u8], password: &[u8], client_nonce: &str) -> Option<Vec<u8>> {
    let fields = fields(challenge);
    let nonce = fields.get(b"nonce".as_slice())?;
    let realm = fields.get(b"realm".as_slice()).map(Vec::as_slice).unwrap_or_default();
    let username = sasl_text(identifier);
    let (count, uri) = ("00000001", "/default");
    let proof = Proof {
        username: username.as_bytes(),
        realm,
        password: sasl_text(password).into_bytes(),
        nonce,
        count: count.as_bytes(),
        client_nonce: client_nonce.as_bytes(),
        uri: uri.as_bytes(),
    };
    let [realm, nonce] = [realm, nonce.as_slice()].map(String::from_utf8_lossy);
    let response = proof.hex("AUTHENTICATE:");
    let text = format!(
        r#"charset=utf-8,username="{username}",realm="{realm}",nonce="{nonce}",nc={count},cnonce="{client_nonce}",digest-uri="{uri}",maxbuf=65536,response={response},qop=auth"#
    );
    Some(text.into_bytes())
}

struct Proof<'a> {
    username: &'a [u8],
    realm: &'a [u8],
    password: Vec<u8>,
    nonce: &'a [u8],
    count: &'a [u8],
    client_nonce: &'a [u8],
    uri: &'a [u8],
}

impl Proof<'_> {
    /// `method` is what stands before the URI: one for the client's, another for the server's.
    fn hex(&self, method: &str) -> String {
        let user = Md5::digest([self.username, b":", self.realm, b":", &self.password].concat());
        let session = [user.as_slice(), b":", self.nonce, b":", self.client_nonce].concat();
        let (session, method) = (hex(&session), hex(&[method.as_bytes(), self.uri].concat()));
        let all = [session.as_bytes(), self.nonce, self.count, self.client_nonce, b"auth", method.as_bytes()];
        hex(&all.join(b":".as_slice()))
    }
}

fn hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `name=value` or `name="value"`, with commas between them.
fn fields(text: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut fields = BTreeMap::new();
    let mut rest = text;
    while let Some(equals) = rest.iter().position(|&byte| byte == b'=') {
        let name = rest[..equals].trim_ascii().to_vec();
        let after = &rest[equals + 1..];
        let (value, end) = match after.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = quoted.iter().position(|&byte| byte == b'"').unwrap_or(quoted.len());
                (&quoted[..end], end + 2)
            }
            None => {
                let end = after.iter().position(|&byte| byte == b',').unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        fields.insert(name, value.to_vec());
        let after = after.get(end..).unwrap_or_default();
        rest = after.strip_prefix(b",").unwrap_or(after);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_the_password_and_a_server_prove_themselves_to_each_other() {
        let sent = challenge("n1");
        let response = respond(sent.as_bytes(), b"id", b"pw", "c1").unwrap();
        let password = |wanted: &'static [u8]| move |id: &[u8]| (id == b"id").then(|| wanted.to_vec());
        let (identifier, proof) = check(&response, "n1", password(b"pw")).unwrap();
        assert_eq!(identifier, b"id");
        assert!(proof.starts_with(b"rspauth=") && proof.len() == 40);
        assert_eq!(check(&response, "n1", password(b"other")), None, "a wrong password");
        assert_eq!(check(&response, "n2", password(b"pw")), None, "a response to another challenge");
        assert_eq!(check(&response, "n1", |_| None), None, "an identifier that nobody made");
    }

    /// The example of RFC 2831, section 4, with its other realm, name and URI.
    #[test]
    fn the_rfc_s_example_comes_out() {
        let proof = Proof {
            username: b"chris",
            realm: b"elwood.innosoft.com",
            password: b"secret".to_vec(),
            nonce: b"OA6MG9tEQGm2hh",
            count: b"00000001",
            client_nonce: b"OA6MHXh6VqTrRk",
            uri: b"imap/elwood.innosoft.com",
        };
        assert_eq!(proof.hex("AUTHENTICATE:"), "d388dad90d4bbd760a152321f2143af7");
        assert_eq!(proof.hex(":"), "ea40f60335c427b5527b84dbabcdfffd");
    }

    #[test]
    fn odd_fields_are_read_to_their_end() {
        assert_eq!(fields(b"a=\"b,c\",d=e,f=\"g")[b"f".as_slice()], b"g");
        assert_eq!(fields(b"a=\"b,c\",d=e")[b"a".as_slice()], b"b,c");
        assert!(fields(b"nothing").is_empty());
        assert_eq!(fields(b"a=")[b"a".as_slice()], b"");
    }
}
