// A script of append, finish, flush, forget and reset on many streams, against wolfCrypt. The first
// byte chooses the paths; each step is a byte (operation and stream), some with a size behind it.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "crypto/sha256_batch.h"
#include "tests/crypto/sha256_reference.h"

namespace {

using namespace mxring::crypto;

constexpr std::size_t kStreams = 32;
constexpr std::size_t kBytesMax = std::size_t{1} << 20;  // of one script, to keep it quick

struct Followed {
  Sha256Stream stream;
  test::ReferenceSha256 reference;
  bool open = true;
  std::optional<Sha256Digest> wanted;
};

class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  bool done() const { return at_ == end_; }
  std::size_t next() { return done() ? 0 : *at_++; }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

class Player {
 public:
  explicit Player(std::span<const Sha256Path> paths) : batch_(paths) {}

  void append(Followed& followed, std::size_t size) {
    size = std::min(size, bytes_left_);
    bytes_left_ -= size;
    if (!followed.open) return;
    // Memory of exactly this size, which dies at the flush.
    auto memory = std::make_unique<char[]>(size);
    for (std::size_t i = 0; i < size; ++i) {
      random_ = random_ * 1664525U + 1013904223U;
      memory[i] = static_cast<char>(random_ >> 24);
    }
    const std::string_view piece(memory.get(), size);
    batch_.append(followed.stream, piece);
    followed.reference.update(piece);
    pieces_.push_back(std::move(memory));
  }

  void finish(Followed& followed) {
    if (!followed.open) return;
    batch_.finish(followed.stream);
    followed.wanted = followed.reference.finish();
    followed.open = false;
  }

  void forget(Followed& followed) {
    if (followed.stream.finished()) return;
    batch_.forget(followed.stream);
    if (followed.open) (void)followed.reference.finish();
    followed.open = false;
    followed.wanted.reset();
  }

  void reset(Followed& followed) {
    if (followed.open) (void)followed.reference.finish();
    followed.stream.reset();
    followed.open = true;
    followed.wanted.reset();
  }

  void flush() {
    batch_.flush();
    MXRING_ASSERT(batch_.empty());
    pieces_.clear();
    for (const Followed& followed : streams_) {
      MXRING_ASSERT(followed.stream.finished() == followed.wanted.has_value());
      if (followed.wanted) MXRING_ASSERT(followed.stream.digest() == *followed.wanted);
    }
  }

  void step(Script& script) {
    const std::size_t step = script.next();
    Followed& followed = streams_[step % kStreams];
    switch (step / kStreams) {
      case 0:
      case 1:
        append(followed, script.next());
        break;
      case 2:
        append(followed, script.next() * 16 + 1);
        break;
      case 3: {
        const std::size_t size = script.next() * 4;
        for (Followed& each : streams_) append(each, size);
        break;
      }
      case 4:
        finish(followed);
        break;
      case 5:
        flush();
        break;
      case 6:
        forget(followed);
        break;
      default:
        reset(followed);
        break;
    }
  }

  void end() {
    for (Followed& followed : streams_) finish(followed);
    flush();
  }

 private:
  // In this order: the streams outlive the batch.
  std::array<Followed, kStreams> streams_;
  Sha256Batch batch_;
  std::vector<std::unique_ptr<char[]>> pieces_;
  std::size_t bytes_left_ = kBytesMax;
  std::uint32_t random_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(data, size);
  const std::size_t choice = script.next();
  std::vector<Sha256Path> paths;
  for (std::size_t i = 0; i < sha256_paths().size(); ++i) {
    if (((choice >> i) & 1) != 0) paths.push_back(sha256_paths()[i]);
  }
  Player player(paths);
  while (!script.done()) player.step(script);
  player.end();
  return 0;
}
