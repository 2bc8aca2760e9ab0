// RemoteOneshotSender and RemoteOneshotReceiver: the handles of a oneshot of another process.
#include "remote/remote_oneshot.hpp"

#include "handles/oneshot_methods.hpp"
#include "remote/remote_ops.hpp"
#include "remote/remote_type.hpp"

namespace klaw::python {

namespace {

struct RemoteOneshot : Remote {
  static constexpr const char* kSenderName = "RayOneshotSender";
  static constexpr const char* kReceiverName = "RayOneshotReceiver";
  static constexpr const char* kInsteadOfCopy = kInsteadOfOneshotCopy;
};

}  // namespace

bool add_remote_oneshot_types(PyObject* module) noexcept {
  return add_remote_type<RemoteOneshot>(module, Side::sender, "klaw_core._core.RemoteOneshotSender",
                                        "The sending handle of a oneshot of another process. See klaw_core.runtime."
                                        "channels.ray.oneshot.",
                                        oneshot_sender_methods<RemoteOneshot>(), {}) != nullptr &&
         add_remote_type<RemoteOneshot>(module, Side::receiver, "klaw_core._core.RemoteOneshotReceiver",
                                        "The receiving handle of a oneshot of another process. See klaw_core.runtime."
                                        "channels.ray.oneshot.",
                                        oneshot_receiver_methods<RemoteOneshot>(),
                                        receiver_slots<RemoteOneshot>()) != nullptr;
}

}  // namespace klaw::python
