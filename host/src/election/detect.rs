//! Which master leads now, for those who look for it: agents, frameworks, commands, and the masters that wait.

use tokio::sync::watch;

/// The master that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Where it is reached, as `host:port`.
    pub address: String,
    /// Tells it from a master that had its address before. Empty where the address was all that was given.
    pub id: String,
}

/// Follows the leader. Clones follow it too, each at its own pace.
#[derive(Debug, Clone)]
pub struct Detector {
    leader: watch::Receiver<Option<Leader>>,
}

impl Detector {
    /// A leader that stays the same: whoever uses it was given an address.
    pub fn fixed(address: impl Into<String>) -> Self {
        Self::channel_of(Some(Leader { address: address.into(), id: String::new() })).1
    }

    /// One that is told by hand, and stays with what it was told last when the sender is gone.
    pub fn channel() -> (watch::Sender<Option<Leader>>, Self) {
        Self::channel_of(None)
    }

    /// The leader, if there is one.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.borrow().clone()
    }

    /// Returns when the leader is another one than this detector saw last, or there is none any more; never where it stays the same.
    pub async fn changed(&mut self) {
        if self.leader.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn channel_of(leader: Option<Leader>) -> (watch::Sender<Option<Leader>>, Self) {
        let (tell, leader) = watch::channel(leader);
        (tell, Self { leader })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(id: &str) -> Option<Leader> {
        Some(Leader { address: "h:1".into(), id: id.into() })
    }

    #[tokio::test]
    async fn every_clone_sees_each_change_once() {
        let (tell, mut one) = Detector::channel();
        let mut other = one.clone();
        assert_eq!(one.leader(), None);
        tell.send_replace(leader("a"));
        one.changed().await;
        other.changed().await;
        assert_eq!((one.leader(), other.leader()), (leader("a"), leader("a")));
        tell.send_replace(None);
        one.changed().await;
        assert_eq!(one.leader(), None);
    }

    #[tokio::test]
    async fn nothing_changes_where_the_address_is_given() {
        let mut fixed = Detector::fixed("h:1");
        assert_eq!(fixed.leader().unwrap().address, "h:1");
        let (tell, mut told) = Detector::channel();
        tell.send_replace(leader("a"));
        drop(tell);
        told.changed().await;
        assert_eq!(told.leader(), leader("a"));
        for detector in [&mut fixed, &mut told] {
            let mut waits = std::pin::pin!(detector.changed());
            assert!(futures_poll(waits.as_mut()).is_pending());
        }
    }

    fn futures_poll(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> std::task::Poll<()> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
