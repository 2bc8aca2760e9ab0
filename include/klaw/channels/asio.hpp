// Channels in Asio: operations that take a completion token. (Standalone Asio 1.22 or newer; not part of klaw/channels.hpp.)
//
//   async_recv(rx, token)                         void(std::error_code, Result<T, ChannelClosed>)
//   async_send(tx, value, token)                  void(std::error_code, Result<void, ChannelClosed>)
//   async_changed(watch_rx, token)                void(std::error_code, Result<void, ChannelClosed>)
//   async_select(token, rx, sending(tx, value))   void(std::error_code, SelectResult<...>); branches as of select()
//
//   asio::awaitable<void> echo(LocalReceiver<Line> in, LocalSender<Line> out) {
//     while (auto line = co_await async_recv(in, asio::use_awaitable)) {
//       if (!co_await async_send(out, *std::move(line), asio::use_awaitable)) break;
//     }
//   }
//
// What it promises
//   result     what the awaited operation of the same name gives; a closed channel is no error_code. The only error is
//              asio::error::operation_aborted, of a cancelled operation, beside which the result means nothing (with
//              use_awaitable: std::system_error). For another flavour's receiver or sender: its own Result.
//   executor   the handler runs on its associated executor, always by a post: never inside of the call that begins the
//              operation, nor inside of somebody's send or close. A handler without one runs in Asio's system_executor, so
//              bind one to a callback: asio::bind_executor(strand, handler).
//   work       an operation that has begun counts as work of that executor until its handler is called.
//   cancel     by the handler's cancellation slot, with any type of cancellation: the channel is left at once. Either the
//              operation has happened, and its result comes, or nothing has happened. A message counts as received when the
//              handler is called, also if it was there from the beginning: until then a cancelled receive hands it on. A send
//              that was woken has happened.
//   strand     as ever in Asio, emit() has to take turns with the handler. `||` of asio::experimental::awaitable_operators
//              emits, so a coroutine that uses it runs on a strand (or in an io_context that one thread runs):
//              co_spawn(make_strand(pool), ...). There `async_recv(a, use_awaitable) || async_recv(b, use_awaitable)` and
//              `async_recv(a, use_awaitable) || timer.async_wait(use_awaitable)` lose nothing. On a bare pool they lose
//              messages, and Asio itself has data races.
//   lifetime   handles are needed until the operation has begun, which with a lazy token (use_awaitable, deferred) is when it
//              is awaited or launched. The value of async_send belongs to the operation, and is destroyed with one that
//              fails. A value given up to sending() does not: it stays yours until that branch happens, so it has to live
//              until the handler is called. An lvalue is copied.
//   shutdown   operations that still wait when their execution context is destroyed leave their channels, and their handlers
//              are destroyed; a channel that outlives it does not touch it any more.
//   cost       two allocations for an operation, and what the post takes.
#pragma once

#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/execution.hpp>
#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>
#include <asio/system_executor.hpp>
#include <klaw/channels/detail/handles.hpp>
#include <klaw/channels/select.hpp>

namespace klaw::channels {

namespace detail {

class AsioOperation;

// One that waits: the op and the handler. It is in the list of its execution context; whoever takes it out owns it.
class AsioWait : public ListHook {
 public:
  AsioWait() = default;
  AsioWait(const AsioWait&) = delete;
  AsioWait& operator=(const AsioWait&) = delete;
  virtual ~AsioWait() = default;

  // Leaves the channel: nothing has happened.
  virtual void abandon() noexcept = 0;
  // Posts the end of `self`, which is this.
  virtual void post(std::unique_ptr<AsioWait> self, bool is_aborted) = 0;

  std::shared_ptr<AsioOperation> operation = nullptr;
};

// Who waits in one execution context. Outlives it, since wakers may come late.
class AsioWaits {
 public:
  void add(AsioWait& wait, AsioOperation& operation);

  // It was woken, or cancelled in its owner's place. Nothing if the context has been shut down.
  void finish(AsioOperation& operation);
  void abort(AsioOperation& operation);
  void shut_down() noexcept;

 private:
  // Null: it was taken already.
  std::unique_ptr<AsioWait> take(AsioOperation& operation) noexcept;

  Mutex mutex_;  // protects all below, and AsioOperation::wait_; held over a post, so that the context is still there
  IntrusiveList<AsioWait> waiting_;
};

// The Operation of one that waits, shared with its waker and its cancellation slot, which may both come too late.
class AsioOperation final : public Operation {
 public:
  explicit AsioOperation(std::shared_ptr<AsioWaits> waits) noexcept
      : Operation(&AsioOperation::wake, &AsioOperation::run), waits_(std::move(waits)) {}

  // As PostedOperation's (posted.hpp).
  void keep_for_waker(std::shared_ptr<AsioOperation> self) noexcept { waker_ = std::move(self); }
  void has_no_waker() noexcept { waker_ = nullptr; }

  // By the cancellation slot. An operation that was woken already can still be handed on until its handler is called, so
  // that of two operations of which the first cancels the other never both have taken a message.
  void cancel_by_slot() {
    if (cancel()) {
      has_no_waker();
      waits_->abort(*this);
    } else {
      // relaxed: emit() takes turns with the handler's executor.
      is_cancelled_.store(true, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] bool is_cancelled() const noexcept { return is_cancelled_.load(std::memory_order_relaxed); }

 private:
  friend class AsioWaits;

  static void wake(Operation& self) noexcept { RunQueue::of_this_thread().push(self); }
  static void run(Operation& self) noexcept {
    auto& woken = static_cast<AsioOperation&>(self);
    const std::shared_ptr<AsioOperation> share = std::move(woken.waker_);
    woken.waits_->finish(woken);
  }

  const std::shared_ptr<AsioWaits> waits_;
  AsioWait* wait_ = nullptr;              // null: it is not in the list
  Atomic<bool> is_cancelled_{false};      // by the slot, after it was woken
  std::shared_ptr<AsioOperation> waker_;  // run()'s, if it will be called; the owner's otherwise
};

inline void AsioWaits::add(AsioWait& wait, AsioOperation& operation) {
  const LockGuard<Mutex> guard(mutex_);
  operation.wait_ = &wait;
  waiting_.push_back(wait);
}

inline std::unique_ptr<AsioWait> AsioWaits::take(AsioOperation& operation) noexcept {
  AsioWait* const wait = std::exchange(operation.wait_, nullptr);
  if (wait != nullptr) waiting_.remove(*wait);
  return std::unique_ptr<AsioWait>(wait);
}

inline void AsioWaits::finish(AsioOperation& operation) {
  const LockGuard<Mutex> guard(mutex_);
  if (auto wait = take(operation)) wait->post(std::move(wait), false);
}

inline void AsioWaits::abort(AsioOperation& operation) {
  std::unique_ptr<AsioWait> wait;
  {
    const LockGuard<Mutex> guard(mutex_);
    wait = take(operation);
  }
  // Outside of the lock: leaving may wake others. The context is there: we are called from it.
  if (wait == nullptr) return;
  wait->abandon();
  wait->post(std::move(wait), true);
}

// For each execution context; shut down before what runs functions there, which is made earlier.
class AsioService final : public asio::execution_context::service {
 public:
  inline static asio::execution_context::id id;
  explicit AsioService(asio::execution_context& context) : service(context) {}
  [[nodiscard]] const std::shared_ptr<AsioWaits>& waits() const noexcept { return waits_; }

 private:
  void shutdown() override { waits_->shut_down(); }
  std::shared_ptr<AsioWaits> waits_ = std::make_shared<AsioWaits>();
};

// The handlers that are destroyed here are user code: they may close channels, and so wake those that are still in the list.
inline void AsioWaits::shut_down() noexcept {
  for (;;) {
    std::unique_ptr<AsioWait> wait;
    {
      const LockGuard<Mutex> guard(mutex_);
      if (waiting_.empty()) return;
      wait = take(*waiting_.front().operation);
    }
    // Else somebody has claimed it, will fire it, and find it taken.
    if (wait->operation->cancel()) wait->operation->has_no_waker();
    wait->abandon();
  }
}

// An executor that does not say whose it is (that of use_future does not) counts as Asio's system executor.
template <class Executor>
[[nodiscard]] asio::execution_context& asio_context_of(const Executor& executor) {
  using Erased = asio::execution::context_as_t<asio::execution_context&>;
  if constexpr (asio::can_query<const Executor&, asio::execution::context_t>::value) {
    return asio::query(executor, asio::execution::context);
  } else if constexpr (asio::can_query<const Executor&, Erased>::value) {
    return asio::query(executor, Erased());
  } else {
    return asio::query(asio::system_executor(), asio::execution::context);
  }
}

// What a handler is given beside operation_aborted.
template <class T, class E>
[[nodiscard]] Result<T, E> asio_aborted(std::type_identity<Result<T, E>> /*type*/) {
  return std::unexpected(E(ChannelClosed{.kind = CloseKind::handle_closed, .reason = "the operation was cancelled"}));
}
template <class First, class... More>
[[nodiscard]] SelectResult<First, More...> asio_aborted(std::type_identity<SelectResult<First, More...>> /*type*/) {
  return {std::in_place_index<0>, asio_aborted(std::type_identity<First>())};
}
template <class R>
[[nodiscard]] IndexedResult<R> asio_aborted(std::type_identity<IndexedResult<R>> /*type*/) {
  return {.index = 0, .result = asio_aborted(std::type_identity<R>())};
}

struct AsioCancel {
  std::shared_ptr<AsioOperation> operation;
  void operator()(asio::cancellation_type type) const {
    if (type != asio::cancellation_type::none) operation->cancel_by_slot();
  }
};

template <class Op, class Handler>
class AsioWaitOf final : public AsioWait {
 public:
  AsioWaitOf(Op op, Handler handler)
      : op_(std::move(op)), handler_(std::move(handler)), work_(asio::get_associated_executor(handler_)) {}
  ~AsioWaitOf() override { AsioWaitOf::abandon(); }

  void begin(std::unique_ptr<AsioWait> self) {
    if constexpr (TakesLate<Op>) op_.take_late();
    const std::shared_ptr<AsioWaits> waits =
        asio::use_service<AsioService>(asio_context_of(work_.get_executor())).waits();
    operation = std::make_shared<AsioOperation>(waits);
    status_ = op_.start(operation.get());
    if (status_ != Status::pending) return post(std::move(self), false);
    is_waiting_ = true;
    wait_in(*waits, std::move(self));
  }

  void abandon() noexcept override {
    if (std::exchange(is_waiting_, false)) op_.abandon();
  }

  void post(std::unique_ptr<AsioWait> self, bool is_aborted) override {
    const auto executor = work_.get_executor();
    asio::post(executor, Completion{std::unique_ptr<AsioWaitOf>(static_cast<AsioWaitOf*>(self.release())), is_aborted});
  }

 private:
  using R = decltype(std::declval<Op&>().result(Status::done));

  // Destroyed without being called, when its context is: hands on what was granted.
  struct Completion {
    std::unique_ptr<AsioWaitOf> wait;
    bool is_aborted;
    void operator()() { wait->complete(std::move(wait), is_aborted); }
  };

  // From arm() on we may be completed in another thread.
  void wait_in(AsioWaits& waits, std::unique_ptr<AsioWait> self) {
    const std::shared_ptr<AsioOperation> shared = operation;
    shared->keep_for_waker(shared);
    waits.add(*self.release(), *shared);
    if (auto slot = asio::get_associated_cancellation_slot(handler_); slot.is_connected()) {
      slot.template emplace<AsioCancel>(shared);
    }
    if (shared->arm()) return;
    shared->has_no_waker();
    waits.finish(*shared);
  }

  // Of one that was woken: nothing has happened yet.
  [[nodiscard]] bool takes_in_finish() noexcept {
    if constexpr (requires { op_.takes_in_finish(); }) {
      return op_.takes_in_finish();
    } else {
      return TakesLate<Op>;
    }
  }

  void complete(std::unique_ptr<AsioWaitOf> self, bool is_aborted) {
    if (auto slot = asio::get_associated_cancellation_slot(handler_); slot.is_connected()) slot.clear();
    if (is_waiting_ && operation->is_cancelled() && takes_in_finish()) {
      abandon();
      is_aborted = true;
    }
    if (std::exchange(is_waiting_, false)) status_ = op_.finish();
    R result = is_aborted ? asio_aborted(std::type_identity<R>()) : op_.result(status_);
    Handler handler = std::move(handler_);
    self.reset();  // as Asio has it: nothing is held when the handler is called
    const std::error_code error = is_aborted ? std::error_code(asio::error::operation_aborted) : std::error_code();
    std::move(handler)(error, std::move(result));
  }

  Op op_;
  Handler handler_;
  asio::executor_work_guard<asio::associated_executor_t<Handler>> work_;
  Status status_ = Status::pending;
  bool is_waiting_ = false;  // somebody may wake it, or has, and it has neither taken what it was granted nor left
};

struct AsioInitiation {
  template <class Handler, class Op>
  void operator()(Handler&& handler, Op op) const {
    using Wait = AsioWaitOf<Op, std::decay_t<Handler>>;
    auto wait = std::make_unique<Wait>(std::move(op), std::forward<Handler>(handler));
    Wait& begun = *wait;
    begun.begin(std::move(wait));
  }
};

template <class Token, class Op>
auto asio_run(Op op, std::remove_reference_t<Token>& token) {
  using R = decltype(op.result(Status::done));
  return asio::async_initiate<Token, void(std::error_code, R)>(AsioInitiation(), token, std::move(op));
}

}  // namespace detail

template <class Rx, class Token>
auto async_recv(Rx& receiver, Token&& token) {
  return detail::asio_run<Token>(detail::HandleAccess::recv_op(receiver), token);
}

template <class Tx, class Token>
auto async_send(Tx& sender, typename Tx::value_type value, Token&& token) {
  using Value = detail::OneValue<typename Tx::value_type>;
  return detail::asio_run<Token>(detail::HandleAccess::send_op(sender, Value::owned(std::move(value))), token);
}

// Of a WatchReceiver: there is a value that it had not seen.
template <class Rx, class Token>
auto async_changed(Rx& receiver, Token&& token) {
  return detail::asio_run<Token>(detail::HandleAccess::changed_op(receiver), token);
}

template <class Token, class... Arguments>
  requires detail::SelectArguments<Arguments...>
auto async_select(Token&& token, Arguments&&... arguments) {
  return detail::asio_run<Token>(detail::select_op(std::forward<Arguments>(arguments)...), token);
}

}  // namespace klaw::channels
