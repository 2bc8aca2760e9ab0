#include "peers/cpp/harness.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <klaw/version.hpp>

#include "local/rivals.hpp"

namespace klaw_peers {
namespace {

// The first guess, and more than any run may take: a peer so fast is measured by shorter runs.
constexpr std::uint64_t kCountMin = 64;
constexpr std::uint64_t kCountMax = 80'000'000;
// Of the wanted time: how long a run must last to tell how many times make a whole one.
constexpr double kShortest = 0.25;
constexpr std::uint64_t kLatenciesMax = 1'000'000;

double seconds_of(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

std::uint64_t as_count(double wanted) {
  const auto count = static_cast<std::uint64_t>(std::clamp(wanted, double(kCountMin), double(kCountMax)));
  return count / kCountUnit * kCountUnit;
}

// How often the work can be done in `seconds`.
std::uint64_t count_for(const Work& work, double seconds) {
  std::uint64_t count = kCountMin;
  for (;;) {
    const double taken = std::max(seconds_of(work(count, nullptr)), 1e-9);
    const double scale = seconds / taken;
    if (scale * kShortest <= 1 || count == kCountMax) return as_count(static_cast<double>(count) * scale);
    count = as_count(static_cast<double>(count) * std::clamp(scale / 2, 2.0, 16.0));
  }
}

}  // namespace

Figures measure(const Case& one, double seconds) {
  const std::uint64_t count = count_for(one.work, seconds);
  Figures figures;
  figures.per_second = static_cast<double>(count) / seconds_of(one.work(count, nullptr));
  if (!one.has_latencies) return figures;
  // A run of its own: to look at the clock twice per trip would slow the rate down.
  Latencies each;
  each.reserve(std::min(count, kLatenciesMax));
  one.work(std::min(count, kLatenciesMax), &each);
  std::ranges::sort(each);
  figures.p50 = each[each.size() / 2];
  figures.p99 = each[each.size() * 99 / 100];
  return figures;
}

void check_all_arrived(const Tally& arrived, std::uint64_t count) {
  if (arrived.count != count) {
    throw std::logic_error(std::to_string(arrived.count) + " messages arrived of " + std::to_string(count));
  }
  if (arrived.sum != count * (count - 1) / 2) throw std::logic_error("other messages arrived than were sent");
}

std::string klaw_version() { return KLAW_VERSION; }
std::string standard_library() { return "libstdc++ " + std::to_string(_GLIBCXX_RELEASE); }

std::string column_of(std::size_t capacity) {
  return capacity == klaw_bench::unbounded ? "unbounded" : std::to_string(capacity);
}

}  // namespace klaw_peers
