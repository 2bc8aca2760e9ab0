// From a configuration that fails to a smaller one that fails in the same way.
#pragma once

#include <string>

#include "simulation/config.hpp"

namespace klaw::dataplane::simulation {

[[nodiscard]] Config shrink(Config failing, const std::string& invariant);

}  // namespace klaw::dataplane::simulation
