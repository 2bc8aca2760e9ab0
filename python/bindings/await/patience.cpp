#include "await/patience.hpp"

#include "await/python.hpp"

namespace klaw::python {

bool parse_patience(PyObject* object, Patience& patience) noexcept {
  patience = Patience::forever();
  if (object == nullptr || object == Py_None) return true;
  if (PyBool_Check(object) || !(PyFloat_Check(object) || PyLong_Check(object))) {
    PyErr_Format(PyExc_TypeError, "timeout must be a number of seconds (int or float) or None, not %.200s",
                 Py_TYPE(object)->tp_name);
    return false;
  }
  const double seconds = PyFloat_AsDouble(object);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) return false;
    // An int beyond a double's range: without end, or in the past.
    PyErr_Clear();
    const Ref zero = Ref::steal(PyLong_FromLong(0));
    const int is_positive = zero ? PyObject_RichCompareBool(object, zero.get(), Py_GT) : -1;
    if (is_positive != 0) return is_positive > 0;
    PyErr_SetString(PyExc_ValueError, "timeout must not be negative");
    return false;
  }
  if (std::isnan(seconds) || seconds < 0) {
    PyErr_Format(PyExc_ValueError, "timeout must not be negative or NaN, got %R", object);
    return false;
  }
  patience = Patience::seconds(seconds);
  return true;
}

}  // namespace klaw::python
