#include "report/delivery_sheet.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/assert.h"
#include "base/json.h"
#include "base/text.h"

namespace mxring::report {

namespace {

using Json = nlohmann::json;

constexpr std::array kStates{DeliveryState::kWaiting, DeliveryState::kSent, DeliveryState::kRefused,
                             DeliveryState::kTooLarge, DeliveryState::kGivenUp};
constexpr std::uint64_t kSheetBytesMax = 1 << 20;
static_assert(kStates.size() == static_cast<std::size_t>(DeliveryState::kGivenUp) + 1,
              "each state has a word");

std::unexpected<std::string> file_error(const std::filesystem::path& path, int error) {
  return std::unexpected(fmt::format("{}: {}", base::escaped(path.string()), std::strerror(error)));
}

// The new name is only safe when the folder has been written too.
int sync_folder(const std::filesystem::path& path) {
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

// Takes members out of an object; one that is missing or of another type spoils the whole.
class Members {
 public:
  explicit Members(const Json& object) : object_(object) {}
  Members& text(const char* key, std::string& out) {
    const auto found = find(key);
    if (found != nullptr && found->is_string()) {
      out = found->get<std::string>();
    } else {
      good_ = false;
    }
    return *this;
  }
  template <class Number>
  Members& number(const char* key, Number& out) {
    const auto found = find(key);
    if (found != nullptr && found->is_number_unsigned()) {
      out = found->get<Number>();
    } else {
      good_ = false;
    }
    return *this;
  }
  bool good() const { return good_; }

 private:
  const Json* find(const char* key) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  const Json& object_;
  bool good_ = true;
};

bool read_delivery(const Json& entry, Delivery& delivery) {
  std::string state;
  const bool good = Members(entry)
                        .text("address", delivery.address)
                        .text("host", delivery.host)
                        .text("state", state)
                        .number("attempts", delivery.attempts)
                        .number("tried_since", delivery.tried_since_s)
                        .text("last_reply", delivery.last_reply)
                        .text("server", delivery.server)
                        .text("tls", delivery.tls)
                        .good();
  const auto known = std::ranges::find(kStates, state, [](DeliveryState s) { return word(s); });
  if (!good || known == kStates.end()) return false;
  delivery.state = *known;
  // What goes into SMTP commands and header fields; the file may have been edited.
  const auto plain = [](char c) { return c > ' ' && c < '\x7F' && c != '<' && c != '>'; };
  return std::ranges::all_of(delivery.address, plain) && delivery.address.contains('@') &&
         !delivery.host.empty() && std::ranges::all_of(delivery.host, plain);
}

}  // namespace

std::string_view word(DeliveryState state) {
  switch (state) {
    case DeliveryState::kWaiting:
      return "waiting";
    case DeliveryState::kSent:
      return "sent";
    case DeliveryState::kRefused:
      return "refused";
    case DeliveryState::kTooLarge:
      return "too-large";
    case DeliveryState::kGivenUp:
      return "given-up";
  }
  return "waiting";
}

bool DeliverySheet::waiting() const {
  return std::ranges::any_of(deliveries,
                             [](const Delivery& d) { return d.state == DeliveryState::kWaiting; });
}

std::filesystem::path sheet_path(const std::filesystem::path& report) {
  return report.string() + ".json";
}

std::string to_json(const DeliverySheet& sheet) {
  base::JsonWriter json;
  json.begin_object();
  json.key("policy_domain").value(sheet.policy_domain);
  json.key("report_id").value(sheet.report_id);
  json.key("submitter").value(sheet.submitter);
  json.key("organization").value(sheet.organization);
  json.key("email").value(sheet.email);
  json.key("begin").value(sheet.period.begin_s).key("end").value(sheet.period.end_s);
  json.key("deliveries").begin_array();
  for (const Delivery& delivery : sheet.deliveries) {
    json.begin_object();
    json.key("address").value(delivery.address).key("host").value(delivery.host);
    json.key("state").value(word(delivery.state));
    json.key("attempts").value(delivery.attempts);
    json.key("tried_since").value(delivery.tried_since_s);
    json.key("last_reply").value(delivery.last_reply);
    json.key("server").value(delivery.server).key("tls").value(delivery.tls);
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

std::expected<DeliverySheet, std::string> parse_sheet(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return std::unexpected("not JSON");
  DeliverySheet sheet;
  const bool good = Members(json)
                        .text("policy_domain", sheet.policy_domain)
                        .text("report_id", sheet.report_id)
                        .text("submitter", sheet.submitter)
                        .text("organization", sheet.organization)
                        .text("email", sheet.email)
                        .number("begin", sheet.period.begin_s)
                        .number("end", sheet.period.end_s)
                        .good();
  const std::array names{&sheet.policy_domain, &sheet.report_id, &sheet.submitter, &sheet.email};
  const bool plain = std::ranges::all_of(names, [](const std::string* name) {
    return !name->empty() && std::ranges::all_of(*name, [](char c) {
      return c > ' ' && c < '\x7F' && c != '<' && c != '>' && c != '"';
    });
  });
  if (!good || !plain || !json.contains("deliveries") || !json["deliveries"].is_array()) {
    return std::unexpected("not a delivery sheet that `report build` wrote");
  }
  for (const Json& entry : json["deliveries"]) {
    Delivery delivery;
    if (!read_delivery(entry, delivery)) {
      return std::unexpected("a delivery in it cannot be read");
    }
    sheet.deliveries.push_back(std::move(delivery));
  }
  return sheet;
}

std::expected<DeliverySheet, std::string> read_sheet(const std::filesystem::path& path) {
  const auto text = read_file(path, kSheetBytesMax);
  if (!text) return std::unexpected(text.error());
  auto sheet = parse_sheet(*text);
  if (!sheet) {
    return std::unexpected(fmt::format("{}: {}", base::escaped(path.string()), sheet.error()));
  }
  return sheet;
}

std::expected<void, std::string> write_file(const std::filesystem::path& path,
                                            std::string_view bytes) {
  MXRING_ASSERT(path.has_filename());
  const std::string temporary = path.string() + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return file_error(temporary, errno);
  int error = 0;
  while (!bytes.empty() && error == 0) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) error = sync_folder(path);
  if (error == 0) return {};
  ::unlink(temporary.c_str());
  return file_error(path, error);
}

std::expected<std::string, std::string> read_file(const std::filesystem::path& path,
                                                  std::uint64_t bytes_max) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return file_error(path, errno);
  std::string bytes;
  std::array<char, 64 * 1024> piece;
  ssize_t got = 0;
  while (bytes.size() <= bytes_max && (got = ::read(fd, piece.data(), piece.size())) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    bytes.append(piece.data(), static_cast<std::size_t>(got));
  }
  const int error = errno;
  ::close(fd);
  if (got < 0) return file_error(path, error);
  if (bytes.size() > bytes_max) {
    return std::unexpected(
        fmt::format("{}: larger than {} bytes", base::escaped(path.string()), bytes_max));
  }
  return bytes;
}

}  // namespace mxring::report
