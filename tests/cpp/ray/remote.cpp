#include "remote.hpp"

#include <cstdio>
#include <cstdlib>

#include "commands.hpp"

std::string run_commands(Words words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const output = open_memstream(&text, &size);
  klaw_names_run(static_cast<int>(pointers.size()), pointers.data(), output);
  std::fclose(output);
  std::string lines(text, size);
  std::free(text);
  return lines;
}

Commands* Commands::create() { return new Commands(); }

std::string Commands::run(Words words) { return run_commands(std::move(words)); }

RAY_REMOTE(run_commands, Commands::create, &Commands::run)
