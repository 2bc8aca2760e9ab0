// What code that takes "any sender" or "any receiver" may ask of it, whatever the flavour and the backend.
//
//   void feed(klaw::channels::Sender auto& tx) { (void)tx.try_send(1); }
#pragma once

#include <concepts>
#include <cstddef>
#include <utility>
#include <vector>

#include <klaw/errors.hpp>

namespace klaw::channels {

// A handle that values go in at: `send` is awaited, `try_send` never waits, `clone` makes another that counts, `close`
// ends this one.
template <class S>
concept Sender = std::movable<S> && requires(S tx, const S& same, typename S::value_type value) {
  tx.send(std::move(value)).operator co_await();
  { tx.try_send(std::move(value)) } -> std::same_as<Result<void, SendError>>;
  { same.clone() } -> std::same_as<S>;
  { tx.close() };
  { same.is_closed() } -> std::same_as<bool>;
};

// A handle that values come out at, each at one receiver.
template <class R>
concept Receiver = std::movable<R> && requires(R rx, const R& same) {
  rx.recv().operator co_await();
  { rx.try_recv() } -> std::same_as<Result<typename R::value_type, RecvError>>;
  { same.clone() } -> std::same_as<R>;
  { rx.close() };
  { same.is_closed() } -> std::same_as<bool>;
};

// A sender for large payloads, which travel beside the channel while references to them go through it.
template <class S>
concept ReferenceSender = Sender<S> && requires(S tx, std::vector<typename S::value_type> values) {
  tx.send_batch(std::move(values)).operator co_await();
};

template <class R>
concept ReferenceReceiver =
    Receiver<R> && requires(R rx, std::size_t max_items) { rx.recv_batch(max_items).operator co_await(); };

}  // namespace klaw::channels
