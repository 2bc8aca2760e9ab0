//! Oneshots, each used once: `ready` makes one, sends and receives; `pending` receives first, so that the send has to
//! wake.

use crate::harness::{Case, Tally, on_one_thread};
use std::time::{Duration, Instant};

macro_rules! ready {
    ($count:ident, $make:expr) => {
        on_one_thread(async move {
            let mut arrived = Tally::default();
            let began = Instant::now();
            for number in 0..$count {
                let (tx, rx) = $make;
                tx.send(number).unwrap();
                arrived.add(rx.await.unwrap());
            }
            let taken = began.elapsed();
            arrived.check($count);
            taken
        })
    };
}

/// `join!` polls the receiver first. The send wakes its task, which the runtime then polls again.
macro_rules! pending {
    ($count:ident, $make:expr) => {
        on_one_thread(async move {
            let mut arrived = Tally::default();
            let began = Instant::now();
            for number in 0..$count {
                let (tx, rx) = $make;
                let (received, ()) = tokio::join!(biased; rx, async { tx.send(number).unwrap() });
                arrived.add(received.unwrap());
            }
            let taken = began.elapsed();
            arrived.check($count);
            taken
        })
    };
}

pub fn add_cases(cases: &mut Vec<Case>) {
    let mut add = |scenario, peer, work: fn(u64) -> Duration| cases.push(Case::new(scenario, peer, work));
    add("oneshot/ready", "tokio", |n| ready!(n, tokio::sync::oneshot::channel()));
    add("oneshot/ready", "oneshot", |n| ready!(n, oneshot::async_channel()));
    add("oneshot/pending", "tokio", |n| {
        pending!(n, tokio::sync::oneshot::channel())
    });
    add("oneshot/pending", "oneshot", |n| pending!(n, oneshot::async_channel()));
}
