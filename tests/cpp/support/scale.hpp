// How much work the tests do, and how long they wait before they call something hung.
#pragma once

#include <chrono>
#include <cstddef>

// Sanitizers slow each operation down 5 to 20 times: a tenth of the messages keeps a run within the same minute, and
// they find races by happens-before, not by luck, so that fewer rounds serve. Depth (3 million completions in a row) is
// not scaled: a stack overflow needs the full count.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KLAW_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define KLAW_TEST_SANITIZED 1
#endif
#endif
#ifndef KLAW_TEST_SANITIZED
#define KLAW_TEST_SANITIZED 0
#endif

namespace klaw_test {

inline constexpr bool kSanitized = KLAW_TEST_SANITIZED != 0;

// `n` messages in a plain build, a tenth under a sanitizer.
[[nodiscard]] constexpr std::size_t scaled(std::size_t n) { return kSanitized ? n / 10 : n; }

// What is not over by then is hung. Far above what anything takes, and below ctest's own limit, so that the failure
// names the place.
inline constexpr std::chrono::seconds kHang{30};
// A limit that no test ever sees pass, for operations that take one.
inline constexpr std::chrono::hours kLong{1};

}  // namespace klaw_test
