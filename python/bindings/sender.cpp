// LocalSender: the sending handle of a local channel.
#include "mpmc_ops.hpp"
#include "sender_methods.hpp"

namespace klaw::python {

PyTypeObject* make_sender_type(PyObject* module) noexcept {
  return make_local_type(
      module, "klaw_core._core.LocalSender", sender_methods<Local>(),
      {{Py_tp_doc, const_cast<char*>("The sending handle of a channel within one process. See klaw_core.runtime."
                                     "channels.local.")}});
}

}  // namespace klaw::python
