// Joins the cluster as a driver and leaves it: ray::Init ends a process that can't, so this one goes first (loader.cpp).
//
//   klaw_ray_probe LIBRAY_API PLUGIN
//
// Says kProbeSucceeded on stdout. Otherwise Ray has said on stderr why not.
#include <cstdio>

#include <dlfcn.h>
#include <ray/plugin/plugin.h>
#include <ray/plugin/probe.hpp>
#include <unistd.h>

int main(int count, char** arguments) {
  if (count != 3 || dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL) == nullptr) return 2;
  void* const library = dlopen(arguments[2], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 2;
  const auto interface = reinterpret_cast<klaw_ray_plugin_function>(dlsym(library, KLAW_RAY_PLUGIN_SYMBOL));
  if (interface == nullptr) return 2;
  klaw_ray_answer answer = {};
  if (interface()->initialise(&answer) != KLAW_RAY_OK) {
    std::fprintf(stderr, "%s%s\n", klaw::ray::kCheckFailed, answer.data == nullptr ? "" : answer.data);
    return 1;
  }
  std::puts(klaw::ray::kProbeSucceeded);
  std::fflush(stdout);
  _exit(0);  // Ray notices: to leave in an orderly way takes a quarter of a second
}
