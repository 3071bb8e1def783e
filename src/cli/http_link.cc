#include "cli/http_link.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "net/client_hello.h"

namespace mxring::cli {

namespace {

constexpr std::size_t kReceiveBytes = 16 * 1024;
constexpr std::int64_t kGoodbyeNs = base::kNsPerSecond;
constexpr std::size_t kCiphertextMax = 64 * 1024;  // unread; a record has a quarter of that

bool is_passing(int error) {
  return error == EAGAIN || error == EINTR;
}

}  // namespace

HttpLink::HttpLink(base::OwnedFd fd, int stop_fd, std::shared_ptr<const net::TlsServer> tls)
    : fd_(std::move(fd)), stop_fd_(stop_fd), tls_(std::move(tls)) {}

HttpLink::Status HttpLink::wait(short events, int other_fd, base::MonoTime until) {
  while (true) {
    const std::int64_t left = until - base::read_clocks().mono;
    if (left <= 0) return Status::kLate;
    pollfd waits[] = {{stop_fd_, POLLIN, 0}, {fd_.get(), events, 0}, {other_fd, POLLIN, 0}};
    constexpr std::int64_t kMostMs = 60'000;
    const int ms = static_cast<int>(std::min(left / base::kNsPerMs + 1, kMostMs));
    if (::poll(waits, 3, ms) < 0 && errno != EINTR) return Status::kGone;
    if (waits[0].revents != 0) return Status::kStopped;
    if (waits[2].revents != 0) return Status::kDone;
    if ((waits[1].revents & (POLLIN | POLLOUT)) != 0) return Status::kDone;
    if ((waits[1].revents & (POLLERR | POLLHUP | POLLNVAL | POLLRDHUP)) != 0) return Status::kGone;
  }
}

HttpLink::Status HttpLink::wait_for(int fd, base::MonoTime until) {
  const Status status = wait(POLLRDHUP, fd, until);
  return status == Status::kLate ? Status::kDone : status;
}

HttpLink::Status HttpLink::receive(base::MonoTime until) {
  if (inward_.size() > kCiphertextMax) return Status::kGone;
  while (true) {
    if (const Status status = wait(POLLIN, -1, until); status != Status::kDone) return status;
    const std::size_t before = inward_.size();
    inward_.resize(before + kReceiveBytes);
    const ssize_t got = ::recv(fd_.get(), inward_.data() + before, kReceiveBytes, MSG_DONTWAIT);
    const int error = errno;
    inward_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got > 0) return Status::kDone;
    if (got == 0 || !is_passing(error)) return Status::kGone;
  }
}

HttpLink::Status HttpLink::send(std::string_view bytes, std::int64_t silence_ns,
                                base::MonoTime until) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (sent == 0 || !is_passing(errno)) return Status::kGone;
    const base::MonoTime silent = base::read_clocks().mono + silence_ns;
    const Status status = wait(POLLOUT, -1, std::min(silent, until));
    if (status != Status::kDone) return status;
  }
  return Status::kDone;
}

HttpLink::Status HttpLink::flush(std::int64_t silence_ns, base::MonoTime until) {
  const std::string bytes = std::exchange(outward_, {});
  return send(bytes, silence_ns, until);
}

// ---- TLS ----

// Whole records only: see TlsStream.
std::size_t HttpLink::begin_record() {
  if (inward_.size() < net::kRecordHeaderBytes) return 0;
  const auto byte = [this](std::size_t at) { return static_cast<std::uint8_t>(inward_[at]); };
  const std::uint8_t type = byte(0);
  const std::size_t body = std::size_t{byte(3)} << 8 | byte(4);
  const std::size_t whole = net::kRecordHeaderBytes + body;
  if (inward_.size() < whole && stream_->header(type, body) == net::TlsAlert::kNone) return 0;
  if (stream_->begin_record(type, body) != net::TlsAlert::kNone) return 0;
  return whole;
}

std::size_t HttpLink::take(std::span<char> into) {
  if (record_left_ == 0) record_left_ = begin_record();
  const std::size_t n = std::min({into.size(), record_left_, inward_.size()});
  std::memcpy(into.data(), inward_.data(), n);
  inward_.erase(0, n);
  record_left_ -= n;
  return n;
}

HttpLink::Status HttpLink::read_hello(base::MonoTime until) {
  while (true) {
    if (const Status status = receive(until); status != Status::kDone) return status;
    net::HelloRecords records;
    const net::HelloOutcome outcome = net::read_client_hello(inward_, hello_, &records);
    if (outcome == net::HelloOutcome::kMore) continue;
    if (outcome != net::HelloOutcome::kHello || !hello_.shares_group) return Status::kGone;
    if (!records.rewritten.empty()) inward_.replace(0, records.wire_bytes, records.rewritten);
    return Status::kDone;
  }
}

HttpLink::Status HttpLink::open(base::MonoTime until) {
  if (tls_ == nullptr) return Status::kDone;
  if (const Status status = read_hello(until); status != Status::kDone) return status;
  stream_ = tls_->accept(hello_, *this);
  if (stream_ == nullptr) return Status::kGone;
  const std::int64_t patience = until - base::read_clocks().mono;
  while (true) {
    const net::TlsStatus made = stream_->handshake();
    if (stream_->refused() != net::TlsAlert::kNone) stream_->send_refusal();
    if (const Status status = flush(patience, until); status != Status::kDone) return status;
    if (stream_->refused() != net::TlsAlert::kNone) return Status::kGone;
    if (made == net::TlsStatus::kDone) return Status::kDone;
    if (made != net::TlsStatus::kWantInput) return Status::kGone;
    if (const Status status = receive(until); status != Status::kDone) return status;
  }
}

HttpLink::Status HttpLink::read(std::string& into, base::MonoTime until) {
  if (stream_ == nullptr) {
    const Status status = receive(until);
    into += inward_;
    inward_.clear();
    return status;
  }
  while (true) {
    char plain[kReceiveBytes];
    std::size_t got = 0;
    const net::TlsStatus status = stream_->read(plain, got);
    into.append(plain, got);
    if (stream_->refused() != net::TlsAlert::kNone) stream_->send_refusal();
    // A new key, or an alert.
    const std::int64_t patience = until - base::read_clocks().mono;
    if (const Status sent = flush(patience, until); sent != Status::kDone) return sent;
    if (stream_->refused() != net::TlsAlert::kNone) return Status::kGone;
    if (got > 0) return Status::kDone;
    if (status == net::TlsStatus::kClosed || status == net::TlsStatus::kFailed) {
      return Status::kGone;
    }
    if (const Status received = receive(until); received != Status::kDone) return received;
  }
}

HttpLink::Status HttpLink::write(std::string_view bytes, std::int64_t silence_ns,
                                 base::MonoTime until) {
  if (stream_ == nullptr) return send(bytes, silence_ns, until);
  constexpr std::size_t kAtOnce = 8 * net::kRecordPlaintextMax;
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, kAtOnce);
    if (stream_->write(part) != net::TlsStatus::kDone) return Status::kGone;
    const Status status = flush(silence_ns, until);
    if (status != Status::kDone) return status;
    bytes.remove_prefix(part.size());
  }
  return Status::kDone;
}

void HttpLink::close() {
  const base::MonoTime until = base::read_clocks().mono + kGoodbyeNs;
  if (stream_ != nullptr && stream_->refused() == net::TlsAlert::kNone) {
    stream_->close_notify();
    if (flush(kGoodbyeNs, until) != Status::kDone) return;
  }
  ::shutdown(fd_.get(), SHUT_WR);
  constexpr int kReadsMax = 64;
  for (int i = 0; i < kReadsMax; ++i) {
    inward_.clear();
    if (receive(until) != Status::kDone) return;
  }
}

}  // namespace mxring::cli
