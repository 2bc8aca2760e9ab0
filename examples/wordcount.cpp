// Count the words of every .py file of a folder: one reader, some counters, one collector, each in its thread.
//
//   reader --texts--> N counters --counts--> collector
//
// Only channels connect them. What comes out is checked against a plain count in a single thread: the exit code is 1 if
// they differ. A word is a run of letters, digits and underscores; any byte beyond ASCII is taken for part of a letter.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <klaw/channels.hpp>

namespace {

namespace fs = std::filesystem;
using klaw::channels::LocalReceiver;
using klaw::channels::LocalSender;
using Counts = std::unordered_map<std::string, std::uint64_t>;

constexpr std::size_t kTextsQueuedMax = 16;  // files read ahead: the reader waits when all the counters are busy
constexpr int kCounters = 4;
constexpr std::size_t kTop = 15;

// ---- plain functions

bool is_standard(const fs::path& folder) {
  return folder.filename() != "site-packages" && folder.filename() != "dist-packages";
}

// The .py files below a folder, but for installed packages.
std::vector<fs::path> python_files(const fs::path& root) {
  std::vector<fs::path> found;
  auto entries = fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied);
  for (auto entry = fs::begin(entries); entry != fs::end(entries); ++entry) {
    std::error_code broken_link;
    if (entry->is_directory(broken_link) && !is_standard(entry->path())) entry.disable_recursion_pending();
    if (entry->path().extension() == ".py" && entry->is_regular_file(broken_link)) found.push_back(entry->path());
  }
  return found;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

Counts count_words(std::string_view text) {
  Counts counts;
  for (auto word = text.begin(); word != text.end();) {
    word = std::find_if(word, text.end(), is_word_byte);
    const auto end = std::find_if_not(word, text.end(), is_word_byte);
    if (word != end) ++counts[std::string(word, end)];
    word = end;
  }
  return counts;
}

void add(Counts& total, const Counts& counts) {
  for (const auto& [word, number] : counts) total[word] += number;
}

Counts count_plainly(const std::vector<fs::path>& files) {
  Counts total;
  for (const fs::path& file : files) add(total, count_words(text_of(file)));
  return total;
}

// ---- the pipeline

// Reads ahead of the counters, by kTextsQueuedMax texts at most. An error closes the channel with a reason, which the
// collector hears of in the end.
void read(const std::vector<fs::path>& files, LocalSender<std::string> texts) {
  try {
    for (const fs::path& file : files) {
      if (!texts.blocking_send(text_of(file))) return;  // nobody is left to count
    }
  } catch (const std::exception& error) {
    texts.close(error.what());
  }
}  // the sender goes out of scope, which ends the counters

void count(LocalReceiver<std::string> texts, LocalSender<Counts> counts) {
  try {
    for (const std::string& text : texts) {
      if (!counts.blocking_send(count_words(text))) return;
    }
  } catch (const std::exception& error) {  // the reader's, too
    counts.close(error.what());
  }
}

Counts collect(LocalReceiver<Counts> counts) {
  Counts total;
  for (const Counts& some : counts) add(total, some);  // throws what a counter or the reader closed with
  return total;
}

Counts count_through_channels(const std::vector<fs::path>& files) {
  auto [text_tx, text_rx] = klaw::channels::channel<std::string>(kTextsQueuedMax);
  auto [count_tx, count_rx] = klaw::channels::channel<Counts>(kCounters);

  std::vector<std::jthread> threads;
  threads.emplace_back(read, std::cref(files), std::move(text_tx));
  for (int i = 0; i < kCounters; ++i) threads.emplace_back(count, text_rx.clone(), count_tx.clone());
  // Only the counters' own handles may keep the channels open.
  text_rx.close();
  count_tx.close();
  return collect(std::move(count_rx));
}

// ---- display

void show_top(const Counts& counts) {
  using Entry = std::pair<std::uint64_t, std::string_view>;
  std::vector<Entry> entries;
  for (const auto& [word, number] : counts) entries.emplace_back(number, word);
  const auto shown = std::min(kTop, entries.size());
  std::ranges::partial_sort(entries, entries.begin() + static_cast<std::ptrdiff_t>(shown), std::ranges::greater{});
  entries.resize(shown);
  for (const auto& [number, word] : entries) {
    std::cout.width(12);
    std::cout << number << "  " << word << '\n';
  }
}

int run(const fs::path& root) {
  const std::vector<fs::path> files = python_files(root);
  if (files.empty()) {
    std::cerr << "no .py file below " << root << '\n';
    return 2;
  }
  const Counts counts = count_through_channels(files);
  show_top(counts);
  if (counts != count_plainly(files)) {
    std::cerr << "FAILED: a plain count in one thread gives something else\n";
    return 1;
  }
  std::cout << "OK: " << files.size() << " files; a plain count in one thread gives the same\n";
  return 0;
}

// The folder that the command line names, as DIR or --root DIR.
std::optional<fs::path> root_of(const std::vector<std::string_view>& arguments) {
  if (arguments.size() == 1 && !arguments[0].starts_with('-')) return arguments[0];
  if (arguments.size() == 2 && arguments[0] == "--root") return arguments[1];
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  const auto root = root_of({argv + 1, argv + argc});
  if (!root || !fs::is_directory(*root)) {
    std::cerr << "usage: " << argv[0] << " [--root] DIR\n"
              << "Count the words of every .py file below the folder DIR, such as Python's standard library.\n";
    return 2;
  }
  try {
    return run(*root);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
