// klaw's channels, and their rivals in C++, as one of the programs that bench/peers runs side by side.
//
//   klaw_peers_bench list                          a line for each case: scenario, peer, version
//   klaw_peers_bench run SCENARIO PEER SECONDS     one timed run: scenario, peer, times a second, p50 ns, p99 ns (or -)
//   klaw_peers_bench all SECONDS                   all of them, one after the other
//
// Fields are separated by tabs. A run whose messages were lost or duplicated prints why to stderr and fails.

#include <exception>
#include <iomanip>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peers/cpp/harness.hpp"

namespace klaw_peers {
namespace {

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  add_threads(cases);
  add_tasks(cases);
  add_ping_pong(cases);
  add_select(cases);
  add_oneshot(cases);
  add_broadcast(cases);
  add_watch(cases);
  return cases;
}

void list(const std::vector<Case>& cases) {
  for (const Case& one : cases) std::cout << one.scenario << '\t' << one.peer << '\t' << one.version << '\n';
}

void run(const Case& one, double seconds) {
  const Figures figures = measure(one, seconds);
  std::cout << one.scenario << '\t' << one.peer << '\t' << std::fixed << std::setprecision(0) << figures.per_second;
  if (one.has_latencies) {
    std::cout << '\t' << figures.p50.count() << '\t' << figures.p99.count() << std::endl;
  } else {
    std::cout << "\t-\t-" << std::endl;
  }
}

int main_of(std::span<const std::string> words) {
  const std::vector<Case> cases = all_cases();
  if (words.size() == 1 && words[0] == "list") {
    list(cases);
    return 0;
  }
  if (words.size() == 2 && words[0] == "all") {
    for (const Case& one : cases) run(one, std::stod(words[1]));
    return 0;
  }
  if (words.size() == 4 && words[0] == "run") {
    for (const Case& one : cases) {
      if (one.scenario == words[1] && one.peer == words[2]) {
        run(one, std::stod(words[3]));
        return 0;
      }
    }
    std::cerr << "klaw_peers_bench: there is no peer " << words[2] << " in " << words[1] << '\n';
    return 2;
  }
  std::cerr << "usage: klaw_peers_bench list | run SCENARIO PEER SECONDS | all SECONDS\n";
  return 2;
}

}  // namespace
}  // namespace klaw_peers

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    return klaw_peers::main_of(words);
  } catch (const std::exception& error) {
    std::cerr << "klaw_peers_bench: " << error.what() << '\n';
    return 1;
  }
}
