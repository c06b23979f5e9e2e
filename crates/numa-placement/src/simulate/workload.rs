//! Guests that come and go: sizes from published histograms, Poisson arrivals, log-normal lifetimes.

use super::random::Random;
use crate::units::Kib;

/// A kind of guest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flavour {
    /// Its vCPUs.
    pub vcpus: u32,
    /// Its memory in GiB.
    pub gib: u64,
    /// How often it is asked for.
    pub weight: f64,
}

const fn flavour(vcpus: u32, gib: u64, weight: f64) -> Flavour {
    Flavour { vcpus, gib, weight }
}

/// A mix of guests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// For tables.
    pub name: &'static str,
    /// Its flavours.
    pub flavours: &'static [Flavour],
}

/// The creations of a public cloud's region (Huawei-East-1): the first four and the last flavour by their published
/// shares, the ten between them so that two thirds of all are single vCPUs with 2 GiB at most.
pub const HUAWEI: Mix = Mix {
    name: "huawei",
    flavours: &[
        flavour(1, 1, 22.0),
        flavour(1, 2, 44.0),
        flavour(2, 4, 13.0),
        flavour(4, 8, 9.0),
        flavour(1, 4, 1.5),
        flavour(2, 2, 1.5),
        flavour(2, 8, 2.5),
        flavour(4, 4, 0.1),
        flavour(4, 16, 1.8),
        flavour(8, 16, 2.2),
        flavour(8, 32, 0.8),
        flavour(16, 32, 0.8),
        flavour(16, 64, 0.3),
        flavour(32, 64, 0.3),
        flavour(64, 128, 0.2),
    ],
};

/// Larger guests: 2 to 64 vCPUs with 2, 4 or 8 GiB each.
pub const ENTERPRISE: Mix = Mix {
    name: "enterprise",
    flavours: &[
        flavour(2, 4, 5.0),
        flavour(2, 8, 5.0),
        flavour(2, 16, 3.0),
        flavour(4, 8, 8.0),
        flavour(4, 16, 8.0),
        flavour(4, 32, 4.0),
        flavour(8, 16, 9.0),
        flavour(8, 32, 10.0),
        flavour(8, 64, 5.0),
        flavour(16, 32, 8.0),
        flavour(16, 64, 9.0),
        flavour(16, 128, 4.0),
        flavour(32, 64, 6.0),
        flavour(32, 128, 6.0),
        flavour(32, 256, 2.0),
        flavour(64, 128, 3.0),
        flavour(64, 256, 3.0),
    ],
};

/// One guest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guest {
    /// When it is asked for; the mean lifetime is 1.
    pub arrives: f64,
    /// How long it lives.
    pub lives: f64,
    /// Its vCPUs.
    pub vcpus: u32,
    /// Its memory.
    pub memory: Kib,
    /// How busy each of its vCPUs is in the mean, 0…1.
    pub busy: f64,
    /// Where in its day it is, 0…1.
    pub phase: f64,
    /// How much of its memory it touches in the end, 0…1.
    pub touches: f64,
}

impl Guest {
    /// Cores it keeps busy at this time.
    #[must_use]
    pub fn cores(&self, now: f64) -> f64 {
        // A few days in the mean life of a guest.
        let day = (std::f64::consts::TAU * (now * 3.0 + self.phase)).sin();
        f64::from(self.vcpus) * (self.busy * (1.0 + 0.4 * day)).min(1.0)
    }

    /// The part of its memory it has touched at this time: a third at once, the rest in the first half of its life.
    #[must_use]
    pub fn touched(&self, now: f64) -> f64 {
        let age = ((now - self.arrives) / (0.5 * self.lives)).clamp(0.0, 1.0);
        self.touches * (0.33 + 0.67 * age)
    }
}

/// `count` guests of this mix for a host with so many threads, which they would fill to `load` if none were refused.
#[must_use]
pub fn guests(mix: &Mix, threads: f64, load: f64, count: usize, seed: u64) -> Vec<Guest> {
    let mut random = Random::new(seed);
    let weights = mix.flavours.iter().map(|flavour| flavour.weight);
    let whole: f64 = weights.clone().sum();
    let mean: f64 = mix.flavours.iter().map(|f| f64::from(f.vcpus) * f.weight).sum::<f64>() / whole;
    let between = mean / (load * threads);
    let mut now = 0.0;
    (0..count)
        .map(|_| {
            now += between * random.exponential();
            let flavour = mix.flavours[random.weighted(weights.clone())];
            Guest {
                arrives: now,
                lives: random.log_normal(1.0),
                vcpus: flavour.vcpus,
                memory: Kib::from_gib(flavour.gib),
                busy: random_busy(&mut random),
                phase: random.unit(),
                // Half of the guests never touch half of their memory (Pond, ASPLOS 2023).
                touches: 0.1 + 0.9 * random.unit(),
            }
        })
        .collect()
}

/// Most guests idle, some are always busy.
fn random_busy(random: &mut Random) -> f64 {
    let unit = random.unit();
    0.1 + 0.85 * unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_is_the_published_one() {
        let sum = |wanted: &dyn Fn(&Flavour) -> bool| -> f64 {
            HUAWEI.flavours.iter().filter(|f| wanted(f)).map(|f| f.weight).sum()
        };
        assert!((sum(&|_| true) - 100.0).abs() < 1e-9);
        assert!(sum(&|f| f.vcpus == 1 && f.gib <= 2) > 65.0);
        assert!(ENTERPRISE.flavours.iter().all(|f| [2, 4, 8].contains(&(f.gib / u64::from(f.vcpus)))));
    }

    #[test]
    fn a_seed_is_a_workload_and_its_load_is_right() {
        let one = guests(&HUAWEI, 128.0, 0.85, 4000, 3);
        assert_eq!(one, guests(&HUAWEI, 128.0, 0.85, 4000, 3));
        assert_ne!(one[0], guests(&HUAWEI, 128.0, 0.85, 4000, 4)[0]);
        let offered: f64 = one.iter().map(|g| f64::from(g.vcpus) * g.lives).sum();
        let load = offered / one.last().unwrap().arrives / 128.0;
        assert!((0.7..1.0).contains(&load), "{load}");
        let guest = Guest { arrives: 1.0, lives: 2.0, ..one[0] };
        assert!(guest.touched(1.0) < guest.touched(1.5) && (guest.touched(9.0) - guest.touches).abs() < 1e-12);
    }
}
