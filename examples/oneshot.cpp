// A question that carries its own way back: each request brings a oneshot, into which its answer goes.

// [readme]
#include <cstdint>
#include <iostream>
#include <thread>
#include <utility>

#include <klaw/channels.hpp>

using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;
using klaw::channels::OneshotSender;

struct Request {
  std::uint64_t number;
  OneshotSender<std::uint64_t> answer;
};

void serve(LocalReceiver<Request> requests) {
  for (Request request : requests) {
    if (request.number > 20) {
      request.answer.close("too large a number");  // whoever asked is told, instead of waiting for ever
      continue;
    }
    std::uint64_t product = 1;
    for (std::uint64_t factor = 2; factor <= request.number; ++factor) product *= factor;
    // Never waits; it fails if nobody wants the answer any more.
    if (!request.answer.send(product)) std::cout << "nobody wants " << request.number << "!\n";
  }
}

void ask(LocalSender<Request>& requests, std::uint64_t number) {
  auto [tx, rx] = klaw::channels::oneshot<std::uint64_t>();
  if (!requests.blocking_send(Request{.number = number, .answer = std::move(tx)})) return;
  const auto answer = rx.blocking_recv();
  std::cout << number << "! ";
  if (answer) {
    std::cout << "is " << *answer << '\n';
  } else {
    std::cout << "is not known: " << klaw::message(answer.error()) << '\n';
  }
}

int main() {
  auto [requests, rx] = klaw::channels::channel<Request>(16);
  const std::jthread server(serve, std::move(rx));
  ask(requests, 5);
  ask(requests, 20);
  ask(requests, 21);
  requests.close();  // ends the server's loop
}
// [/readme]
