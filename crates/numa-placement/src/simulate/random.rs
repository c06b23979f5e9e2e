//! Random numbers from a seed, the same on every machine: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
//! Number Generators, 2014).

/// A source of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// By this seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.bits();
        random
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly in 0…1, 1 excluded.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly in 0…n-1; 0 if n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.bits() % (n.max(1) as u64)).unwrap_or(0)
    }

    /// With mean 1, as the time between independent arrivals.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// With mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Log-normal with mean 1 and this deviation of the logarithm.
    pub fn log_normal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal() - sigma * sigma / 2.0).exp()
    }

    /// A position, in proportion to its weight; 0 if there is none.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (at, weight) in weights.enumerate() {
            last = at;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_the_means_are_right() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        let mut sums = [0.0; 4];
        for _ in 0..20_000 {
            let unit = one.unit();
            assert!((0.0..1.0).contains(&unit) && unit.to_bits() == two.unit().to_bits());
            sums[0] += unit;
            let pair = (one.exponential(), two.exponential());
            sums[1] += pair.0;
            sums[2] += one.normal();
            sums[3] += one.log_normal(1.0);
            let _ = (two.normal(), two.log_normal(1.0));
        }
        let means = sums.map(|sum| sum / 20_000.0);
        for (mean, right) in means.into_iter().zip([0.5, 1.0, 0.0, 1.0]) {
            assert!((mean - right).abs() < 0.05, "{means:?}");
        }
    }

    #[test]
    fn weights_are_heeded() {
        let mut random = Random::new(1);
        let mut counts = [0; 3];
        for _ in 0..3000 {
            counts[random.weighted([0.0, 1.0, 2.0].into_iter())] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!((900..1100).contains(&counts[1]), "{counts:?}");
    }
}
