// A coroutine that runs at once, where it is called, and frees itself at its end.
#pragma once

#include <coroutine>
#include <exception>

namespace klaw_bench {

struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

}  // namespace klaw_bench
