// RemoteWatchSender and RemoteWatchReceiver: the handles of a watch of another process.
//
// The value is bytes as it comes, and is decoded once, by whoever asks first: so all handles of a process give the same object,
// as those of a local watch do.
#include "remote/remote_watch.hpp"

#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"
#include "handles/watch_methods.hpp"
#include "remote/remote_ops.hpp"
#include "remote/remote_type.hpp"

namespace klaw::python {

namespace {

using dataplane::Latest;
using dataplane::Version;

// For the first value of a handle that was not given one: it was built by hand, or its process was forked.
constexpr double kFirstValueLimit_s = 15.0;

// Null with an exception set: it can't be decoded.
PyObject* value_of(RemoteChannelObject& channel, Version version, const Bytes& payload) {
  if (channel.value != nullptr && channel.version == version) return Py_NewRef(channel.value);
  Ref value = Ref::steal(decode_payload(payload));
  if (channel.value != nullptr && channel.version == version) return Py_NewRef(channel.value);  // meanwhile, by another
  if (value && channel.version <= version) {
    channel.version = version;
    Py_XSETREF(channel.value, Py_NewRef(value.get()));
  }
  return value.release();
}

// --- operations ---

// The value after a change.
class RemoteChange : public RemoteRecv {
 public:
  using RemoteRecv::RemoteRecv;
  PyObject* outcome(Status status) override {
    if (status != Status::done) return RemoteRecv::outcome(status);
    const Ref value = received();
    if (!value) return nullptr;
    return style() == Style::result ? make_ok(value.get()) : Py_NewRef(value.get());
  }

 protected:
  [[nodiscard]] Ref received() {
    return Ref::steal(value_of(*handle().channel, op().value->attempt, op().value->payload));
  }
};

// Only that there was one.
class RemoteChanged final : public RemoteRecv {
 public:
  using RemoteRecv::RemoteRecv;
  PyObject* outcome(Status status) override {
    return status == Status::done ? tell_sent(style()) : RemoteRecv::outcome(status);
  }
};

// A certain value.
class RemoteWaitFor final : public RemoteChange {
 public:
  RemoteWaitFor(RemoteHandleObject* handle, OpName name, Patience patience, Ref predicate)
      : RemoteChange(handle, name, patience, Style::raise), predicate_(std::move(predicate)) {}

  Status start(Operation* operation) override {
    if (!std::exchange(has_begun_, true)) {
      const auto current = with_link([&](Link& link, Time) { return link.borrow_and_update(registration()); });
      if (current && holds(Ref::steal(value_of(*handle().channel, current->version, current->message)))) {
        return Status::done;
      }
    }
    for (;;) {
      const Status status = RemoteRecv::start(operation);
      if (status != Status::done || holds(received())) return status;
      if (operation != nullptr) operation->renew();
    }
  }
  Status finish() override {
    const Status status = RemoteRecv::finish();
    return status != Status::done || holds(received()) ? status : Status::pending;
  }
  PyObject* outcome(Status status) override {
    if (predicate_.raise()) return nullptr;
    return status == Status::done ? value_.release() : RemoteChange::outcome(status);
  }

  int traverse(visitproc visit, void* arg) const override {
    if (const int result = predicate_.traverse(visit, arg); result != 0) return result;
    Py_VISIT(value_.get());
    return RemoteRecv::traverse(visit, arg);
  }

 private:
  // Is it over with this value? Also if that can't be told: the exception comes out of the wait.
  bool holds(Ref value) {
    const bool is_over = predicate_(value);
    if (is_over) value_ = std::move(value);
    return is_over;
  }

  Predicate predicate_;
  Ref value_;
  bool has_begun_ = false;
};

struct RemoteWatch : Remote {
  template <class>
  using Send = RemoteCountedSend;
  using Recv = RemoteChange;
  using Changed = RemoteChanged;
  using WaitFor = RemoteWaitFor;
  static constexpr const char* kSenderName = "RayWatchSender";
  static constexpr const char* kReceiverName = "RayWatchReceiver";
  static constexpr const char* kInsteadOfCopy = kInsteadOfWatchCopy;
};

// --- methods ---

std::optional<Latest> latest_here(RemoteHandleObject& self, bool updates) {
  return self.channel->dialer->with_link([&](Link& link, Time) {
    return updates ? link.borrow_and_update(self.registration) : link.borrow(self.registration);
  });
}

// The latest value, once there is one. None with an exception set: the handle is closed, or the channel can't be reached.
std::optional<Latest> latest_of(RemoteHandleObject& self, bool updates) {
  if (self.registration.closed) {
    raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
    return std::nullopt;
  }
  open_if_new(self);
  std::optional<Latest> latest = latest_here(self, updates);
  if (latest) return latest;
  RemoteWait op(&self, "the first value", Patience::seconds(kFirstValueLimit_s), RemoteWait::What::opened);
  if (!Ref::steal(run_blocking(op))) return std::nullopt;
  latest = latest_here(self, updates);
  if (!latest) raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});  // meanwhile, by another thread
  return latest;
}

PyObject* look(PyObject* object, bool updates) {
  RemoteHandleObject* const self = Remote::usable(object);
  const std::optional<Latest> latest = self != nullptr ? latest_of(*self, updates) : std::nullopt;
  return latest ? value_of(*self->channel, latest->version, latest->message) : nullptr;
}

PyObject* borrow(PyObject* object, PyObject* /*unused*/) { return look(object, false); }
PyObject* borrow_and_update(PyObject* object, PyObject* /*unused*/) { return look(object, true); }

PyObject* has_changed(PyObject* object, PyObject* /*unused*/) {
  const RemoteHandleObject* const self = Remote::usable(object);
  if (self == nullptr) return nullptr;
  return PyBool_FromLong(
      self->channel->dialer->with_link([&](Link& link, Time) { return link.has_changed(self->registration); }) ? 1 : 0);
}

// (what it has seen, the value's version, its payload)
PyObject* carried(PyObject* object, PyObject* /*unused*/) {
  RemoteHandleObject* const self = Remote::usable(object);
  const std::optional<Latest> latest = self != nullptr ? latest_of(*self, false) : std::nullopt;
  if (!latest) return nullptr;
  const Version seen =
      self->channel->dialer->with_link([&](Link& link, Time) { return link.seen(self->registration); });
  const Bytes& payload = latest->message;
  return Py_BuildValue("KKN", static_cast<unsigned long long>(seen), static_cast<unsigned long long>(latest->version),
                       PyBytes_FromStringAndSize(payload.data(), static_cast<Py_ssize_t>(payload.size())));
}

PyObject* take_along(PyObject* object, PyObject* args) {
  const RemoteHandleObject* const self = Remote::usable(object);
  unsigned long long seen = 0;
  unsigned long long version = 0;
  PyObject* payload = nullptr;
  if (self == nullptr || PyArg_ParseTuple(args, "KKS:_take_along", &seen, &version, &payload) == 0) {
    return nullptr;
  }
  const Latest latest{.version = version,
                      .message = Bytes(std::string_view(PyBytes_AS_STRING(payload),
                                                        static_cast<std::size_t>(PyBytes_GET_SIZE(payload))))};
  self->channel->dialer->with_link(
      [&](Link& link, Time now) { link.take_along(now, self->registration, latest, seen); });
  Py_RETURN_NONE;
}

constexpr PyMethodDef kCarried = {"_carried", carried, METH_NOARGS,
                                  "_carried()\n--\n\nWhat an unpickled one takes along, for _take_along()."};
constexpr PyMethodDef kTakeAlong = {"_take_along", take_along, METH_VARARGS,
                                    "_take_along(seen, version, payload)\n--\n\nWhat its original had."};

std::vector<PyMethodDef> sending() {
  using Methods = SenderMethods<RemoteWatch>;
  return {
      {"send", as_method(Methods::send), kFastKeywords,
       "send(value, timeout=None)\n--\n\nAwaitable: replaces the value, and gives the number of receivers; returns "
       "when "
       "the channel has it.\nRaises ChannelClosedError without a receiver, SendTimeoutError (then it is not sent). "
       "Cancel "
       "safe: a cancelled send has sent the value or has not."},
      {"try_send", Methods::try_send, METH_O,
       "try_send(value)\n--\n\nAwaitable: as send(). Ok(number of receivers) or Err(ChannelClosed(...))."},
      {"send_nowait", Methods::send_nowait, METH_O,
       "send_nowait(value)\n--\n\nRaises ChannelFullError: the channel is in another process and can't be asked at "
       "once; use try_send()."},
      {"blocking_send", as_method(Methods::blocking_send), kFastKeywords,
       "blocking_send(value, timeout=None)\n--\n\nAs send(), for a thread without an event loop."},
      {"borrow", borrow, METH_NOARGS,
       "borrow()\n--\n\nThe latest value that has come to this process. ChannelClosedError if this handle is closed."},
      {"clone", remote_clone, METH_NOARGS,
       "clone()\n--\n\nAnother sender; it counts from this call on. ChannelClosedError if this one is closed."},
      {"_subscribe", remote_subscribe, METH_O,
       "_subscribe(type)\n--\n\nA new receiver, of this type, which has seen the current value. ChannelClosedError if "
       "this sender is closed."},
      kCarried,
      kTakeAlong,
  };
}

std::vector<PyMethodDef> receiving() {
  std::vector<PyMethodDef> methods = watch_methods<RemoteWatch>();
  methods.insert(
      methods.end(),
      {{"borrow", borrow, METH_NOARGS,
        "borrow()\n--\n\nThe latest value that has come to this process, which is not marked as seen. "
        "ChannelClosedError if this handle is closed."},
       {"borrow_and_update", borrow_and_update, METH_NOARGS,
        "borrow_and_update()\n--\n\nThe latest value that has come to this process, which this receiver has seen then. "
        "ChannelClosedError if this handle is closed."},
       {"has_changed", has_changed, METH_NOARGS,
        "has_changed()\n--\n\nTrue if a value has come to this process that this receiver has not seen."},
       {"resubscribe", remote_resubscribe, METH_NOARGS,
        "resubscribe()\n--\n\nA new receiver, which has seen the current value. ChannelClosedError if this one is "
        "closed."},
       kCarried,
       kTakeAlong});
  return methods;
}

}  // namespace

bool add_remote_watch_types(PyObject* module) noexcept {
  return add_remote_type<RemoteWatch>(module, Side::sender, "klaw_core._core.RemoteWatchSender",
                                      "The sending handle of a watch of another process. See klaw_core.runtime."
                                      "channels.ray.watch.",
                                      sending(), {}) != nullptr &&
         add_remote_type<RemoteWatch>(module, Side::receiver, "klaw_core._core.RemoteWatchReceiver",
                                      "The receiving handle of a watch of another process. See klaw_core.runtime."
                                      "channels.ray.watch.",
                                      receiving(), receiver_slots<RemoteWatch>()) != nullptr;
}

}  // namespace klaw::python
