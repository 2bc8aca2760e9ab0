// LocalPermit and RemotePermit: a slot of a channel, held for a message that is to come.
#pragma once

#include <Python.h>

#include <memory>

namespace klaw::python {

// The slot that a permit holds. Destroyed, it is free again.
class Slot {
 public:
  Slot() = default;
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  virtual ~Slot() = default;

  // False with an exception set: it is held on.
  [[nodiscard]] virtual bool send(PyObject* value) = 0;
  // Made in this process, and not in one that has forked since.
  [[nodiscard]] virtual bool is_mine() const noexcept = 0;
  virtual int traverse(visitproc visit, void* arg) const = 0;
};

enum class PermitOf : unsigned char { local, remote };

// Null with an exception set; the slot is free again then.
[[nodiscard]] PyObject* make_permit(PermitOf backend, std::unique_ptr<Slot> slot) noexcept;

// False with an exception set.
[[nodiscard]] bool add_permit_types(PyObject* module) noexcept;

}  // namespace klaw::python
