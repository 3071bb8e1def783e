#include "relay/dead_letters.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/base64.h"
#include "base/json.h"
#include "base/units.h"
#include "decode/record_json.h"
#include "relay/fault_seam.h"
#include "relay/files.h"
#include "seglog/log_directory.h"
#include "seglog/stored_json.h"

namespace mxring::relay {

namespace {

std::string file_name(Offset offset, std::string_view ending) {
  return fmt::format("{:020}{}", offset, ending);
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string letter_json(const Item& item, const Death& death) {
  const Record& record = item.record();
  base::JsonWriter json;
  json.begin_object();
  json.key("attempts").value(std::uint64_t{death.attempts});
  json.key("first").value(base::format_wall_time(death.first.us));
  json.key("last").value(base::format_wall_time(death.last.us));
  json.key("reply").value(death.reply);
  json.key("refused").begin_array();
  for (const Refusal& refusal : death.refused) {
    json.begin_object();
    json.key("recipient").value(record.rcpt_to[refusal.recipient].address);
    json.key("index").value(std::uint64_t{refusal.recipient});
    json.key("reply").value(refusal.reply).end_object();
  }
  json.end_array();
  // The record as it is stored, so that it can be tried again when the log has it no more.
  json.key("log_id").value(record.log_id.hex());
  json.key("received_at_us").value(record.received_at_us);
  json.key("metadata_base64").value(base::encode_base64(item.metadata()));
  std::string only;
  for (const std::uint32_t index : item.recipients()) only += fmt::format("{} ", index);
  json.key("for_recipients").value(only);
  decode::write_members(json, record);
  json.end_object();
  return std::move(json).text() + '\n';
}

LogId parse_log_id(std::string_view hex) {
  LogId id;
  const auto digit = [](char c) {
    return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10) & 15U;
  };
  for (std::size_t i = 0; i < id.bytes.size() && hex.size() == 32; ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  return id;
}

}  // namespace

DeadLetters::DeadLetters(int groups_fd, const std::string& group, std::uint64_t bytes_max)
    : groups_fd_(groups_fd), name_(group + ".dead"), bytes_max_(bytes_max) {
  look();
}

void DeadLetters::look() {
  folder_ = base::OwnedFd(
      ::openat(groups_fd_, name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder_.valid()) return;
  const auto names = seglog::list_names(folder_.get());
  if (!names) return;
  for (const std::string& name : *names) {
    struct stat status {};
    if (::fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    bytes_ += static_cast<std::uint64_t>(status.st_size);
    const auto offset = number<Offset>(std::string_view(name).substr(0, name.find('.')));
    if (!offset) continue;
    if (name.ends_with(".json")) ++count_;
    if (name.ends_with(".retry")) to_retry_.push_back(*offset);
  }
  std::ranges::sort(to_retry_);
}

std::expected<void, int> DeadLetters::make_folder() {
  if (folder_.valid()) return {};
  if (::mkdirat(groups_fd_, name_.c_str(), 0750) != 0 && errno != EEXIST) {
    return std::unexpected(errno);
  }
  folder_ = base::OwnedFd(
      ::openat(groups_fd_, name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder_.valid() || seam::fsync(groups_fd_) != 0) return std::unexpected(errno);
  return {};
}

std::expected<void, int> DeadLetters::add(const Item& item, const Death& death) {
  if (auto made = make_folder(); !made) return made;
  const std::string message(item.record().message);
  const std::string json = letter_json(item, death);
  const Offset offset = item.record().offset;
  const bool known = ::faccessat(folder_.get(), file_name(offset, ".json").c_str(), F_OK, 0) == 0;
  if (!known && bytes_ + message.size() + json.size() > bytes_max_) return std::unexpected(EFBIG);
  constexpr unsigned kMode = 0640;
  // The .json comes last: with it the letter is one.
  for (const auto& [ending, bytes] :
       {std::pair<std::string_view, const std::string&>{".eml", message}, {".json", json}}) {
    auto wrote = write_whole(folder_.get(), file_name(offset, ending), bytes, kMode);
    if (!wrote) return wrote;
  }
  if (seam::fsync(folder_.get()) != 0) return std::unexpected(errno);
  if (!known) {
    ++count_;
    bytes_ += message.size() + json.size();
  }
  return {};
}

std::expected<std::string, int> DeadLetters::read(const std::string& name) const {
  const base::OwnedFd fd(::openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) return std::unexpected(errno);
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const std::int64_t got = seglog::read_fully(fd.get(), text.data(), text.size(), 0);
  if (got < 0) return std::unexpected(static_cast<int>(-got));
  text.resize(static_cast<std::size_t>(got));
  return text;
}

bool DeadLetters::load(Offset offset, Item& item) const {
  const auto json = read(file_name(offset, ".json"));
  if (!json) return false;
  const auto objects = seglog::read_stored_json(*json);
  if (objects.empty()) return false;
  const auto& letter = objects.front();
  const auto message = read(file_name(offset, ".eml"));
  std::string metadata;
  const auto received_at = number<std::int64_t>(letter.text("received_at_us"));
  if (!received_at || !message ||
      !base::decode_base64(letter.text("metadata_base64"), base::Base64::kStrict, metadata)) {
    return false;
  }
  if (!item.set_stored(offset, parse_log_id(letter.text("log_id")), *received_at, metadata,
                       *message)) {
    return false;
  }
  std::string list = letter.text("for_recipients");
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(' ', at), list.size());
    const auto index = number<std::uint32_t>(std::string_view(list).substr(at, end - at));
    if (index && *index < item.record().rcpt_to.size()) item.recipients().push_back(*index);
    at = end + 1;
  }
  return true;
}

std::uint32_t DeadLetters::attempts(Offset offset) const {
  const auto json = read(file_name(offset, ".json"));
  if (!json) return 0;
  const auto objects = seglog::read_stored_json(*json);
  return objects.empty() ? 0 : number<std::uint32_t>(objects.front().text("attempts")).value_or(0);
}

std::expected<void, int> DeadLetters::remove(Offset offset) {
  for (const char* ending : {".retry", ".eml", ".json"}) {
    const std::string name = file_name(offset, ending);
    struct stat status {};
    if (::fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (seam::unlink(folder_.get(), name.c_str()) != 0) return std::unexpected(errno);
    bytes_ -= std::min(bytes_, static_cast<std::uint64_t>(status.st_size));
  }
  if (count_ > 0) --count_;
  return {};
}

void DeadLetters::stop_retrying(Offset offset) {
  (void)seam::unlink(folder_.get(), file_name(offset, ".retry").c_str());
}

}  // namespace mxring::relay
