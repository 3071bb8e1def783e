#include "cli/record_question.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "cli/record_text.h"

namespace mxring::cli {

namespace {

std::string_view bare(std::string_view text) {
  if (text.starts_with('<')) text.remove_prefix(1);
  if (text.ends_with('>')) text.remove_suffix(1);
  return text;
}

// "a@example.org"; "@example.org": any address there.
bool is_address(std::string_view wanted, std::string_view address) {
  if (wanted.starts_with('@') && address.size() >= wanted.size()) {
    address.remove_prefix(address.size() - wanted.size());
  }
  return base::ascii_iequals(wanted, address);
}

}  // namespace

std::optional<RecordQuestion::Network> RecordQuestion::parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = base::IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const int bits_max = address->is_v4() ? 32 : 128;
  Network network{*address, bits_max};
  if (slash == std::string_view::npos) return network;
  const std::string_view digits = text.substr(slash + 1);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), network.bits);
  const bool good = parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size() &&
                    network.bits >= 0 && network.bits <= bits_max;
  return good ? std::optional(network) : std::nullopt;
}

bool is_client_network(std::string_view text) {
  return RecordQuestion::parse_network(text).has_value();
}

bool RecordQuestion::Network::has(std::string_view text) const {
  const auto other = base::IpAddress::parse(text);
  if (!other || other->is_v4() != address.is_v4()) return false;
  for (int bit = 0; bit < bits; ++bit) {
    const auto at = static_cast<std::size_t>(bit / 8);
    if (((other->bytes()[at] ^ address.bytes()[at]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

RecordQuestion::RecordQuestion(const QuestionText& text) : options_(text) {
  if (!text.client.empty()) client_ = parse_network(text.client);
  read_id();
}

bool RecordQuestion::asks(const Record& record) const {
  if (record.received_at_us < since_us_ || record.received_at_us >= until_us_) return false;
  if (offset_ && record.offset != *offset_) return false;
  if (log_id_ && record.log_id.hex() != *log_id_) return false;
  if (record.is_refusal() && !options_.refused) return false;
  if (!options_.disposition.empty() && record.disposition != options_.disposition) return false;
  if (!options_.sender.empty() && !is_sender(record)) return false;
  if (!options_.recipient.empty() && !is_recipient(record)) return false;
  if (client_ && !client_->has(record.client_ip)) return false;
  return asks_header(record);
}

bool RecordQuestion::is_sender(const Record& record) const {
  const std::string_view wanted = bare(options_.sender);
  return wanted.empty() ? record.mail_from.empty() : is_address(wanted, record.mail_from);
}

bool RecordQuestion::is_recipient(const Record& record) const {
  return std::any_of(record.rcpt_to.begin(), record.rcpt_to.end(), [&](const Recipient& to) {
    return is_address(bare(options_.recipient), to.address);
  });
}

// Of older records, what the header says is not in the metadata: they are looked at whole.
bool RecordQuestion::asks_header(const Record& record) const {
  if (options_.header_from.empty() && options_.message_id.empty() && !queue_id_) return true;
  const bool metadata_only = record.message.data() == nullptr;
  if (record.queue_id.empty() && metadata_only) return true;
  const HeaderFacts facts = header_facts(record);
  return (options_.header_from.empty() || is_address(bare(options_.header_from), facts.from)) &&
         (options_.message_id.empty() || bare(options_.message_id) == bare(facts.message_id)) &&
         (!queue_id_ || *queue_id_ == facts.queue_id);
}

// A record id, an offset, or a queue id.
void RecordQuestion::read_id() {
  if (options_.id.empty()) return;
  std::string_view text = options_.id;
  constexpr std::size_t kLogIdDigits = 32;
  if (text.size() > kLogIdDigits && text[kLogIdDigits] == '_') {
    log_id_ = std::string(text.substr(0, kLogIdDigits));
    text.remove_prefix(kLogIdDigits + 1);
  }
  Offset offset = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), offset);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) {
    offset_ = offset;
  } else {
    queue_id_ = std::string(text);
  }
}

}  // namespace mxring::cli
