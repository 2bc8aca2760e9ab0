// Prices, and three kinds of listeners: one that must have all, one that may miss some, and one that joins late.

// [readme]
#include <cstddef>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <klaw/channels.hpp>

using klaw::channels::broadcast;
using klaw::channels::BroadcastReceiver;
using klaw::channels::Overflow;

// The ledger must have every price: with Overflow::wait the sender waits for it.
std::size_t write_ledger() {
  auto [tx, rx] = broadcast<int>(4, Overflow::wait);
  std::vector<int> ledger;
  {
    const std::jthread writer([&ledger, rx = std::move(rx)]() mutable {
      for (const int price : rx) ledger.push_back(price);  // ends with the sender
    });
    for (int price = 0; price < 1000; ++price) {
      if (!tx.blocking_send(price)) break;  // fails when nobody listens any more
    }
    tx.close();
  }
  return ledger.size();
}

// A display only needs recent prices: by default the sender never waits, and who falls behind is told how far.
std::string show(BroadcastReceiver<int>& rx) {
  std::string shown;
  for (;;) {
    const auto price = rx.try_recv();
    if (price) {
      shown += ' ' + std::to_string(*price);
    } else if (const auto* lagged = std::get_if<klaw::Lagged>(&price.error())) {
      shown += " (" + std::to_string(lagged->skipped) + " missed)";
    } else {
      return shown;  // nothing there now, or the end
    }
  }
}

int main() {
  std::cout << "the ledger has " << write_ledger() << " prices\n";

  auto [tx, display] = broadcast<int>(4);
  for (int price = 0; price < 10; ++price) {
    if (!tx.try_send(price)) return 1;  // only without receivers
  }
  BroadcastReceiver<int> late = tx.subscribe();  // to what is sent from now on
  const auto receivers = tx.try_send(10);
  std::cout << "10 went to " << receivers.value() << " receivers\n";
  std::cout << "the display shows" << show(display) << '\n';
  std::cout << "the latecomer shows" << show(late) << '\n';
}
// [/readme]
