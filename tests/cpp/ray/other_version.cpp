// A plugin of a later klaw.
#include <ray/plugin/plugin.h>

extern "C" const klaw_ray_plugin* klaw_ray_plugin_interface() {
  static const klaw_ray_plugin later{.version = KLAW_RAY_PLUGIN_VERSION + 1,
                                     .is_initialised = nullptr,
                                     .initialise = nullptr,
                                     .call = nullptr,
                                     .release = nullptr};
  return &later;
}
