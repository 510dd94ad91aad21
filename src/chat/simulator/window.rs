//! A window: between which places something happened, as far as is known.

use super::order::Order;

/// Up to where each room may have come when something happened: at least, at most.
#[derive(Clone, Debug)]
pub struct Window {
    pub low: Vec<usize>,
    pub high: Option<Vec<usize>>,
    /// The input that it belongs to.
    pub input: usize,
    /// The name that it asked for.
    pub name: Option<String>,
}

impl Window {
    pub fn of(&self, room: usize, order: &Order) -> (usize, usize) {
        let high = self.high.as_ref().map_or_else(|| order.units(room).len(), |high| high[room]);
        (self.low[room], high)
    }
}
