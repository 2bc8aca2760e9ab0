// What local channels of all flavours share, and statistics.
#include "handles/channel.hpp"

#include "handles/handle.hpp"

namespace klaw::python {

namespace {

// False with an exception set.
bool set_item(PyObject* dict, const char* key, Ref value) noexcept {
  return value && PyDict_SetItemString(dict, key, value.get()) == 0;
}

}  // namespace

void raise_not_usable() noexcept {
  PyErr_SetString(
      PyExc_RuntimeError,
      "this local channel belongs to the parent process: it does not cross a fork; make the channel in this "
      "process, or use backend='ray' between processes");
}

PyObject* make_stats(const channels::ChannelStats& s) noexcept {
  const Ref fields = Ref::steal(PyDict_New());
  const Ref nothing = Ref::steal(PyTuple_New(0));
  const Classes* const classes = Classes::get();
  const auto count = [](auto n) { return Ref::steal(PyLong_FromUnsignedLongLong(n)); };
  const auto flag = [](bool b) { return Ref::steal(PyBool_FromLong(b)); };
  PyObject* const d = fields.get();
  const bool is_complete =
      fields && nothing && classes != nullptr && set_item(d, "sender_count", count(s.sender_count)) &&
      set_item(d, "receiver_count", count(s.receiver_count)) && set_item(d, "queue_size", count(s.queue_size)) &&
      set_item(d, "capacity", s.capacity ? count(*s.capacity) : Ref::borrow(Py_None)) &&
      set_item(d, "senders_closed", flag(s.senders_closed)) &&
      set_item(d, "receivers_closed", flag(s.receivers_closed)) &&
      set_item(d, "created_at", Ref::steal(PyFloat_FromDouble(s.created_at))) &&
      set_item(d, "high_watermark", count(s.high_watermark)) && set_item(d, "total_sent", count(s.total_sent)) &&
      set_item(d, "total_received", count(s.total_received)) &&
      set_item(d, "waiting_senders", count(s.waiting_senders)) &&
      set_item(d, "waiting_receivers", count(s.waiting_receivers)) && set_item(d, "in_flight", count(s.in_flight)) &&
      set_item(d, "redelivered", count(s.redelivered)) &&
      set_item(d, "oldest_age", Ref::steal(PyFloat_FromDouble(s.oldest_age)));
  return is_complete ? PyObject_Call(classes->ChannelStats, nothing.get(), d) : nullptr;
}

}  // namespace klaw::python
