#include "dns/message.h"

#include <algorithm>

#include "base/assert.h"

namespace mxring::dns {

namespace {

constexpr std::size_t kHeaderBytes = 12;
constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kTypeSoa = 6;
constexpr std::uint16_t kTypeOpt = 41;
constexpr std::uint16_t kNoSuchName = 3;
static_assert(kHeaderBytes + 2 * sizeof(std::uint16_t) <= kQueryBytesMax);

using Bytes = std::span<const std::uint8_t>;

// A message being read, and how many pointers may still be followed: read several times over, an
// honest one needs two for each of its records, which have 12 bytes.
struct Message {
  explicit Message(Bytes all) : bytes(all), pointers(all.size()) {}
  std::size_t size() const { return bytes.size(); }
  std::uint8_t operator[](std::size_t at) const { return bytes[at]; }
  std::optional<Name> name(std::size_t& at) { return read_name(bytes, at, pointers); }

  Bytes bytes;
  std::size_t pointers;
};

std::uint16_t get16(Bytes message, std::size_t at) {
  return static_cast<std::uint16_t>(message[at] << 8 | message[at + 1]);
}

std::uint32_t get32(Bytes message, std::size_t at) {
  return std::uint32_t{get16(message, at)} << 16 | get16(message, at + 2);
}

// RFC 2181 8: a TTL with the top bit set counts as zero.
std::uint32_t ttl_at(Bytes message, std::size_t at) {
  const std::uint32_t ttl = get32(message, at);
  return ttl > 0x7FFFFFFF ? 0 : ttl;
}

struct RecordView {
  Name owner;
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  std::uint32_t ttl_s = 0;
  std::size_t data = 0;  // where the record's data begin
  std::size_t size = 0;
};

std::optional<RecordView> read_record(Message& message, std::size_t& at) {
  RecordView record;
  const auto owner = message.name(at);
  if (!owner || message.size() - at < 10) return std::nullopt;
  record.owner = *owner;
  record.type = get16(message.bytes, at);
  record.klass = get16(message.bytes, at + 2);
  record.ttl_s = ttl_at(message.bytes, at + 4);
  record.size = get16(message.bytes, at + 8);
  record.data = at + 10;
  if (message.size() - record.data < record.size) return std::nullopt;
  at = record.data + record.size;
  return record;
}

// A name that fills the record's data from `at` to the end.
std::optional<Name> name_in(Message& message, const RecordView& record, std::size_t at) {
  const std::size_t end = record.data + record.size;
  if (at >= end) return std::nullopt;
  MXRING_ASSERT(end <= message.size());
  auto name = message.name(at);
  return name && at == end ? name : std::nullopt;
}

bool add_text(Bytes message, const RecordView& record, Answer& answer) {
  std::string joined;
  std::size_t at = record.data;
  const std::size_t end = record.data + record.size;
  while (at < end) {
    const std::size_t size = message[at++];
    if (size > end - at) return false;
    joined.append(reinterpret_cast<const char*>(message.data()) + at, size);
    at += size;
  }
  answer.texts.push_back(std::move(joined));
  return true;
}

bool add_address(Bytes message, const RecordView& record, Answer& answer) {
  const auto bytes = message.subspan(record.data, record.size);
  if (bytes.size() == 4) {
    std::array<std::uint8_t, 4> four{};
    std::copy(bytes.begin(), bytes.end(), four.begin());
    answer.addresses.push_back(base::IpAddress::v4(four));
    return true;
  }
  std::array<std::uint8_t, 16> sixteen{};
  if (bytes.size() != sixteen.size()) return false;
  std::copy(bytes.begin(), bytes.end(), sixteen.begin());
  answer.addresses.push_back(base::IpAddress::v6(sixteen));
  return true;
}

// Adds the record's data to the answer. False when they are malformed.
bool add_data(Message& message, const RecordView& record, Type type, Answer& answer) {
  switch (type) {
    case Type::kA:
    case Type::kAaaa:
      return record.size == (type == Type::kA ? 4 : 16) &&
             add_address(message.bytes, record, answer);
    case Type::kTxt:
      return add_text(message.bytes, record, answer);
    case Type::kCname:
    case Type::kPtr: {
      const auto name = name_in(message, record, record.data);
      if (name && answer.names.size() < Answer::kNamesMax) answer.names.push_back(*name);
      return name.has_value();
    }
    case Type::kMx: {
      if (record.size < 3) return false;
      const auto name = name_in(message, record, record.data + 2);
      if (name && answer.exchangers.size() < Answer::kNamesMax) {
        answer.exchangers.push_back({get16(message.bytes, record.data), *name});
      }
      return name.has_value();
    }
    case Type::kNs:
      return true;
  }
  return false;
}

struct Alias {
  Name from;
  Name to;
  std::uint32_t ttl_s;
};

// The alias records of the answer section; false when a record is malformed.
bool collect_aliases(Message& message, std::size_t at, std::size_t count,
                     std::vector<Alias>& aliases) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = read_record(message, at);
    if (!record) return false;
    if (record->type != static_cast<std::uint16_t>(Type::kCname) || record->klass != kClassIn) {
      continue;
    }
    const auto target = name_in(message, *record, record->data);
    if (!target) return false;
    // More than can be followed are of no use; a chain that needs them ends early, below.
    if (aliases.size() <= 4 * Answer::kAliasesMax) {
      aliases.push_back({record->owner, *target, record->ttl_s});
    }
  }
  return true;
}

// Follows the aliases from `name` to their end. False when there is none within the bound.
bool follow(const std::vector<Alias>& aliases, Name& name, Answer& answer) {
  for (;;) {
    const auto alias =
        std::ranges::find_if(aliases, [&](const Alias& a) { return a.from == name; });
    if (alias == aliases.end()) return true;
    if (answer.aliases.size() == Answer::kAliasesMax) return false;
    name = alias->to;
    answer.aliases.push_back(name);
    answer.ttl_s = std::min(answer.ttl_s, alias->ttl_s);
  }
}

// The zone's own bound on how long "there is nothing" may be kept (RFC 2308 5); nothing without a
// start-of-authority record.
std::optional<std::uint32_t> negative_ttl(Message& message, std::size_t& at, std::size_t count) {
  std::optional<std::uint32_t> found;
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = read_record(message, at);
    if (!record) {
      at = message.size();
      return std::nullopt;
    }
    if (found || record->type != kTypeSoa || record->size < 20) continue;
    found = std::min(record->ttl_s, ttl_at(message.bytes, record->data + record->size - 4));
  }
  return found;
}

// The upper bits of the code, from the option record of the additional section; 0 without one.
std::uint16_t upper_code(Message& message, std::size_t at, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = read_record(message, at);
    if (!record) return 0;
    if (record->type != kTypeOpt) continue;
    return static_cast<std::uint16_t>(message[record->data - 6] << 4);
  }
  return 0;
}

// The records of the answer section into `answer`; nothing when one is malformed, else whether
// there were any for the end of the aliases.
std::optional<bool> read_answers(Message& message, std::size_t& at, std::size_t count, Type type,
                                 const Name& owner, Answer& answer) {
  bool any = false;
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = read_record(message, at);
    if (!record) return std::nullopt;
    if (record->klass != kClassIn || record->owner != owner ||
        record->type != static_cast<std::uint16_t>(type)) {
      continue;
    }
    if (!add_data(message, *record, type, answer)) return std::nullopt;
    answer.ttl_s = std::min(answer.ttl_s, record->ttl_s);
    any = true;
  }
  return any;
}

// The question section; moves `at` past it.
std::optional<MessageError> check_question(Message& message, std::size_t& at,
                                           const Question& question) {
  if (get16(message.bytes, 4) != 1) return MessageError::kOtherQuestion;
  const auto name = message.name(at);
  if (!name || message.size() - at < 4) return MessageError::kMalformed;
  if (*name != question.name ||
      get16(message.bytes, at) != static_cast<std::uint16_t>(question.type) ||
      get16(message.bytes, at + 2) != kClassIn) {
    return MessageError::kOtherQuestion;
  }
  at += 4;
  return std::nullopt;
}

// The name's i-th byte on the wire. Only letters are changed, and no length is as large as a
// letter.
std::uint8_t with_case(std::string_view wire, std::size_t i, const Capitals& capitals) {
  const auto byte = static_cast<std::uint8_t>(wire[i]);
  const bool capital = (capitals[i / 8] >> (i % 8) & 1U) != 0;
  return capital && byte >= 'a' && byte <= 'z' ? byte - ('a' - 'A') : byte;
}

void put16(std::uint8_t*& out, std::uint16_t value) {
  *out++ = static_cast<std::uint8_t>(value >> 8);
  *out++ = static_cast<std::uint8_t>(value);
}

}  // namespace

std::optional<Name> read_name(std::span<const std::uint8_t> message, std::size_t& at,
                              std::size_t& pointers) {
  Name name;
  std::size_t here = at;
  std::size_t limit = message.size();  // a pointer must lead before everything read so far
  bool jumped = false;
  for (;;) {
    if (here >= limit) return std::nullopt;
    const std::uint8_t length = message[here];
    if (length >= 0xC0) {
      if (here + 1 >= limit) return std::nullopt;
      const std::size_t target = (length & 0x3FU) << 8 | message[here + 1];
      if (!jumped) at = here + 2;
      jumped = true;
      if (target >= here || pointers == 0) return std::nullopt;
      --pointers;
      limit = here;
      here = target;
      continue;
    }
    if (length > Name::kLabelBytesMax) return std::nullopt;
    if (length == 0) {
      if (!jumped) at = here + 1;
      return name;
    }
    if (limit - here <= length) return std::nullopt;
    const auto* label = reinterpret_cast<const char*>(message.data()) + here + 1;
    if (!name.append_label({label, length})) return std::nullopt;
    here += 1U + length;
  }
}

std::size_t write_query(const Question& question, std::uint16_t id, const Capitals& capitals,
                        bool options, std::span<std::uint8_t, kQueryBytesMax> out) {
  constexpr std::uint16_t kRecursionDesired = 0x0100;
  std::uint8_t* at = out.data();
  put16(at, id);
  put16(at, kRecursionDesired);
  put16(at, 1);  // questions
  put16(at, 0);
  put16(at, 0);
  put16(at, options ? 1 : 0);  // additional
  MXRING_ASSERT(question.name.wire().size() + 28 <= out.size());
  const std::string_view name = question.name.wire();
  for (std::size_t i = 0; i < name.size(); ++i) *at++ = with_case(name, i, capitals);
  *at++ = 0;
  put16(at, static_cast<std::uint16_t>(question.type));
  put16(at, kClassIn);
  if (!options) return static_cast<std::size_t>(at - out.data());
  *at++ = 0;  // the option record belongs to the root
  put16(at, kTypeOpt);
  put16(at, kUdpBytesMax);
  put16(at, 0);
  put16(at, 0);
  put16(at, 0);
  return static_cast<std::size_t>(at - out.data());
}

bool repeats_question(std::span<const std::uint8_t> message, const Question& question,
                      const Capitals& capitals) {
  const std::string_view name = question.name.wire();
  if (message.size() < kHeaderBytes + name.size() + 5 || get16(message, 4) != 1) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (message[kHeaderBytes + i] != with_case(name, i, capitals)) return false;
  }
  const std::size_t end = kHeaderBytes + name.size();
  return message[end] == 0 &&
         get16(message, end + 1) == static_cast<std::uint16_t>(question.type) &&
         get16(message, end + 3) == kClassIn;
}

std::expected<Reply, MessageError> parse_reply(std::span<const std::uint8_t> bytes,
                                               const Question& question) {
  Message message(bytes);
  if (message.size() < kHeaderBytes) return std::unexpected(MessageError::kNotAReply);
  const std::uint16_t flags = get16(bytes, 2);
  if ((flags & 0x8000) == 0) return std::unexpected(MessageError::kNotAReply);
  std::size_t at = kHeaderBytes;
  if (const auto error = check_question(message, at, question)) return std::unexpected(*error);
  Reply reply;
  Answer& answer = reply.answer;
  reply.code = flags & 15U;
  // Server failure, which is what an answer starts as.
  if (reply.code != 0 && reply.code != kNoSuchName) return reply;
  if ((flags & 0x0200) != 0) return std::unexpected(MessageError::kTruncated);

  const std::size_t count = get16(bytes, 6);
  std::vector<Alias> aliases;
  Name owner = question.name;
  answer.ttl_s = 0x7FFFFFFF;
  if (!collect_aliases(message, at, count, aliases)) {
    return std::unexpected(MessageError::kMalformed);
  }
  if (question.type != Type::kCname && !follow(aliases, owner, answer)) {
    return std::unexpected(MessageError::kMalformed);
  }
  const auto any = read_answers(message, at, count, question.type, owner, answer);
  if (!any) return std::unexpected(MessageError::kMalformed);
  if (*any) {
    answer.status = Status::kAnswer;
    return reply;
  }
  const auto nothing_ttl = negative_ttl(message, at, get16(bytes, 8));
  // A code that needs more than four bits looks like "no error" or "no such name" without them.
  reply.code |= upper_code(message, at, get16(bytes, 10));
  if (reply.code != 0 && reply.code != kNoSuchName) return reply;
  if (reply.code == 0 && !answer.aliases.empty() && !nothing_ttl) {
    reply.ask_next = owner;
    return reply;
  }
  answer.status = reply.code == kNoSuchName ? Status::kNoName : Status::kNoData;
  answer.ttl_s = std::min(answer.ttl_s, nothing_ttl.value_or(0));
  return reply;
}

}  // namespace mxring::dns
