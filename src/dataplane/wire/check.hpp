// What must hold, looked at by the tests.
#pragma once

#include <stdexcept>

namespace klaw::dataplane {

// Throws `what` if it does not hold.
inline void check(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

}  // namespace klaw::dataplane
