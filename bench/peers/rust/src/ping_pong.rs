//! Round trips of one number over two channels of capacity 1: between two threads, and between two tasks of one.

use crate::ends::{AsyncRecv, AsyncSend, BlockingRecv, BlockingSend};
use crate::harness::{Case, Latencies, Tally, on_one_thread, repeat};
use std::time::{Duration, Instant};

fn between_threads<S: BlockingSend, R: BlockingRecv>(
    (out, mut far_in): (S, R),
    (far_out, mut back): (S, R),
    trips: u64,
    each: Option<&mut Latencies>,
) -> Duration {
    let echo = std::thread::spawn(move || {
        while let Some(number) = far_in.recv() {
            far_out.send(number);
        }
    });
    let mut trip = |number| {
        out.send(number);
        back.recv().unwrap()
    };
    trip(0); // the other thread runs
    let mut arrived = Tally::default();
    let taken = repeat(trips, each, |number| arrived.add(trip(number)));
    drop(out);
    echo.join().unwrap();
    arrived.check(trips);
    taken
}

fn between_tasks<S: AsyncSend, R: AsyncRecv>(
    (out, mut far_in): (S, R),
    (far_out, back): (S, R),
    trips: u64,
    each: Option<&mut Latencies>,
) -> Duration {
    let is_timed = each.is_some();
    let (taken, latencies) = on_one_thread(async move {
        tokio::spawn(async move {
            while let Some(number) = far_in.recv().await {
                far_out.send(number).await;
            }
        });
        trip_after_trip(out, back, trips, is_timed).await
    });
    if let Some(each) = each {
        *each = latencies;
    }
    taken
}

async fn trip_after_trip<S: AsyncSend, R: AsyncRecv>(
    out: S,
    mut back: R,
    trips: u64,
    is_timed: bool,
) -> (Duration, Latencies) {
    let mut arrived = Tally::default();
    let mut latencies = Latencies::with_capacity(if is_timed { trips as usize } else { 0 });
    let began = Instant::now();
    for number in 0..trips {
        let left = is_timed.then(Instant::now);
        out.send(number).await;
        arrived.add(back.recv().await.unwrap());
        latencies.extend(left.map(|left| left.elapsed()));
    }
    let taken = began.elapsed();
    arrived.check(trips);
    (taken, latencies)
}

fn add_threads(cases: &mut Vec<Case>) {
    type Trips = fn(u64, Option<&mut Latencies>) -> Duration;
    let mut add = |peer, work: Trips| cases.push(Case::of_round_trips("ping-pong/threads", peer, work));
    add("crossbeam-channel", |n, each| {
        between_threads(crossbeam_channel::bounded(1), crossbeam_channel::bounded(1), n, each)
    });
    add("flume", |n, each| {
        between_threads(flume::bounded(1), flume::bounded(1), n, each)
    });
    add("kanal", |n, each| {
        between_threads(kanal::bounded(1), kanal::bounded(1), n, each)
    });
    add("crossfire", |n, each| {
        use crossfire::mpmc::bounded_blocking;
        between_threads(bounded_blocking(1), bounded_blocking(1), n, each)
    });
    add("std-mpsc", |n, each| {
        use std::sync::mpsc::sync_channel;
        between_threads(sync_channel(1), sync_channel(1), n, each)
    });
    add("tokio", |n, each| {
        use tokio::sync::mpsc::channel;
        between_threads(channel(1), channel(1), n, each)
    });
}

fn add_tasks(cases: &mut Vec<Case>) {
    type Trips = fn(u64, Option<&mut Latencies>) -> Duration;
    let mut add = |peer, work: Trips| cases.push(Case::of_round_trips("ping-pong/tasks", peer, work));
    add("flume", |n, each| {
        between_tasks(flume::bounded(1), flume::bounded(1), n, each)
    });
    add("kanal", |n, each| {
        between_tasks(kanal::bounded_async(1), kanal::bounded_async(1), n, each)
    });
    add("tokio", |n, each| {
        use tokio::sync::mpsc::channel;
        between_tasks(channel(1), channel(1), n, each)
    });
    add("crossfire", |n, each| {
        use crossfire::mpmc::bounded_async;
        between_tasks(bounded_async(1), bounded_async(1), n, each)
    });
    add("tachyonix", |n, each| {
        between_tasks(tachyonix::channel(1), tachyonix::channel(1), n, each)
    });
}

pub fn add_cases(cases: &mut Vec<Case>) {
    add_threads(cases);
    add_tasks(cases);
}
