// A message's payload, opaque to the data plane: see klaw/channels/payload.hpp.
#pragma once

#include <klaw/channels/payload.hpp>

namespace klaw::dataplane {

using Bytes = channels::Payload;

}  // namespace klaw::dataplane
