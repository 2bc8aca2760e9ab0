// Numbers go through a channel between Asio coroutines on a pool of threads; a timer ends each wait that takes too long.
// [readme]
#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <variant>

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <klaw/channels.hpp>
#include <klaw/channels/asio.hpp>

using asio::use_awaitable;
using klaw::channels::async_recv;
using klaw::channels::async_send;
using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;

asio::awaitable<void> produce(LocalSender<std::string> numbers) {
  for (int i = 1; i <= 10'000; ++i) {
    if (!co_await async_send(numbers, std::to_string(i), use_awaitable)) co_return;  // nobody reads any more
  }
}

// Runs on a strand, since it uses `||`.
asio::awaitable<void> add_up(LocalReceiver<std::string> numbers, asio::steady_timer timer) {
  using namespace asio::experimental::awaitable_operators;
  int sum = 0;
  for (;;) {
    timer.expires_after(std::chrono::microseconds(20));
    // The receive that loses is cancelled. What is sent to it then waits for the next receive.
    auto first = co_await (async_recv(numbers, use_awaitable) || timer.async_wait(use_awaitable));
    if (first.index() == 1) continue;  // the timer came first
    const auto& number = std::get<0>(first);
    if (!number) break;  // the sender is gone, and all was received
    sum += std::stoi(*number);
  }
  std::cout << "the sum is " << sum << '\n';
}

int main() {
  asio::thread_pool pool(2);
  auto [tx, rx] = klaw::channels::channel<std::string>(1);
  co_spawn(pool, produce(std::move(tx)), asio::detached);
  auto strand = make_strand(pool);
  co_spawn(strand, add_up(std::move(rx), asio::steady_timer(strand)), asio::detached);
  pool.join();  // until both have ended: an operation that waits is work
}
// [/readme]
