#include "tests/sim/resolver.h"

#include <fmt/format.h>

#include <cctype>
#include <utility>

namespace mxring::sim {

namespace {

constexpr std::uint16_t kAddress = 1;
constexpr std::uint16_t kText = 16;
constexpr std::size_t kHeaderBytes = 12;

std::string number(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes; i-- > 0;) out += static_cast<char>(value >> (8 * i));
  return out;
}

std::uint16_t number_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[at]) << 8 |
                                    static_cast<unsigned char>(bytes[at + 1]));
}

}  // namespace

SimResolver::SimResolver(World& world) : world_(world), dice_(world.dice().fork()) {
  world.net().on_query = [this](std::shared_ptr<Datagrams> from, std::string bytes) {
    on_query(std::move(from), bytes);
  };
  world.net().on_resolver_stream = [this](StreamPtr stream) { on_stream(stream); };
}

void SimResolver::add_text(const std::string& name, const std::string& text) {
  std::string data;
  for (std::size_t at = 0; at < text.size(); at += 255) {
    const std::string piece = text.substr(at, 255);
    data += number(piece.size(), 1) + piece;
  }
  records_[name].push_back({kText, std::move(data)});
}

void SimResolver::add_address(const std::string& name, const std::string& four_bytes) {
  records_[name].push_back({kAddress, four_bytes});
}

bool SimResolver::parse(std::string_view query, Asked* out) {
  if (query.size() < kHeaderBytes + 5) return false;
  std::size_t at = kHeaderBytes;
  while (at < query.size() && query[at] != 0) {
    const auto length = static_cast<unsigned char>(query[at]);
    if (length > 63 || at + 1 + length >= query.size()) return false;
    if (!out->name.empty()) out->name += '.';
    for (std::size_t i = 0; i < length; ++i) {
      out->name += static_cast<char>(std::tolower(static_cast<unsigned char>(query[at + 1 + i])));
    }
    at += 1U + length;
  }
  if (at + 5 > query.size()) return false;
  out->type = number_at(query, at + 1);
  out->end = at + 5;
  out->options = number_at(query, 10) > 0;
  return true;
}

const SimResolver::Zone* SimResolver::zone_of(std::string_view name, std::string_view* rest) const {
  for (const auto& [zone, answers] : zones_) {
    if (!name.ends_with("." + zone)) continue;
    *rest = name.substr(0, name.size() - zone.size() - 1);
    return &answers;
  }
  return nullptr;
}

std::string SimResolver::answer(std::string_view query, const Asked& about, int code,
                                bool truncated) const {
  const auto node = records_.find(about.name);
  bool below = false;  // an empty non-terminal
  for (const auto& [name, unused] : records_) below |= name.ends_with("." + about.name);
  std::string sections;
  std::uint16_t count = 0;
  std::string_view rest;
  if (const Zone* zone = zone_of(about.name, &rest); zone != nullptr) {
    const std::string address = about.type == kAddress ? (*zone)(rest) : std::string();
    below = !address.empty();
    if (code == 0 && !truncated && below) {
      sections = number(0xC00C, 2) + number(kAddress, 2) + number(1, 2) + number(300, 4) +
                 number(address.size(), 2) + address;
      ++count;
    }
  }
  if (code == 0 && node == records_.end() && !below) code = 3;
  if (code == 0 && !truncated && node != records_.end()) {
    for (const Record& record : node->second) {
      if (record.type != about.type) continue;
      sections += number(0xC00C, 2) + number(record.type, 2) + number(1, 2) + number(300, 4) +
                  number(record.data.size(), 2) + record.data;
      ++count;
    }
  }
  std::string out(query.substr(0, 2));
  out += number(0x8180U | (truncated ? 0x0200U : 0U) | static_cast<unsigned>(code), 2);
  out += number(1, 2) + number(count, 2) + number(0, 2) + number(0, 2);
  out += query.substr(kHeaderBytes, about.end - kHeaderBytes);
  return out + sections;
}

Ns SimResolver::latency() {
  if (dice_.permille(mood.slow)) return dice_.between(kSecond / 2, 10 * kSecond);
  return dice_.between(100 * kUs, mood.latency_max);
}

void SimResolver::send(const std::shared_ptr<Datagrams>& to, std::string bytes, Ns delay) {
  world_.after(delay, [this, to, bytes = std::move(bytes)] {
    to->waiting.push_back(bytes);
    world_.net().changed();
  });
}

void SimResolver::on_query(std::shared_ptr<Datagrams> from, const std::string& query) {
  ++asked;
  Asked about;
  if (!parse(query, &about)) convict("a DNS query that is none");
  world_.trace(fmt::format("dns: asked for {} type {}", about.name, about.type));
  const Ns delay = latency();
  std::string_view rest;
  const Zone* zone = zone_of(about.name, &rest);
  if (zone != nullptr && (*zone)(rest) == "silent") return;
  if (dice_.permille(mood.silent)) return;
  if (dice_.permille(mood.wrong_id)) {
    std::string forged = answer(query, about, 3, false);
    forged[0] = static_cast<char>(forged[0] ^ 0x55);
    send(from, std::move(forged), delay / 2);
  }
  if (dice_.permille(mood.wrong_question)) {
    std::string other = query;
    other[kHeaderBytes + 1] = other[kHeaderBytes + 1] == 'x' ? 'y' : 'x';
    send(from, answer(other, about, 3, false), delay / 2);
  }
  if (dice_.permille(mood.garbage)) {
    std::string bytes = query.substr(0, 2);
    for (std::uint64_t i = dice_.below(200); i > 0; --i) bytes += static_cast<char>(dice_.next());
    send(from, std::move(bytes), delay / 2);
  }
  int code = 0;
  if (dice_.permille(mood.server_failure)) code = 2;
  if (dice_.permille(mood.refused)) code = 5;
  if (about.options && dice_.permille(mood.no_options)) code = 1;
  const bool truncated = code == 0 && dice_.permille(mood.truncated);
  std::string bytes = answer(query, about, code, truncated);
  if (dice_.permille(mood.twice)) send(from, bytes, delay + kMs);
  send(from, std::move(bytes), delay);
}

// Queries over TCP: two bytes of length, and the rest.
void SimResolver::on_stream(const StreamPtr& stream) {
  Net& net = world_.net();
  stream->to_near.window = stream->to_far.window = 64 * 1024;
  if (dice_.permille(mood.tcp_closes)) {
    world_.after(latency(), [&net, stream] { net.end(stream); });
    return;
  }
  stream->on_change = [this, &net, stream] {
    std::string& bytes = stream->to_far.bytes;
    while (bytes.size() >= 2 && bytes.size() >= 2U + number_at(bytes, 0)) {
      const std::string query = bytes.substr(2, number_at(bytes, 0));
      bytes.erase(0, 2 + query.size());
      Asked about;
      if (!parse(query, &about)) convict("a DNS query over TCP that is none");
      ++asked;
      const std::string reply = answer(query, about, 0, false);
      world_.after(latency(), [&net, stream, framed = number(reply.size(), 2) + reply] {
        net.write(stream, framed);
      });
    }
    if (stream->near_closed) stream->on_change = nullptr;
  };
}

}  // namespace mxring::sim
