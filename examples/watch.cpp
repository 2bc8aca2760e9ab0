// A setting that changes while others use it: each worker looks at the latest one, and never at an old one twice.

// [readme]
#include <iostream>
#include <memory>
#include <string>
#include <syncstream>
#include <thread>
#include <utility>

#include <klaw/channels.hpp>

using klaw::channels::WatchReceiver;

struct Settings {
  int version = 0;
  std::string greeting;
};

void greet(const char* name, WatchReceiver<Settings> settings) {
  std::osyncstream(std::cout) << name << " begins with " << settings.borrow()->greeting << '\n';
  // One turn after each change; changes that come faster than that collapse into the latest. It ends with the last sender,
  // but not before the last value was seen.
  for (const std::shared_ptr<const Settings>& now : settings) {
    std::osyncstream(std::cout) << name << " goes on with " << now->greeting << '\n';
  }
}

int main() {
  auto [tx, rx] = klaw::channels::watch(Settings{.version = 1, .greeting = "hello"});
  const std::jthread left(greet, "left", rx.resubscribe());
  const std::jthread right(greet, "right", tx.subscribe());
  // Somebody who waits for one thing only.
  const std::jthread patient([rx = std::move(rx)]() mutable {
    const auto third = rx.blocking_wait_for([](const Settings& now) { return now.version >= 3; });
    if (third) std::osyncstream(std::cout) << "version " << (*third)->version << " is there\n";
  });

  if (!tx.send({.version = 2, .greeting = "good evening"})) return 1;
  if (!tx.send({.version = 3, .greeting = "good night"})) return 1;
  tx.close();
}
// [/readme]
