//! How the credit of a consumer is shared out among the shards of a queue.
//!
//! The credit that all shards have together is never more than the consumer has given. While all is quiet each
//! shard has its share, so that it can hand out at once. One that has messages and no credit says so; it gets
//! what is free, and when nothing is, the others are asked to give back what they cannot use.
//!
//! A consumer that drains has its answer when each shard has given credit back since it asked: that shard had
//! nothing more; or when no credit is left.

/// What one shard has of a consumer's credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) credit: u32,
    /// It was asked to use its credit or give it back, and has not answered.
    pub(crate) draining: bool,
    /// It has said that messages wait for credit, and has got none since. What it had may still be on its way.
    pub(crate) is_wanted: bool,
    /// It has given credit back since the consumer asked to drain.
    pub(crate) is_dry: bool,
    /// It has to be told.
    pub(crate) changed: bool,
}

impl Share {
    fn give(&mut self, credit: u32) {
        self.credit += credit;
        self.changed |= credit > 0;
        self.is_wanted &= credit == 0;
    }

    fn take(&mut self, credit: u32) {
        self.credit -= credit;
        self.changed |= credit > 0;
    }

    fn drain(&mut self) {
        self.draining = true;
        self.changed = true;
    }
}

/// Shares out `total`, which is what the consumer will take now; `turn` says with which shard to begin.
pub(crate) fn share_out(total: u32, turn: &mut usize, shares: &mut [Share]) {
    let free = reclaim(total, shares);
    let wanted = |share: &Share| !share.draining && share.is_wanted;
    let is_bare = |share: &Share| !share.draining && !share.is_wanted && share.credit == 0;
    let bare = shares.iter().filter(|share| is_bare(share)).count() as u32;
    // Those that wait for nothing keep one each while there is plenty: their next message then waits for nobody.
    let kept = if free / 2 > bare { bare } else { 0 };
    let free = kept + deal(free - kept, turn, shares, wanted, u32::MAX);
    let open = shares.iter().filter(|share| !share.draining).count().max(1) as u32;
    let fair = total.div_ceil(open);
    // Half of it is used up first: one message of many to a shard, not one for each delivery.
    deal(free, turn, shares, |share| !share.draining && share.credit <= fair / 2, fair);
    if shares.iter().any(wanted) {
        // One that wants more has used up what it has: that is on its way.
        for share in shares.iter_mut().filter(|share| share.credit > 0 && !share.draining && !share.is_wanted)
        {
            share.drain();
        }
    }
}

/// Lets the shards use up `total` or give it back. Says whether they have.
pub(crate) fn drain_out(total: u32, turn: &mut usize, shares: &mut [Share]) -> bool {
    let free = reclaim(total, shares);
    if total == 0 || shares.iter().all(|share| share.is_dry) {
        return true;
    }
    let is_open = |share: &Share| !share.is_dry && !share.draining;
    deal(free, turn, shares, is_open, u32::MAX);
    for share in shares.iter_mut().filter(|share| is_open(share) && share.credit > 0) {
        share.drain();
    }
    false
}

/// Takes back at once what is beyond the total; gives what nobody has.
fn reclaim(total: u32, shares: &mut [Share]) -> u32 {
    let held: u32 = shares.iter().map(|share| share.credit).sum();
    let mut over = held.saturating_sub(total);
    for share in shares.iter_mut().rev() {
        let taken = over.min(share.credit);
        share.take(taken);
        over -= taken;
    }
    total.saturating_sub(held)
}

/// Deals credit out in equal parts to those that are meant, up to `most` each; gives what is left.
fn deal(
    mut free: u32,
    turn: &mut usize,
    shares: &mut [Share],
    is_meant: impl Fn(&Share) -> bool,
    most: u32,
) -> u32 {
    let count = shares.len();
    let mut meant = shares.iter().filter(|share| is_meant(share)).count() as u32;
    let first = *turn % count.max(1);
    for index in (first..count).chain(0..first) {
        let Some(share) = shares.get_mut(index).filter(|share| is_meant(share)) else { continue };
        if free == 0 {
            break;
        }
        let part = free.div_ceil(meant.max(1)).min(most.saturating_sub(share.credit));
        share.give(part);
        free -= part;
        meant = meant.saturating_sub(1);
        *turn = index + 1;
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares<const N: usize>(credit: [u32; N]) -> [Share; N] {
        credit.map(|credit| Share { credit, ..Share::default() })
    }

    fn credit(shares: &[Share]) -> Vec<u32> {
        shares.iter().map(|share| share.credit).collect()
    }

    #[test]
    fn credit_is_dealt_in_equal_parts() {
        let (mut shares, mut turn) = (shares([0; 3]), 0);
        share_out(10, &mut turn, &mut shares);
        assert_eq!(credit(&shares), [4, 3, 3]);
        share_out(11, &mut turn, &mut shares);
        assert_eq!(credit(&shares), [4, 3, 3], "a shard is told when half of its share is used up");
    }

    #[test]
    fn little_credit_goes_in_turn_to_the_shards_that_want_it() {
        let (mut shares, mut turn) = (shares([0; 3]), 0);
        let mut order = Vec::new();
        for _ in 0..6 {
            shares.iter_mut().for_each(|share| share.is_wanted = true);
            share_out(1, &mut turn, &mut shares);
            order.extend(shares.iter().position(|share| share.credit == 1));
            shares.iter_mut().for_each(|share| (share.credit, share.draining) = (0, false));
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn credit_that_lies_idle_is_called_back_for_a_shard_that_wants_it() {
        let (mut shares, mut turn) = (shares([2, 0, 3]), 0);
        shares[1].is_wanted = true;
        share_out(5, &mut turn, &mut shares);
        assert_eq!(credit(&shares), [2, 0, 3], "it is not free before it has been given back");
        assert!(shares[0].draining && !shares[1].draining && shares[2].draining);
        shares[0] = Share::default();
        share_out(5, &mut turn, &mut shares);
        assert_eq!((shares[1].credit, shares[1].is_wanted), (2, false));
    }

    #[test]
    fn a_shard_whose_last_deliveries_are_on_their_way_goes_on_wanting_more() {
        let (mut shares, mut turn) = (shares([1, 0]), 0);
        shares[0].is_wanted = true;
        share_out(1, &mut turn, &mut shares);
        assert!(shares[0].is_wanted && !shares[0].draining, "it has nothing to give back");
        shares[0].credit = 0;
        share_out(2, &mut turn, &mut shares);
        assert_eq!((shares[0].credit, shares[0].is_wanted), (2, false));
    }

    #[test]
    fn lower_credit_counts_at_once() {
        let (mut shares, mut turn) = (shares([4, 4, 4]), 0);
        share_out(5, &mut turn, &mut shares);
        assert_eq!(credit(&shares), [4, 1, 0]);
        assert!(!shares[0].changed && shares[1].changed && shares[2].changed);
        share_out(0, &mut turn, &mut shares);
        assert_eq!(credit(&shares), [0; 3]);
    }

    #[test]
    fn a_drain_is_over_when_every_shard_has_given_credit_back() {
        let (mut shares, mut turn) = (shares([2, 0, 0]), 0);
        assert!(!drain_out(2, &mut turn, &mut shares));
        assert!(shares[0].draining && !shares[1].draining, "the others wait for what the first gives back");
        // The first has used one and given one back.
        shares[0] = Share { is_dry: true, ..Share::default() };
        assert!(!drain_out(1, &mut turn, &mut shares));
        assert_eq!(shares.iter().filter(|share| share.draining && share.credit == 1).count(), 1);
        for share in &mut shares {
            *share = Share { is_dry: true, ..Share::default() };
        }
        assert!(drain_out(1, &mut turn, &mut shares));
    }

    #[test]
    fn the_shards_never_have_more_than_the_consumer_gave() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut shares = [Share::default(); 4];
            let (mut turn, mut total) = (random.usize(..9), 0);
            for _ in 0..30 {
                if random.bool() {
                    total = random.u32(..12);
                }
                for share in &mut shares {
                    match random.u8(..5) {
                        0 => share.is_wanted = share.credit == 0,
                        1 if share.credit > 0 => {
                            share.credit -= 1;
                            total = total.saturating_sub(1);
                        }
                        2 if share.draining => (share.draining, share.credit) = (false, 0),
                        _ => {}
                    }
                }
                share_out(total, &mut turn, &mut shares);
                let held: u32 = shares.iter().map(|share| share.credit).sum();
                assert!(held <= total, "{shares:?} of {total}");
                let is_starved = shares.iter().any(|share| share.is_wanted && !share.draining);
                let is_idle =
                    shares.iter().any(|share| share.credit > 0 && !share.draining && !share.is_wanted);
                assert!(!(is_starved && (is_idle || held < total)), "{shares:?} of {total}");
            }
        }
    }
}
