//! Where those who look for the leading master find it: at an address that somebody gave, or wherever the masters' own meeting
//! place says.

use std::sync::Arc;

use tokio::sync::watch;

/// The master that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// `HOST:PORT`.
    pub address: String,
    /// Tells this leadership from any other one, also of a master at the same address.
    pub id: String,
}

/// Says which master leads, and when that changes. Clones see the same.
#[derive(Debug, Clone)]
pub struct Detector {
    leader: watch::Receiver<Option<Leader>>,
    place: Arc<str>,
    is_fixed: bool,
}

impl Detector {
    /// A master that is at this address, and nowhere else.
    pub fn fixed(address: impl Into<String>) -> Self {
        let address = address.into();
        let leader = Leader { address: address.clone(), id: String::new() };
        // Without a sender it never changes.
        Self { leader: watch::channel(Some(leader)).1, place: address.into(), is_fixed: true }
    }

    /// Whoever has the sender says it. The place is for messages: where it was looked for.
    pub fn channel(place: impl Into<Arc<str>>) -> (watch::Sender<Option<Leader>>, Self) {
        let (sender, leader) = watch::channel(None);
        (sender, Self { leader, place: place.into(), is_fixed: false })
    }

    /// Who leads, as far as that is known.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.borrow().clone()
    }

    /// Returns when another one leads than when this was last asked, or nobody does any more; never, if that can't happen.
    pub async fn changed(&mut self) {
        if self.leader.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Where it is looked for: an address, or the masters' meeting place.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether it was given as an address, so that looking again finds nothing else.
    pub fn is_fixed(&self) -> bool {
        self.is_fixed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_of_a_change_once() {
        let (sender, mut detector) = Detector::channel("memory");
        let mut other = detector.clone();
        assert_eq!(detector.leader(), None);
        let leader = Leader { address: "h:1".into(), id: "1".into() };
        sender.send_replace(Some(leader.clone()));
        detector.changed().await;
        other.changed().await;
        assert_eq!((detector.leader(), other.leader()), (Some(leader.clone()), Some(leader)));
        assert!(futures_are_pending(&mut detector).await);
    }

    #[tokio::test]
    async fn a_fixed_one_never_changes() {
        let mut detector = Detector::fixed("h:1");
        assert_eq!(detector.leader().map(|leader| leader.address), Some("h:1".to_string()));
        assert!(futures_are_pending(&mut detector).await);
    }

    async fn futures_are_pending(detector: &mut Detector) -> bool {
        tokio::select! {
            biased;
            () = detector.changed() => false,
            () = tokio::task::yield_now() => true,
        }
    }
}
