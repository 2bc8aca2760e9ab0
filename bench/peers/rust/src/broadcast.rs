//! One sender and four receivers, five tasks of one thread, capacity 1024: each receiver gets each message. `lag`: the
//! sender never waits, and receivers could fall behind; `wait`: it waits for the slowest receiver.

use crate::harness::{Case, Tally, on_one_thread};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{JoinHandle, yield_now};

const CAPACITY: usize = 1024;
const RECEIVERS: usize = 4;
/// How many messages tokio's sender, which never waits, sends before it lets the receivers run: so that none lags.
const BURST: u64 = 100;

async fn check_all(receivers: Vec<JoinHandle<Tally>>, sent: u64, began: Instant) -> Duration {
    let mut arrived = Vec::new();
    for receiver in receivers {
        arrived.push(receiver.await.unwrap());
    }
    let taken = began.elapsed();
    arrived.iter().for_each(|one| one.check(sent));
    taken
}

fn by_tokio(messages: u64) -> Duration {
    on_one_thread(async move {
        let tx = tokio::sync::broadcast::Sender::new(CAPACITY);
        let began = Instant::now();
        let receivers = (0..RECEIVERS)
            .map(|_| tokio::spawn(tokio_receiver(tx.subscribe())))
            .collect();
        for number in 0..messages {
            tx.send(number).unwrap();
            if number % BURST == BURST - 1 {
                yield_now().await;
            }
        }
        drop(tx);
        check_all(receivers, messages, began).await
    })
}

async fn tokio_receiver(mut rx: tokio::sync::broadcast::Receiver<u64>) -> Tally {
    let mut arrived = Tally::default();
    loop {
        match rx.recv().await {
            Ok(number) => arrived.add(number),
            Err(RecvError::Closed) => return arrived,
            Err(RecvError::Lagged(skipped)) => panic!("a receiver missed {skipped} messages"),
        }
    }
}

/// Its sender waits for the slowest receiver.
fn by_async_broadcast(messages: u64) -> Duration {
    on_one_thread(async move {
        let (tx, first) = async_broadcast::broadcast(CAPACITY);
        let began = Instant::now();
        let receivers = vec![first; RECEIVERS]
            .into_iter()
            .map(|rx| tokio::spawn(async_receiver(rx)))
            .collect();
        for number in 0..messages {
            tx.broadcast(number).await.unwrap();
        }
        drop(tx);
        check_all(receivers, messages, began).await
    })
}

async fn async_receiver(mut rx: async_broadcast::Receiver<u64>) -> Tally {
    let mut arrived = Tally::default();
    while let Ok(number) = rx.recv().await {
        arrived.add(number);
    }
    arrived
}

pub fn add_cases(cases: &mut Vec<Case>) {
    cases.push(Case::new("broadcast/lag", "tokio", by_tokio));
    cases.push(Case::new("broadcast/wait", "async-broadcast", by_async_broadcast));
}
