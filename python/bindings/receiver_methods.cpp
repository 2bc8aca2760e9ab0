#include "receiver_methods.hpp"

namespace klaw::python {

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
