#include "handles/handle_methods.hpp"

namespace klaw::python {

bool parse_reason(PyObject* object, std::optional<std::string>& reason) noexcept {
  reason.reset();
  if (object == nullptr || object == Py_None) return true;
  if (!PyUnicode_Check(object)) {
    PyErr_Format(PyExc_TypeError, "reason must be a str or None, not %.200s", Py_TYPE(object)->tp_name);
    return false;
  }
  const Ref bytes = Ref::steal(PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape"));
  if (!bytes) return false;
  reason.emplace(PyBytes_AS_STRING(bytes.get()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.get())));
  return true;
}

std::string describe_exception(PyObject* type, PyObject* exception) noexcept {
  const char* const name = PyType_Check(type) ? reinterpret_cast<PyTypeObject*>(type)->tp_name : "exception";
  const Ref said = Ref::steal(PyObject_Str(exception));
  const Ref all = said && PyUnicode_GetLength(said.get()) > 0
                      ? Ref::steal(PyUnicode_FromFormat("%s: %U", name, said.get()))
                      : Ref::steal(said ? PyUnicode_FromString(name) : nullptr);
  std::optional<std::string> text;
  if (all && parse_reason(all.get(), text)) return *text;
  // Its __str__ failed; that must not keep the handle open, nor hide the exception itself.
  PyErr_Clear();
  return "an exception";
}

bool is_dev_mode() noexcept {
  PyObject* const flags = PySys_GetObject("flags");
  const Ref dev_mode = Ref::steal(flags != nullptr ? PyObject_GetAttrString(flags, "dev_mode") : nullptr);
  return dev_mode && dev_mode.get() == Py_True;
}

}  // namespace klaw::python
