#include "tests/sim/log_judge.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <string_view>
#include <utility>

namespace mxring::sim {

namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kHeader = 64;

std::uint32_t crc(std::uint32_t before, std::string_view bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) * 0x82F63B78U);
      made[i] = value;
    }
    return made;
  }();
  std::uint32_t value = ~before;
  for (const char c : bytes)
    value = (value >> 8) ^ table[(value ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~value;
}

std::uint64_t number(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

struct Segment {
  std::uint64_t base = 0;
  std::uint64_t epoch = 0;
  std::uint32_t salt = 0;
};

bool read_segment_header(std::string_view file, Segment* out) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{2048}}) {
    if (file.size() < at + kHeader) continue;
    const std::string_view head = file.substr(at, kHeader);
    if (head.substr(0, 8) != "MXRGSEG1" || number(head, 8, 4) != 1) continue;
    if (crc(0, head.substr(0, 60)) != number(head, 60, 4)) continue;
    *out = {number(head, 24, 8), number(head, 16, 8),
            static_cast<std::uint32_t>(number(head, 40, 4))};
    return true;
  }
  return false;
}

// "" when all is as it should be.
std::string read_metadata(std::string_view bytes, JudgedRecord& record) {
  while (!bytes.empty()) {
    if (bytes.size() < 6) return "metadata ends within a head";
    const std::uint64_t tag = number(bytes, 0, 2);
    const std::uint64_t size = number(bytes, 2, 4);
    if (bytes.size() - 6 < size) return "a field of metadata is longer than the rest";
    const std::string_view field = bytes.substr(6, size);
    bytes.remove_prefix(6 + size);
    if (tag == 1) record.client_ip = field;
    if (tag == 5) record.tls = !field.empty();
    if (tag == 7) record.mail_from = field;
    if (tag == 16) record.disposition = field;
    if (tag == 8) {
      if (field.size() < 3 || field.size() - 3 < number(field, 1, 2)) return "a recipient is cut";
      record.recipients.emplace_back(field.substr(3, number(field, 1, 2)));
    }
  }
  return {};
}

enum class Seen { kRecord, kSeal, kNothing };

Seen look_at(std::string_view file, std::size_t at, const Segment& segment,
             std::uint64_t offset_min) {
  if (file.size() < at + kHeader) return Seen::kNothing;
  const std::string_view head = file.substr(at, kHeader);
  const bool seal = head.substr(0, 4) == "mxs1";
  if (!seal && head.substr(0, 4) != "mxr1") return Seen::kNothing;
  const std::uint32_t sum = crc(crc(segment.salt, head.substr(0, 4)), head.substr(8, kHeader - 8));
  if (sum != number(head, 4, 4) || number(head, 8, 8) != segment.epoch) return Seen::kNothing;
  if (number(head, 16, 8) < offset_min) return Seen::kNothing;
  return seal ? Seen::kSeal : Seen::kRecord;
}

// Reads one segment; false when there is no seal at its end.
bool read_segment(std::string_view file, const Segment& segment, JudgedLog& log) {
  std::size_t at = kBlock;
  while (at + kHeader <= file.size()) {
    const Seen seen = look_at(file, at, segment, log.next);
    if (seen == Seen::kNothing) {
      at += 16;
      continue;
    }
    const std::string_view head = file.substr(at, kHeader);
    const std::uint64_t offset = number(head, 16, 8);
    log.lost += offset - log.next;
    log.next = offset;
    if (seen == Seen::kSeal) return at + kHeader == file.size();
    const std::uint64_t span = number(head, 40, 4);
    const std::uint64_t message = number(head, 44, 4);
    const std::uint64_t metadata = number(head, 48, 4);
    JudgedRecord record;
    record.offset = offset;
    const bool whole = file.size() - at - kHeader >= message + metadata;
    const std::string_view payload =
        whole ? file.substr(at + kHeader, message + metadata) : std::string_view();
    if (!whole || crc(0, payload) != number(head, 52, 4)) {
      ++log.lost;
    } else {
      record.message = payload.substr(0, message);
      const std::string wrong = read_metadata(payload.substr(message), record);
      if (!wrong.empty()) log.trouble = fmt::format("record {}: {}", offset, wrong);
      log.records.push_back(std::move(record));
    }
    if (span % 16 != 0 || span < kHeader + message + metadata) {
      log.trouble = fmt::format("record {}: span {}", offset, span);
      return false;
    }
    ++log.next;
    at += span;
  }
  return false;
}

}  // namespace

JudgedLog read_log(Disk& disk, const std::string& directory) {
  JudgedLog log;
  const InodePtr folder = disk.find(directory);
  if (folder == nullptr) {
    log.trouble = "there is no log";
    return log;
  }
  std::map<std::uint64_t, std::string> files;
  for (const auto& [name, inode] : folder->names) {
    if (name.size() == 24 && name.ends_with(".seg")) {
      files[std::stoull(name.substr(0, 20))] = disk.content(*inode);
    }
  }
  bool first = true;
  for (const auto& [base, file] : files) {
    Segment segment;
    if (first) log.first = log.next = base;
    first = false;
    if (!read_segment_header(file, &segment) || segment.base != base) {
      log.trouble = fmt::format("segment {} has no good header", base);
      continue;
    }
    if (base < log.next) log.trouble = fmt::format("segment {} overlaps the one before", base);
    log.lost += base > log.next ? base - log.next : 0;
    log.next = base;
    if (!read_segment(file, segment, log)) {
      log.trouble = fmt::format("segment {} does not end with a seal", base);
    }
  }
  return log;
}

}  // namespace mxring::sim
