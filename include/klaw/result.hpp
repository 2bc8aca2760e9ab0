// Result<T, E>: errors as values.
//
// An alias of std::expected, so that everything written for std::expected works on it. `value_or_throw` (errors.hpp)
// turns one into a value or the matching exception, for code that prefers exceptions.
#pragma once

#include <expected>

namespace klaw {

template <class T, class E>
using Result = std::expected<T, E>;

}  // namespace klaw
