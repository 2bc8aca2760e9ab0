// select() over 2 and 8 channels of capacity 100, which one producer feeds in turn: in two threads, and in two coroutines
// of one.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <klaw/channels.hpp>

#include "local/rivals.hpp"
#include "peers/cpp/harness.hpp"
#include "peers/cpp/run_loop.hpp"

namespace klaw_peers {
namespace {

constexpr std::size_t kCapacity = 100;

template <std::size_t kChannels>
struct Channels {
  std::array<klaw::channels::LocalPair<std::uint64_t>, kChannels> pairs = make(std::make_index_sequence<kChannels>());

  // f(rx1, rx2, ...)
  template <class F>
  auto with_receivers(F f) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return f(pairs[I].rx...);
    }(std::make_index_sequence<kChannels>());
  }

 private:
  template <std::size_t... I>
  static auto make(std::index_sequence<I...>) {
    return std::array{((void)I, klaw::channels::channel<std::uint64_t>(kCapacity))...};
  }
};

// The number that a select received, from whichever channel.
template <std::size_t I = 0, class Result>
std::uint64_t number_in(Result& result) {
  if constexpr (I + 1 < std::variant_size_v<typename Result::Variant>) {
    if (result.index() != I) return number_in<I + 1>(result);
  }
  return result.template get<I>().value();
}

template <std::size_t kChannels>
nanoseconds between_threads(std::uint64_t messages) {
  Channels<kChannels> channels;
  Tally arrived;
  const auto began = Clock::now();
  std::jthread producer([&] {
    for (std::uint64_t i = 0; i < messages; ++i) {
      if (!channels.pairs[i % kChannels].tx.blocking_send(i)) klaw_bench::ended_early();
    }
  });
  for (std::uint64_t i = 0; i < messages; ++i) {
    auto result = channels.with_receivers([](auto&... rx) { return klaw::channels::blocking_select(rx...); });
    arrived.add(number_in(result));
  }
  producer.join();
  const nanoseconds taken = Clock::now() - began;
  check_all_arrived(arrived, messages);
  return taken;
}

template <class Resume, std::size_t kChannels>
Task produce(RunLoop* loop, Channels<kChannels>* channels, std::uint64_t messages) {
  Resume resume(*loop);
  for (std::uint64_t i = 0; i < messages; ++i) {
    if (!co_await resume(channels->pairs[i % kChannels].tx.send(i))) klaw_bench::ended_early();
  }
}

template <class Resume, std::size_t kChannels>
Task consume(RunLoop* loop, Channels<kChannels>* channels, std::uint64_t messages, Tally* arrived) {
  Resume resume(*loop);
  for (std::uint64_t i = 0; i < messages; ++i) {
    auto result = co_await resume(channels->with_receivers([](auto&... rx) { return klaw::channels::select(rx...); }));
    arrived->add(number_in(result));
  }
}

template <class Resume, std::size_t kChannels>
nanoseconds between_tasks(std::uint64_t messages) {
  Channels<kChannels> channels;
  RunLoop loop;
  Tally arrived;
  Task producer = produce<Resume>(&loop, &channels, messages);
  Task consumer = consume<Resume>(&loop, &channels, messages, &arrived);
  const nanoseconds taken = run_tasks(loop, {producer, consumer});
  check_all_arrived(arrived, messages);
  return taken;
}

using SelectWork = nanoseconds (*)(std::uint64_t messages);

void add(std::vector<Case>& cases, std::string scenario, const char* peer, SelectWork work) {
  cases.push_back({.scenario = std::move(scenario),
                   .peer = peer,
                   .version = klaw_version(),
                   .work = [work](std::uint64_t messages, Latencies* /*each*/) { return work(messages); }});
}

template <std::size_t kChannels>
void add_of(std::vector<Case>& cases) {
  const std::string column = std::to_string(kChannels);
  add(cases, "select/threads/" + column, kKlaw, between_threads<kChannels>);
  add(cases, "select/tasks/" + column, kKlaw, between_tasks<Inline, kChannels>);
  add(cases, "select/tasks/" + column, kKlawRunLoop, between_tasks<OnRunLoop, kChannels>);
}

}  // namespace

void add_select(std::vector<Case>& cases) {
  add_of<2>(cases);
  add_of<8>(cases);
}

}  // namespace klaw_peers
