//! Sorts the passed descriptors by name: what chatd has stored, and everything else.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use super::{CONFIG, STATE, TABLE};
use crate::net::parcel::Parcel;
use crate::service::systemd::Passed;

/// What chatd has stored.
#[derive(Debug, Default)]
pub struct Stored {
    pub(super) inlets: BTreeMap<u64, OwnedFd>,
    pub(super) outlets: BTreeMap<u64, OwnedFd>,
    pub(super) table: Option<OwnedFd>,
    /// Names that only older versions use; the service manager is told to forget them.
    pub(super) old: Vec<String>,
    pub(super) state: Option<OwnedFd>,
    pub(super) config: Option<OwnedFd>,
}

/// Returns the names under which the ends of a parcel are stored.
pub(super) fn names_of(number: u64) -> [String; 2] {
    [format!("parcel-{number}-in"), format!("parcel-{number}-out")]
}

impl Stored {
    /// Splits the passed descriptors into what chatd has stored, and the rest.
    pub fn take_from(passed: Vec<Passed>) -> (Self, Vec<Passed>) {
        let mut stored = Self::default();
        let rest = passed.into_iter().filter_map(|passed| stored.take(passed)).collect();
        (stored, rest)
    }

    /// Takes a descriptor, or returns it if chatd has not stored it.
    fn take(&mut self, passed: Passed) -> Option<Passed> {
        let number = |rest: &str| rest.parse::<u64>().ok();
        let (kind, rest) = passed.name.split_once('-').unwrap_or((&passed.name, ""));
        let before = match kind {
            STATE if rest.is_empty() => self.state.replace(passed.fd),
            CONFIG if rest.is_empty() => self.config.replace(passed.fd),
            TABLE if rest.is_empty() => self.table.replace(passed.fd),
            // Version 0.1.0 stored these.
            "journal" | "marks" => {
                self.old.push(passed.name);
                return None;
            }
            "parcel" => match rest.split_once('-').map(|(digits, end)| (number(digits), end)) {
                Some((Some(number), "in")) => self.inlets.insert(number, passed.fd),
                Some((Some(number), "out")) => self.outlets.insert(number, passed.fd),
                _ => return Some(passed),
            },
            _ => return Some(passed),
        };
        if before.is_some() {
            log::warn!("the service manager passed \"{}\" twice: using the last one", passed.name);
        }
        None
    }

    /// Returns the configuration of the previous process, if there are connections to go on with.
    pub fn config(&self) -> Option<String> {
        let is_full = |outlet: &OwnedFd| rustix::io::ioctl_fionread(outlet).is_ok_and(|bytes| bytes > 0);
        let config = self.config.as_ref().filter(|_| self.outlets.values().any(is_full))?;
        String::from_utf8(super::memory::read(config).ok()?).ok()
    }

    /// Returns whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        let is_none = self.table.is_none() && self.state.is_none() && self.old.is_empty();
        is_none && self.inlets.is_empty() && self.outlets.is_empty()
    }

    /// Takes the parcels, by number. Also returns the names of ends whose other end is missing, and logs them.
    pub(super) fn take_parcels(&mut self) -> (BTreeMap<u64, Parcel>, Vec<String>) {
        let mut inlets = std::mem::take(&mut self.inlets);
        let mut odd = Vec::new();
        let mut parcels = BTreeMap::new();
        for (number, outlet) in std::mem::take(&mut self.outlets) {
            match inlets.remove(&number) {
                Some(inlet) => drop(parcels.insert(number, Parcel { inlet, outlet })),
                None => odd.push(number),
            }
        }
        let odd_inlets = inlets.into_keys().map(|number| names_of(number)[0].clone());
        let odd_outlets = odd.into_iter().map(|number: u64| names_of(number)[1].clone());
        let odd: Vec<String> = odd_inlets.chain(odd_outlets).collect();
        for name in &odd {
            log::warn!("cannot use the stored descriptor \"{name}\": its other end is missing");
        }
        (parcels, odd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(name: &str) -> Passed {
        Passed { fd: std::fs::File::open("/dev/null").unwrap().into(), name: name.to_owned() }
    }

    #[test]
    fn what_is_stored_is_told_from_sockets_and_from_strangers() {
        let names = [
            "chatd",
            "state",
            "config",
            "table",
            "marks",
            "journal-3",
            "parcel-1-in",
            "parcel-1-out",
            "parcel-2-out",
            "parcel-1-up",
            "state-2",
            "unknown",
        ];
        let (mut stored, rest) = Stored::take_from(names.map(passed).into());
        let rest: Vec<_> = rest.into_iter().map(|passed| passed.name).collect();
        assert_eq!(rest, ["chatd", "parcel-1-up", "state-2", "unknown"]);
        assert_eq!(stored.old, ["marks", "journal-3"], "of version 0.1.0");
        let (parcels, odd) = stored.take_parcels();
        assert_eq!(parcels.into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(odd, ["parcel-2-out"]);
    }
}
