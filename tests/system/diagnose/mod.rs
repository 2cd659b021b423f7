//! `why` against refusals and failures that are made on purpose: it must name the true cause of
//! nearly all, and must never name a wrong one without saying that it is unsure.
//!
//! Files: `lab` servers and requests · `credentials` tokens and certificates, good and bad ·
//! `clients` what clients do wrong · `hooks` admission webhooks and quotas · `stores` what happens to
//! etcd.

mod clients;
mod credentials;
mod hooks;
mod lab;
mod stores;

use lab::Tally;

/// Groups run at the same time: each waits for its own server and etcd.
#[test]
fn injected_refusals_and_failures_are_explained() {
    let groups: [fn() -> Tally; 7] = [
        clients::all,
        clients::limits,
        hooks::all,
        stores::slow_then_gone,
        stores::full,
        stores::locked,
        stores::without_a_leader,
    ];
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = groups.map(|group| scope.spawn(group)).into_iter().collect();
        for group in running {
            match group.join() {
                Ok(tally) => all.add(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    println!("{all}");
    assert!(all.wrong.is_empty(), "wrong and sure of it:\n{all}");
    assert!(
        all.right.len() + all.unsure.len() >= 50,
        "too few cases:\n{all}"
    );
    assert!(all.unsure.len() <= 2, "too many are not explained:\n{all}");
}
