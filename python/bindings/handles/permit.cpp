#include "handles/permit.hpp"

#include "handles/handle.hpp"

namespace klaw::python {

namespace {

constexpr std::size_t kBackends = 2;
PyTypeObject* permit_types[kBackends];  // [PermitOf]

// All under the GIL. The slot is given back before the permit goes; in a forked child it is left as it is: what holds it may
// be locked for ever by a thread that does not exist there.
struct PermitObject {
  PyObject_HEAD std::unique_ptr<Slot> slot;  // null: used, released, or cleared by the collector
};

PermitObject& cast_permit(PyObject* object) noexcept { return *reinterpret_cast<PermitObject*>(object); }

// The destructor of a slot may look at us.
void drop_slot(PermitObject& self) noexcept {
  std::unique_ptr<Slot> slot = std::move(self.slot);
  if (slot != nullptr && !slot->is_mine()) std::ignore = slot.release();
}

PyObject* permit_send(PyObject* object, PyObject* value) {
  PermitObject& self = cast_permit(object);
  if (self.slot == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "this permit was used or released already: reserve() another one");
    return nullptr;
  }
  if (!self.slot->is_mine()) {
    raise_not_usable();
    return nullptr;
  }
  // Packing the value may run Python code, and that may use the permit: it is held here meanwhile.
  std::unique_ptr<Slot> slot = std::move(self.slot);
  if (slot->send(value)) Py_RETURN_NONE;
  self.slot = std::move(slot);
  return nullptr;
}

PyObject* permit_release(PyObject* object, PyObject* /*unused*/) {
  drop_slot(cast_permit(object));
  Py_RETURN_NONE;
}

PyObject* permit_repr(PyObject* object) {
  const char* const name = Py_TYPE(object) == permit_types[0] ? "LocalPermit" : "RemotePermit";
  return PyUnicode_FromFormat("<%s, %s>", name, cast_permit(object).slot != nullptr ? "held" : "over");
}

int permit_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  const PermitObject& self = cast_permit(object);
  return self.slot != nullptr ? self.slot->traverse(visit, arg) : 0;
}

int permit_clear(PyObject* object) {
  drop_slot(cast_permit(object));
  return 0;
}

void permit_finalize(PyObject* object) {
  const SavedError saved;
  Ref::steal(permit_release(object, nullptr));
}

void permit_dealloc(PyObject* object) {
  if (PyObject_CallFinalizerFromDealloc(object) < 0) return;  // resurrected
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  permit_clear(object);
  std::destroy_at(&cast_permit(object).slot);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef permit_methods[] = {
    {"send", permit_send, METH_O,
     "send(value)\n--\n\nSends the value into the slot, at once: it cannot fail and never waits. If no receiver is "
     "left it is dropped. RuntimeError if the permit was used or released already. On Ray ChannelClosedError if the "
     "slot "
     "was lost with the channel's actor."},
    {"release", permit_release, METH_NOARGS,
     "release()\n--\n\nGives the slot to the next in line. Idempotent; a permit that is dropped does so, too."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "For annotations: Permit[int]."},
    {},
};

PyType_Slot permit_slots[] = {
    {Py_tp_doc, const_cast<char*>("A slot of a channel, held for one message. See klaw_core.runtime.channels.protocols."
                                  "Permit.")},
    {Py_tp_methods, permit_methods},
    {Py_tp_repr, reinterpret_cast<void*>(permit_repr)},
    {Py_tp_traverse, reinterpret_cast<void*>(permit_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(permit_clear)},
    {Py_tp_finalize, reinterpret_cast<void*>(permit_finalize)},
    {Py_tp_dealloc, reinterpret_cast<void*>(permit_dealloc)},
    {},
};

PyTypeObject* make_type(PyObject* module, const char* name) noexcept {
  PyType_Spec spec = {
      .name = name,
      .basicsize = sizeof(PermitObject),
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
      .slots = permit_slots,
  };
  return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace

PyObject* make_permit(PermitOf backend, std::unique_ptr<Slot> slot) noexcept {
  PermitObject* const self = PyObject_GC_New(PermitObject, permit_types[static_cast<std::size_t>(backend)]);
  if (self == nullptr) return nullptr;
  std::construct_at(&self->slot, std::move(slot));
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return reinterpret_cast<PyObject*>(self);
}

bool add_permit_types(PyObject* module) noexcept {
  permit_types[0] = make_type(module, "klaw_core._core.LocalPermit");
  permit_types[1] = make_type(module, "klaw_core._core.RemotePermit");
  return permit_types[0] != nullptr && permit_types[1] != nullptr &&
         PyModule_AddObjectRef(module, "LocalPermit", reinterpret_cast<PyObject*>(permit_types[0])) == 0 &&
         PyModule_AddObjectRef(module, "RemotePermit", reinterpret_cast<PyObject*>(permit_types[1])) == 0;
}

}  // namespace klaw::python
