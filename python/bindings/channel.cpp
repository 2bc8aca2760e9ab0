#include "channel.hpp"

#include <new>
#include <vector>

#include <structmember.h>

#include "handle.hpp"
#include "handle_methods.hpp"
#include "mpmc_ops.hpp"
#include "permit.hpp"
#include "weak.hpp"

namespace klaw::python {

namespace {

PyTypeObject* channel_type = nullptr;
PyTypeObject* sender_type = nullptr;
PyTypeObject* receiver_type = nullptr;
PyTypeObject* weak_types[2];  // [Side]
LiveChannels live{};          // under the GIL

ChannelObject* cast_channel(PyObject* object) noexcept { return reinterpret_cast<ChannelObject*>(object); }

// --- Channel ---

int channel_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  int result = 0;
  cast_channel(object)->holds.for_each([&](const Hold& hold) {
    if (result == 0) result = visit(hold.operation(), arg);
  });
  if (cast_channel(object)->fork_generation == fork_generation) {
    cast_channel(object)->core->for_each_queued([&](const Ref& value) {
      if (result == 0) result = visit(value.get(), arg);
    });
  }
  return result;
}

int channel_clear(PyObject* object) {
  if (cast_channel(object)->fork_generation == fork_generation) cast_channel(object)->core->drop_queued();
  return 0;
}

void channel_dealloc(PyObject* object) {
  ChannelObject& self = *cast_channel(object);
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  // What waits holds a handle, and that us: so there is nobody, unless the collector has cleared the handle first.
  while (!self.holds.empty()) self.holds.front().leave();
  std::destroy_at(&self.holds);
  if (self.fork_generation == fork_generation) {
    self.core.~shared_ptr();
  }  // else leaked: a thread of the parent's may hold its lock for ever
  --live.channels;
  type->tp_free(object);
  Py_DECREF(type);
}

PyType_Slot channel_slots[] = {
    {Py_tp_doc, const_cast<char*>("The state that the handles of one local channel share.")},
    {Py_tp_traverse, reinterpret_cast<void*>(channel_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(channel_clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(channel_dealloc)},
    {},
};

PyType_Spec channel_spec = {
    .name = "klaw_core._core.Channel",
    .basicsize = sizeof(ChannelObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = channel_slots,
};

// --- handles: life ---

// A new handle with a registration that was counted already.
PyObject* make_handle(Side side, ChannelObject* channel, Registration registration) {
  PyTypeObject* const type = side == Side::sender ? sender_type : receiver_type;
  HandleObject* const self = PyObject_GC_New(HandleObject, type);
  if (self == nullptr) {
    channel->core->close_handle(side, registration, std::nullopt);
    return nullptr;
  }
  Py_INCREF(channel);
  self->channel = channel;
  self->weakrefs = nullptr;
  self->registration = registration;
  self->side = side;
  ++live.handles;
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return reinterpret_cast<PyObject*>(self);
}

int handle_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(reinterpret_cast<PyObject*>(cast_handle(object)->channel));
  return 0;
}

int handle_clear(PyObject* object) {
  Py_CLEAR(cast_handle(object)->channel);
  return 0;
}

// A handle that is dropped closes; runs once, before the handle or the cycle it is in goes.
void handle_finalize(PyObject* object) {
  HandleObject& self = *cast_handle(object);
  if (!is_usable(self) || self.registration.closed) return;
  const SavedError saved;
  if (is_dev_mode() && PyErr_ResourceWarning(object, 1, "unclosed %R", object) < 0) PyErr_WriteUnraisable(object);
  Local::close(self, std::nullopt);
}

void free_handle(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (cast_handle(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
  handle_clear(object);
  --live.handles;
  type->tp_free(object);
  Py_DECREF(type);
}

void handle_dealloc(PyObject* object) {
  // A channel may hold handles of channels that hold handles, without end: Python bounds the depth for us.
  PyObject_GC_UnTrack(object);
  Py_TRASHCAN_BEGIN(object, handle_dealloc) PyObject_GC_Track(object);
  if (PyObject_CallFinalizerFromDealloc(object) == 0) free_handle(object);  // else resurrected
  Py_TRASHCAN_END
}

// --- handles: methods ---

PyObject* handle_clone(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  Core& core = *self->channel->core;
  const Registration registration = core.clone_handle(self->side, self->registration);
  if (registration.closed) {
    raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
    return nullptr;
  }
  return make_handle(self->side, self->channel, registration);
}

PyObject* handle_downgrade(PyObject* object, PyObject* /*unused*/) {
  const HandleObject* const self = usable(object);
  if (self == nullptr) return nullptr;
  return make_weak(weak_types[index(self->side)], reinterpret_cast<PyObject*>(self->channel), Py_TYPE(object),
                   self->side);
}

// A new handle, or None.
PyObject* upgrade(PyObject* object) {
  const WeakObject& self = cast_weak(object);
  ChannelObject* const channel = reinterpret_cast<ChannelObject*>(self.channel);
  if (channel == nullptr || channel->fork_generation != fork_generation) {
    raise_not_usable();
    return nullptr;
  }
  const Registration registration = channel->core->upgrade_handle(self.side);
  if (registration.closed) Py_RETURN_NONE;
  return make_handle(self.side, channel, registration);
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

PyObject* handle_stats(PyObject* object, PyObject* /*unused*/) {
  HandleObject* const self = usable(object);
  return self != nullptr ? make_operation<StatsPending>(self, "stats") : nullptr;
}

PyObject* handle_same_channel(PyObject* object, PyObject* other) {
  const PyTypeObject* const type = Py_TYPE(other);
  const bool is_handle = type == sender_type || type == receiver_type;
  return PyBool_FromLong(is_handle && cast_handle(object)->channel == cast_handle(other)->channel);
}

PyObject* handle_reduce(PyObject* object, PyObject* /*unused*/) {
  PyErr_Format(
      PyExc_TypeError,
      "cannot pickle '%.200s': a local channel lives in one process; use backend='ray' to send handles to others",
      Py_TYPE(object)->tp_name);
  return nullptr;
}

std::string counted(std::size_t count, const char* what, const char* then = "") {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s") + then;
}

// <LocalSender 7/64, 2 senders, 1 receiver waiting>
PyObject* handle_repr(PyObject* object) {
  const HandleObject& self = *cast_handle(object);
  const bool is_sender = self.side == Side::sender;
  std::string text = is_sender ? "<LocalSender " : "<LocalReceiver ";
  if (!is_usable(self)) return PyUnicode_FromString((text + "of another process>").c_str());
  const channels::ChannelStats s = self.channel->core->stats();
  if (self.registration.closed) text += "closed ";
  text += std::to_string(s.queue_size) + "/" + (s.capacity ? std::to_string(*s.capacity) : "unbounded") + ", ";
  text += counted(is_sender ? s.sender_count : s.receiver_count, is_sender ? "sender" : "receiver") + ", ";
  const char* const other = is_sender ? "receiver" : "sender";
  const std::size_t waiting = is_sender ? s.waiting_receivers : s.waiting_senders;
  text +=
      waiting > 0 ? counted(waiting, other, " waiting") : counted(is_sender ? s.receiver_count : s.sender_count, other);
  return PyUnicode_FromString((text + ">").c_str());
}

const PyMethodDef kLocalMethods[] = {
    {"clone", handle_clone, METH_NOARGS,
     "clone()\n--\n\nAnother handle on the same channel; it counts from this call on. ChannelClosedError if this one "
     "is closed."},
    {"downgrade", handle_downgrade, METH_NOARGS,
     "downgrade()\n--\n\nA weak handle: it does not count, and its upgrade() gives a handle while the side is open."},
    {"stats", handle_stats, METH_NOARGS, "stats()\n--\n\nAwaitable: a consistent snapshot, as ChannelStats."},
    {"same_channel", handle_same_channel, METH_O,
     "same_channel(other)\n--\n\nTrue if `other` is a handle, of either side, on the same channel."},
    {"__reduce_ex__", handle_reduce, METH_O, nullptr},
};

PyMemberDef handle_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(HandleObject, weakrefs), READONLY, nullptr},
    {},
};

const PyType_Slot kLocalSlots[] = {
    {Py_tp_members, handle_members},
    {Py_tp_repr, reinterpret_cast<void*>(handle_repr)},
    {Py_tp_traverse, reinterpret_cast<void*>(handle_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(handle_clear)},
    {Py_tp_finalize, reinterpret_cast<void*>(handle_finalize)},
    {Py_tp_dealloc, reinterpret_cast<void*>(handle_dealloc)},
};

// False with an exception set.
bool set_item(PyObject* dict, const char* key, Ref value) noexcept {
  return value && PyDict_SetItemString(dict, key, value.get()) == 0;
}

}  // namespace

void raise_not_usable() noexcept {
  PyErr_SetString(
      PyExc_RuntimeError,
      "this local channel belongs to the parent process: it does not cross a fork; make the channel in this "
      "process, or use backend='ray' between processes");
}

PyObject* StatsPending::outcome(Status /*status*/) { return make_stats(core().stats()); }

PyObject* make_stats(const channels::ChannelStats& s) noexcept {
  const Ref fields = Ref::steal(PyDict_New());
  const Ref nothing = Ref::steal(PyTuple_New(0));
  const Classes* const classes = Classes::get();
  const auto count = [](auto n) { return Ref::steal(PyLong_FromUnsignedLongLong(n)); };
  const auto flag = [](bool b) { return Ref::steal(PyBool_FromLong(b)); };
  PyObject* const d = fields.get();
  const bool is_complete =
      fields && nothing && classes != nullptr && set_item(d, "sender_count", count(s.sender_count)) &&
      set_item(d, "receiver_count", count(s.receiver_count)) && set_item(d, "queue_size", count(s.queue_size)) &&
      set_item(d, "capacity", s.capacity ? count(*s.capacity) : Ref::borrow(Py_None)) &&
      set_item(d, "senders_closed", flag(s.senders_closed)) &&
      set_item(d, "receivers_closed", flag(s.receivers_closed)) &&
      set_item(d, "created_at", Ref::steal(PyFloat_FromDouble(s.created_at))) &&
      set_item(d, "high_watermark", count(s.high_watermark)) && set_item(d, "total_sent", count(s.total_sent)) &&
      set_item(d, "total_received", count(s.total_received)) &&
      set_item(d, "waiting_senders", count(s.waiting_senders)) &&
      set_item(d, "waiting_receivers", count(s.waiting_receivers)) && set_item(d, "in_flight", count(s.in_flight)) &&
      set_item(d, "redelivered", count(s.redelivered)) &&
      set_item(d, "oldest_age", Ref::steal(PyFloat_FromDouble(s.oldest_age)));
  return is_complete ? PyObject_Call(classes->ChannelStats, nothing.get(), d) : nullptr;
}

PyTypeObject* make_local_type(PyObject* module, const char* name, std::vector<PyMethodDef> methods,
                              std::vector<PyType_Slot> slots) noexcept {
  methods.insert(methods.end(), std::begin(kLocalMethods), std::end(kLocalMethods));
  slots.insert(slots.end(), std::begin(kLocalSlots), std::end(kLocalSlots));
  return make_handle_type<Local>(module,
                                 {
                                     .name = name,
                                     .basicsize = sizeof(HandleObject),
                                     .itemsize = 0,
                                     .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                              Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                     .slots = nullptr,
                                 },
                                 std::move(methods), std::move(slots));
}

PyObject* make_local_channel(std::size_t capacity) {
  ChannelObject* const channel = PyObject_GC_New(ChannelObject, channel_type);
  if (channel == nullptr) return nullptr;
  ::new (&channel->core) std::shared_ptr<Core>(std::make_shared<Core>(capacity));
  std::construct_at(&channel->holds);
  channel->fork_generation = fork_generation;
  ++live.channels;
  PyObject_GC_Track(reinterpret_cast<PyObject*>(channel));
  const Ref owned = Ref::steal(reinterpret_cast<PyObject*>(channel));
  const Ref tx = Ref::steal(make_handle(Side::sender, channel, Core::kFirstSender));
  const Ref rx = Ref::steal(make_handle(Side::receiver, channel, Core::kFirstReceiver));
  return tx && rx ? PyTuple_Pack(2, tx.get(), rx.get()) : nullptr;
}

HandleObject* as_receiver(PyObject* object, const char* what) noexcept {
  if (Py_TYPE(object) == receiver_type) return usable(object);
  PyErr_Format(PyExc_TypeError, "%s takes receivers of channels, not %.200s", what, Py_TYPE(object)->tp_name);
  return nullptr;
}

bool add_channel_types(PyObject* module) noexcept {
  channel_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &channel_spec, nullptr));
  sender_type = make_sender_type(module);
  receiver_type = make_receiver_type(module);
  weak_types[index(Side::sender)] =
      make_weak_type(module, "klaw_core._core.LocalWeakSender", weak_upgrade, weak_blocking_upgrade);
  weak_types[index(Side::receiver)] =
      make_weak_type(module, "klaw_core._core.LocalWeakReceiver", weak_upgrade, weak_blocking_upgrade);
  return channel_type != nullptr && sender_type != nullptr && receiver_type != nullptr && weak_types[0] != nullptr &&
         weak_types[1] != nullptr && add_permit_type(module) &&
         PyModule_AddObjectRef(module, "LocalSender", reinterpret_cast<PyObject*>(sender_type)) == 0 &&
         PyModule_AddObjectRef(module, "LocalReceiver", reinterpret_cast<PyObject*>(receiver_type)) == 0;
}

LiveChannels live_channels() noexcept { return live; }

}  // namespace klaw::python
