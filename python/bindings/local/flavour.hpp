// The types of a local flavour: its channel, and its two handles.
//
// A flavour is told apart by its core, and by a Backend for each of its sides (one for both, where they do not differ), which
// says how the handles of that side are used; see LocalBackend. What the sides can do is in their tables of methods.
#pragma once

#include <Python.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <structmember.h>

#include "handles/handle_methods.hpp"
#include "local/local_ops.hpp"

namespace klaw::python {

// What all sides of local flavours have in common. A Backend derives from it, and adds
//   kSenderName, kReceiverName  of its types: "LocalSender", "LocalReceiver"
//   RecvOp           of a receiving side: the core's op
//   is_spent(self)   has the handle done all that it is for, so that it need not be closed?
//   contents(stats)  how the channel is shown in a repr
template <class Backend, class CoreType>
struct LocalBackend {
  LocalBackend() = delete;  // it is a set of names
  using Core = CoreType;
  using Object = HandleObject;  // one with more to it is derived from that
  using Handle = HandleObject;
  using Value = Ref;
  using Closed = ClosedPending<Backend>;
  static constexpr const char* kInsteadOfCopy = "use clone()";

  static const std::shared_ptr<Core>& core(const Handle& self) noexcept { return core_of<Core>(self); }
  // What else than a handle's is in an object: to be destroyed, and made by those who make one.
  static void destroy(Object& /*self*/) noexcept {}
  static Handle* usable(PyObject* object) noexcept { return klaw::python::usable(object); }
  static std::optional<Value> pack(PyObject* value) { return Ref::borrow(value); }
  // In a thread that runs an event loop, too: closing and shutting down never wait.
  static bool may_block(const char* /*instead*/) noexcept { return true; }
  // Takes effect at once.
  static void close(Handle& self, std::optional<std::string> reason) {
    Backend::core(self)->close_handle(self.side, self.registration, std::move(reason));
  }
  // What close() returns: there is nothing to wait for.
  static PyObject* when_closed(Handle& /*self*/, const char* name) {
    return make_completed(name, Ref::borrow(Py_None));
  }
  static PyObject* wait_until_closed(Handle& /*self*/, Patience /*patience*/) { Py_RETURN_NONE; }
  static bool is_closed(const Handle& self) { return Backend::core(self)->is_closed(self.side, self.registration); }
  static std::size_t capacity(const Handle& self) { return Backend::core(self)->capacity(); }
};

// Set once, when the module is made.
template <class Core>
inline PyTypeObject* channel_type = nullptr;
template <class Backend, Side kSide>
inline PyTypeObject* handle_type = nullptr;
inline std::vector<PyTypeObject*> local_handle_types;

inline bool is_local_handle(PyObject* object) noexcept {
  return std::ranges::find(local_handle_types, Py_TYPE(object)) != local_handle_types.end();
}

// --- the channel ---

template <class Core>
class ChannelType {
  static ChannelOf<Core>& cast(PyObject* object) noexcept { return *reinterpret_cast<ChannelOf<Core>*>(object); }

  static int traverse(PyObject* object, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(object));
    int result = 0;
    cast(object).holds.for_each([&](const Hold& hold) {
      if (result == 0) result = visit(hold.operation(), arg);
    });
    if (cast(object).fork_generation == fork_generation) {
      cast(object).core->for_each_queued([&](const Ref& value) {
        if (result == 0) result = visit(value.get(), arg);
      });
    }
    return result;
  }

  static int clear(PyObject* object) {
    if (cast(object).fork_generation == fork_generation) cast(object).core->drop_queued();
    return 0;
  }

  static void dealloc(PyObject* object) {
    ChannelOf<Core>& self = cast(object);
    PyTypeObject* const type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    // What waits holds a handle, and that us: so there is nobody, unless the collector has cleared the handle first.
    while (!self.holds.empty()) self.holds.front().leave();
    std::destroy_at(&self.holds);
    if (self.fork_generation == fork_generation) {
      self.core.~shared_ptr();
    }  // else leaked: a thread of the parent's may hold its lock for ever
    --live_channels.channels;
    type->tp_free(object);
    Py_DECREF(type);
  }

 public:
  // False with an exception set. `name`: with its module's.
  static bool add(PyObject* module, const char* name) noexcept {
    static PyType_Slot slots[] = {
        {Py_tp_doc, const_cast<char*>("The state that the handles of one local channel share.")},
        {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
        {Py_tp_clear, reinterpret_cast<void*>(clear)},
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        {},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(ChannelOf<Core>),
        .itemsize = 0,
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    channel_type<Core> = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
    return channel_type<Core> != nullptr;
  }

  // A new reference; null with an exception set.
  static Ref make(std::shared_ptr<Core> core) noexcept {
    auto* const self = PyObject_GC_New(ChannelOf<Core>, channel_type<Core>);
    if (self == nullptr) return {};
    ::new (&self->core) std::shared_ptr<Core>(std::move(core));
    std::construct_at(&self->holds);
    self->fork_generation = fork_generation;
    ++live_channels.channels;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return Ref::steal(reinterpret_cast<PyObject*>(self));
  }
};

// --- handles ---

template <class Backend, Side kSide>
class HandleType {
 public:
  using Object = typename Backend::Object;

  // A new handle with a registration that was counted already; `begin` makes what else is in its object. Null with an
  // exception set.
  template <class Begin>
  static PyObject* make(ChannelObject* channel, Registration registration, Begin begin) {
    PyTypeObject* const type = handle_type<Backend, kSide>;
    Object* const self = PyObject_GC_New(Object, type);
    if (self == nullptr) return nullptr;
    Py_INCREF(channel);
    self->channel = channel;
    self->weakrefs = nullptr;
    self->registration = registration;
    self->side = kSide;
    begin(*self);
    ++live_channels.handles;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
  }

  // As make(), of a handle that is no more than that.
  static PyObject* make(ChannelObject* channel, Registration registration) {
    PyObject* const made = make(channel, registration, [](Object&) {});
    if (made == nullptr) core_of_channel(channel)->close_handle(kSide, registration, std::nullopt);
    return made;
  }

  // As make(), for a clone of another handle: ChannelClosedError if that was closed.
  static PyObject* make_clone(ChannelObject* channel, Registration registration) {
    if (!registration.closed) return make(channel, registration);
    raise_closed(ChannelClosed{.kind = CloseKind::handle_closed});
    return nullptr;
  }

  // Makes the type, and adds it to the module. False with an exception set.
  static bool add(PyObject* module, const char* name, const char* doc, std::vector<PyMethodDef> methods,
                  std::vector<PyType_Slot> slots) noexcept {
    methods.insert(
        methods.end(),
        {
            {"stats", stats, METH_NOARGS, "stats()\n--\n\nAwaitable: a consistent snapshot, as ChannelStats."},
            {"same_channel", same_channel, METH_O,
             "same_channel(other)\n--\n\nTrue if `other` is a handle, of either side, on "
             "the same channel."},
            {"ticket", refuse_ticket, METH_NOARGS, "ticket()\n--\n\nTypeError: a ticket is for another process."},
            {"__reduce_ex__", reduce, METH_O, nullptr},
        });
    static PyMemberDef members[] = {
        {"__weaklistoffset__", T_PYSSIZET, offsetof(HandleObject, weakrefs), READONLY, nullptr},
        {},
    };
    slots.insert(slots.end(), {
                                  {Py_tp_doc, const_cast<char*>(doc)},
                                  {Py_tp_members, members},
                                  {Py_tp_repr, reinterpret_cast<void*>(repr)},
                                  {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                                  {Py_tp_clear, reinterpret_cast<void*>(clear)},
                                  {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
                                  {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                              });
    PyTypeObject* const type =
        make_handle_type<Backend>(module,
                                  {
                                      .name = name,
                                      .basicsize = sizeof(Object),
                                      .itemsize = 0,
                                      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                               Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                      .slots = nullptr,
                                  },
                                  std::move(methods), std::move(slots));
    if (type == nullptr) return false;
    handle_type<Backend, kSide> = type;
    local_handle_types.push_back(type);
    return PyModule_AddType(module, type) == 0;
  }

 private:
  static auto& core_of_channel(ChannelObject* channel) noexcept {
    return static_cast<ChannelOf<typename Backend::Core>*>(channel)->core;
  }

  static int traverse(PyObject* object, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(reinterpret_cast<PyObject*>(cast_handle(object)->channel));
    return 0;
  }

  static int clear(PyObject* object) {
    Py_CLEAR(cast_handle(object)->channel);
    return 0;
  }

  // A handle that is dropped closes; runs once, before the handle or the cycle it is in goes.
  static void finalize(PyObject* object) {
    HandleObject& self = *cast_handle(object);
    if (!is_usable(self) || self.registration.closed) return;
    const SavedError saved;
    if (is_dev_mode() && !Backend::is_spent(self) && PyErr_ResourceWarning(object, 1, "unclosed %R", object) < 0) {
      PyErr_WriteUnraisable(object);
    }
    Backend::close(self, std::nullopt);
  }

  static void free(PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    const ChannelObject* const channel = cast_handle(object)->channel;
    const bool is_foreign = channel != nullptr && channel->fork_generation != fork_generation;
    PyObject_GC_UnTrack(object);
    if (cast_handle(object)->weakrefs != nullptr) PyObject_ClearWeakRefs(object);
    clear(object);
    // In a fork's child it is leaked, as its channel is.
    if (!is_foreign) Backend::destroy(*reinterpret_cast<Object*>(object));
    --live_channels.handles;
    type->tp_free(object);
    Py_DECREF(type);
  }

  static void dealloc(PyObject* object) {
    // A channel may hold handles of channels that hold handles, without end: Python bounds the depth for us.
    PyObject_GC_UnTrack(object);
    Py_TRASHCAN_BEGIN(object, dealloc) PyObject_GC_Track(object);
    if (PyObject_CallFinalizerFromDealloc(object) == 0) free(object);  // else resurrected
    Py_TRASHCAN_END
  }

  static PyObject* stats(PyObject* object, PyObject* /*unused*/) {
    HandleObject* const self = usable(object);
    return self != nullptr ? make_operation<StatsPending<Backend>>(self, "stats") : nullptr;
  }

  static PyObject* same_channel(PyObject* object, PyObject* other) {
    return PyBool_FromLong(is_local_handle(other) && cast_handle(object)->channel == cast_handle(other)->channel);
  }

  static PyObject* reduce(PyObject* object, PyObject* /*protocol*/) {
    PyErr_Format(
        PyExc_TypeError,
        "cannot pickle '%.200s': a local channel lives in one process; use backend='ray' to send handles to others",
        Py_TYPE(object)->tp_name);
    return nullptr;
  }

  static PyObject* refuse_ticket(PyObject* object, PyObject* /*unused*/) {
    PyErr_Format(
        PyExc_TypeError,
        "no ticket for '%.200s': a local channel lives in one process; use backend='ray' to give handles to others",
        Py_TYPE(object)->tp_name);
    return nullptr;
  }

  // <LocalSender 7/64, 2 senders, 1 receiver waiting>
  static PyObject* repr(PyObject* object) {
    const HandleObject& self = *cast_handle(object);
    constexpr bool kIsSender = kSide == Side::sender;
    std::string text = std::string("<") + (kIsSender ? Backend::kSenderName : Backend::kReceiverName) + " ";
    if (!is_usable(self)) return PyUnicode_FromString((text + "of another process>").c_str());
    const channels::ChannelStats s = Backend::core(self)->stats();
    if (self.registration.closed) text += "closed ";
    text += Backend::contents(s) + ", ";
    text += counted(kIsSender ? s.sender_count : s.receiver_count, kIsSender ? "sender" : "receiver") + ", ";
    const char* const other = kIsSender ? "receiver" : "sender";
    const std::size_t waiting = kIsSender ? s.waiting_receivers : s.waiting_senders;
    text += waiting > 0 ? counted(waiting, other, " waiting")
                        : counted(kIsSender ? s.receiver_count : s.sender_count, other);
    return PyUnicode_FromString((text + ">").c_str());
  }

  static std::string counted(std::size_t count, const char* what, const char* then = "") {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s") + then;
  }
};

}  // namespace klaw::python
