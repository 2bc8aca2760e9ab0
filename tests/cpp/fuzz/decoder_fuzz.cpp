// The decoder, fed with any bytes in any chunking.
//
// Whatever comes: the chunking makes no difference, what was decoded encodes to the same bytes, or (pieces) to bytes that
// decode to the same, and memory is taken for bytes that came, not for those that a length claims.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dataplane/wire/codec.hpp>
#include <sanitizer/allocator_interface.h>

#include "fuzz/decoder_input.hpp"

namespace {

using namespace klaw::dataplane;  // NOLINT(google-build-using-namespace)

// A list's elements are larger than their bytes, a string doubles as it grows, and each frame that comes out is kept.
constexpr std::size_t kAllocatedPerByteMax = 128;
constexpr std::size_t kAllocatedBaseMax = 16 * 1024;

[[noreturn]] void fail(std::string_view what) {
  std::cerr << "the decoder broke: " << what << '\n';
  std::abort();
}

std::size_t allocated = 0;
void count_allocation(const volatile void* /*begin*/, std::size_t size) { allocated += size; }
void ignore_free(const volatile void* /*begin*/) {}

struct Decoded {
  std::vector<Frame> frames;
  std::string error;
  bool operator==(const Decoded&) const = default;
};

Decoded decode(std::string_view bytes, std::size_t chunk, bool is_authenticated) {
  Decoded decoded;
  Decoder decoder;
  if (is_authenticated) decoder.authenticated();
  while (!bytes.empty()) {
    decoder.push(bytes.substr(0, chunk));
    bytes.remove_prefix(std::min(bytes.size(), chunk));
    for (auto next = decoder.next();; next = decoder.next()) {
      if (!next) decoded.error = next.error();
      if (!next || !*next) break;
      decoded.frames.push_back(**std::move(next));
    }
  }
  return decoded;
}

// Of a stream in which no frame is wrong.
bool has_piece(std::string_view bytes) {
  constexpr std::size_t kHeaderBytes = 8;
  while (bytes.size() > kHeaderBytes) {
    if (bytes[kHeaderBytes] == static_cast<char>(FrameType::piece)) return true;
    std::size_t size = 0;
    for (std::size_t i = 4; i-- > 0;) size = size << 8 | static_cast<std::uint8_t>(bytes[i]);
    bytes.remove_prefix(std::min(bytes.size(), kHeaderBytes + size));
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  return __sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_free) == 0 ? 1 : 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const klaw_test::DecoderInput input({reinterpret_cast<const char*>(data), size});

  allocated = 0;
  const Decoded decoded = decode(input.bytes, input.chunk, input.is_authenticated);
  if (allocated > kAllocatedBaseMax + kAllocatedPerByteMax * input.bytes.size()) fail("it allocates more than came");

  if (decoded != decode(input.bytes, input.bytes.size(), input.is_authenticated)) fail("chunking makes a difference");

  std::string again;
  for (const Frame& frame : decoded.frames) {
    if (to_string(frame).empty()) fail("a frame without a text");
    encode(frame, again);
  }
  if (decoded.error.empty() && !has_piece(input.bytes) && !input.bytes.starts_with(again)) {
    fail("it accepts two encodings of one frame");
  }
  const Decoded decoded_again = decode(again, again.size(), input.is_authenticated);
  if (!decoded_again.error.empty()) fail("it refuses what it encoded: " + decoded_again.error);
  if (decoded_again.frames != decoded.frames) fail("it decodes something else than it encoded");
  return 0;
}
