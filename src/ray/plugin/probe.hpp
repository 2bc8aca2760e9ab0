// What klaw_ray_probe and its caller agree on.
#pragma once

namespace klaw::ray {

inline constexpr char kProbeSucceeded[] = "klaw_ray_probe: joined";
// Ray's words before the reason for which it ends the process.
inline constexpr char kCheckFailed[] = "Check failed: ";

}  // namespace klaw::ray
