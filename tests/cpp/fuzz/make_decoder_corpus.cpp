// Usage: klaw_decoder_corpus FOLDER. Writes the seeds of the decoder's fuzzer: each type of frame, and some together.

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

#include <dataplane/wire/codec.hpp>

#include "fuzz/decoder_input.hpp"
#include "support/frames.hpp"

namespace {

using klaw_test::DecoderInput;
namespace wire = klaw::dataplane;

constexpr std::size_t kHeaderBytes = 8;

// The flags and the chunk size that an input begins with.
std::string beginning(std::uint8_t flags, std::uint8_t chunk) {
  return {static_cast<char>(flags), static_cast<char>(chunk - 1)};
}

std::string stream_of(const wire::Frame& frame) {
  std::string bytes;
  wire::encode(frame, bytes);
  return bytes;
}

std::string piece(std::string_view data, bool last) {
  std::string type_and_body(1, static_cast<char>(wire::FrameType::piece));
  wire::encode_value(wire::Piece{.last = last, .data = data}, type_and_body);
  return type_and_body;
}

std::string lower(std::string_view text) {
  std::string lowered(text);
  std::ranges::transform(lowered, lowered.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lowered;
}

class Corpus {
 public:
  explicit Corpus(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
  }
  void add(const std::string& name, const std::string& input) const {
    std::ofstream(folder_ / name, std::ios::binary) << input;
  }

 private:
  std::filesystem::path folder_;
};

void write(const Corpus& corpus) {
  constexpr std::uint8_t kSealed = DecoderInput::kAuthenticated | DecoderInput::kSealed;
  std::string all;
  for (const wire::Frame& frame : klaw_test::sample_frames()) {
    const std::string stream = stream_of(frame);
    all += stream;
    corpus.add(lower(name(type_of(frame))), beginning(kSealed, 16) + stream.substr(kHeaderBytes));
  }
  corpus.add("stream", beginning(DecoderInput::kAuthenticated, 7) + all);
  corpus.add("stream_before_authentication", beginning(0, 7) + all);

  const std::string close = stream_of(wire::Close{.session = 1, .reason = "reason"}).substr(kHeaderBytes);
  const std::string separator(DecoderInput::kSeparator);
  corpus.add("pieces",
             beginning(kSealed, 255) + piece(close.substr(0, 4), false) + separator + piece(close.substr(4), true));
  corpus.add("pieces_and_ack", beginning(kSealed, 1) + piece(close.substr(0, 4), false) + separator +
                                   stream_of(wire::Ack{.received = 1}).substr(kHeaderBytes) + separator +
                                   piece(close.substr(4), true));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: klaw_decoder_corpus FOLDER\n";
    return 2;
  }
  write(Corpus(argv[1]));
  return 0;
}
