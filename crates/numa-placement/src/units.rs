//! Newtypes for sizes and identities, so that a host node never fits where a guest cell is expected.

use std::fmt;
use std::iter::Sum;

use serde::{Deserialize, Serialize};

/// A size in KiB (1024 bytes), the unit in which libvirt stores memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kib(pub u64);

impl Kib {
    /// Nothing.
    pub const ZERO: Kib = Kib(0);

    /// This many MiB; the largest value if it does not fit.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Kib {
        Kib(mib.saturating_mul(1024))
    }

    /// This many GiB; the largest value if it does not fit.
    #[must_use]
    pub const fn from_gib(gib: u64) -> Kib {
        Kib(gib.saturating_mul(1024 * 1024))
    }

    /// This many bytes, rounded up to whole KiB.
    #[must_use]
    pub const fn from_bytes_ceil(bytes: u64) -> Kib {
        Kib(bytes.div_ceil(1024))
    }

    /// The size in bytes, or `None` if that does not fit into 64 bits.
    #[must_use]
    pub const fn bytes(self) -> Option<u64> {
        self.0.checked_mul(1024)
    }

    /// The size in MiB, rounded up.
    #[must_use]
    pub const fn mib_ceil(self) -> u64 {
        self.0.div_ceil(1024)
    }

    /// `self + other`, or the largest value.
    #[must_use]
    pub const fn saturating_add(self, other: Kib) -> Kib {
        Kib(self.0.saturating_add(other.0))
    }

    /// `self - other`, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Kib) -> Kib {
        Kib(self.0.saturating_sub(other.0))
    }

    /// `self * count`, or the largest value.
    #[must_use]
    pub const fn saturating_mul(self, count: u64) -> Kib {
        Kib(self.0.saturating_mul(count))
    }

    /// How many pages of this size are needed for `self`; zero-sized pages count as 1 KiB.
    #[must_use]
    pub const fn pages(self, page: Kib) -> u64 {
        let page = if page.0 == 0 { 1 } else { page.0 };
        self.0.div_ceil(page)
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Sum for Kib {
    fn sum<I: Iterator<Item = Kib>>(iter: I) -> Kib {
        iter.fold(Kib::ZERO, Kib::saturating_add)
    }
}

/// For people: the largest unit that divides it, or one decimal (`2 GiB`, `1.5 GiB`, `12 KiB`).
impl fmt::Display for Kib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("TiB", 1 << 30), ("GiB", 1 << 20), ("MiB", 1 << 10)];
        let unit = UNITS.iter().find(|(_, size)| self.0 >= *size);
        let text = match unit {
            None => format!("{} KiB", self.0),
            Some((name, size)) if self.0.is_multiple_of(*size) => format!("{} {name}", self.0 / size),
            Some((name, size)) => {
                // Tenths in integers, rounded down: a shortage must not be shown as enough.
                let tenths = self.0 / size * 10 + self.0 % size * 10 / size;
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            }
        };
        f.pad(&text)
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<u32> for $name {
            fn from(id: u32) -> Self {
                $name(id)
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> u32 {
                id.0
            }
        }
    };
}

identity!(
    /// A logical CPU of the host, by the kernel's number.
    HostCpu
);
identity!(
    /// A NUMA node of the host, by the kernel's number; numbers may be sparse.
    HostNode
);
identity!(
    /// A NUMA cell of a guest: 0…n-1 without gaps.
    GuestCell
);
identity!(
    /// A virtual CPU of a guest: 0…maximum-1.
    VcpuId
);
identity!(
    /// An I/O thread of a guest, by its `id` in the definition (from 1).
    IoThreadId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        for (kib, text) in [(0, "0 KiB"), (12, "12 KiB"), (1024, "1 MiB"), (1536, "1.5 MiB"), (3 << 20, "3 GiB")] {
            assert_eq!(Kib(kib).to_string(), text);
        }
        assert_eq!(Kib(u64::MAX).to_string(), "17179869183.9 TiB");
        assert_eq!(format!("{:>8}", Kib(1024)), "   1 MiB");
    }

    #[test]
    fn pages_round_up_and_never_divide_by_zero() {
        assert_eq!(Kib::from_gib(3).pages(Kib::from_mib(2)), 1536);
        assert_eq!(Kib(2049).pages(Kib(2048)), 2);
        assert_eq!(Kib(5).pages(Kib(0)), 5);
        assert_eq!(Kib::from_bytes_ceil(1025), Kib(2));
        assert_eq!(Kib(u64::MAX).bytes(), None);
    }
}
