// One producer, two consumers, one channel.

// [readme]
#include <iostream>
#include <syncstream>
#include <thread>
#include <utility>

#include <klaw/channels.hpp>

using klaw::channels::LocalReceiver;

void consume(const char* name, LocalReceiver<int> numbers) {
  for (const int number : numbers) {  // ends when the last sender is gone and the queue is empty
    std::osyncstream(std::cout) << name << " got " << number << '\n';
  }
}

int main() {
  auto [tx, rx] = klaw::channels::channel<int>(4);
  // Handles are move-only; clone() is explicit. Each number reaches exactly one consumer.
  const std::jthread left(consume, "left", rx.clone());
  const std::jthread right(consume, "right", std::move(rx));

  for (int number = 0; number < 10; ++number) {
    if (!tx.blocking_send(number)) break;  // waits while four numbers are queued; fails if nobody is left to receive
  }
  tx.close();  // ends the consumers' loops; the destructor would, too, but after the threads are joined
}
// [/readme]
