// LocalReceiver: the receiving handle of a local channel.
#include "mpmc_ops.hpp"
#include "receiver_methods.hpp"

namespace klaw::python {

namespace {

Py_ssize_t receiver_length(PyObject* object) {
  const HandleObject* const self = usable(object);
  return self != nullptr ? static_cast<Py_ssize_t>(self->channel->core->queue_size()) : -1;
}

}  // namespace

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

PyTypeObject* make_receiver_type(PyObject* module) noexcept {
  std::vector<PyType_Slot> slots = receiver_slots<Local>();
  slots.push_back({Py_tp_doc, const_cast<char*>("The receiving handle of a channel within one process. See klaw_core."
                                                "runtime.channels.local.")});
  slots.push_back({Py_sq_length, reinterpret_cast<void*>(receiver_length)});
  return make_local_type(module, "klaw_core._core.LocalReceiver", receiver_methods<Local>(), std::move(slots));
}

}  // namespace klaw::python
