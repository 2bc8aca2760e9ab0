#include <klaw/channels.hpp>

// Exits with 0 if a value that went in comes out.
int main() {
  auto [tx, rx] = klaw::channels::channel<int>(1);
  if (!tx.try_send(42)) return 1;
  const auto received = rx.try_recv();
  return received && *received == 42 ? 0 : 1;
}
