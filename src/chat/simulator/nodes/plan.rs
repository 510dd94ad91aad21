//! What a seed decides for all of a run of several nodes.

use crate::chat::Limits;
use crate::chat::simulator::house::ROOMS;
use crate::chat::simulator::random::Random;

/// How often something happens, in a thousand steps.
#[derive(Debug)]
pub struct Plan {
    pub steps: usize,
    pub nodes: usize,
    pub members: usize,
    pub rooms: usize,
    pub handovers: usize,
    pub crashes: usize,
    pub deaths: usize,
    pub stops: usize,
    pub cuts: usize,
    pub pauses: usize,
    pub failovers: usize,
    pub trims: usize,
    pub jumps: usize,
    /// Nodes keep what they have appended until the replica has it.
    pub has_replicas: bool,
    pub limits: Limits,
}

impl Plan {
    pub fn new(seed: u64, random: &mut Random) -> Self {
        let rooms = random.between(1, ROOMS.len());
        // One in four has a calm engine, one in four calm nodes.
        let (is_calm, is_steady) = (seed % 4 == 1, seed % 4 == 2);
        let mut often = |is_never: bool, of: &[usize]| if is_never { 0 } else { random.pick(of) };
        let (handovers, crashes) = (often(is_steady, &[0, 5, 20]), often(is_steady, &[0, 0, 3, 20]));
        let (deaths, stops) = (often(is_steady, &[0, 0, 10]), often(is_steady, &[0, 0, 10]));
        let (cuts, pauses) = (often(is_calm, &[0, 20, 50]), often(is_calm || is_steady, &[0, 0, 20]));
        let (failovers, trims) = (often(is_calm, &[0, 0, 10]), often(is_calm, &[0, 0, 30]));
        let jumps = often(false, &[0, 10]);
        let limits = Limits {
            log_size: random.pick(&[4096, 8192, 65_536]),
            history: random.pick(&[0, 20, 100]),
            max_rooms: random.between(1, rooms),
            min_rate: random.pick(&[200, 1000, 20_000]),
            memory: 1 << 30,
            commands: true,
        };
        Self {
            steps: if seed % 100 == 11 { 1500 } else { random.between(80, 250) },
            nodes: random.pick(&[2, 2, 3]),
            members: random.between(2, 8),
            rooms,
            handovers,
            crashes,
            deaths,
            stops,
            cuts,
            pauses,
            failovers,
            trims,
            jumps,
            has_replicas: random.has_luck(500),
            limits,
        }
    }
}
