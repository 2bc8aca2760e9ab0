#include "handles/receiver_methods.hpp"

namespace klaw::python {

namespace {

struct DeliveriesObject {
  PyObject_HEAD PyObject* receiver;  // strong
};

int deliveries_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(receiver_of(object));
  return 0;
}

// Immutable, so no cycle is through it alone: nothing to clear.
void deliveries_dealloc(PyObject* object) {
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  Py_DECREF(receiver_of(object));
  type->tp_free(object);
  Py_DECREF(type);
}

}  // namespace

PyObject* receiver_of(PyObject* deliveries) noexcept {
  return reinterpret_cast<DeliveriesObject*>(deliveries)->receiver;
}

PyTypeObject* make_deliveries_type(PyObject* module, const char* name, unaryfunc anext, iternextfunc next) noexcept {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Iterates over the deliveries of a receiver. See klaw_core.runtime.channels."
                                    "protocols.Deliveries.")},
      {Py_am_aiter, reinterpret_cast<void*>(PyObject_SelfIter)},
      {Py_am_anext, reinterpret_cast<void*>(anext)},
      {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
      {Py_tp_iternext, reinterpret_cast<void*>(next)},
      {Py_tp_traverse, reinterpret_cast<void*>(deliveries_traverse)},
      {Py_tp_dealloc, reinterpret_cast<void*>(deliveries_dealloc)},
      {},
  };
  PyType_Spec spec = {
      .name = name,
      .basicsize = sizeof(DeliveriesObject),
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
      .slots = slots,
  };
  return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

PyObject* make_deliveries(PyTypeObject* type, PyObject* receiver) noexcept {
  DeliveriesObject* const self = PyObject_GC_New(DeliveriesObject, type);
  if (self == nullptr) return nullptr;
  self->receiver = Py_NewRef(receiver);
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return reinterpret_cast<PyObject*>(self);
}

bool parse_max_items(PyObject* object, std::size_t& max_items) noexcept {
  if (PyBool_Check(object) || PyIndex_Check(object) == 0) {
    PyErr_Format(PyExc_TypeError, "max_items must be an int, not %.200s", Py_TYPE(object)->tp_name);
    return false;
  }
  const Py_ssize_t count = PyNumber_AsSsize_t(object, nullptr);  // a huge one is clipped: no queue is longer
  if (count == -1 && PyErr_Occurred() != nullptr) return false;
  if (count < 1) {
    PyErr_Format(PyExc_ValueError, "max_items must be at least 1, got %R", object);
    return false;
  }
  max_items = static_cast<std::size_t>(count);
  return true;
}

}  // namespace klaw::python
