// What a number of runs was like: so that a suite that passes because nothing happened in it is noticed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace klaw::dataplane::simulation {

class Statistics {
 public:
  void count(std::string_view what, std::uint64_t times = 1) {
    const auto found = counts_.find(what);
    (found != counts_.end() ? found->second : counts_[std::string(what)]) += times;
  }
  void add(const Statistics& other) {
    for (const auto& [what, times] : other.counts_) count(what, times);
  }
  [[nodiscard]] const auto& counts() const noexcept { return counts_; }

 private:
  std::map<std::string, std::uint64_t, std::less<>> counts_;
};

}  // namespace klaw::dataplane::simulation
