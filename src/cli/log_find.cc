// `mxring log find`: the records that match all that is asked, without reading messages.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/ip_address.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "cli/record_text.h"
#include "cli/time_argument.h"
#include "seglog/find.h"

namespace mxring::cli {

namespace {

struct FindOptions {
  std::string directory;
  std::string recipient, sender, header_from, message_id, id, client, disposition, since, until;
  bool refused = false;
  bool json = false;
};

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

struct Network {
  base::IpAddress address;
  int bits = 0;

  static std::optional<Network> parse(std::string_view text) {
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

  bool has(std::string_view text) const {
    const auto other = base::IpAddress::parse(text);
    if (!other || other->is_v4() != address.is_v4()) return false;
    for (int bit = 0; bit < bits; ++bit) {
      const auto at = static_cast<std::size_t>(bit / 8);
      if (((other->bytes()[at] ^ address.bytes()[at]) >> (7 - bit % 8) & 1) != 0) return false;
    }
    return true;
  }
};

class Question {
 public:
  explicit Question(const FindOptions& options) : options_(options) {
    const base::WallTime now = base::read_clocks().wall;
    if (!options.since.empty()) since_us_ = *parse_time(options.since, now);
    if (!options.until.empty()) until_us_ = *parse_time(options.until, now);
    if (!options.client.empty()) client_ = Network::parse(options.client);
    read_id();
  }

  // Asked of metadata alone, and again of the whole record.
  bool asks(const Record& record) const {
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
  std::optional<Offset> offset() const { return offset_; }
  std::int64_t since_us() const { return since_us_; }

 private:
  bool is_sender(const Record& record) const {
    const std::string_view wanted = bare(options_.sender);
    return wanted.empty() ? record.mail_from.empty() : is_address(wanted, record.mail_from);
  }
  bool is_recipient(const Record& record) const {
    return std::any_of(record.rcpt_to.begin(), record.rcpt_to.end(), [&](const Recipient& to) {
      return is_address(bare(options_.recipient), to.address);
    });
  }
  // Of older records, what the header says is not in the metadata: they are looked at whole.
  bool asks_header(const Record& record) const {
    if (options_.header_from.empty() && options_.message_id.empty() && !queue_id_) return true;
    const bool metadata_only = record.message.data() == nullptr;
    if (record.queue_id.empty() && metadata_only) return true;
    const HeaderFacts facts = header_facts(record);
    return (options_.header_from.empty() || is_address(bare(options_.header_from), facts.from)) &&
           (options_.message_id.empty() || bare(options_.message_id) == bare(facts.message_id)) &&
           (!queue_id_ || *queue_id_ == facts.queue_id);
  }
  // A record id, an offset, or a queue id.
  void read_id() {
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

  const FindOptions& options_;
  std::int64_t since_us_ = INT64_MIN;
  std::int64_t until_us_ = INT64_MAX;
  std::optional<Network> client_;
  std::optional<Offset> offset_;
  std::optional<std::string> log_id_;
  std::optional<std::string> queue_id_;
};

int show(LogReader& reader, const std::vector<Offset>& offsets, const Question& question,
         const FindOptions& options) {
  Output output;
  const bool colour = colour_wanted();
  int result = kDone;
  for (const Offset offset : offsets) {
    if (offset != reader.position()) {
      if (const auto moved = reader.stay_at(offset); !moved) {
        complain(describe(moved.error()));
        return kFailed;
      }
    }
    const auto record = reader.next();
    if (!record) {
      complain(describe(record.error()));
      result = kFailed;
      if (!can_continue(record.error())) break;
    } else if (*record && (*record)->offset == offset && question.asks(**record)) {
      if (!output.write(options.json ? record_json(**record) : record_listing(**record, colour))) {
        break;
      }
    }
  }
  output.flush();
  return output.failed() ? kFailed : result;
}

int run_find(const FindOptions& options) {
  auto reader = open_log(options.directory);
  if (!reader) return reader.error();
  reader->include_refusals(options.refused);
  const Question question(options);
  Offset first = question.offset().value_or(reader->first());
  const Offset next = question.offset() ? first + 1 : reader->end();
  if (!options.since.empty()) {
    // Clocks are set back now and then: what an hour before that says nothing is looked at too.
    constexpr std::int64_t kSlackUs = 3600 * 1'000'000LL;
    if (reader->seek_time(question.since_us() - kSlackUs)) {
      first = std::max(first, reader->position());
    }
  }
  const auto found = seglog::find_records(
      options.directory, first, next, [&](const Record& record) { return question.asks(record); });
  if (!found) {
    complain_about_log(found.error());
    return kFailed;
  }
  return show(*reader, found->offsets, question, options);
}

void add_time_option(CLI::App& command, const char* name, std::string& text, const char* help) {
  command.add_option(name, text, help)->type_name("TIME")->check([](const std::string& given) {
    return parse_time(given, base::read_clocks().wall)
               ? std::string()
               : fmt::format("{}: not a time; {}", base::escaped(given), kTimeForms);
  });
}

}  // namespace

void add_log_find(CLI::App& log, Commands& commands) {
  CLI::App* find = log.add_subcommand("find", "Records that match all that is asked");
  const auto options = std::make_shared<FindOptions>();
  add_log_directory(*find, options->directory);
  find->add_option("--recipient", options->recipient, "RCPT TO; @DOMAIN: any address there")
      ->type_name("ADDR");
  find->add_option("--sender", options->sender, "MAIL FROM; <> is the null one; @DOMAIN as above")
      ->type_name("ADDR");
  find->add_option("--header-from", options->header_from, "The address in the header's From")
      ->type_name("ADDR");
  find->add_option("--message-id", options->message_id, "With or without angle brackets")
      ->type_name("ID");
  find->add_option("--id", options->id, "A record id, an offset or a queue id")->type_name("ID");
  find->add_option("--client", options->client, "Who connected: an address, or a network A/BITS")
      ->type_name("IP")
      ->check([](const std::string& text) {
        return Network::parse(text)
                   ? std::string()
                   : fmt::format("{}: not an address or A/BITS", base::escaped(text));
      });
  find->add_option("--disposition", options->disposition)
      ->check(CLI::IsMember({"accept", "quarantine", "reject", "tempfail"}));
  add_time_option(*find, "--since", options->since, "Received then or later");
  add_time_option(*find, "--until", options->until, "Received before");
  find->add_flag("--refused", options->refused, "Also mail that was refused by DMARC policy");
  find->add_flag("--json", options->json, "One JSON object per line");
  commands.push_back({find, [options] {
                        if (options->disposition == "reject" ||
                            options->disposition == "tempfail") {
                          options->refused = true;
                        }
                        return run_find(*options);
                      }});
}

}  // namespace mxring::cli
