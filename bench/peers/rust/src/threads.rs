//! Threads that block: producers and consumers move numbers through one channel, until it has ended.

use crate::ends::{BlockingRecv, BlockingSend};
use crate::harness::{Case, Tally};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
struct Shape {
    producers: usize,
    consumers: usize,
}

const SHAPES: [(usize, usize); 4] = [(1, 1), (2, 2), (4, 4), (4, 1)];
const CAPACITIES: [usize; 4] = [0, 1, 100, 10_000];

fn produce<S: BlockingSend>(tx: S, start: &Arc<Barrier>, first: u64, share: u64) -> JoinHandle<()> {
    let start = start.clone();
    thread::spawn(move || {
        start.wait();
        start.wait();
        for number in first..first + share {
            tx.send(number);
        }
    })
}

fn consume<R: BlockingRecv>(mut rx: R, start: &Arc<Barrier>) -> JoinHandle<Tally> {
    let start = start.clone();
    thread::spawn(move || {
        let mut arrived = Tally::default();
        start.wait();
        start.wait();
        while let Some(number) = rx.recv() {
            arrived.add(number);
        }
        arrived
    })
}

/// The clock runs from the moment when all threads are there until all are joined. They meet twice, and it is looked at in
/// between: a main thread that is slow to leave the second meeting would miss some of what it times.
fn move_messages<S: BlockingSend, R: BlockingRecv>(senders: Vec<S>, receivers: Vec<R>, messages: u64) -> Duration {
    let share = messages / senders.len() as u64;
    let start = Arc::new(Barrier::new(senders.len() + receivers.len() + 1));
    let consumers: Vec<_> = receivers.into_iter().map(|rx| consume(rx, &start)).collect();
    let producers: Vec<_> = (0..)
        .zip(senders)
        .map(|(i, tx)| produce(tx, &start, i * share, share))
        .collect();
    start.wait();
    let began = Instant::now();
    start.wait();
    for producer in producers {
        producer.join().unwrap();
    }
    let mut arrived = Tally::default();
    for consumer in consumers {
        arrived.add_all(&consumer.join().unwrap());
    }
    let taken = began.elapsed();
    arrived.check(messages);
    taken
}

fn copies<T: Clone>(one: T, count: usize) -> Vec<T> {
    vec![one; count]
}

fn many<S, R>((tx, rx): (S, R), shape: Shape, messages: u64) -> Duration
where
    S: BlockingSend + Clone,
    R: BlockingRecv + Clone,
{
    move_messages(copies(tx, shape.producers), copies(rx, shape.consumers), messages)
}

fn to_one<S, R>((tx, rx): (S, R), shape: Shape, messages: u64) -> Duration
where
    S: BlockingSend + Clone,
    R: BlockingRecv,
{
    move_messages(copies(tx, shape.producers), vec![rx], messages)
}

fn add_bounded(cases: &mut Vec<Case>, shape: Shape, capacity: usize) {
    let scenario = format!("threads/{}P{}C/{capacity}", shape.producers, shape.consumers);
    let mut add = |peer, work: fn(Shape, usize, u64) -> Duration| {
        cases.push(Case::new(&scenario, peer, move |messages| {
            work(shape, capacity, messages)
        }));
    };
    add("crossbeam-channel", |shape, capacity, n| {
        many(crossbeam_channel::bounded(capacity), shape, n)
    });
    add("flume", |shape, capacity, n| many(flume::bounded(capacity), shape, n));
    add("kanal", |shape, capacity, n| many(kanal::bounded(capacity), shape, n));
    if shape.consumers == 1 {
        add("std-mpsc", |shape, capacity, n| {
            to_one(std::sync::mpsc::sync_channel(capacity), shape, n)
        });
    }
    if capacity == 0 {
        return; // the others have no rendezvous
    }
    add("crossfire", |shape, capacity, n| {
        many(crossfire::mpmc::bounded_blocking(capacity), shape, n)
    });
    if shape.consumers == 1 {
        add("tokio", |shape, capacity, n| {
            to_one(tokio::sync::mpsc::channel(capacity), shape, n)
        });
    }
}

fn add_unbounded(cases: &mut Vec<Case>, shape: Shape) {
    let scenario = format!("threads/{}P{}C/unbounded", shape.producers, shape.consumers);
    let mut add = |peer, work: fn(Shape, u64) -> Duration| {
        cases.push(Case::new(&scenario, peer, move |messages| work(shape, messages)));
    };
    add("crossbeam-channel", |shape, n| {
        many(crossbeam_channel::unbounded(), shape, n)
    });
    add("flume", |shape, n| many(flume::unbounded(), shape, n));
    add("kanal", |shape, n| many(kanal::unbounded(), shape, n));
    add("crossfire", |shape, n| {
        many(crossfire::mpmc::unbounded_blocking(), shape, n)
    });
    if shape.consumers == 1 {
        add("std-mpsc", |shape, n| to_one(std::sync::mpsc::channel(), shape, n));
        add("tokio", |shape, n| {
            to_one(tokio::sync::mpsc::unbounded_channel(), shape, n)
        });
    }
}

pub fn add_cases(cases: &mut Vec<Case>) {
    for (producers, consumers) in SHAPES {
        let shape = Shape { producers, consumers };
        for capacity in CAPACITIES {
            add_bounded(cases, shape, capacity);
        }
        add_unbounded(cases, shape);
    }
}
