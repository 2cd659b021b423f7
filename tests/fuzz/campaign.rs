//! One target's campaign: seeds, then mutations of them, until the time is over. Time is what the
//! processor gave to the target, so that a busy machine does not shorten a campaign.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::mutate::mutate;

/// Longest input that is made.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// What an input may take, and what each of its bytes adds; generous, because tests share a machine.
const TIME_MAX: Duration = Duration::from_secs(2);
const TIME_PER_BYTE: Duration = Duration::from_micros(40);
/// How often an input is run that takes too long.
const RUNS_MAX: usize = 3;
/// Mutations that got far (took longer than the others) are mutated further.
const KEPT_MAX: usize = 2_000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Inputs between two looks at the time.
const INPUTS_PER_LOOK: u64 = 64;

/// How long each target runs: `FUZZ_SECONDS` of its thread, or half a second.
fn duration() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.5);
    Duration::from_secs_f64(seconds)
}

/// What this thread has run so far.
fn thread_time() -> Duration {
    let file = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(file).expect("Linux accounts for its threads");
    let nanos = text.split_ascii_whitespace().next();
    let nanos = nanos.and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

/// The seed of the random numbers: `FUZZ_SEED`, or always the same.
fn seed() -> u64 {
    let seed = std::env::var("FUZZ_SEED").ok();
    seed.and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// Runs a target on what was found before, on the seeds, and on mutations of them.
pub(crate) fn run(name: &str, seeds: &[Vec<u8>], target: fn(&[u8])) {
    assert!(!seeds.is_empty(), "{name} has seeds");
    let regressions = regressions(name);
    // What was found before must pass however short the run is.
    for input in &regressions {
        check(name, input, target);
    }
    let mut pool: Vec<Vec<u8>> = regressions;
    pool.extend(seeds.iter().cloned());
    let mut rng = StdRng::seed_from_u64(seed());
    let started = (Instant::now(), thread_time());
    let limit = duration();
    let (mut executions, mut slowest, mut next_seed) = (0u64, Duration::ZERO, 0);
    let seeds_only = pool.len();
    while !executions.is_multiple_of(INPUTS_PER_LOOK) || thread_time() - started.1 < limit {
        let is_seed = next_seed < seeds_only && rng.random_bool(0.5);
        let input = match is_seed {
            true => {
                next_seed += 1;
                pool[next_seed - 1].clone()
            }
            false => {
                let base = rng.random_range(0..pool.len());
                let other = rng.random_range(0..pool.len());
                mutate(&pool[base], &pool[other], INPUT_BYTES_MAX, &mut rng)
            }
        };
        let took = check(name, &input, target);
        executions += 1;
        let per_byte = took / (input.len() as u32 + 64);
        if !is_seed && per_byte > slowest {
            slowest = per_byte;
            keep(&mut pool, seeds_only, input, &mut rng);
        } else if !is_seed && rng.random_ratio(1, 50) {
            keep(&mut pool, seeds_only, input, &mut rng);
        }
    }
    let (wall, ran) = (started.0.elapsed(), thread_time() - started.1);
    println!(
        "{name}: {executions} executions in {ran:.1?} of a processor, {wall:.1?} by the clock"
    );
}

fn keep(pool: &mut Vec<Vec<u8>>, seeds: usize, input: Vec<u8>, rng: &mut StdRng) {
    if pool.len() < seeds + KEPT_MAX {
        pool.push(input);
        return;
    }
    let at = rng.random_range(seeds..pool.len());
    pool[at] = input;
}

/// Runs the target; a finding is kept as a file and ends the test. What is slow only once was the
/// machine's doing.
fn check(name: &str, input: &[u8], target: fn(&[u8])) -> Duration {
    let allowed = TIME_MAX + TIME_PER_BYTE * input.len() as u32;
    let mut took = Duration::MAX;
    for _ in 0..RUNS_MAX {
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
        took = took.min(began.elapsed());
        if outcome.is_err() {
            found(name, "panicked", took, input);
        }
        if took <= allowed {
            return took;
        }
    }
    found(name, "took too long", took, input)
}

fn found(name: &str, problem: &str, took: Duration, input: &[u8]) -> ! {
    let file = write_finding(name, input);
    panic!(
        "{name} {problem} ({took:?}) on {} bytes, kept as {}",
        input.len(),
        file.display()
    );
}

fn write_finding(name: &str, input: &[u8]) -> PathBuf {
    let digest = ring::digest::digest(&ring::digest::SHA256, input);
    let short: String = digest.as_ref()[..8]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let folder = folder().join("target/fuzz").join(name);
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    let file = folder.join(short);
    std::fs::write(&file, input).expect("the target folder is writable");
    file
}

fn regressions(name: &str) -> Vec<Vec<u8>> {
    let folder = folder().join("tests/fuzz/corpus").join(name);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read = |file| std::fs::read(file).expect("a file of the corpus");
    files.iter().map(read).collect()
}
