// LocalSender and LocalReceiver: the handles of a local MPMC channel.
#include "mpmc.hpp"

#include "mpmc_ops.hpp"
#include "receiver_methods.hpp"
#include "sender_methods.hpp"

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

Py_ssize_t receiver_length(PyObject* object) {
  const HandleObject* const self = usable(object);
  return self != nullptr ? static_cast<Py_ssize_t>(Local::core(*self)->queue_size()) : -1;
}

constexpr const char* kCloneDoc =
    "clone()\n--\n\nAnother handle on the same channel; it counts from this call on. ChannelClosedError if this one "
    "is closed.";

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
  sending.push_back({"clone", clone<Sender>, METH_NOARGS, kCloneDoc});
  std::vector<PyMethodDef> receiving = receiver_methods<Local>();
  receiving.push_back({"clone", clone<Receiver>, METH_NOARGS, kCloneDoc});
  std::vector<PyType_Slot> slots = receiver_slots<Local>();
  slots.push_back({Py_sq_length, reinterpret_cast<void*>(receiver_length)});
  return ChannelType<MpmcCore>::add(module, "klaw_core._core.Channel") &&
         Sender::add(module, "klaw_core._core.LocalSender",
                     "The sending handle of a channel within one process. See klaw_core.runtime.channels.local.",
                     std::move(sending), {}) &&
         Receiver::add(module, "klaw_core._core.LocalReceiver",
                       "The receiving handle of a channel within one process. See klaw_core.runtime.channels.local.",
                       std::move(receiving), std::move(slots));
}

}  // namespace klaw::python
