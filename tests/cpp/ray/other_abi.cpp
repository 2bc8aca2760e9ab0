// A plugin that was built for a ray-cpp with another std::string.
#include <string>

#include <ray/plugin/plugin.h>

namespace ray {
std::string GetNamespace();
}  // namespace ray

extern "C" const klaw_ray_plugin* klaw_ray_plugin_interface() {
  static const std::string ns = ray::GetNamespace();
  return nullptr;
}
