// Finds ray-cpp and the plugin, loads both, and makes this process a driver of the cluster if it is none yet.
//
// The plugin is the file in KLAW_RAY_PLUGIN, or libklaw_ray_plugin.so in the folder of the library (or program) that
// has this code.
// ray-cpp's libray_api.so is the one that the process has loaded already, or the file in KLAW_RAY_CPP, or in the plugin's folder, or
// where the dynamic linker looks (LD_LIBRARY_PATH).
#pragma once

#include <expected>
#include <string>

#include <ray/plugin/plugin.h>

namespace klaw::ray {

// The plugin of this process, loaded once; Ray is initialised. Blocks: the first call for half a second, and for as long as 20 s
// where no cluster answers. After a failed call the next one tries again. Any thread.
//
// The error is a text for the user: what is missing, and what to do about it.
[[nodiscard]] std::expected<const klaw_ray_plugin*, std::string> plugin();

}  // namespace klaw::ray
