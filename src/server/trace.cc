#include "server/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::server {

namespace {

constexpr std::size_t kValueBytesMax = 512;

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const bool escape = text[i] == '%' && i + 2 < text.size();
    const char* digits = text.data() + i + 1;
    if (escape && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::uint8_t wanted_by(const TraceFilter& filter) {
  return static_cast<std::uint8_t>((filter.client ? Tracer::kClient : 0) |
                                   (filter.sender ? Tracer::kSender : 0) |
                                   (filter.recipient.empty() ? 0 : Tracer::kRecipient) |
                                   (filter.refused || !filter.reply.empty() ? Tracer::kReply : 0));
}

std::string_view bare(std::string_view text) {
  if (text.starts_with('<')) text.remove_prefix(1);
  if (text.ends_with('>')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool is_address(std::string_view wanted, std::string_view address) {
  if (wanted.starts_with('@') && address.size() >= wanted.size()) {
    address.remove_prefix(address.size() - wanted.size());
  }
  return base::ascii_iequals(wanted, address);
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == pair.npos ? std::string() : decoded(pair.substr(equals + 1));
  }
  return std::nullopt;
}

std::expected<TraceFilter, std::string> TraceFilter::parse(std::string_view query) {
  constexpr std::array<std::string_view, 6> kNames{"client", "sender",  "recipient",
                                                   "reply",  "refused", "one"};
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const std::string_view name = pair.substr(0, pair.find('='));
    if (std::ranges::find(kNames, name) == kNames.end()) {
      return std::unexpected(fmt::format("\"{}\" is nothing to trace by; {}",
                                         base::escaped(name.substr(0, 40)),
                                         "client, sender, recipient, reply, refused and one are"));
    }
    if (pair.size() > kValueBytesMax) {
      return std::unexpected(fmt::format("{} is too long", base::escaped(name)));
    }
  }
  TraceFilter filter;
  if (const auto client = query_value(query, "client")) {
    auto network = base::IpNetwork::parse(*client);
    if (!network) return std::unexpected(network.error());
    filter.client = *network;
  }
  if (const auto sender = query_value(query, "sender")) filter.sender = bare(*sender);
  filter.recipient = bare(query_value(query, "recipient").value_or(""));
  filter.reply = query_value(query, "reply").value_or("");
  if (!std::ranges::all_of(filter.reply,
                           [](char c) { return (c >= '0' && c <= '9') || c == '.' || c == ' '; })) {
    return std::unexpected(fmt::format("\"{}\" is no reply code such as \"550\" or \"550 5.7.1\"",
                                       base::escaped(filter.reply)));
  }
  filter.refused = query_value(query, "refused").value_or("0") != "0";
  filter.one = query_value(query, "one").value_or("0") != "0";
  return filter;
}

Tracer::Tracer(TraceFilter filter) : filter_(std::move(filter)), wanted_(wanted_by(filter_)) {}

bool Tracer::take(std::uint64_t session) {
  MXRING_ASSERT(session != 0);  // 0 is nobody's
  if (!filter_.one) return true;
  std::uint64_t none = 0;
  return only_.compare_exchange_strong(none, session, std::memory_order_relaxed);
}

void Tracer::session_ended(std::uint64_t session) {
  MXRING_ASSERT(session != 0);
  if (!filter_.one || only_.load(std::memory_order_relaxed) != session) return;
  over_.store(true, std::memory_order_release);  // its lines were pushed before
}

std::shared_ptr<const Tracers> TraceBoard::current() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

void TraceBoard::replace(std::shared_ptr<const Tracers> next) {
  MXRING_ASSERT(next != nullptr);
  const bool nobody = std::ranges::all_of(
      next->places, [](const Tracers::Place& place) { return place.tracer == nullptr; });
  current_ = nobody ? nullptr : std::move(next);
  if (++editions_ == 0) ++editions_;
  MXRING_ASSERT(nobody == (current_ == nullptr));
  edition_.store(nobody ? 0 : editions_, std::memory_order_relaxed);
}

std::shared_ptr<Tracer> TraceBoard::add(TraceFilter filter) {
  const std::lock_guard lock(mutex_);
  auto next =
      current_ == nullptr ? std::make_shared<Tracers>() : std::make_shared<Tracers>(*current_);
  next->run = run_;
  const auto free = std::ranges::find_if(
      next->places, [](const Tracers::Place& place) { return place.tracer == nullptr; });
  if (free == next->places.end()) return nullptr;
  if (++numbers_ == 0) ++numbers_;
  MXRING_ASSERT(free->tracer == nullptr);
  *free = {std::make_shared<Tracer>(std::move(filter)), numbers_};
  std::shared_ptr<Tracer> made = free->tracer;
  replace(std::move(next));
  return made;
}

void TraceBoard::remove(const Tracer& tracer) {
  const std::lock_guard lock(mutex_);
  if (current_ == nullptr) return;
  auto next = std::make_shared<Tracers>(*current_);
  for (Tracers::Place& place : next->places) {
    if (place.tracer.get() != &tracer) continue;
    MXRING_ASSERT(place.tracer != nullptr);
    dropped_before_ += place.tracer->lines().dropped();
    place = {};
  }
  replace(std::move(next));
}

std::uint64_t TraceBoard::dropped() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t all = dropped_before_;
  if (current_ == nullptr) return all;
  for (const Tracers::Place& place : current_->places) {
    if (place.tracer != nullptr) all += place.tracer->lines().dropped();
  }
  return all;
}

}  // namespace mxring::server
