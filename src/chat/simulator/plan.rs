//! What a seed decides for all of a run.

use super::house::ROOMS;
use super::random::Random;

#[derive(Debug)]
pub struct Plan {
    pub steps: usize,
    pub members: usize,
    pub rooms: usize,
    /// How often in a thousand steps.
    pub handovers: usize,
    pub crashes: usize,
    pub is_late: bool,
    pub is_archived: bool,
    /// Time goes on in small steps, and nobody who is waited for reads at `min_rate`.
    pub is_patience: bool,
    pub has_drain: bool,
}

impl Plan {
    pub fn new(seed: u64, random: &mut Random) -> Self {
        let is_crowd = seed % 60 == 7;
        let is_patience = seed % 8 == 3;
        let is_long = seed % 100 == 11;
        Self {
            steps: if is_crowd {
                100
            } else if is_long {
                2000
            } else {
                random.between(80, 300)
            },
            members: if is_crowd { random.between(100, 300) } else { random.between(2, 36) },
            rooms: if is_patience { 1 } else { random.between(1, ROOMS.len()) },
            handovers: if is_patience { 0 } else { random.pick(&[0, 2, 10, 40]) },
            crashes: if is_patience { 0 } else { random.pick(&[0, 0, 0, 3, 20]) },
            is_late: seed % 5 == 4,
            is_archived: seed % 3 == 1,
            is_patience,
            has_drain: random.has_luck(330),
        }
    }
}
