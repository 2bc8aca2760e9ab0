// A worker that waits for jobs, for room for its results, and for the order to stop, all at once.
// [readme]
#include <iostream>
#include <span>
#include <string>
#include <syncstream>
#include <thread>
#include <utility>
#include <vector>

#include <klaw/channels.hpp>

using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;
using klaw::channels::sending;

// Never holds more than one result: while it waits for room it takes no further job.
void work(LocalReceiver<int> jobs, LocalSender<std::string> results, LocalReceiver<bool> stop) {
  for (;;) {
    auto job = klaw::channels::blocking_select(stop, jobs);
    if (job.index() == 0 || !job.get<1>()) return;  // told to stop, or out of jobs

    std::string result = std::to_string(*job.get<1>()) + " is done";
    auto handed_on = klaw::channels::blocking_select(stop, sending(results, std::move(result)));
    if (handed_on.index() == 0) {
      std::osyncstream(std::cout) << "not handed on: " << result << '\n';  // untouched, since its branch did not happen
      return;
    }
  }
}

int main() {
  auto [job_tx, job_rx] = klaw::channels::channel<int>(10);
  auto [stop_tx, stop_rx] = klaw::channels::channel<bool>(1);
  std::vector<LocalReceiver<std::string>> results;
  std::vector<std::jthread> workers;
  for (int i = 0; i < 3; ++i) {
    auto [tx, rx] = klaw::channels::channel<std::string>(0);
    workers.emplace_back(work, job_rx.clone(), std::move(tx), stop_rx.clone());
    results.push_back(std::move(rx));
  }
  for (int job = 0; job < 8; ++job) {
    if (!job_tx.try_send(job)) return 1;
  }
  for (int taken = 0; taken < 5; ++taken) {
    auto [worker, result] = klaw::channels::blocking_select(std::span(results));  // as many as there are
    if (!result) return 1;
    std::osyncstream(std::cout) << "worker " << worker << ": " << *result << '\n';
  }
  stop_tx.close();  // a closed branch is a ready one: it tells all of them
}
// [/readme]
