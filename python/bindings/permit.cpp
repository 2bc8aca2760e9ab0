#include "permit.hpp"

#include "handle.hpp"

namespace klaw::python {

namespace {

PyTypeObject* permit_type = nullptr;

// All under the GIL. The slot is given back before the permit goes; in a forked child it is left as it is: its core may be
// locked for ever by a thread that does not exist there.
struct PermitObject {
  PyObject_HEAD ChannelObject* channel;  // strong; null once cleared by the collector
  channels::Permit<Ref> permit;
  bool is_held;
};

PermitObject& cast_permit(PyObject* object) noexcept { return *reinterpret_cast<PermitObject*>(object); }

bool is_mine(const PermitObject& self) noexcept {
  return self.channel != nullptr && self.channel->fork_generation == fork_generation;
}

PyObject* permit_send(PyObject* object, PyObject* value) {
  PermitObject& self = cast_permit(object);
  if (!is_mine(self)) {
    raise_not_usable();
    return nullptr;
  }
  if (!std::exchange(self.is_held, false)) {
    PyErr_SetString(PyExc_RuntimeError, "this permit was used or released already: reserve() another one");
    return nullptr;
  }
  self.permit.send(Ref::borrow(value));
  Py_RETURN_NONE;
}

PyObject* permit_release(PyObject* object, PyObject* /*unused*/) {
  PermitObject& self = cast_permit(object);
  self.is_held = false;
  if (is_mine(self)) self.permit.release();
  Py_RETURN_NONE;
}

PyObject* permit_repr(PyObject* object) {
  return PyUnicode_FromFormat("<LocalPermit, %s>", cast_permit(object).is_held ? "held" : "over");
}

int permit_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(reinterpret_cast<PyObject*>(cast_permit(object).channel));
  return 0;
}

int permit_clear(PyObject* object) {
  Py_CLEAR(cast_permit(object).channel);
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
  PermitObject& self = cast_permit(object);
  if (is_mine(self)) std::destroy_at(&self.permit);
  permit_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef permit_methods[] = {
    {"send", permit_send, METH_O,
     "send(value)\n--\n\nSends the value into the slot, at once: it cannot fail and never waits. If no receiver is "
     "left it is dropped. RuntimeError if the permit was used or released already."},
    {"release", permit_release, METH_NOARGS,
     "release()\n--\n\nGives the slot to the next in line. Idempotent; a permit that is dropped does so, too."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "For annotations: LocalPermit[int]."},
    {},
};

PyType_Slot permit_slots[] = {
    {Py_tp_doc, const_cast<char*>("A slot of a local channel, held for one message. See klaw_core.runtime.channels."
                                  "protocols.Permit.")},
    {Py_tp_methods, permit_methods},
    {Py_tp_repr, reinterpret_cast<void*>(permit_repr)},
    {Py_tp_traverse, reinterpret_cast<void*>(permit_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(permit_clear)},
    {Py_tp_finalize, reinterpret_cast<void*>(permit_finalize)},
    {Py_tp_dealloc, reinterpret_cast<void*>(permit_dealloc)},
    {},
};

PyType_Spec permit_spec = {
    .name = "klaw_core._core.LocalPermit",
    .basicsize = sizeof(PermitObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = permit_slots,
};

}  // namespace

PyObject* make_permit(ChannelObject* channel, channels::Permit<Ref> permit) noexcept {
  PermitObject* const self = PyObject_GC_New(PermitObject, permit_type);
  if (self == nullptr) return nullptr;
  Py_INCREF(channel);
  self->channel = channel;
  std::construct_at(&self->permit, std::move(permit));
  self->is_held = true;
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return reinterpret_cast<PyObject*>(self);
}

bool add_permit_type(PyObject* module) noexcept {
  permit_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &permit_spec, nullptr));
  return permit_type != nullptr &&
         PyModule_AddObjectRef(module, "LocalPermit", reinterpret_cast<PyObject*>(permit_type)) == 0;
}

}  // namespace klaw::python
