//! What the scenarios share: cases, how one is timed, how what arrived is checked.

use std::time::{Duration, Instant};

/// How long each of many round trips took.
pub type Latencies = Vec<Duration>;

/// Does a case's thing so many times, checks what came of it, and gives the time that it took, without set-up. The count
/// is a multiple of `COUNT_UNIT`. The latencies, if not `None`, are to get the time of each (only asked of round trips).
type Work = Box<dyn Fn(u64, Option<&mut Latencies>) -> Duration>;

/// Divisible by every number of producers.
const COUNT_UNIT: u64 = 8;
/// The first guess, and more than any run may take: a peer so fast is measured by shorter runs.
const COUNT_MIN: u64 = 64;
const COUNT_MAX: u64 = 80_000_000;
/// Of the wanted time: how long a run must last to tell how many times make a whole one.
const SHORTEST: f64 = 0.25;
const LATENCIES_MAX: u64 = 1_000_000;

/// One peer in one scenario. The last part of a scenario's name is its column of the table, the rest its table.
pub struct Case {
    pub scenario: String,
    pub peer: &'static str,
    work: Work,
    has_latencies: bool,
}

impl Case {
    pub fn new(scenario: impl Into<String>, peer: &'static str, work: impl Fn(u64) -> Duration + 'static) -> Case {
        Case {
            scenario: scenario.into(),
            peer,
            work: Box::new(move |count, _| work(count)),
            has_latencies: false,
        }
    }

    pub fn of_round_trips(
        scenario: impl Into<String>,
        peer: &'static str,
        work: impl Fn(u64, Option<&mut Latencies>) -> Duration + 'static,
    ) -> Case {
        Case {
            scenario: scenario.into(),
            peer,
            work: Box::new(work),
            has_latencies: true,
        }
    }

    /// The version of the crate that the peer is named after; the standard library has none of its own.
    pub fn version(&self) -> &'static str {
        const LOCK: &str = include_str!("../Cargo.lock");
        let entry = format!("name = \"{}\"\nversion = \"", self.peer);
        let found = LOCK.split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
        found.map_or("std", |(version, _)| version)
    }
}

/// What is printed of one timed run; p50 and p99 only of round trips.
pub struct Figures {
    pub per_second: f64,
    pub percentiles: Option<[Duration; 2]>,
}

/// One timed run of about so many seconds.
pub fn measure(case: &Case, seconds: f64) -> Figures {
    let count = count_for(&case.work, seconds);
    let per_second = count as f64 / (case.work)(count, None).as_secs_f64();
    let percentiles = case
        .has_latencies
        .then(|| percentiles(&case.work, count.min(LATENCIES_MAX)));
    Figures {
        per_second,
        percentiles,
    }
}

/// A run of its own: to look at the clock twice per trip would slow the rate down.
fn percentiles(work: &Work, trips: u64) -> [Duration; 2] {
    let mut each = Latencies::with_capacity(trips as usize);
    work(trips, Some(&mut each));
    each.sort();
    [50, 99].map(|percent| each[each.len() * percent / 100])
}

/// How often the work can be done in so many seconds, found by shorter runs, which also warm up.
fn count_for(work: &Work, seconds: f64) -> u64 {
    let mut count = COUNT_MIN;
    loop {
        let taken = work(count, None).as_secs_f64().max(1e-9);
        let scale = seconds / taken;
        if scale * SHORTEST <= 1.0 || count == COUNT_MAX {
            return as_count(count as f64 * scale);
        }
        count = as_count(count as f64 * (scale / 2.0).clamp(2.0, 16.0));
    }
}

fn as_count(wanted: f64) -> u64 {
    (wanted as u64).clamp(COUNT_MIN, COUNT_MAX) / COUNT_UNIT * COUNT_UNIT
}

/// What has arrived: how many numbers, and their sum.
#[derive(Default)]
pub struct Tally {
    count: u64,
    sum: u64,
}

impl Tally {
    #[inline]
    pub fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum += number;
    }

    pub fn add_all(&mut self, other: &Tally) {
        self.count += other.count;
        self.sum += other.sum;
    }

    /// Panics unless 0, 1, ... count - 1 have arrived.
    pub fn check(&self, count: u64) {
        assert_eq!(self.count, count, "messages were lost or duplicated");
        assert_eq!(
            self.sum,
            count * (count - 1) / 2,
            "other messages arrived than were sent"
        );
    }
}

/// Calls `once(i)` so many times, and notes the time of each in `each`, if there is one.
pub fn repeat(count: u64, each: Option<&mut Latencies>, mut once: impl FnMut(u64)) -> Duration {
    let began = Instant::now();
    match each {
        None => (0..count).for_each(once),
        Some(each) => {
            for i in 0..count {
                let left = Instant::now();
                once(i);
                each.push(left.elapsed());
            }
        }
    }
    began.elapsed()
}

/// Runs a future on one thread, as a task: `block_on` itself would be polled in another way.
pub fn on_one_thread<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::spawn(future).await.unwrap() })
}
