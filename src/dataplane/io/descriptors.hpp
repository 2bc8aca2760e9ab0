// The sockets of this process, so that a fork's child can close what it inherited: else a peer does not see the parent die,
// as long as the child has the other end open too.
#pragma once

namespace klaw::dataplane::descriptors {

void opened(int descriptor);
void closed(int descriptor) noexcept;

}  // namespace klaw::dataplane::descriptors
