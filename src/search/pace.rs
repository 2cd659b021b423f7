//! Whether others need the processors.
//!
//! Requests come first: while they take the whole machine, what they wrote waits in the log, and the
//! index goes on in small turns. Priorities of threads would do the same, but cannot be raised again
//! by who is not root when somebody searches and waits.

use std::fs;
use std::time::Duration;

/// Time that a thread must have wanted to run before its waiting says something.
const WANTED_MIN: Duration = Duration::from_millis(4);
/// A thread that has waited this much of the time (one of so many parts) has met others.
const WAITED_PARTS: u32 = 4;

/// What the calling thread has had of the processors.
#[derive(Clone, Copy, Debug, Default)]
struct Had {
    ran: Duration,
    waited: Duration,
}

/// Looks at how long the calling thread waits for a processor.
#[derive(Debug)]
pub(super) struct Pace {
    last: Had,
    is_crowded: bool,
}

impl Pace {
    /// Looks from now on, and takes it that nobody is in the way.
    pub(super) fn begin() -> Self {
        Pace {
            last: had().unwrap_or_default(),
            is_crowded: false,
        }
    }

    /// Whether others wanted the processors, the last time that this could be told.
    pub(super) fn is_crowded(&mut self) -> bool {
        // Where it cannot be told, nobody is in the way.
        if let Some(now) = had() {
            let ran = now.ran.saturating_sub(self.last.ran);
            let waited = now.waited.saturating_sub(self.last.waited);
            if ran + waited >= WANTED_MIN {
                self.is_crowded = is_much(ran, waited);
                self.last = now;
            }
        }
        self.is_crowded
    }
}

fn is_much(ran: Duration, waited: Duration) -> bool {
    waited * WAITED_PARTS > ran + waited
}

/// Linux's account of the thread: nanoseconds run, nanoseconds waited while it could have run.
fn had() -> Option<Had> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut numbers = text.split_ascii_whitespace();
    let mut next = || numbers.next()?.parse().ok().map(Duration::from_nanos);
    Some(Had {
        ran: next()?,
        waited: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_can_be_read_and_grows() {
        let mut pace = Pace::begin();
        let begun = pace.last;
        let mut sum = 0u64;
        while had().expect("Linux accounts for its threads").ran < begun.ran + WANTED_MIN {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        pace.is_crowded();
        assert!(pace.last.ran >= begun.ran + WANTED_MIN, "{pace:?}");
    }

    #[test]
    fn a_quarter_of_waiting_is_much() {
        let millis = Duration::from_millis;
        assert!(!is_much(millis(90), millis(10)));
        assert!(is_much(millis(60), millis(40)));
    }
}
