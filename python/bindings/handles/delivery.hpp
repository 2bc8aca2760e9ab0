// Delivery: a message that is done with when its receiver says so, of either backend.
#pragma once

#include <Python.h>

#include <cstdint>
#include <memory>

#include "await/python.hpp"

namespace klaw::python {

// How a message is settled, by its backend. The destructor gives it back, unless it was settled.
class Settling {
 public:
  Settling() = default;
  Settling(const Settling&) = delete;
  Settling& operator=(const Settling&) = delete;
  virtual ~Settling() = default;

  // Each once.
  virtual void ack() noexcept = 0;
  // Hands it out again after `delay_s` seconds. False with an exception set: it is not settled.
  [[nodiscard]] virtual bool nack(double delay_s) = 0;

  // False in a fork's child: what the parent has taken is the parent's to settle. Then it is leaked.
  [[nodiscard]] virtual bool is_mine() const noexcept = 0;
  virtual int traverse(visitproc /*visit*/, void* /*arg*/) const { return 0; }
};

// Null with an exception set: then the message goes back.
[[nodiscard]] PyObject* make_delivery(PyObject* value, std::uint32_t redeliveries,
                                      std::unique_ptr<Settling> settling) noexcept;

// Adds Delivery to the module. False with an exception set.
[[nodiscard]] bool add_delivery_type(PyObject* module) noexcept;

}  // namespace klaw::python
