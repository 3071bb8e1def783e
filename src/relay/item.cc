#include "relay/item.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/assert.h"
#include "seglog/metadata.h"

namespace mxring::relay {

namespace {

// Every view of a record lies in its bytes, so it is moved by the distance of the copy.
class Mover {
 public:
  Mover(std::string_view from, const char* to) : from_(from), to_(to) {}
  void operator()(std::string_view& view) const {
    if (view.empty()) {
      view = {};
      return;
    }
    MXRING_ASSERT(view.data() >= from_.data() &&
                  view.data() + view.size() <= from_.data() + from_.size());
    view = {to_ + (view.data() - from_.data()), view.size()};
  }

 private:
  std::string_view from_;
  const char* to_;
};

void move_views(Record& record, const Mover& move) {
  for (std::string_view* view :
       {&record.client_ip, &record.helo, &record.client_name, &record.tls, &record.protocol,
        &record.mail_from, &record.envelope_id, &record.dsn_return, &record.body_type, &record.spf,
        &record.dkim, &record.dmarc, &record.message_id, &record.header_from, &record.subject,
        &record.queue_id, &record.via, &record.trace, &record.message}) {
    move(*view);
  }
  for (Recipient& recipient : record.rcpt_to) {
    move(recipient.address);
    move(recipient.original);
  }
}

}  // namespace

void Item::clear() {
  gap_.reset();
  recipients_.clear();
  record_.rcpt_to.clear();
  // One large message must not keep its memory for ever.
  constexpr std::size_t kKeptBytes = 256 << 10;
  if (bytes_.capacity() > kKeptBytes) std::string().swap(bytes_);
  bytes_.clear();
}

void Item::make_id(const LogId& log) {
  id_ = fmt::format("{}_{}", log.hex(), record_.offset);
}

void Item::set_record(const Record& record) {
  clear();
  bytes_.assign(record.bytes);
  record_ = record;
  move_views(record_, Mover(record.bytes, bytes_.data()));
  // The disposition is a word of the format's, not always in the record's bytes.
  const char* at = record.disposition.data();
  if (at >= record.bytes.data() && at < record.bytes.data() + record.bytes.size()) {
    Mover(record.bytes, bytes_.data())(record_.disposition);
  }
  record_.bytes = bytes_;
  make_id(record.log_id);
}

bool Item::set_stored(Offset offset, const LogId& log, std::int64_t received_at_us,
                      std::string_view metadata, std::string_view message) {
  clear();
  bytes_.reserve(message.size() + metadata.size());
  bytes_.append(message);
  bytes_.append(metadata);
  record_ = Record{};
  record_.offset = offset;
  record_.log_id = log;
  record_.received_at_us = received_at_us;
  record_.bytes = bytes_;
  record_.message = std::string_view(bytes_).substr(0, message.size());
  if (!seglog::decode_metadata(std::string_view(bytes_).substr(message.size()), record_)) {
    return false;
  }
  make_id(log);
  return true;
}

void Item::set_gap(const seglog::RecordGap& gap, const LogId& log, std::int64_t noticed_at_us) {
  clear();
  record_ = Record{};
  record_.offset = gap.first;
  record_.log_id = log;
  record_.received_at_us = noticed_at_us;
  gap_ = gap;
  id_ = fmt::format("{}_{}-{}", log.hex(), gap.first, gap.next);
}

std::string_view Item::metadata() const {
  // Message and metadata are in one piece, in whichever order.
  const std::string_view all = bytes_;
  const std::string_view message = record_.message;
  if (message.empty()) return all;
  if (message.data() == all.data()) return all.substr(message.size());
  return all.substr(0, static_cast<std::size_t>(message.data() - all.data()));
}

std::optional<ParsedId> parse_id(std::string_view id) {
  constexpr std::size_t kHex = 32;
  if (id.size() < kHex + 2 || id[kHex] != '_') return std::nullopt;
  ParsedId parsed{id.substr(0, kHex), 0};
  const bool hex = std::ranges::all_of(
      parsed.log, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  std::string_view rest = id.substr(kHex + 1);
  const std::size_t dash = rest.find('-');
  const bool gap = dash != std::string_view::npos;
  if (gap) rest = rest.substr(dash + 1);
  const auto number = std::from_chars(rest.data(), rest.data() + rest.size(), parsed.next);
  if (!hex || number.ec != std::errc() || number.ptr != rest.data() + rest.size()) {
    return std::nullopt;
  }
  if (!gap) ++parsed.next;
  return parsed;
}

}  // namespace mxring::relay
