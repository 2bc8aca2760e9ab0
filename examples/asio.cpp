// Lines go through channels between Asio coroutines; a timer ends what takes too long.
// [readme]
#include <chrono>
#include <iostream>
#include <string>
#include <utility>

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <klaw/channels.hpp>
#include <klaw/channels/asio.hpp>

using asio::use_awaitable;
using klaw::channels::async_recv;
using klaw::channels::async_send;
using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;

asio::awaitable<void> produce(LocalSender<std::string> lines) {
  for (const char* line : {"one", "two", "three"}) {
    if (!co_await async_send(lines, line, use_awaitable)) co_return;  // nobody reads any more
  }
}

asio::awaitable<void> print(LocalReceiver<std::string> lines, LocalReceiver<int> never) {
  while (auto line = co_await async_recv(lines, use_awaitable)) std::cout << *line << '\n';

  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(10));
  // The receive that loses is cancelled; what is sent to it then waits for the next receive.
  auto first = co_await (async_recv(never, use_awaitable) || timer.async_wait(use_awaitable));
  std::cout << (first.index() == 1 ? "nothing more\n" : "a surprise\n");
}

int main() {
  asio::io_context context;
  auto [tx, rx] = klaw::channels::channel<std::string>(1);
  auto [unused_tx, unused_rx] = klaw::channels::channel<int>(1);
  co_spawn(context, produce(std::move(tx)), asio::detached);
  co_spawn(context, print(std::move(rx), std::move(unused_rx)), asio::detached);
  context.run();  // until both have ended: an operation that waits is work
}
// [/readme]
