//! The certificate in force, and the warning in the log before it ends.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::config::Certificate;
use crate::certificate::days_left;

/// How long before its end the log warns of it.
const WARNED: Duration = Duration::from_secs(14 * 24 * 3600);
/// How often it does.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The certificate in force, and when its end is looked at again.
#[derive(Debug, Default)]
pub struct Expiry {
    certificate: Option<Certificate>,
    next: Option<Instant>,
}

impl Expiry {
    /// Puts another certificate in force. The log has it, and a warning if it ends soon.
    pub fn put_in_force(&mut self, certificate: Option<Certificate>, now: Instant, wall: Timestamp) {
        self.certificate = certificate;
        self.next = None;
        if let Some(certificate) = &self.certificate {
            log::info!("{certificate}");
            self.look(now, wall);
        }
    }

    /// Returns the certificate in force.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Returns when to call [`Expiry::look`] again; `None` without a certificate.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Warns if the certificate ends soon, and returns what it warned of. To be called at [`Expiry::next`]; earlier, it
    /// does nothing.
    pub fn look(&mut self, now: Instant, wall: Timestamp) -> Option<String> {
        let certificate = self.certificate.as_ref()?;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + INTERVAL);
        let warning = warning(certificate, wall)?;
        log::warn!("{warning}");
        Some(warning)
    }
}

/// Returns the warning about a certificate that ends soon, or has ended; `None` for one that does not.
pub fn warning(certificate: &Certificate, now: Timestamp) -> Option<String> {
    let (path, ends, remedy) = (certificate.path.display(), certificate.ends(), certificate.remedy());
    let left = ends.as_second().saturating_sub(now.as_second());
    if left > WARNED.as_secs().cast_signed() {
        return None;
    }
    let date = ends.strftime("%F");
    if left <= 0 {
        return Some(format!("the certificate in {path} ended on {date}: {remedy}"));
    }
    let left = match days_left(ends, now) {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    Some(format!("the certificate in {path} ends on {date}, in {left}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::certificate_for_tests;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn the_log_warns_from_two_weeks_before_the_end_once_a_day() {
        let (certificate, _folder) = certificate_for_tests();
        let (path, ends) = (certificate.path.display().to_string(), certificate.ends());
        let start = Instant::now();
        let at = |left: i64| Timestamp::from_second(ends.as_second() - left).unwrap();
        let mut expiry = Expiry::default();
        assert_eq!((expiry.next(), expiry.look(start, at(0))), (None, None));
        expiry.put_in_force(Some(certificate), start, at(14 * DAY + 1));
        let texts = [
            (14 * DAY, "ends on 2030-01-01, in 14 days"),
            (13 * DAY + 1, "ends on 2030-01-01, in 13 days"),
            (2 * DAY - 1, "ends on 2030-01-01, in 1 day"),
            (1, "ends on 2030-01-01, in less than a day"),
            (0, "ended on 2030-01-01"),
            (-DAY, "ended on 2030-01-01"),
        ];
        for (left, text) in texts {
            let next = expiry.next().unwrap();
            assert_eq!(expiry.look(next - Duration::from_secs(1), at(left)), None, "not yet");
            let warning = format!("the certificate in {path} {text}: renew it, and reload chatd");
            assert_eq!(expiry.look(next, at(left)), Some(warning));
            assert_eq!(expiry.next(), Some(next + INTERVAL));
        }
        expiry.put_in_force(None, start, at(0));
        assert_eq!(expiry.next(), None);
    }
}
