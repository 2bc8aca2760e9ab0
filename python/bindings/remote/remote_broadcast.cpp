// RemoteBroadcastSender and RemoteBroadcastReceiver: the handles of a broadcast of another process.
#include "remote/remote_broadcast.hpp"

#include "handles/broadcast_methods.hpp"
#include "remote/remote_ops.hpp"
#include "remote/remote_type.hpp"

namespace klaw::python {

namespace {

class RemoteLaggingRecv : public RemoteRecv {
 public:
  using RemoteRecv::RemoteRecv;

 protected:
  [[nodiscard]] std::uint64_t skipped() const noexcept { return op().skipped; }
};

struct RemoteBroadcast : Remote {
  template <class>
  using Send = RemoteCountedSend;
  using Recv = SkippingLags<RemoteLaggingRecv>;
  static constexpr const char* kSenderName = "RayBroadcastSender";
  static constexpr const char* kReceiverName = "RayBroadcastReceiver";
};

struct RemoteBroadcastReceiving : RemoteBroadcast {
  static constexpr const char* kInsteadOfCopy = kInsteadOfBroadcastCopy;
};

std::vector<PyMethodDef> sending() {
  std::vector<PyMethodDef> methods = broadcast_sender_methods<RemoteBroadcast>(remote_clone);
  methods.push_back({"_subscribe", remote_subscribe, METH_O,
                     "_subscribe(type)\n--\n\nA new receiver, of this type, of what is sent from now on. "
                     "ChannelClosedError if this sender is closed."});
  return methods;
}

}  // namespace

bool add_remote_broadcast_types(PyObject* module) noexcept {
  return add_remote_type<RemoteBroadcast>(module, Side::sender, "klaw_core._core.RemoteBroadcastSender",
                                          "The sending handle of a broadcast of another process. See klaw_core.runtime."
                                          "channels.ray.broadcast.",
                                          sending(), {}) != nullptr &&
         add_remote_type<RemoteBroadcastReceiving>(
             module, Side::receiver, "klaw_core._core.RemoteBroadcastReceiver",
             "The receiving handle of a broadcast of another process. See klaw_core.runtime.channels.ray.broadcast.",
             broadcast_receiver_methods<RemoteBroadcastReceiving>(remote_resubscribe),
             receiver_slots<RemoteBroadcastReceiving>()) != nullptr;
}

}  // namespace klaw::python
