// klaw_simulate: runs seeds, shows those that fail and how to see them fail again.
//
//   klaw_simulate --seeds FROM COUNT [--jobs N] [--twice]     many seeds; first those of --regressions FILE; each worker
//                                                             ends with its --first failure, or the first --failures N
//                                                             are shown
//   klaw_simulate --seed N [--set knob=value]... [--trace]    one seed, as it was or with other knobs
//   klaw_simulate --seed N [--set knob=value]... --shrink     the smallest configuration that fails like it
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simulation/config.hpp"
#include "simulation/run.hpp"
#include "simulation/shrink.hpp"
#include "simulation/statistics.hpp"

namespace klaw::dataplane::simulation {
namespace {

struct Options {
  std::uint64_t from = 1;
  std::uint64_t count = 0;
  std::optional<Config> one;
  std::vector<std::string> assignments;
  std::string regressions;
  std::uint64_t jobs = 1;
  std::uint64_t failures_max = 5;
  bool first = false;
  bool twice = false;
  bool trace = false;
  bool shrink = false;
};

std::string command(const Config& config) {
  std::string text = "klaw_simulate --seed " + std::to_string(config.seed);
  std::istringstream assignments(config.difference());
  for (std::string assignment; assignments >> assignment;) text += " --set " + assignment;
  return text;
}

// The line for the list of those that must not fail again.
std::string known_failure(const Config& config) {
  const std::string difference = config.difference();
  return "seed=" + std::to_string(config.seed) + (difference.empty() ? "" : " ") + difference;
}

void report(const Config& config) {
  std::deque<std::string> lines;
  const Outcome outcome = run_isolated(config, &lines);
  std::printf("\n");
  for (const std::string& line : lines) std::printf("%s\n", line.c_str());
  std::printf("\nseed %llu: %s\n", static_cast<unsigned long long>(config.seed),
              outcome.is_good() ? "could not be reproduced" : outcome.text.c_str());
  std::printf("to see all of it:   %s --trace\nto make it smaller: %s --shrink\n", command(config).c_str(),
              command(config).c_str());
  std::printf("once it is mended, for regressions.txt: %s  # why\n", known_failure(config).c_str());
}

// --- one configuration ---

int run_one(const Config& config, const Options& options) {
  if (options.shrink) {
    const Outcome outcome = run_isolated(config, nullptr);
    if (outcome.is_good()) {
      std::printf("it does not fail\n");
      return EXIT_FAILURE;
    }
    report(shrink(config, outcome.invariant));
    return EXIT_SUCCESS;
  }
  if (!options.trace) {
    Statistics statistics;
    const Outcome outcome = run_twice(config, statistics);
    std::printf("seed %llu: %s (trace %016llx)\n", static_cast<unsigned long long>(config.seed),
                outcome.is_good() ? "ok" : outcome.text.c_str(), static_cast<unsigned long long>(outcome.hash));
    return outcome.is_good() ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  for (const Config::Knob& knob : Config::knobs()) {
    std::printf("%.*s=%lld ", static_cast<int>(knob.name.size()), knob.name.data(),
                static_cast<long long>(config.*knob.member));
  }
  std::printf("\n");
  Trace trace(Trace::Mode::print);
  Statistics statistics;
  const Outcome outcome = run(config, trace, statistics);
  std::printf("%s\n", outcome.is_good() ? "ok" : outcome.text.c_str());
  return outcome.is_good() ? EXIT_SUCCESS : EXIT_FAILURE;
}

// --- many seeds ---

// What a worker shares with its parent: the seed that it is busy with.
struct Worker {
  pid_t pid = 0;
  int out = -1;
  std::uint64_t* seed = nullptr;
};

class Campaign {
 public:
  explicit Campaign(const Options& options) : options_(options), workers_(options.jobs) {
    void* const shared = ::mmap(nullptr, sizeof(std::uint64_t) * options.jobs, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw std::runtime_error("no shared memory");
    for (std::uint64_t i = 0; i < options.jobs; ++i) workers_[i].seed = static_cast<std::uint64_t*>(shared) + i;
  }

  [[nodiscard]] bool run() {
    for (std::uint64_t i = 0; i < options_.jobs; ++i) start(workers_[i], options_.from + i);
    for (std::uint64_t i = 0; i < options_.jobs; ++i) {
      while (!follow(workers_[i])) start(workers_[i], *workers_[i].seed + options_.jobs);
    }
    for (const std::uint64_t seed : failed_) report(Config::draw(seed));
    print_statistics();
    return failed_.empty();
  }

 private:
  void start(Worker& worker, std::uint64_t first) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
    std::fflush(stdout);
    worker.pid = ::fork();
    if (worker.pid == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      work(worker, first);
    }
    ::close(ends[1]);
    worker.out = ends[0];
  }

  [[noreturn]] void work(Worker& worker, std::uint64_t first) {
    Statistics statistics;
    for (std::uint64_t seed = first; seed < options_.from + options_.count; seed += options_.jobs) {
      *worker.seed = seed;
      ::alarm(kHangSeconds);
      const Config config = Config::draw(seed);
      Trace trace(Trace::Mode::hash);
      const Outcome outcome =
          options_.twice ? run_twice(config, statistics) : simulation::run(config, trace, statistics);
      statistics.count("seeds");
      if (outcome.is_good()) continue;
      std::printf("F %llu %s\n", static_cast<unsigned long long>(seed), outcome.text.c_str());
      std::fflush(stdout);
      if (options_.first) break;
    }
    for (const auto& [what, times] : statistics.counts()) {
      std::printf("S %llu %s\n", static_cast<unsigned long long>(times), what.c_str());
    }
    std::exit(EXIT_SUCCESS);  // not _Exit: what counts lines, or looks for leaks, does so at the exit
  }

  // Until it ends. False: it crashed, and has more to do.
  [[nodiscard]] bool follow(Worker& worker) {
    FILE* const in = ::fdopen(worker.out, "r");
    char* line = nullptr;
    std::size_t size = 0;
    while (::getline(&line, &size, in) > 0) hear(line);
    std::free(line);
    std::fclose(in);
    int status = 0;
    ::waitpid(worker.pid, &status, 0);
    if (status == 0) return true;
    const bool is_hang = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
    fail(*worker.seed, is_hang ? "hang" : "crash");
    return options_.first || *worker.seed + options_.jobs >= options_.from + options_.count;
  }

  void hear(const char* line) {
    char* rest = nullptr;
    const std::uint64_t number = std::strtoull(line + 1, &rest, 10);
    std::string text(rest[0] == ' ' ? rest + 1 : rest);
    if (text.ends_with('\n')) text.pop_back();
    if (line[0] == 'F') fail(number, text);
    if (line[0] == 'S') statistics_.count(text, number);
  }

  void fail(std::uint64_t seed, const std::string& text) {
    ++failures_;
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), text.c_str());
    if (failed_.size() < options_.failures_max) failed_.push_back(seed);
  }

  void print_statistics() const {
    std::printf("\n");
    for (const auto& [what, times] : statistics_.counts()) {
      std::printf("%12llu  %s\n", static_cast<unsigned long long>(times), what.c_str());
    }
    std::printf("%12llu  failed\n", static_cast<unsigned long long>(failures_));
  }

  const Options& options_;
  std::vector<Worker> workers_;
  std::vector<std::uint64_t> failed_;  // the first few
  std::uint64_t failures_ = 0;
  Statistics statistics_;
};

// --- seeds that failed once ---

// "seed=N [knob=value]..."; none: these words say something else.
[[nodiscard]] std::optional<Config> known_failure(const std::vector<std::string>& words) {
  constexpr std::string_view kSeed = "seed=";
  const std::string& first = words.front();
  if (!first.starts_with(kSeed)) return std::nullopt;
  char* end = nullptr;
  Config config = Config::draw(std::strtoull(first.c_str() + kSeed.size(), &end, 10));
  if (*end != '\0' || first.size() == kSeed.size()) return std::nullopt;
  const auto set = [&](const std::string& assignment) { return config.set(assignment); };
  return std::all_of(words.begin() + 1, words.end(), set) ? std::optional(config) : std::nullopt;
}

// Runs the list's lines, "seed=N [knob=value]... [# why]". One that can't be read is a failure: a seed that is passed over
// in silence protects nothing.
[[nodiscard]] bool run_regressions(const std::string& path) {
  std::ifstream in(path);
  if (!in) {
    std::fprintf(stderr, "can't read %s\n", path.c_str());
    return false;
  }
  bool all_good = true;
  std::size_t count = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream text(line.substr(0, line.find('#')));
    const std::vector<std::string> words{std::istream_iterator<std::string>(text), {}};
    if (words.empty()) continue;
    const std::optional<Config> config = known_failure(words);
    ++count;
    if (config && run_isolated(*config, nullptr).is_good()) continue;
    all_good = false;
    std::printf("%s: %s\n", config ? "a known failure is back" : "no line of this list", line.c_str());
    if (config) report(*config);
  }
  std::printf("%zu known failures looked for\n", count);
  return all_good;
}

[[nodiscard]] bool parse(int argc, char** argv, Options& options) {
  const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    const int left = argc - i - 1;
    if (option == "--seeds" && left >= 2) {
      options.from = number(++i);
      options.count = number(++i);
    } else if (option == "--seed" && left >= 1) {
      options.one = Config::draw(number(++i));
    } else if (option == "--set" && left >= 1) {
      options.assignments.emplace_back(argv[++i]);
    } else if (option == "--jobs" && left >= 1) {
      options.jobs = std::max(1ULL, number(++i));
    } else if (option == "--failures" && left >= 1) {
      options.failures_max = number(++i);
    } else if (option == "--regressions" && left >= 1) {
      options.regressions = argv[++i];
    } else if (option == "--first") {
      options.first = true;
    } else if (option == "--twice") {
      options.twice = true;
    } else if (option == "--trace") {
      options.trace = true;
    } else if (option == "--shrink") {
      options.shrink = true;
    } else {
      return false;
    }
  }
  return std::ranges::all_of(options.assignments,
                             [&](const auto& assignment) { return options.one && options.one->set(assignment); });
}

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options) || (!options.one && options.count == 0 && options.regressions.empty())) {
    std::fprintf(stderr,
                 "klaw_simulate --seeds FROM COUNT [--jobs N] [--twice] [--first | --failures N] [--regressions FILE]\n"
                 "klaw_simulate --seed N [--set KNOB=VALUE]... [--trace | --shrink]\n");
    return EXIT_FAILURE;
  }
  if (options.one) return run_one(*options.one, options);
  bool all_good = options.regressions.empty() || run_regressions(options.regressions);
  if (options.count > 0) all_good &= Campaign(options).run();
  return all_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace klaw::dataplane::simulation

int main(int argc, char** argv) { return klaw::dataplane::simulation::main(argc, argv); }
