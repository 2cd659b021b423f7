//! Answers that are still good.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::review::Answer;

/// Answers kept; beyond it the oldest go.
const ANSWERS_MAX: usize = 8192;

/// See the module.
#[derive(Default)]
pub(super) struct Answers(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<String, (Instant, Answer)>,
    /// Keys in the order they came.
    order: VecDeque<String>,
}

impl Answers {
    pub(super) fn get(&self, key: &str) -> Option<Answer> {
        let kept = self.0.lock();
        let (until, answer) = kept.answers.get(key)?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    pub(super) fn keep(&self, key: String, answer: Answer, ttl: Duration) {
        let mut kept = self.0.lock();
        let entry = (Instant::now() + ttl, answer);
        if kept.answers.insert(key.clone(), entry).is_some() {
            return;
        }
        kept.order.push_back(key);
        if kept.order.len() > ANSWERS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.answers.remove(&oldest);
        }
    }
}
