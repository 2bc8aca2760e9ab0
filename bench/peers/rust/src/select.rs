//! A select over 2 and 8 channels of capacity 100, which one producer feeds in turn: in two threads, and in two tasks of
//! one.

use crate::ends::BlockingSend;
use crate::harness::{Case, Tally, on_one_thread};
use crossbeam_channel::Receiver as CrossbeamReceiver;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver as TokioReceiver;

const CAPACITY: usize = 100;

fn channels<S, R, const N: usize>(make: impl Fn(usize) -> (S, R)) -> ([S; N], [R; N]) {
    let pairs: [(S, R); N] = std::array::from_fn(|_| make(CAPACITY));
    let mut senders = Vec::new();
    let receivers = pairs.map(|(tx, rx)| {
        senders.push(tx);
        rx
    });
    (senders.try_into().ok().unwrap(), receivers)
}

/// `consume` receives so many numbers by select, while a thread sends them.
fn between_threads<S: BlockingSend, R, const N: usize>(
    (senders, receivers): ([S; N], [R; N]),
    messages: u64,
    consume: impl FnOnce(&[R; N], u64, &mut Tally),
) -> Duration {
    let mut arrived = Tally::default();
    let began = Instant::now();
    let producer = std::thread::spawn(move || {
        for number in 0..messages {
            senders[number as usize % N].send(number);
        }
        senders // they stay open: a closed channel would be ready
    });
    consume(&receivers, messages, &mut arrived);
    producer.join().unwrap();
    let taken = began.elapsed();
    arrived.check(messages);
    taken
}

macro_rules! crossbeam_select {
    ($receivers:ident: $($i:literal)*) => {
        crossbeam_channel::select! { $(recv($receivers[$i]) -> number => number.unwrap(),)* }
    };
}

fn crossbeam_2(receivers: &[CrossbeamReceiver<u64>; 2], messages: u64, arrived: &mut Tally) {
    for _ in 0..messages {
        arrived.add(crossbeam_select!(receivers: 0 1));
    }
}

fn crossbeam_8(receivers: &[CrossbeamReceiver<u64>; 8], messages: u64, arrived: &mut Tally) {
    for _ in 0..messages {
        arrived.add(crossbeam_select!(receivers: 0 1 2 3 4 5 6 7));
    }
}

fn flume<const N: usize>(receivers: &[flume::Receiver<u64>; N], messages: u64, arrived: &mut Tally) {
    for _ in 0..messages {
        let selector = receivers.iter().fold(flume::Selector::new(), |selector, rx| {
            selector.recv(rx, |number| number.unwrap())
        });
        arrived.add(selector.wait());
    }
}

type CrossfireReceiver = crossfire::MRx<crossfire::mpmc::Array<u64>>;

/// Its select is made once for all receives.
fn crossfire<const N: usize>(receivers: &[CrossfireReceiver; N], messages: u64, arrived: &mut Tally) {
    let mut select = crossfire::select::Select::new();
    for rx in receivers {
        select.add(rx);
    }
    for _ in 0..messages {
        let ready = select.select().unwrap();
        let rx = receivers.iter().find(|rx| ready.is_from(*rx)).unwrap();
        arrived.add(rx.read_select(ready).unwrap());
    }
}

async fn tokio_select_2(receivers: &mut [TokioReceiver<u64>; 2]) -> Option<u64> {
    let [a, b] = receivers;
    tokio::select! {
        number = a.recv() => number,
        number = b.recv() => number,
    }
}

async fn tokio_select_8(receivers: &mut [TokioReceiver<u64>; 8]) -> Option<u64> {
    let [a, b, c, d, e, f, g, h] = receivers;
    tokio::select! {
        number = a.recv() => number,
        number = b.recv() => number,
        number = c.recv() => number,
        number = d.recv() => number,
        number = e.recv() => number,
        number = f.recv() => number,
        number = g.recv() => number,
        number = h.recv() => number,
    }
}

macro_rules! tokio_tasks {
    ($select:ident, $messages:ident) => {
        on_one_thread(async move {
            let (senders, mut receivers) = channels(tokio::sync::mpsc::channel);
            let began = Instant::now();
            let producer = tokio::spawn(async move {
                for number in 0..$messages {
                    senders[number as usize % senders.len()].send(number).await.unwrap();
                }
                senders
            });
            let mut arrived = Tally::default();
            for _ in 0..$messages {
                arrived.add($select(&mut receivers).await.unwrap());
            }
            producer.await.unwrap();
            let taken = began.elapsed();
            arrived.check($messages);
            taken
        })
    };
}

pub fn add_cases(cases: &mut Vec<Case>) {
    let mut add = |scenario, peer, work: fn(u64) -> Duration| cases.push(Case::new(scenario, peer, work));
    let (threads_2, threads_8) = ("select/threads/2", "select/threads/8");
    add(threads_2, "crossbeam-channel", |n| {
        between_threads(channels(crossbeam_channel::bounded), n, crossbeam_2)
    });
    add(threads_8, "crossbeam-channel", |n| {
        between_threads(channels(crossbeam_channel::bounded), n, crossbeam_8)
    });
    add(threads_2, "flume", |n| {
        between_threads(channels(flume::bounded), n, flume::<2>)
    });
    add(threads_8, "flume", |n| {
        between_threads(channels(flume::bounded), n, flume::<8>)
    });
    add(threads_2, "crossfire", |n| {
        between_threads(channels(crossfire::mpmc::bounded_blocking), n, crossfire::<2>)
    });
    add(threads_8, "crossfire", |n| {
        between_threads(channels(crossfire::mpmc::bounded_blocking), n, crossfire::<8>)
    });
    add("select/tasks/2", "tokio", |n| tokio_tasks!(tokio_select_2, n));
    add("select/tasks/8", "tokio", |n| tokio_tasks!(tokio_select_8, n));
}
