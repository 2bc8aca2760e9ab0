#include "commands.hpp"

#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <klaw/errors.hpp>
#include <ray/plugin/names.hpp>
#include <sys/wait.h>
#include <unistd.h>

namespace {

namespace names = klaw::ray;
using Words = std::vector<std::string>;
using Outcome = klaw::Result<std::string, klaw::ChannelError>;

std::string hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char byte : bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += {kDigits[byte >> 4U], kDigits[byte & 15U]};
  }
  return text;
}

std::string shown(const names::FoundChannel& found) {
  std::string text = found.kind + " " + (found.capacity ? std::to_string(*found.capacity) : "unbounded");
  if (found.reference) text += " reference";
  if (found.is_used_up) text += " used-up";
  text += " " + hex(found.channel) + " " + std::to_string(found.epoch) + " " + hex(found.secret) + " " + found.node +
          " " + found.unix_path;
  for (const std::string& address : found.addresses) text += " " + address;
  return text;
}

Outcome list(const std::string& ns) {
  const auto found = names::list_channels(ns);
  if (!found) return std::unexpected(found.error());
  std::string text;
  for (const std::string& name : *found) text += (text.empty() ? "" : " ") + name;
  return text;
}

Outcome make(const std::string& ns, const Words& words) {
  const bool is_unbounded = words.size() > 3 && words[3] == "unbounded";
  const auto capacity = words.size() > 3 && !is_unbounded ? std::stoll(words[3]) : 10'000LL;
  const auto made =
      names::make_channel(words[2], ns, is_unbounded ? std::nullopt : std::optional<std::int64_t>(capacity));
  if (!made) return std::unexpected(made.error());
  return *made ? "made" : "exists";
}

Outcome find(const std::string& ns, const std::string& name) {
  const auto found = names::find_channel(name, ns);
  if (!found) return std::unexpected(found.error());
  return *found ? shown(**found) : "missing";
}

Outcome remove(const std::string& ns, const std::string& name) {
  const auto removed = names::remove_channel(name, ns);
  if (!removed) return std::unexpected(removed.error());
  return *removed ? "deleted" : "missing";
}

Outcome run(const Words& words) {
  const std::string& command = words.at(1);
  if (command == "list") return list(words[0]);
  if (command == "make") return make(words[0], words);
  if (command == "find") return find(words[0], words.at(2));
  if (command == "delete") return remove(words[0], words.at(2));
  return std::unexpected(klaw::InvalidArgument{"unknown command " + command});
}

int write(const Words& words, std::FILE* output) {
  const Outcome outcome = run(words);
  const bool is_bad_argument = !outcome && std::holds_alternative<klaw::InvalidArgument>(outcome.error());
  const std::string line =
      outcome ? *outcome : (is_bad_argument ? "invalid: " : "error: ") + klaw::message(outcome.error());
  std::fprintf(output, "%s\n", line.c_str());
  std::fflush(output);
  return outcome ? 0 : 1;
}

// In a child of this process, forked when it uses Ray.
int write_forked(Words words, std::FILE* output) {
  words.erase(words.begin());
  const pid_t child = fork();
  if (child == 0) _exit(write(words, output));
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

// In several threads at once, the first calls of the process among them.
int write_at_once(Words words, std::FILE* output) {
  words.erase(words.begin());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&words, output] { write(words, output); });
  return 0;
}

int run_one(const Words& words, std::FILE* output) {
  if (words.at(0) == "forked") return write_forked(words, output);
  if (words.at(0) == "at-once") return write_at_once(words, output);
  return write(words, output);
}

}  // namespace

int klaw_names_run(int count, char** words, std::FILE* output) {
  int status = 0;
  Words now;
  for (int i = 0; i <= count; ++i) {
    if (i < count && std::string(words[i]) != "then") {
      now.emplace_back(words[i]);
      continue;
    }
    status |= run_one(now, output);
    now.clear();
  }
  return status;
}
