// LocalSender and LocalReceiver: the handles of a local MPMC channel.
#include "local/mpmc.hpp"

#include "handles/permit.hpp"
#include "handles/receiver_methods.hpp"
#include "handles/sender_methods.hpp"
#include "handles/weak.hpp"
#include "local/mpmc_ops.hpp"

namespace klaw::python {

namespace {

using Sender = HandleType<Local, Side::sender>;
using Receiver = HandleType<Local, Side::receiver>;

template <class Type>
PyObject* clone(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return Type::make_clone(self->channel, Local::core(*self)->clone_handle(self->side, self->registration));
}

// --- weak handles ---

PyTypeObject* weak_types[2];  // [Side]

PyObject* downgrade(PyObject* object, PyObject* /*unused*/) {
  const HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return make_weak(weak_types[index(self->side)], reinterpret_cast<PyObject*>(self->channel), Py_TYPE(object),
                   self->side);
}

// A new handle, or None.
PyObject* upgrade(PyObject* object) {
  const WeakObject& self = cast_weak(object);
  auto* const channel = reinterpret_cast<ChannelOf<MpmcCore>*>(self.channel);
  if (channel == nullptr || channel->fork_generation != fork_generation) {
    raise_not_usable();
    return nullptr;
  }
  const Registration registration = channel->core->upgrade_handle(self.side);
  if (registration.closed) Py_RETURN_NONE;
  return self.side == Side::sender ? Sender::make(channel, registration) : Receiver::make(channel, registration);
}

class UpgradePending final : public PendingOp {
 public:
  explicit UpgradePending(PyObject* weak)
      : PendingOp("LocalWeak.upgrade", Patience::never()), weak_(Ref::borrow(weak)) {}
  Status start(Operation* /*operation*/) override { return Status::done; }
  Status finish() override { return Status::done; }
  void abandon() noexcept override {}
  PyObject* outcome(Status /*done*/) override { return upgrade(weak_.get()); }
  int traverse(visitproc visit, void* arg) const override {
    Py_VISIT(weak_.get());
    return 0;
  }

 private:
  Ref weak_;
};

PyObject* weak_upgrade(PyObject* object, PyObject* /*unused*/) { return make_operation<UpgradePending>(object); }
PyObject* weak_blocking_upgrade(PyObject* object, PyObject* /*unused*/) { return upgrade(object); }

bool add_weak_types(PyObject* module) noexcept {
  weak_types[index(Side::sender)] =
      make_weak_type(module, "klaw_core._core.LocalWeakSender", weak_upgrade, weak_blocking_upgrade);
  weak_types[index(Side::receiver)] =
      make_weak_type(module, "klaw_core._core.LocalWeakReceiver", weak_upgrade, weak_blocking_upgrade);
  return weak_types[0] != nullptr && weak_types[1] != nullptr;
}

Py_ssize_t receiver_length(PyObject* object) {
  const HandleObject* const self = usable(object);
  return self != nullptr ? static_cast<Py_ssize_t>(Local::core(*self)->queue_size()) : -1;
}

constexpr const char* kCloneDoc =
    "clone()\n--\n\nAnother handle on the same channel; it counts from this call on. ChannelClosedError if this one "
    "is closed.";
constexpr PyMethodDef kDowngrade = {
    "downgrade", downgrade, METH_NOARGS,
    "downgrade()\n--\n\nA weak handle: it does not count, and its upgrade() gives a handle while the side is open."};

}  // namespace

PyObject* make_local_channel(std::size_t capacity) {
  const Ref owned = ChannelType<MpmcCore>::make(std::make_shared<MpmcCore>(capacity));
  if (!owned) return nullptr;
  auto* const channel = reinterpret_cast<ChannelObject*>(owned.get());
  const Ref tx = Ref::steal(Sender::make(channel, MpmcCore::kFirstSender));
  const Ref rx = Ref::steal(Receiver::make(channel, MpmcCore::kFirstReceiver));
  return tx && rx ? PyTuple_Pack(2, tx.get(), rx.get()) : nullptr;
}

bool add_mpmc_types(PyObject* module) noexcept {
  std::vector<PyMethodDef> sending = sender_methods<Local>();
  sending.insert(sending.end(), {{"clone", clone<Sender>, METH_NOARGS, kCloneDoc}, kDowngrade});
  std::vector<PyMethodDef> receiving = receiver_methods<Local>();
  const std::vector<PyMethodDef> both = queue_methods<Local>();
  sending.insert(sending.end(), both.begin(), both.end());
  receiving.insert(receiving.end(), both.begin(), both.end());
  receiving.insert(receiving.end(), {{"clone", clone<Receiver>, METH_NOARGS, kCloneDoc}, kDowngrade});
  std::vector<PyType_Slot> slots = receiver_slots<Local>();
  slots.push_back({Py_sq_length, reinterpret_cast<void*>(receiver_length)});
  return ChannelType<MpmcCore>::add(module, "klaw_core._core.Channel") && add_weak_types(module) &&
         add_permit_types(module) && add_deliveries_type<Local>(module, "klaw_core._core.LocalDeliveries") &&
         Sender::add(module, "klaw_core._core.LocalSender",
                     "The sending handle of a channel within one process. See klaw_core.runtime.channels.local.",
                     std::move(sending), {}) &&
         Receiver::add(module, "klaw_core._core.LocalReceiver",
                       "The receiving handle of a channel within one process. See klaw_core.runtime.channels.local.",
                       std::move(receiving), std::move(slots));
}

}  // namespace klaw::python
