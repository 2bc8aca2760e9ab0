//! Rust's channels, as one of the programs that bench/peers runs side by side.
//!
//!     peers list                          a line for each case: scenario, peer, version
//!     peers run SCENARIO PEER SECONDS     one timed run: scenario, peer, times a second, p50 ns, p99 ns (or -)
//!
//! Fields are separated by tabs. A run whose messages were lost or duplicated panics.

mod broadcast;
mod ends;
mod harness;
mod oneshot;
mod ping_pong;
mod select;
mod tasks;
mod threads;
mod watch;

use harness::{Case, measure};

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    threads::add_cases(&mut cases);
    tasks::add_cases(&mut cases);
    ping_pong::add_cases(&mut cases);
    select::add_cases(&mut cases);
    oneshot::add_cases(&mut cases);
    broadcast::add_cases(&mut cases);
    watch::add_cases(&mut cases);
    cases
}

fn run(case: &Case, seconds: f64) {
    let figures = measure(case, seconds);
    print!("{}\t{}\t{:.0}", case.scenario, case.peer, figures.per_second);
    match figures.percentiles {
        Some([p50, p99]) => println!("\t{}\t{}", p50.as_nanos(), p99.as_nanos()),
        None => println!("\t-\t-"),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            for case in all_cases() {
                println!("{}\t{}\t{}", case.scenario, case.peer, case.version());
            }
        }
        ["run", scenario, peer, seconds] => {
            let cases = all_cases();
            let case = cases.iter().find(|case| case.scenario == scenario && case.peer == peer);
            let seconds = seconds.parse().expect("SECONDS is a number");
            run(case.expect("there is no such case"), seconds);
        }
        _ => {
            eprintln!("usage: peers list | run SCENARIO PEER SECONDS");
            std::process::exit(2);
        }
    }
}
