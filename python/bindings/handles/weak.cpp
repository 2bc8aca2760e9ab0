#include "handles/weak.hpp"

#include <cstring>

#include "handles/handle.hpp"

namespace klaw::python {

namespace {

int weak_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(cast_weak(object).channel);
  Py_VISIT(reinterpret_cast<PyObject*>(cast_weak(object).handle_type));
  return 0;
}

int weak_clear(PyObject* object) {
  Py_CLEAR(cast_weak(object).channel);
  Py_CLEAR(cast_weak(object).handle_type);
  return 0;
}

void weak_dealloc(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  weak_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

}  // namespace

PyTypeObject* make_weak_type(PyObject* module, const char* name, PyCFunction upgrade,
                             PyCFunction blocking_upgrade) noexcept {
  // The type refers to its method table for ever.
  auto* const methods = new PyMethodDef[4]{
      {"upgrade", upgrade, METH_NOARGS,
       "upgrade()\n--\n\nAwaitable: a handle as if cloned from an open one, or None once the last one of its side has "
       "closed."},
      {"blocking_upgrade", blocking_upgrade, METH_NOARGS,
       "blocking_upgrade()\n--\n\nAs upgrade(), for a thread without an event loop."},
      {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "For annotations."},
      {},
  };
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("A handle that does not count. See klaw_core.runtime.channels.protocols.")},
      {Py_tp_methods, methods},
      {Py_tp_traverse, reinterpret_cast<void*>(weak_traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(weak_clear)},
      {Py_tp_dealloc, reinterpret_cast<void*>(weak_dealloc)},
      {},
  };
  PyType_Spec spec = {
      .name = name,
      .basicsize = sizeof(WeakObject),
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
      .slots = slots,
  };
  auto* const type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  const char* const short_name = std::strrchr(name, '.') + 1;
  if (type == nullptr || PyModule_AddObjectRef(module, short_name, reinterpret_cast<PyObject*>(type)) < 0) {
    return nullptr;
  }
  return type;
}

PyObject* make_weak(PyTypeObject* type, PyObject* channel, PyTypeObject* handle_type, Side side) noexcept {
  WeakObject* const self = PyObject_GC_New(WeakObject, type);
  if (self == nullptr) return nullptr;
  self->channel = Py_NewRef(channel);
  Py_INCREF(handle_type);
  self->handle_type = handle_type;
  self->side = side;
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return reinterpret_cast<PyObject*>(self);
}

}  // namespace klaw::python
