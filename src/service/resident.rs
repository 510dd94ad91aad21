//! Resident code: what only a start runs need not stay in memory.

use std::time::Duration;

use crate::rt;

/// By then, what only a start runs has run.
const STARTED: Duration = Duration::from_secs(1);

/// Takes the code of this program out of its memory when it has started.
pub fn drop_code_soon() {
    rt::spawn(async {
        rt::sleep(STARTED).await;
        drop_code();
    });
}

/// Takes the code of this program out of its memory. What runs next comes back from the page cache, 64 KiB at a time:
/// about a tenth of it, while nothing happens.
#[allow(unsafe_code)]
fn drop_code() {
    // SAFETY: the linker provides these two, and only their addresses are taken.
    unsafe extern "C" {
        /// Where the program begins in memory.
        static __executable_start: u8;
        /// Where its code ends. What is before it is read-only: headers, constants, code.
        static etext: u8;
    }
    let (start, end) = (&raw const __executable_start, &raw const etext);
    // SAFETY: nothing writes to these pages, so the file that they come from has the same bytes (madvise(2),
    // MADV_DONTNEED). If the kernel refuses, they stay.
    unsafe { libc::madvise(start.cast_mut().cast(), end.addr() - start.addr(), libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_on_without_it() {
        let text = || format!("{:?} {}", [1.5_f64, 2.0], include_str!("resident.rs").len());
        let before = text();
        drop_code();
        assert_eq!(text(), before);
    }
}
