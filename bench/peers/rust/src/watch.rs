//! The latest value: `ready` sends, learns of the change and reads, in one task; `ping-pong` does so with two tasks of
//! one thread and a watch each way.

use crate::harness::{Case, Tally, on_one_thread};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Differs from all that is sent.
const INITIAL: u64 = u64::MAX;

fn ready(count: u64) -> Duration {
    on_one_thread(async move {
        let (tx, mut rx) = watch::channel(INITIAL);
        let mut arrived = Tally::default();
        let began = Instant::now();
        for number in 0..count {
            tx.send(number).unwrap();
            rx.changed().await.unwrap();
            arrived.add(*rx.borrow_and_update());
        }
        let taken = began.elapsed();
        arrived.check(count);
        taken
    })
}

fn ping_pong(trips: u64) -> Duration {
    on_one_thread(async move {
        let (out, mut far_in) = watch::channel(INITIAL);
        let (far_out, mut back) = watch::channel(INITIAL);
        tokio::spawn(async move {
            while far_in.changed().await.is_ok() {
                let number = *far_in.borrow_and_update();
                far_out.send(number).unwrap();
            }
        });
        let mut arrived = Tally::default();
        let began = Instant::now();
        for number in 0..trips {
            out.send(number).unwrap();
            back.changed().await.unwrap();
            arrived.add(*back.borrow_and_update());
        }
        let taken = began.elapsed();
        arrived.check(trips);
        taken
    })
}

pub fn add_cases(cases: &mut Vec<Case>) {
    cases.push(Case::new("watch/ready", "tokio", ready));
    cases.push(Case::new("watch/ping-pong", "tokio", ping_pong));
}
