//! How TLS is doing, in the answer to `/stats`.

use serde::{Deserialize, Serialize};

use super::list::counted;

/// How many connections have agreed upon the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCount {
    /// The version of TLS: `1.2` or `1.3`.
    pub version: String,
    /// The cipher suite, as IANA writes it.
    pub cipher: String,
    /// Who makes the records: `kernel` or `user`.
    pub records: String,
    /// Number of connections.
    pub count: usize,
}

/// How TLS is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsState {
    /// The connections that speak TLS.
    pub connections: Vec<TlsCount>,
    /// Number of finished handshakes.
    pub handshakes: u64,
    /// Number of handshakes that failed.
    pub failed: u64,
    /// In how many days the certificate ends; less than 0 if it has ended. `None` without a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i64>,
}

impl TlsState {
    /// Returns the number of connections, and how many of them have their keys in the kernel.
    pub fn counts(&self) -> (usize, usize) {
        let sum = |kernel_only: bool| {
            let counted = self.connections.iter().filter(|one| !kernel_only || one.records == "kernel");
            counted.map(|one| one.count).sum()
        };
        (sum(false), sum(true))
    }

    /// Returns when the certificate ends, in words.
    pub fn end(&self) -> Option<String> {
        Some(match self.days? {
            ..0 => "the certificate has ended".to_owned(),
            0 => "the certificate ends in less than a day".to_owned(),
            days => format!("the certificate ends in {}", counted(days as usize, "day", "days")),
        })
    }

    /// Returns it in words.
    pub(super) fn shown(&self) -> String {
        let (all, in_kernel) = self.counts();
        let end = self.end().map_or_else(String::new, |end| format!(", {end}"));
        format!(
            "{all} with TLS ({in_kernel} in the kernel), {} handshakes, {} failed{end}",
            self.handshakes, self.failed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_in_words() {
        let end = |days| TlsState { connections: vec![], handshakes: 0, failed: 0, days }.end();
        assert_eq!(end(None), None);
        for (days, words) in
            [(80, "ends in 80 days"), (1, "ends in 1 day"), (0, "ends in less than a day"), (-1, "has ended")]
        {
            assert_eq!(end(Some(days)), Some(format!("the certificate {words}")));
        }
    }
}
