//! Short-lived tokens for a task's sandbox: the master signs with the agent's secret, the agent verifies. And what a framework
//! proves itself with: signed with the cluster's key, so that every master of the cluster can check it.

use hmac::{Hmac, KeyInit, Mac};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{FrameworkId, TaskId};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::hex::hex;

/// The token for a sandbox, good until `expires`.
pub fn sign(secret: &[u8], framework: &FrameworkId, task: &TaskId, expires: Time) -> Vec<u8> {
    mac(secret, framework, task, expires).finalize().into_bytes().to_vec()
}

/// Whether the token is the one for this sandbox and time, and the time hasn't come. Takes as long for a wrong token as for a right one.
pub fn verify(secret: &[u8], framework: &FrameworkId, task: &TaskId, expires: Time, now: Time, token: &[u8]) -> bool {
    now < expires && mac(secret, framework, task, expires).verify_slice(token).is_ok()
}

/// What a framework shows when it subscribes again.
pub fn framework_secret(key: &[u8], framework: &FrameworkId) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"framework ");
    mac.update(framework.as_str().as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// How a scheduler's ticket begins; then come the framework and the signature.
const TICKET: &str = "scheduler:";

/// What a scheduler's process that the cluster started shows: it acts for this user.
pub fn scheduler_ticket(key: &[u8], framework: &FrameworkId, user: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for text in ["scheduler", framework.as_str(), user] {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text.as_bytes());
    }
    format!("{TICKET}{framework}:{}", hex(&mac.finalize().into_bytes()))
}

/// Whether it looks like a scheduler's ticket.
pub fn is_ticket(given: &str) -> bool {
    given.starts_with(TICKET)
}

/// Whether it is the ticket of some scheduler of this user.
pub fn is_scheduler_ticket(key: &[u8], user: &str, given: &str) -> bool {
    let framework = given.strip_prefix(TICKET).and_then(|rest| rest.rsplit_once(':')).map(|(framework, _)| framework);
    framework.is_some_and(|framework| {
        same(scheduler_ticket(key, &FrameworkId::from(framework), user).as_bytes(), given.as_bytes())
    })
}

/// Compares without telling by its time where they differ.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

fn mac(secret: &[u8], framework: &FrameworkId, task: &TaskId, expires: Time) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    for text in [framework.as_str(), task.as_str()] {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text.as_bytes());
    }
    mac.update(&expires.as_nanos().to_be_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_framework_of_each_cluster_has_a_secret_of_its_own() {
        let (one, two) = (FrameworkId::from("F1"), FrameworkId::from("F2"));
        assert_eq!(framework_secret(b"key", &one), framework_secret(b"key", &one));
        assert_ne!(framework_secret(b"key", &one), framework_secret(b"key", &two));
        assert_ne!(framework_secret(b"key", &one), framework_secret(b"yek", &one));
    }

    #[test]
    fn a_scheduler_s_ticket_is_good_for_its_user_alone() {
        let ticket = scheduler_ticket(b"key", &FrameworkId::from("M-F1"), "ann");
        assert!(is_scheduler_ticket(b"key", "ann", &ticket));
        assert!(!is_scheduler_ticket(b"key", "bob", &ticket));
        assert!(!is_scheduler_ticket(b"yek", "ann", &ticket));
        assert!(!is_scheduler_ticket(b"key", "ann", &ticket.replace("F1", "F2")));
        assert!(!is_scheduler_ticket(b"key", "ann", ""));
    }

    #[test]
    fn only_the_same_sandbox_and_time_pass() {
        let (framework, task, expires) = (FrameworkId::from("F1"), TaskId::from("t1"), Time(100));
        let token = sign(b"secret", &framework, &task, expires);
        assert!(verify(b"secret", &framework, &task, expires, Time(99), &token));
        assert!(!verify(b"secret", &framework, &task, expires, Time(100), &token));
        assert!(!verify(b"other", &framework, &task, expires, Time(99), &token));
        assert!(!verify(b"secret", &framework, &TaskId::from("t2"), expires, Time(99), &token));
        assert!(!verify(b"secret", &FrameworkId::from("F1t"), &TaskId::from("1"), expires, Time(99), &token));
        assert!(!verify(b"secret", &framework, &task, Time(200), Time(99), &token));
        assert!(!verify(b"secret", &framework, &task, expires, Time(99), &[]));
    }
}
