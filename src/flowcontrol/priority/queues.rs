//! `Queues`: the waiting requests of one level, and whose turn it is.
//!
//! Shuffle sharding deals every flow a hand of queues, so that a flow that floods its own leaves
//! most others at least one calm queue. Among the queues the one with the least virtual finish time
//! is served (fair queuing): a queue is charged the seats and the time that its requests take.
//! Pure: no clock, no lock; [`super::level`] has both.

use std::collections::VecDeque;
use std::time::Duration;

/// Seconds that a request is charged before it is known how long it takes.
const ASSUMED_SECONDS: f64 = 0.003;

/// A request that waits; `T` is how it is told that its turn has come.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) ticket: u64,
    pub(super) seats: u32,
    pub(super) tell: T,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    executing: u32,
    seats_in_use: u32,
    /// Virtual time at which its next request would begin.
    next_start: f64,
}

impl<T> Queue<T> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.executing == 0
    }

    fn seats(&self) -> u32 {
        let waiting = self.waiting.iter().map(|w| w.seats);
        self.seats_in_use + waiting.sum::<u32>()
    }
}

/// All queues of a level.
#[derive(Debug)]
pub(super) struct Queues<T> {
    queues: Vec<Queue<T>>,
    /// Queues that have requests waiting or executing.
    active: u32,
    /// Requests waiting in all of them.
    waiting: u32,
    seats_waiting: u32,
    virtual_time: f64,
}

/// Numbers of one queue, for the debug pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueView {
    pub(super) waiting: usize,
    pub(super) executing: u32,
    pub(super) seats_in_use: u32,
    pub(super) seats_waiting: u32,
    pub(super) next_start: f64,
}

impl<T> Queues<T> {
    pub(super) fn new() -> Self {
        Queues {
            queues: Vec::new(),
            active: 0,
            waiting: 0,
            seats_waiting: 0,
            virtual_time: 0.0,
        }
    }

    /// Makes sure that there are `count` queues. Surplus ones drain, but get no new requests.
    pub(super) fn ensure(&mut self, count: u32) {
        while self.queues.len() < count as usize {
            self.queues.push(Queue {
                waiting: VecDeque::new(),
                executing: 0,
                seats_in_use: 0,
                next_start: 0.0,
            });
        }
    }

    /// Lets virtual time pass: each active queue gets its share of the seats in use.
    pub(super) fn advance(&mut self, passed: Duration, seats_wanted: u32, limit: u32) {
        if self.active > 0 {
            let rate = f64::from(seats_wanted.min(limit)) / f64::from(self.active);
            self.virtual_time += rate * passed.as_secs_f64();
        }
    }

    /// The queue for a flow: of its hand the one with the least work.
    pub(super) fn choose(&self, flow_hash: u64, count: u32, hand_size: u32) -> usize {
        let hand = deal(flow_hash, count, hand_size);
        let least = hand.min_by_key(|card| self.queues.get(*card).map_or(0, Queue::seats));
        least.unwrap_or(0)
    }

    /// Requests waiting in one queue.
    pub(super) fn length(&self, queue: usize) -> usize {
        self.queues[queue].waiting.len()
    }

    /// Puts a request at the end of a queue.
    pub(super) fn push(&mut self, queue: usize, request: Waiting<T>) {
        self.wake(queue);
        self.waiting += 1;
        self.seats_waiting += request.seats;
        self.queues[queue].waiting.push_back(request);
    }

    /// A request of `queue` begins without having waited.
    pub(super) fn begin(&mut self, queue: usize, seats: u32) {
        self.wake(queue);
        self.charge(queue, seats);
    }

    /// The queue whose turn it is, and the request at its head.
    pub(super) fn turn(&self) -> Option<(usize, &Waiting<T>)> {
        let heads = self.queues.iter().enumerate().filter_map(|(index, queue)| {
            let head = queue.waiting.front()?;
            let finish = queue.next_start + ASSUMED_SECONDS * f64::from(head.seats);
            Some((finish, index, head))
        });
        let (_, index, head) = heads.min_by(|a, b| a.0.total_cmp(&b.0))?;
        Some((index, head))
    }

    /// The request at the head of a queue begins.
    pub(super) fn take(&mut self, queue: usize) -> Option<Waiting<T>> {
        let request = self.queues[queue].waiting.pop_front()?;
        self.waiting -= 1;
        self.seats_waiting -= request.seats;
        self.charge(queue, request.seats);
        Some(request)
    }

    fn charge(&mut self, index: usize, seats: u32) {
        let queue = &mut self.queues[index];
        queue.executing += 1;
        queue.seats_in_use += seats;
        queue.next_start += ASSUMED_SECONDS * f64::from(seats);
    }

    /// A request of `queue` took `took`; what it was charged is put right.
    pub(super) fn finish(&mut self, queue: usize, seats: u32, took: Duration) {
        let queue = &mut self.queues[queue];
        queue.executing -= 1;
        queue.seats_in_use -= seats;
        queue.next_start += (took.as_secs_f64() - ASSUMED_SECONDS) * f64::from(seats);
        if queue.is_idle() {
            self.active -= 1;
        }
    }

    /// Takes a request out that waits no longer. Answers whether it was still waiting.
    pub(super) fn remove(&mut self, queue: usize, ticket: u64) -> bool {
        let queue = &mut self.queues[queue];
        let Some(at) = queue.waiting.iter().position(|w| w.ticket == ticket) else {
            return false;
        };
        if let Some(request) = queue.waiting.remove(at) {
            self.waiting -= 1;
            self.seats_waiting -= request.seats;
        }
        if queue.is_idle() {
            self.active -= 1;
        }
        true
    }

    fn wake(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        if queue.is_idle() {
            self.active += 1;
            queue.next_start = self.virtual_time;
        }
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    pub(super) fn seats_waiting(&self) -> u32 {
        self.seats_waiting
    }

    pub(super) fn active(&self) -> u32 {
        self.active
    }

    pub(super) fn virtual_time(&self) -> f64 {
        self.virtual_time
    }

    /// Every queue with the requests that wait in it.
    pub(super) fn view(&self) -> impl Iterator<Item = (QueueView, &VecDeque<Waiting<T>>)> {
        self.queues.iter().map(|queue| {
            let view = QueueView {
                waiting: queue.waiting.len(),
                executing: queue.executing,
                seats_in_use: queue.seats_in_use,
                seats_waiting: queue.waiting.iter().map(|w| w.seats).sum(),
                next_start: queue.next_start,
            };
            (view, &queue.waiting)
        })
    }
}

/// Deals `hand_size` different cards of `deck`, the same for the same hash.
fn deal(mut hash: u64, deck: u32, hand_size: u32) -> impl Iterator<Item = usize> {
    let mut dealt = smallvec::SmallVec::<[usize; 8]>::new();
    // The same, sorted.
    let mut gone = smallvec::SmallVec::<[usize; 8]>::new();
    for left in (deck.saturating_sub(hand_size) + 1..=deck).rev() {
        let mut card = (hash % u64::from(left)) as usize;
        hash /= u64::from(left);
        // Cards are numbered among those left: skip the ones that are gone.
        let mut place = 0;
        while gone.get(place).is_some_and(|taken| card >= *taken) {
            card += 1;
            place += 1;
        }
        gone.insert(place, card);
        dealt.push(card);
    }
    dealt.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hands_have_different_cards_of_the_deck() {
        for hash in (0..2000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let hand: Vec<usize> = deal(hash, 64, 6).collect();
            let distinct: HashSet<usize> = hand.iter().copied().collect();
            assert_eq!(distinct.len(), 6, "{hand:?}");
            assert!(hand.iter().all(|card| *card < 64), "{hand:?}");
        }
        assert_eq!(deal(7, 4, 8).count(), 4);
    }

    /// One flow sends much, another little: both have requests served in turn.
    #[test]
    fn a_flood_does_not_starve_others() {
        let mut queues = Queues::new();
        queues.ensure(2);
        let mut ticket = 0;
        let mut push = |queues: &mut Queues<&'static str>, queue: usize, flow| {
            ticket += 1;
            let seats = 1;
            queues.push(
                queue,
                Waiting {
                    ticket,
                    seats,
                    tell: flow,
                },
            );
        };
        for _ in 0..100 {
            push(&mut queues, 0, "flood");
        }
        for _ in 0..5 {
            push(&mut queues, 1, "calm");
        }
        let mut served = Vec::new();
        for _ in 0..12 {
            let (queue, _) = queues.turn().expect("somebody waits");
            let request = queues.take(queue).expect("somebody waits");
            served.push(request.tell);
            queues.advance(Duration::from_millis(10), 105, 1);
            queues.finish(queue, 1, Duration::from_millis(10));
        }
        let calm = served.iter().filter(|flow| **flow == "calm").count();
        assert_eq!(calm, 5, "{served:?}");
        assert_eq!(queues.waiting(), 93);
    }

    #[test]
    fn who_gives_up_is_taken_out() {
        let mut queues = Queues::new();
        queues.ensure(1);
        let request = |ticket| Waiting {
            ticket,
            seats: 2,
            tell: (),
        };
        queues.push(0, request(1));
        queues.push(0, request(2));
        assert_eq!((queues.waiting(), queues.seats_waiting()), (2, 4));
        assert!(queues.remove(0, 1));
        assert!(!queues.remove(0, 1));
        assert_eq!(queues.turn().map(|(_, w)| w.ticket), Some(2));
        assert_eq!(queues.take(0).map(|w| w.ticket), Some(2));
        assert!(queues.turn().is_none());
        assert_eq!(queues.active(), 1);
        queues.finish(0, 2, Duration::ZERO);
        assert_eq!(queues.active(), 0);
    }
}
