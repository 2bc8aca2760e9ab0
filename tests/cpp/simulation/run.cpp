#include "simulation/run.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

#include "simulation/world.hpp"

namespace klaw::dataplane::simulation {
namespace {

constexpr char kVerdict[] = "VERDICT ";

// The child's half: all that it prints goes to its parent.
[[noreturn]] void run_as_child(const Config& config, bool with_trace, int out) {
  ::dup2(out, STDOUT_FILENO);
  ::alarm(kHangSeconds);
  Trace trace(with_trace ? Trace::Mode::print : Trace::Mode::hash);
  Statistics statistics;
  const Outcome outcome = run(config, trace, statistics);
  if (!outcome.is_good()) std::printf("%s%s %s\n", kVerdict, outcome.invariant.c_str(), outcome.text.c_str());
  std::exit(EXIT_SUCCESS);  // not _Exit: what counts lines, or looks for leaks, does so at the exit
}

Outcome how_it_ended(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status) == 0 ? Outcome{} : Outcome{"crash", "a sanitizer's report", 0};
  const int signal = WTERMSIG(status);
  if (signal == SIGALRM) return {"hang", "it does not end", 0};
  return {"crash", std::string("signal ") + ::strsignal(signal), 0};
}

}  // namespace

Outcome run(const Config& config, Trace& trace, Statistics& statistics) {
  Outcome outcome;
  try {
    World world(config, trace, statistics);
    try {
      world.run();
    } catch (const Violation& violation) {
      outcome = {violation.invariant(), violation.what(), 0};
    } catch (const std::logic_error& error) {  // of a state machine's check_invariants()
      const std::string text = error.what();
      outcome = {text.substr(0, text.find(' ')), text, 0};
    }
  } catch (const std::exception& error) {
    if (outcome.is_good()) outcome = {"exception", error.what(), 0};
  }
  outcome.hash = trace.hash();
  return outcome;
}

Outcome run_twice(const Config& config, Statistics& statistics) {
  Trace first(Trace::Mode::hash);
  Outcome outcome = run(config, first, statistics);
  Trace second(Trace::Mode::hash);
  Statistics ignored;
  const Outcome again = run(config, second, ignored);
  if (outcome.is_good() && again.hash != outcome.hash) return {"nondeterminism", "two runs, two traces", outcome.hash};
  return outcome;
}

Outcome run_isolated(const Config& config, std::deque<std::string>* trace) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    run_as_child(config, trace != nullptr, ends[1]);
  }
  ::close(ends[1]);
  Outcome outcome;
  FILE* const in = ::fdopen(ends[0], "r");
  char* line = nullptr;
  std::size_t size = 0;
  while (::getline(&line, &size, in) > 0) {
    std::string text(line);
    if (text.ends_with('\n')) text.pop_back();
    if (text.starts_with(kVerdict)) {
      const std::size_t begin = sizeof kVerdict - 1;
      const std::size_t space = text.find(' ', begin);
      outcome = {text.substr(begin, space - begin), text.substr(space + 1), 0};
    } else if (!outcome.is_good()) {
      outcome.text += '\n' + text;
    } else if (trace != nullptr) {
      trace->push_back(std::move(text));
      if (trace->size() > Trace::kKept) trace->pop_front();
    }
  }
  std::free(line);
  std::fclose(in);
  int status = 0;
  ::waitpid(child, &status, 0);
  return outcome.is_good() ? how_it_ended(status) : outcome;
}

}  // namespace klaw::dataplane::simulation
