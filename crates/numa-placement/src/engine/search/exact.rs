//! Every pair of sets that are enough, for small hosts.

use super::Search;
use crate::engine::board::{Board, CpuChoice, MemoryChoice, Need};
use crate::engine::watch::Watch;

/// Hosts up to this size are searched exactly.
pub(super) const NODES: usize = 10;

/// A CPU set that is enough.
struct Side {
    /// Overload and load.
    cost: f64,
    /// The same and its further nodes.
    bound: f64,
    mask: u32,
}

/// What the CPU side of a node is about, for guests that float over their CPUs.
#[derive(Clone, Copy)]
struct SideSite {
    cpus: f64,
    business: (f64, f64),
}

impl SideSite {
    fn of(board: &Board<'_>, need: &Need, at: usize) -> SideSite {
        SideSite { cpus: f64::from(board.cpus(need, at)), business: board.business(at) }
    }

    /// Overload and load of these nodes, as [`Board::cpu_cost`] has it.
    fn cost(sites: &[SideSite], mask: u32, need: &Need) -> f64 {
        let each = |mut mask: u32, of: &mut dyn FnMut(&SideSite)| {
            while mask != 0 {
                of(&sites[mask.trailing_zeros() as usize]);
                mask &= mask - 1;
            }
        };
        let mut all = 0.0;
        each(mask, &mut |site| all += site.cpus);
        let per_cpu = 1.0 / f64::max(all, 1.0);
        let (mut overload, mut load) = (0.0, 0.0);
        each(mask, &mut |site| {
            let share = site.cpus * per_cpu;
            let (usual, peak) = Board::business_with(site.business, share, need.vcpus, need.usual);
            overload += share * (peak - 1.0).max(0.0);
            load += share * usual.powi(4);
        });
        overload * need.objective.overload + load * need.objective.load
    }
}

impl Search<'_, '_> {
    /// All pairs of sets that are enough, cheapest CPU side and smallest memory side first.
    ///
    /// Masks have a bit per position of the board, so the nodes of a pair are counted in one step; most pairs are cut
    /// off by that alone.
    pub(super) fn exact<W: Watch>(&mut self, watch: &mut W) {
        let (board, need) = (self.board, self.need);
        let (cpu_positions, memory_positions) = (self.cpu_positions(), self.memory_positions());
        let sides = self.sides(&cpu_positions);
        let stores = match &need.memory {
            MemoryChoice::Fixed(_) => vec![mask_of(&memory_positions)],
            MemoryChoice::Free => {
                let mut masks = Subsets::of(&memory_positions);
                for (resource, units) in need.resources() {
                    masks.with(units, |at| board.room(resource, at));
                }
                masks.smaller_first()
            }
        };
        let further = |mask: u32| f64::from(mask.count_ones().saturating_sub(1)) * need.objective.nodes;
        let fill = board.fill_prices(need, &memory_positions);
        let (mut cpus, mut memory, mut prices) = (Vec::new(), Vec::new(), Vec::new());
        for side in sides {
            let Some(mut best) = self.best.as_ref().map(|best| best.score.total) else { break };
            if side.bound >= best {
                break;
            }
            members(side.mask, &mut cpus);
            let mut shares = std::mem::take(&mut self.scratch.shares);
            board.shares_into(need, &cpus, &mut shares);
            board.prices_into(need, &shares, &fill, &mut prices);
            self.scratch.shares = shares;
            // Nodes of which no CPU is taken do not count.
            let used = self.scratch.shares.iter().fold(0, |mask, (at, _)| mask | 1 << at);
            // All of it on the cheapest node is cheaper still, and known without sorting.
            let cheapest = prices.iter().map(|(_, price)| *price).fold(f64::INFINITY, f64::min);
            if side.cost + (cheapest - need.objective.distance).max(0.0) + further(used) >= best {
                continue;
            }
            prices.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            let least = side.cost + board.least_price(need, &prices.iter().copied());
            if least + further(used) >= best {
                continue;
            }
            for store in stores.iter().copied() {
                if least + further(used | store) >= best {
                    continue;
                }
                let these = prices.iter().copied().filter(|(at, _)| store & (1 << at) != 0);
                if side.cost + board.least_price(need, &these) + further(used | store) >= best {
                    continue;
                }
                members(store, &mut memory);
                let score = board.score(need, &memory, &mut self.scratch);
                if score.total < best {
                    best = score.total;
                    self.keep(score, &cpus, &memory, watch);
                } else {
                    watch.scored(board, &cpus, &memory, &score);
                }
            }
        }
    }

    /// CPU sets that are enough and may beat what is known, the cheapest first.
    fn sides(&mut self, positions: &[usize]) -> Vec<Side> {
        let (board, need) = (self.board, self.need);
        let masks = match &need.cpus {
            CpuChoice::Fixed(_) => vec![mask_of(positions)],
            CpuChoice::Free => {
                let mut masks = Subsets::of(positions);
                masks.with(need.cpus_needed.into(), |at| board.cpus(need, at).into());
                masks.masks
            }
        };
        let best = self.best.as_ref().map_or(f64::INFINITY, |best| best.score.total);
        let further = |mask: u32| f64::from(mask.count_ones().saturating_sub(1)) * need.objective.nodes;
        let floats = need.dedicated.is_none() && matches!(need.cpus, CpuChoice::Free);
        // CPUs, and the cost of a CPU side that is there alone, in parts: shares times what their nodes cost.
        let sites: Vec<SideSite> = (0..board.len()).map(|at| SideSite::of(board, need, at)).collect();
        let mut sides = Vec::with_capacity(masks.len());
        for mask in masks {
            let beside = further(mask);
            if beside >= best {
                continue;
            }
            let cost = if floats { SideSite::cost(&sites, mask, need) } else { 0.0 };
            if cost + beside < best {
                sides.push(Side { cost, bound: cost + beside, mask });
            }
        }
        sides.sort_unstable_by(|a, b| a.bound.total_cmp(&b.bound).then(a.mask.cmp(&b.mask)));
        sides
    }
}

fn mask_of(positions: &[usize]) -> u32 {
    positions.iter().fold(0, |mask, at| mask | 1 << at)
}

fn members(mut mask: u32, set: &mut Vec<usize>) {
    set.clear();
    while mask != 0 {
        set.push(mask.trailing_zeros() as usize);
        mask &= mask - 1;
    }
}

/// Subsets of some positions. Of at most [`NODES`] positions, so there are few.
struct Subsets<'a> {
    positions: &'a [usize],
    masks: Vec<u32>,
}

impl Subsets<'_> {
    /// All but the empty one.
    fn of(positions: &[usize]) -> Subsets<'_> {
        let all = 1usize << positions.len();
        let mut masks = vec![0u32; all];
        for bits in 1..all {
            masks[bits] = masks[bits & (bits - 1)] | 1 << positions[bits.trailing_zeros() as usize];
        }
        masks.remove(0);
        Subsets { positions, masks }
    }

    /// Keeps those that have so much of something together.
    fn with(&mut self, needed: u64, of: impl Fn(usize) -> u64) {
        let all = 1usize << self.positions.len();
        let mut sums = vec![0u64; all];
        for bits in 1..all {
            let first = self.positions[bits.trailing_zeros() as usize];
            sums[bits] = sums[bits & (bits - 1)].saturating_add(of(first));
        }
        let positions = self.positions;
        let bits_of = |mask: u32| -> usize {
            let chosen = positions.iter().enumerate().filter(|(_, at)| mask & (1 << **at) != 0);
            chosen.fold(0, |bits, (bit, _)| bits | 1 << bit)
        };
        if self.masks.len() + 1 == all {
            // Nothing was left out so far: masks stand where their bits say.
            let mut bits = 0;
            self.masks.retain(|_| {
                bits += 1;
                sums[bits] >= needed
            });
        } else {
            self.masks.retain(|mask| sums[bits_of(*mask)] >= needed);
        }
    }

    fn smaller_first(mut self) -> Vec<u32> {
        self.masks.sort_by_key(|mask| mask.count_ones());
        self.masks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_sets_of_positions() {
        let mut set = Vec::new();
        members(mask_of(&[2, 5, 7]), &mut set);
        assert_eq!(set, [2, 5, 7]);
        let mut sets = Subsets::of(&[2, 5, 7]);
        sets.with(5, |at| at as u64);
        assert_eq!(sets.masks.len(), 6);
        sets.with(1, |at| u64::from(at == 5));
        assert_eq!(sets.smaller_first(), [mask_of(&[5]), mask_of(&[2, 5]), mask_of(&[5, 7]), mask_of(&[2, 5, 7])]);
    }
}
