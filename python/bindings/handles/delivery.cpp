#include "handles/delivery.hpp"

#include <cmath>

#include "await/operation.hpp"
#include "handles/handle.hpp"

namespace klaw::python {

namespace {

PyTypeObject* delivery_type = nullptr;

// All under the GIL.
struct DeliveryObject {
  PyObject_HEAD PyObject* value;  // null once cleared by the collector
  std::uint32_t redeliveries;
  Settling* settling;  // owned; null: it is settled
};

DeliveryObject& cast_delivery(PyObject* object) noexcept { return *reinterpret_cast<DeliveryObject*>(object); }

// False with RuntimeError set.
bool check_mine(const DeliveryObject& self) noexcept {
  if (self.settling == nullptr || self.settling->is_mine()) return true;
  PyErr_SetString(PyExc_RuntimeError, "this message was taken by the parent process, which has to settle it");
  return false;
}

// What settles it, for the first time; null: it is settled already, or the parent's.
std::unique_ptr<Settling> take_settling(DeliveryObject& self) noexcept {
  std::unique_ptr<Settling> settling(std::exchange(self.settling, nullptr));
  if (settling != nullptr && !settling->is_mine()) std::ignore = settling.release();
  return settling;
}

void give_back(PyObject* object) noexcept { take_settling(cast_delivery(object)).reset(); }

// False with an exception set.
bool parse_delay(PyObject* object, double& seconds) noexcept {
  seconds = 0;
  if (object == nullptr) return true;
  if (PyBool_Check(object) || !(PyFloat_Check(object) || PyLong_Check(object))) {
    PyErr_Format(PyExc_TypeError, "delay must be a number of seconds (int or float), not %.200s",
                 Py_TYPE(object)->tp_name);
    return false;
  }
  seconds = PyFloat_AsDouble(object);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) return false;
  if (std::isfinite(seconds) && seconds >= 0) return true;
  PyErr_Format(PyExc_ValueError, "delay must be finite and not negative, got %R", object);
  return false;
}

// False with an exception set.
bool ack(PyObject* object) noexcept {
  if (!check_mine(cast_delivery(object))) return false;
  if (const auto settling = take_settling(cast_delivery(object))) settling->ack();
  return true;
}

PyObject* delivery_ack(PyObject* object, PyObject* /*unused*/) {
  if (!ack(object)) return nullptr;
  Py_RETURN_NONE;
}

PyObject* delivery_nack(PyObject* object, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  static constexpr const char* kNames[] = {"delay"};
  PyObject* value = nullptr;
  double delay_s = 0;
  if (!parse_arguments("nack", kNames, 0, 1, args, nargs, kwnames, &value) || !parse_delay(value, delay_s)) {
    return nullptr;
  }
  DeliveryObject& self = cast_delivery(object);
  if (!check_mine(self)) return nullptr;
  std::unique_ptr<Settling> settling = take_settling(self);
  if (settling == nullptr || settling->nack(delay_s)) Py_RETURN_NONE;
  self.settling = settling.release();
  return nullptr;
}

// What stood for the value has been looked up.
PyObject* delivery_replace(PyObject* object, PyObject* value) {
  Py_XSETREF(cast_delivery(object).value, Py_NewRef(value));
  Py_RETURN_NONE;
}

PyObject* delivery_enter(PyObject* object, PyObject* /*unused*/) { return Py_NewRef(object); }
PyObject* delivery_aenter(PyObject* object, PyObject* /*unused*/) {
  return make_completed("Delivery.__aenter__", Ref::borrow(object));
}

// A block that ends well acknowledges; one that is left by an exception gives back. False with an exception set.
bool leave_block(PyObject* object, PyObject* const* args, Py_ssize_t nargs) noexcept {
  if (nargs == 0 || args[0] == Py_None) return ack(object);
  give_back(object);
  return true;
}

PyObject* delivery_exit(PyObject* object, PyObject* const* args, Py_ssize_t nargs) {
  if (!leave_block(object, args, nargs)) return nullptr;
  Py_RETURN_NONE;
}
PyObject* delivery_aexit(PyObject* object, PyObject* const* args, Py_ssize_t nargs) {
  return leave_block(object, args, nargs) ? make_completed("Delivery.__aexit__", Ref::borrow(Py_None)) : nullptr;
}

PyObject* delivery_get_value(PyObject* object, void* /*closure*/) { return Py_NewRef(cast_delivery(object).value); }
PyObject* delivery_get_redelivered(PyObject* object, void* /*closure*/) {
  return PyBool_FromLong(cast_delivery(object).redeliveries > 0 ? 1 : 0);
}
PyObject* delivery_get_attempt(PyObject* object, void* /*closure*/) {
  return PyLong_FromUnsignedLongLong(cast_delivery(object).redeliveries + 1ULL);
}

PyObject* delivery_repr(PyObject* object) {
  const DeliveryObject& self = cast_delivery(object);
  return PyUnicode_FromFormat("<Delivery of %R, attempt %llu%s>", self.value, self.redeliveries + 1ULL,
                              self.settling == nullptr ? ", settled" : "");
}

int delivery_traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(cast_delivery(object).value);
  const Settling* const settling = cast_delivery(object).settling;
  return settling != nullptr ? settling->traverse(visit, arg) : 0;
}

int delivery_clear(PyObject* object) {
  give_back(object);
  PyObject* const value = std::exchange(cast_delivery(object).value, Py_NewRef(Py_None));
  Py_XDECREF(value);
  return 0;
}

// One that is dropped comes back.
void delivery_finalize(PyObject* object) {
  const SavedError saved;
  give_back(object);
}

void delivery_dealloc(PyObject* object) {
  if (PyObject_CallFinalizerFromDealloc(object) < 0) return;  // resurrected
  PyTypeObject* const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  Py_CLEAR(cast_delivery(object).value);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef delivery_methods[] = {
    {"ack", delivery_ack, METH_NOARGS,
     "ack()\n--\n\nThe message is done with, as if its block had ended well. Idempotent: what was settled stays so."},
    {"nack", as_method(delivery_nack), kFastKeywords,
     "nack(delay=0.0)\n--\n\nThe message is handed out again, marked, after `delay` seconds. Idempotent: what was "
     "settled "
     "stays so."},
    {"_replace", delivery_replace, METH_O, "_replace(value)\n--\n\nThat is the message, of which it had a reference."},
    {"__aenter__", delivery_aenter, METH_NOARGS, nullptr},
    {"__aexit__", as_method(delivery_aexit), METH_FASTCALL, nullptr},
    {"__enter__", delivery_enter, METH_NOARGS, nullptr},
    {"__exit__", as_method(delivery_exit), METH_FASTCALL, nullptr},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "For annotations: Delivery[int]."},
    {},
};

PyGetSetDef delivery_getset[] = {
    {"value", delivery_get_value, nullptr, "The message.", nullptr},
    {"redelivered", delivery_get_redelivered, nullptr,
     "Whether it may have been handed out before: then its work may have been done already, wholly or in part.",
     nullptr},
    {"attempt", delivery_get_attempt, nullptr, "How often it was handed out, this time included.", nullptr},
    {},
};

PyType_Slot delivery_slots[] = {
    {Py_tp_doc, const_cast<char*>("A message that comes back unless it is acknowledged. See klaw_core.runtime.channels."
                                  "protocols.Delivery.")},
    {Py_tp_methods, delivery_methods},
    {Py_tp_getset, delivery_getset},
    {Py_tp_repr, reinterpret_cast<void*>(delivery_repr)},
    {Py_tp_traverse, reinterpret_cast<void*>(delivery_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(delivery_clear)},
    {Py_tp_finalize, reinterpret_cast<void*>(delivery_finalize)},
    {Py_tp_dealloc, reinterpret_cast<void*>(delivery_dealloc)},
    {},
};

PyType_Spec delivery_spec = {
    .name = "klaw_core._core.Delivery",
    .basicsize = sizeof(DeliveryObject),
    .itemsize = 0,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = delivery_slots,
};

}  // namespace

PyObject* make_delivery(PyObject* value, std::uint32_t redeliveries, std::unique_ptr<Settling> settling) noexcept {
  DeliveryObject* const self = PyObject_GC_New(DeliveryObject, delivery_type);
  if (self == nullptr) return nullptr;
  self->value = Py_NewRef(value);
  self->redeliveries = redeliveries;
  self->settling = settling.release();
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return reinterpret_cast<PyObject*>(self);
}

bool add_delivery_type(PyObject* module) noexcept {
  delivery_type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &delivery_spec, nullptr));
  return delivery_type != nullptr &&
         PyModule_AddObjectRef(module, "Delivery", reinterpret_cast<PyObject*>(delivery_type)) == 0;
}

}  // namespace klaw::python
