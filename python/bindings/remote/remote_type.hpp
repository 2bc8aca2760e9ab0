// The types of handles of remote channels: what those of all kinds have, and how one of a kind is made of it.
#pragma once

#include <Python.h>

#include <vector>

#include "handles/handle_methods.hpp"
#include "remote/remote.hpp"

namespace klaw::python {

[[nodiscard]] std::vector<PyMethodDef> remote_methods();
[[nodiscard]] std::vector<PyType_Slot> remote_slots(Side side, const char* doc);
// Methods of a handle that make another one on its channel: of the same type, which counts if this one does; or of a type that
// is given, of a receiver, which counts from now on. Null with an exception set, also if this one is closed.
[[nodiscard]] PyObject* remote_clone(PyObject* object, PyObject* unused);
[[nodiscard]] PyObject* remote_subscribe(PyObject* object, PyObject* type);
// Of a receiver: one of the same type.
[[nodiscard]] inline PyObject* remote_resubscribe(PyObject* object, PyObject* /*unused*/) {
  return remote_subscribe(object, reinterpret_cast<PyObject*>(Py_TYPE(object)));
}
// The type is one of handles of that side. It is added to the module. False with an exception set.
[[nodiscard]] bool know_remote_type(PyObject* module, PyTypeObject* type, Side side) noexcept;

// Makes the type with these methods and slots besides, and adds it to the module. Null with an exception set.
template <class Backend>
[[nodiscard]] PyTypeObject* add_remote_type(PyObject* module, Side side, const char* name, const char* doc,
                                            std::vector<PyMethodDef> methods, std::vector<PyType_Slot> slots) noexcept {
  const std::vector<PyMethodDef> common = remote_methods();
  methods.insert(methods.end(), common.begin(), common.end());
  const std::vector<PyType_Slot> life = remote_slots(side, doc);
  slots.insert(slots.end(), life.begin(), life.end());
  PyTypeObject* const type =
      make_handle_type<Backend>(module,
                                {
                                    .name = name,
                                    .basicsize = sizeof(RemoteHandleObject),
                                    .itemsize = 0,
                                    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
                                    .slots = nullptr,
                                },
                                std::move(methods), std::move(slots));
  return type != nullptr && know_remote_type(module, type, side) ? type : nullptr;
}

}  // namespace klaw::python
