// What wolfSSL holds for one connection, counted as it allocates: the session, its handshake state,
// keys and buffers. Only so can a limit on memory see it; the library's own answer (its session's
// size) leaves out what is made on the way.
//
// A TlsHeapInUse stands around every call into the library that belongs to one connection; what is
// allocated or freed meanwhile on this thread is counted there. Other calls count nowhere.
//
// Thread: a connection's count is used by one thread at a time.
#pragma once

#include <cstddef>

namespace mxring::net {

class TlsHeap {
 public:
  // Never below zero: what another scope allocated may be freed in this one.
  std::size_t bytes() const { return bytes_ > 0 ? static_cast<std::size_t>(bytes_) : 0; }
  void add(std::ptrdiff_t bytes) { bytes_ += bytes; }

 private:
  std::ptrdiff_t bytes_ = 0;
};

class TlsHeapInUse {
 public:
  explicit TlsHeapInUse(TlsHeap& heap);
  ~TlsHeapInUse();
  TlsHeapInUse(const TlsHeapInUse&) = delete;
  TlsHeapInUse& operator=(const TlsHeapInUse&) = delete;

 private:
  TlsHeap* before_;
};

// Nothing is counted in its scope: what the library keeps for the whole process, such as multiples
// of points that it has met.
class TlsHeapPaused {
 public:
  TlsHeapPaused();
  ~TlsHeapPaused();
  TlsHeapPaused(const TlsHeapPaused&) = delete;
  TlsHeapPaused& operator=(const TlsHeapPaused&) = delete;

 private:
  TlsHeap* before_;
};

// Makes wolfSSL allocate through here. Once, before its first connection.
void count_tls_heap();

}  // namespace mxring::net
