//! Who tasks run as.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User as Entry, getgrouplist};

use crate::launcher::User;

/// How long an entry of the user database is believed.
const ENTRY_AGE_MAX: Duration = Duration::from_secs(60);

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub user: User,
    pub name: String,
    pub home: PathBuf,
}

#[derive(Debug, Default)]
pub(super) struct Users {
    known: BTreeMap<String, (Instant, Result<Arc<Account>, String>)>,
}

impl Users {
    /// The account of that name, or why no task can run as it here.
    pub(super) fn account(&mut self, name: &str) -> Result<Arc<Account>, String> {
        match self.known.get(name) {
            Some((at, account)) if at.elapsed() < ENTRY_AGE_MAX => account.clone(),
            _ => {
                let account = look_up(name).and_then(permitted).map(Arc::new);
                self.known.insert(name.to_string(), (Instant::now(), account.clone()));
                account
            }
        }
    }
}

/// Only root becomes someone else.
fn permitted(account: Account) -> Result<Account, String> {
    let own = Uid::effective();
    if own.is_root() || account.user.uid == own.as_raw() {
        return Ok(account);
    }
    let own = Entry::from_uid(own).ok().flatten().map_or_else(|| own.to_string(), |entry| entry.name);
    Err(format!(
        "the agent runs as {own} and can't run tasks as {}; start it as root, or submit as {own}",
        account.name
    ))
}

fn look_up(name: &str) -> Result<Account, String> {
    let by_name = Entry::from_name(name).map_err(|error| format!("cannot look up user {name}: {error}"))?;
    let number = || name.parse::<u32>().ok();
    let entry = by_name.or_else(|| Entry::from_uid(Uid::from_raw(number()?)).ok().flatten());
    match (entry, number()) {
        (Some(entry), _) => Ok(account(entry)),
        // A container without a user database has users all the same.
        (None, Some(uid)) => {
            let user = User { uid, gid: uid, groups: vec![uid] };
            Ok(Account { user, name: name.to_string(), home: "/".into() })
        }
        (None, None) => Err(format!("there is no user {name} on this agent; make one, or submit as another")),
    }
}

fn account(entry: Entry) -> Account {
    let groups = CString::new(entry.name.as_str()).ok().and_then(|name| getgrouplist(&name, entry.gid).ok());
    let groups = groups.unwrap_or_else(|| vec![entry.gid]).into_iter().map(Gid::as_raw).collect();
    let user = User { uid: entry.uid.as_raw(), gid: entry.gid.as_raw(), groups };
    Account { user, name: entry.name, home: entry.dir }
}
