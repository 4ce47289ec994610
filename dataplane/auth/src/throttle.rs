//! Whoever fails to log in has to wait before the next attempt.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How a [`Throttle`] slows down.
#[derive(Clone, Copy, Debug)]
pub struct ThrottleOptions {
    /// Failures that cost nothing: people mistype.
    pub free: u8,
    /// How long one failure is remembered; several are forgotten one after the other.
    pub memory: Duration,
    /// The wait after the first failure that costs; each further one doubles it.
    pub wait: Duration,
    /// The longest wait of a source.
    pub longest_for_source: Duration,
    /// The longest wait of a user, whose name others can fail with on purpose: so that is short.
    pub longest_for_user: Duration,
}

impl Default for ThrottleOptions {
    fn default() -> Self {
        Self {
            free: 5,
            memory: Duration::from_secs(20),
            wait: Duration::from_millis(250),
            longest_for_source: Duration::from_secs(60),
            longest_for_user: Duration::from_secs(2),
        }
    }
}

/// Failed log-ins by source (an IPv4 address, the first 64 bits of an IPv6 address) and by user.
///
/// Ask [`Throttle::wait`] before anything is verified, and say afterwards what came of it; an empty name is
/// that of nobody, whose source alone counts. A user who has
/// logged in from a source is not made to wait there for what others have done, until a failure of his own.
///
/// It takes 576 KiB whatever comes, and nobody can make it forget another: counts stand in tables of a
/// fixed size, in two places each, of which the lower counts. Those who share both places with somebody
/// share the wait; where the places are depends on a secret key.
#[derive(Debug)]
pub struct Throttle {
    options: ThrottleOptions,
    key: u64,
    start: Instant,
    sources: Counters,
    users: Counters,
    /// Fingerprints of a source and a user that has logged in from there.
    welcome: Box<[u64]>,
}

/// Two rows of a table of counts.
#[derive(Debug)]
struct Counters([Box<[Count]>; 2]);

/// Failures so far, less those forgotten up to `at`.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    failures: f32,
    /// Milliseconds since the start.
    at: u64,
}

const PLACES: usize = 1 << 13;
/// Doublings after which every wait is at its longest, however it is configured.
const MAX_DOUBLINGS: u8 = 30;

impl Throttle {
    /// `key` is random and no client knows it.
    pub fn new(options: ThrottleOptions, key: u64, now: Instant) -> Self {
        Self {
            options,
            key,
            start: now,
            sources: Counters::new(),
            users: Counters::new(),
            welcome: vec![0; PLACES].into_boxed_slice(),
        }
    }

    /// How long an attempt from there for this user has to wait; `None` if it may go on.
    pub fn wait(&self, now: Instant, source: IpAddr, user: &str) -> Option<Duration> {
        let is_named = !user.is_empty();
        let (source, user) = (self.hash_source(source), self.hash_user(user));
        if self.is_welcome(source, user) {
            return None;
        }
        let now = self.milliseconds(now);
        let options = &self.options;
        let of_source = self.sources.wait(now, source, options, options.longest_for_source);
        let of_user = match is_named {
            true => self.users.wait(now, user, options, options.longest_for_user),
            false => Duration::ZERO,
        };
        Some(of_source.max(of_user)).filter(|wait| !wait.is_zero())
    }

    /// An attempt has failed because of its credentials.
    pub fn failed(&mut self, now: Instant, source: IpAddr, user: &str) {
        let is_named = !user.is_empty();
        let (source, user) = (self.hash_source(source), self.hash_user(user));
        let now = self.milliseconds(now);
        let pair = pair(source, user);
        if let Some(place) = place_mut(&mut self.welcome, pair)
            && *place == pair
        {
            *place = 0;
        }
        self.sources.add(now, source, &self.options);
        if is_named {
            self.users.add(now, user, &self.options);
        }
    }

    /// An attempt has succeeded.
    pub fn succeeded(&mut self, source: IpAddr, user: &str) {
        let pair = pair(self.hash_source(source), self.hash_user(user));
        if let Some(place) = place_mut(&mut self.welcome, pair) {
            *place = pair;
        }
    }

    fn is_welcome(&self, source: u64, user: u64) -> bool {
        let pair = pair(source, user);
        self.welcome.get(index(pair)) == Some(&pair)
    }

    fn hash_source(&self, source: IpAddr) -> u64 {
        match source.to_canonical() {
            IpAddr::V4(address) => self.hash((4u8, address.to_bits())),
            // A customer has 64 bits for himself at the least.
            IpAddr::V6(address) => self.hash((6u8, address.to_bits() >> 64)),
        }
    }

    fn hash_user(&self, user: &str) -> u64 {
        self.hash((0u8, user))
    }

    fn hash(&self, value: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.key, value).hash(&mut hasher);
        hasher.finish()
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.start))
    }
}

impl Counters {
    fn new() -> Self {
        Self([(); 2].map(|()| vec![Count::default(); PLACES].into_boxed_slice()))
    }

    fn add(&mut self, now: u64, hash: u64, options: &ThrottleOptions) {
        for (row, index) in self.0.iter_mut().zip(indices(hash)) {
            if let Some(count) = row.get_mut(index) {
                count.add(now, options);
            }
        }
    }

    fn wait(&self, now: u64, hash: u64, options: &ThrottleOptions, longest: Duration) -> Duration {
        let counts = self.0.iter().zip(indices(hash)).filter_map(|(row, index)| row.get(index));
        counts.map(|count| count.wait(now, options, longest)).min().unwrap_or_default()
    }
}

impl Count {
    fn add(&mut self, now: u64, options: &ThrottleOptions) {
        let memory = options.memory.as_secs_f32().max(f32::MIN_POSITIVE);
        let forgotten = Duration::from_millis(now.saturating_sub(self.at)).as_secs_f32() / memory;
        // Beyond the last doubling there is nothing to count, only more to forget.
        let most = f32::from(options.free) + f32::from(MAX_DOUBLINGS);
        *self = Self { failures: ((self.failures - forgotten).max(0.0) + 1.0).min(most), at: now };
    }

    /// What is left of the wait that the last failure has brought.
    fn wait(self, now: u64, options: &ThrottleOptions, longest: Duration) -> Duration {
        let doublings = self.failures - f32::from(options.free) - 1.0;
        // Half a failure: what has been forgotten in between makes no free failure of one that costs.
        if doublings < -0.5 {
            return Duration::ZERO;
        }
        let factor = doublings.max(0.0).exp2();
        let wait =
            Duration::try_from_secs_f32(options.wait.as_secs_f32() * factor).unwrap_or(longest).min(longest);
        wait.saturating_sub(Duration::from_millis(now.saturating_sub(self.at)))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Never 0, which is an empty place.
fn pair(source: u64, user: u64) -> u64 {
    source.rotate_left(32) ^ user | 1
}

/// Two places that depend on different bits.
fn indices(hash: u64) -> [usize; 2] {
    [index(hash), index(hash.rotate_right(32))]
}

fn index(hash: u64) -> usize {
    // The bits above the lowest, which `pair` has set.
    usize::try_from((hash >> 1) % PLACES as u64).unwrap_or_default()
}

fn place_mut(places: &mut [u64], hash: u64) -> Option<&mut u64> {
    places.get_mut(index(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn source(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number))
    }

    fn throttle(now: Instant) -> Throttle {
        Throttle::new(ThrottleOptions::default(), 42, now)
    }

    #[test]
    fn mistyping_costs_nothing_and_guessing_costs_twice_as_much_each_time() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        for _ in 0..5 {
            throttle.failed(now, SOURCE, "anna");
            assert_eq!(throttle.wait(now, SOURCE, "anna"), None);
        }
        let mut waits = Vec::new();
        for _ in 0..10 {
            throttle.failed(now, SOURCE, "anna");
            waits.push(throttle.wait(now, SOURCE, "bert").map_or(0, |wait| wait.as_millis()));
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn wait_passes_and_failures_are_forgotten() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        for _ in 0..8 {
            throttle.failed(now, SOURCE, "anna");
        }
        let later = |seconds: f32| now + Duration::from_secs_f32(seconds);
        assert_eq!(throttle.wait(later(0.4), SOURCE, "anna"), Some(Duration::from_millis(600)));
        assert_eq!(throttle.wait(later(1.0), SOURCE, "anna"), None);
        // 8 failures, less 160 s of forgetting: five more are free.
        for _ in 0..5 {
            throttle.failed(later(161.0), SOURCE, "anna");
        }
        assert_eq!(throttle.wait(later(161.0), SOURCE, "anna"), None);
    }

    #[test]
    fn guessing_one_user_from_everywhere_is_slowed_down_a_little() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        for number in 0..100 {
            throttle.failed(now, source(number), "anna");
        }
        assert_eq!(throttle.wait(now, source(1_000), "anna"), Some(Duration::from_secs(2)));
        assert_eq!(throttle.wait(now, source(1_000), "bert"), None);
    }

    #[test]
    fn who_has_logged_in_from_a_place_pays_for_nobody_else() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        throttle.succeeded(SOURCE, "anna");
        for _ in 0..20 {
            throttle.failed(now, SOURCE, "bert");
            throttle.failed(now, source(7), "anna");
        }
        assert_eq!(throttle.wait(now, SOURCE, "anna"), None);
        assert!(throttle.wait(now, SOURCE, "carl").is_some());
        assert!(throttle.wait(now, source(8), "anna").is_some());
        throttle.failed(now, SOURCE, "anna");
        assert!(throttle.wait(now, SOURCE, "anna").is_some(), "a failure of her own counts");
    }

    #[test]
    fn who_says_no_name_pays_where_he_comes_from() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        for _ in 0..20 {
            throttle.failed(now, SOURCE, "");
        }
        assert!(throttle.wait(now, SOURCE, "").is_some());
        assert_eq!(throttle.wait(now, source(7), ""), None, "nobody is no user that others could fail with");
    }

    #[test]
    fn addresses_of_one_customer_are_one_source() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        for number in 0..20 {
            let address: IpAddr = format!("2001:db8:0:1::{number:x}").parse().expect("an address");
            throttle.failed(now, address, &format!("user-{number}"));
        }
        let at = |text: &str| throttle.wait(now, text.parse().expect("an address"), "anna").is_some();
        assert!(at("2001:db8:0:1:ffff::1"));
        assert!(!at("2001:db8:0:2::1"));
        assert!(!at("192.0.2.1"));
    }

    #[test]
    fn mapped_address_is_the_address_itself() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        for _ in 0..20 {
            throttle.failed(now, "::ffff:192.0.2.1".parse().expect("an address"), "anna");
        }
        assert!(throttle.wait(now, SOURCE, "bert").is_some());
    }

    #[test]
    fn flood_of_sources_makes_it_forget_nobody_and_hurts_few() {
        let now = Instant::now();
        let mut throttle = throttle(now);
        for _ in 0..12 {
            throttle.failed(now, SOURCE, "anna");
        }
        for number in 0..20_000 {
            throttle.failed(now, source(number), &format!("user-{number}"));
        }
        assert!(throttle.wait(now, SOURCE, "bert").is_some());
        let hurt = (0..1_000).filter(|n| throttle.wait(now, source(1_000_000 + n), "bert").is_some()).count();
        assert!(hurt < 50, "{hurt} of 1000 strangers wait");
    }

    #[test]
    fn years_are_a_time_like_any_other() {
        let start = Instant::now();
        let mut throttle = throttle(start);
        let now = start + Duration::from_secs(3 * 365 * 24 * 3600);
        for _ in 0..6 {
            throttle.failed(now, SOURCE, "anna");
        }
        assert_eq!(throttle.wait(now, SOURCE, "anna"), Some(Duration::from_millis(250)));
        assert_eq!(throttle.wait(now + Duration::from_millis(250), SOURCE, "anna"), None);
    }
}
