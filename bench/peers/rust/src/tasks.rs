//! One thread: a producer's task and a consumer's move numbers through one channel, until it has ended.

use crate::ends::{AsyncRecv, AsyncSend};
use crate::harness::{Case, Tally, on_one_thread};
use std::time::{Duration, Instant};

const CAPACITIES: [usize; 4] = [0, 1, 100, 10_000];

fn move_messages<S: AsyncSend, R: AsyncRecv>((tx, mut rx): (S, R), messages: u64) -> Duration {
    on_one_thread(async move {
        let began = Instant::now();
        let producer = tokio::spawn(async move {
            for number in 0..messages {
                tx.send(number).await;
            }
        });
        let consumer = tokio::spawn(async move {
            let mut arrived = Tally::default();
            while let Some(number) = rx.recv().await {
                arrived.add(number);
            }
            arrived
        });
        producer.await.unwrap();
        let arrived = consumer.await.unwrap();
        let taken = began.elapsed();
        arrived.check(messages);
        taken
    })
}

fn add_bounded(cases: &mut Vec<Case>, capacity: usize) {
    let scenario = format!("tasks/1P1C/{capacity}");
    let mut add = |peer, work: fn(usize, u64) -> Duration| {
        cases.push(Case::new(&scenario, peer, move |messages| work(capacity, messages)));
    };
    add("flume", |capacity, n| move_messages(flume::bounded(capacity), n));
    add("kanal", |capacity, n| move_messages(kanal::bounded_async(capacity), n));
    if capacity == 0 {
        return; // the others have no rendezvous
    }
    add("tokio", |capacity, n| {
        move_messages(tokio::sync::mpsc::channel(capacity), n)
    });
    add("crossfire", |capacity, n| {
        move_messages(crossfire::mpmc::bounded_async(capacity), n)
    });
    add("tachyonix", |capacity, n| {
        move_messages(tachyonix::channel(capacity), n)
    });
}

fn add_unbounded(cases: &mut Vec<Case>) {
    let mut add = |peer, work: fn(u64) -> Duration| cases.push(Case::new("tasks/1P1C/unbounded", peer, work));
    add("flume", |n| move_messages(flume::unbounded(), n));
    add("kanal", |n| move_messages(kanal::unbounded_async(), n));
    add("tokio", |n| move_messages(tokio::sync::mpsc::unbounded_channel(), n));
    add("crossfire", |n| move_messages(crossfire::mpmc::unbounded_async(), n));
}

pub fn add_cases(cases: &mut Vec<Case>) {
    for capacity in CAPACITIES {
        add_bounded(cases, capacity);
    }
    add_unbounded(cases);
}
