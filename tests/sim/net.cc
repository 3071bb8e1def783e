#include "tests/sim/net.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <utility>

#include "tests/sim/disk.h"
#include "tests/sim/sim_engine.h"

namespace mxring::sim {

namespace {

std::uint16_t port_of(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace

// The lowest that is free, as the kernel does: a number is used again at once.
int Net::add(Descriptor descriptor) {
  int fd = kFirstDescriptor;
  for (const auto& [used, unused] : table_) {
    if (used != fd) break;
    ++fd;
  }
  descriptor.process = World::process_of_current();
  table_.emplace(fd, std::move(descriptor));
  return fd;
}

Descriptor* Net::find(int fd) {
  const auto found = table_.find(fd);
  return found == table_.end() ? nullptr : &found->second;
}

bool Net::close(int fd) {
  const auto found = table_.find(fd);
  if (found == table_.end()) return false;
  const Descriptor descriptor = std::move(found->second);
  table_.erase(found);
  if (descriptor.file != nullptr) {
    if (descriptor.file.use_count() == 1) world_.disk().close(*descriptor.file);
    return true;
  }
  if (descriptor.stream != nullptr) {
    Stream& stream = *descriptor.stream;
    stream.near_closed = true;
    // Unread bytes make the kernel say RST instead of FIN.
    if (!stream.to_near.bytes.empty()) {
      stream.reset = true;
      stream.to_far.bytes.clear();
    }
    stream.to_far.ended = true;
    changed(descriptor.stream);
  }
  if (descriptor.listening != nullptr && descriptor.listening.use_count() == 1) {
    for (const StreamPtr& stream : descriptor.listening->backlog) {
      stream->reset = true;
      changed(stream);
    }
  }
  return true;
}

void Net::close_all_of(int process, bool silently) {
  for (const int fd : descriptors_of(process)) {
    Descriptor* descriptor = find(fd);
    if (silently && descriptor->stream != nullptr) {
      // The peer learns it from the host that came back.
      const StreamPtr stream = descriptor->stream;
      table_.erase(fd);
      stream->near_closed = true;
      stream->to_far.bytes.clear();
      world_.after(world_.dice().between(kMs, 30 * kSecond), [this, stream] {
        stream->reset = true;
        changed(stream);
      });
      continue;
    }
    close(fd);
  }
}

std::vector<int> Net::descriptors_of(int process) const {
  std::vector<int> all;
  for (const auto& [fd, descriptor] : table_) {
    if (descriptor.process == process) all.push_back(fd);
  }
  return all;
}

std::string Net::open_in(int process) const {
  std::string all;
  for (const int fd : descriptors_of(process)) {
    const Descriptor& descriptor = table_.at(fd);
    all += all.empty() ? "" : ", ";
    if (descriptor.file != nullptr) {
      all += "inode " + std::to_string(descriptor.file->inode->number);
    } else {
      all += descriptor.stream != nullptr      ? "a stream"
             : descriptor.listening != nullptr ? "a listener"
             : descriptor.datagrams != nullptr ? "datagrams"
                                               : "an event";
    }
  }
  return all;
}

StreamPtr Net::connect(std::uint16_t port, const sockaddr_storage& from) {
  std::vector<std::shared_ptr<Listening>> candidates;
  for (const auto& [fd, descriptor] : table_) {
    const auto& listening = descriptor.listening;
    if (listening == nullptr || !listening->listens || port_of(listening->local) != port) continue;
    if (std::ranges::find(candidates, listening) == candidates.end()) {
      candidates.push_back(listening);
    }
  }
  if (candidates.empty()) return nullptr;
  const auto& chosen = candidates[world_.dice().below(candidates.size())];
  auto stream = std::make_shared<Stream>();
  stream->number = next_stream_++;
  stream->peer = from;
  stream->local = chosen->local;
  stream->to_near.window = 1 + world_.dice().skewed(window_max);
  stream->to_far.window = 1 + world_.dice().skewed(window_max);
  chosen->backlog.push_back(stream);
  changed();
  return stream;
}

std::size_t Net::write(const StreamPtr& stream, std::string_view bytes) {
  if (stream->reset || stream->near_closed || stream->to_near.ended) return 0;
  const std::size_t taken = std::min(bytes.size(), stream->to_near.room());
  stream->to_near.bytes.append(bytes.substr(0, taken));
  if (taken > 0) changed();
  return taken;
}

std::string Net::read(const StreamPtr& stream, std::size_t max) {
  std::string& bytes = stream->to_far.bytes;
  std::string out = bytes.substr(0, max);
  bytes.erase(0, out.size());
  if (!out.empty()) changed();
  return out;
}

void Net::end(const StreamPtr& stream) {
  stream->to_near.ended = true;
  changed();
}

void Net::reset(const StreamPtr& stream) {
  stream->reset = true;
  stream->far_closed = true;
  stream->to_near.bytes.clear();
  changed();
}

std::uint32_t Net::ready(const Descriptor& descriptor) const {
  std::uint32_t events = 0;
  if (descriptor.stream != nullptr) {
    const Stream& stream = *descriptor.stream;
    if (stream.error != 0 || stream.reset) return POLLIN | POLLOUT | POLLERR | POLLHUP;
    if (!stream.connected) return 0;
    if (!stream.to_near.bytes.empty() || stream.to_near.ended) events |= POLLIN;
    if (stream.to_far.room() > 0) events |= POLLOUT;
  } else if (descriptor.datagrams != nullptr) {
    events = POLLOUT;
    if (!descriptor.datagrams->waiting.empty()) events |= POLLIN;
  } else if (descriptor.listening != nullptr) {
    if (!descriptor.listening->backlog.empty()) events |= POLLIN;
  } else if (descriptor.event != nullptr) {
    events = POLLOUT;
    if (descriptor.event->value > 0) events |= POLLIN;
  } else {
    events = POLLIN | POLLOUT;
  }
  return events;
}

void Net::changed() {
  for (SimEngine* engine : engines) world_.wake(engine, 1);
  world_.wake(this, 1 << 20);  // poll()
}

void Net::changed(const StreamPtr& stream) {
  changed();
  if (!stream->on_change) return;
  world_.after(world_.dice().between(10 * kUs, kMs), [stream] {
    if (stream->on_change) stream->on_change();
  });
}

}  // namespace mxring::sim
