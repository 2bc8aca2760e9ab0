// A driver of ray-cpp: Ray is initialised, and its std::string is the old one. PLACE is where the commands run: in this "driver", in a
// "task", or in an "actor".
#include <cstdio>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include "remote.hpp"

namespace {

// The workers load it.
std::string remote_library() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  const std::string program(path, size < 0 ? 0 : static_cast<std::size_t>(size));
  return program.substr(0, program.rfind('/')) + "/libklaw_names_remote.so";
}

std::string run_at(const std::string& place, const Words& words) {
  if (place == "task") return *ray::Task(run_commands).Remote(words).Get();
  if (place == "actor") return *ray::Actor(Commands::create).Remote().Task(&Commands::run).Remote(words).Get();
  return run_commands(words);
}

}  // namespace

int main(int count, char** words) {
  ray::RayConfig config;
  config.code_search_path = {remote_library()};
  ray::Init(config);
  const char* place = std::getenv("PLACE");
  std::fputs(run_at(place == nullptr ? "driver" : place, Words(words + 1, words + count)).c_str(), stdout);
  ray::Shutdown();
}
