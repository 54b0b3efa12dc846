//! Tokens: who holds one was sent by someone who knows the secret. HMAC-SHA256, RFC 2104.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{FrameworkId, TaskId};
use sha2::{Digest, Sha256};

use super::SandboxAccess;

const BLOCK: usize = 64;

/// Lets its holder read a task's output until it expires.
pub fn sign(secret: &[u8], framework_id: &FrameworkId, task_id: &TaskId, expires: Time) -> Vec<u8> {
    hmac(secret, &subject(framework_id, task_id, expires)).to_vec()
}

/// Whether the token is the secret's, and its time has not passed.
pub fn verify(secret: &[u8], access: &SandboxAccess, now: Time) -> bool {
    let expires = Time(access.token_expires_ns);
    let right = hmac(secret, &subject(&access.framework_id, &access.task_id, expires));
    now < expires && is_equal(&right, &access.token)
}

/// A token for a text, as hexadecimal digits.
pub(crate) fn hex_of(secret: &[u8], text: &str) -> String {
    crate::master::shell::hex(&hmac(secret, format!("executor\0{text}").as_bytes()))
}

/// Ids hold no zero bytes that could move a boundary: lengths stand before them.
fn subject(framework_id: &FrameworkId, task_id: &TaskId, expires: Time) -> Vec<u8> {
    let mut subject = b"sandbox\0".to_vec();
    for id in [framework_id.as_str(), task_id.as_str()] {
        subject.extend_from_slice(&(id.len() as u64).to_be_bytes());
        subject.extend_from_slice(id.as_bytes());
    }
    subject.extend_from_slice(&expires.as_nanos().to_be_bytes());
    subject
}

fn hmac(secret: &[u8], message: &[u8]) -> [u8; 32] {
    let mut key = [0; BLOCK];
    if secret.len() > BLOCK {
        key[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        key[..secret.len()].copy_from_slice(secret);
    }
    let padded = |byte: u8| key.map(|part| part ^ byte);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

/// Takes as long for a wrong first byte as for a wrong last one.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_as_in_rfc_4231() {
        let hex = |bytes: &[u8]| crate::master::shell::hex(bytes);
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn only_the_right_token_in_time_opens() {
        let (framework_id, task_id) = (FrameworkId::from("f"), TaskId::from("t"));
        let access = SandboxAccess {
            token: sign(b"secret", &framework_id, &task_id, Time(100)),
            framework_id,
            task_id,
            token_expires_ns: 100,
        };
        assert!(verify(b"secret", &access, Time(99)));
        assert!(!verify(b"secret", &access, Time(100)), "expired");
        assert!(!verify(b"other", &access, Time(99)), "another agent's");
        assert!(!verify(b"secret", &SandboxAccess { token_expires_ns: 200, ..access.clone() }, Time(99)), "prolonged");
        assert!(!verify(b"secret", &SandboxAccess { task_id: "u".into(), ..access.clone() }, Time(99)), "another task's");
        assert!(!verify(b"secret", &SandboxAccess { token: Vec::new(), ..access }, Time(99)), "empty");
    }
}
