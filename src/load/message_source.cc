#include "load/message_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "base/text.h"
#include "base/units.h"

namespace mxring::load {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSenders = 32;
constexpr std::uint64_t kStoredBytesMax = 1ULL << 30;  // they are held in memory
constexpr std::uint64_t kNumberMax = 999'999'999'999;  // the longest a run's numbers get

std::expected<std::vector<std::string>, std::string> list_files(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector{path};
  std::vector<std::string> files;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    if (at->is_regular_file(error)) files.push_back(at->path().string());
  }
  if (error) {
    return std::unexpected(
        fmt::format("cannot read the folder {}: {}", base::escaped(path), error.message()));
  }
  if (files.empty()) {
    return std::unexpected(fmt::format("no files in the folder {}", base::escaped(path)));
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

MessageSource::MessageSource(const Options& options)
    : options_(options),
      text_(options.seed),
      senders_(make_senders(options.seed, kSenders)),
      compact_(compact_header()) {}

std::expected<MessageSource, std::string> MessageSource::create(
    const Options& options, const std::vector<std::string>& paths) {
  MessageSource source(options);
  if (paths.empty()) {
    if (const auto fits = source.check_sizes(); !fits) return std::unexpected(fits.error());
  }
  for (const std::string& path : paths) {
    const auto files = list_files(path);
    if (!files) return std::unexpected(files.error());
    for (const std::string& file : *files) {
      if (const auto added = source.add(file); !added) return std::unexpected(added.error());
    }
  }
  return source;
}

// Whatever is drawn must have room for the shortest header section and one line end.
std::expected<void, std::string> MessageSource::check_sizes() const {
  std::size_t from_bytes = 0;
  for (const Sender& sender : senders_) from_bytes = std::max(from_bytes, sender.address.size());
  for (const AddressPattern& from : options_.mail_from) {
    from_bytes = std::max(from_bytes, from.size_max());
  }
  const std::string from(from_bytes, 'f');
  const std::string date = rfc5322_date(0);
  std::string header;
  compact_.render({kNumberMax, options_.run_id, date, from, ""}, header);
  const std::size_t needed = header.size() + 2;
  if (options_.size.min() >= needed) return {};
  return std::unexpected(fmt::format(
      "--size: a message with From, Date and Message-ID takes at least {} bytes", needed));
}

std::expected<void, std::string> MessageSource::add(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.is_open() || file.bad()) {
    return std::unexpected(
        fmt::format("cannot read {}: {}", base::escaped(path), std::strerror(errno)));
  }
  stored_bytes_ += bytes.size();
  if (stored_bytes_ > kStoredBytesMax) {
    return std::unexpected(fmt::format("the messages of --message are above {} together",
                                       base::format_bytes(kStoredBytesMax)));
  }
  if (bytes.find('\0') != std::string::npos) {
    return std::unexpected(
        fmt::format("{}: not a message: it has NUL bytes in it", base::escaped(path)));
  }
  stored_.push_back(prepare(bytes));
  return {};
}

// Lone LF and lone CR become CRLF, dots at line starts are doubled, the last line gets its end.
MessageSource::StoredMessage MessageSource::prepare(std::string_view file) {
  StoredMessage message;
  std::string& wire = message.wire;
  wire.reserve(file.size() + file.size() / 32 + 8);
  while (!file.empty()) {
    const std::size_t end = std::min(file.find_first_of("\r\n"), file.size());
    const std::string_view line = file.substr(0, end);
    file.remove_prefix(end);
    if (file.starts_with("\r\n")) {
      file.remove_prefix(2);
    } else if (!file.empty()) {
      file.remove_prefix(1);
    }
    if (line.starts_with('.')) wire += '.';
    wire += line;
    wire += "\r\n";
    message.content_bytes += line.size() + 2;
  }
  wire += ".\r\n";
  message.eight_bit =
      std::ranges::any_of(wire, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  return message;
}

void MessageSource::compose(std::uint64_t number, std::string_view date,
                            OutgoingMessage& out) const {
  Random random(options_.seed + number * 0x100000001B3ULL);
  out.pieces.clear();
  out.header.clear();
  out.from.clear();
  out.to.clear();
  const Sender& sender = senders_[random.below(senders_.size())];
  if (options_.mail_from.empty()) {
    out.from = sender.address;
  } else {
    options_.mail_from[number % options_.mail_from.size()].append(out.from, number);
  }
  options_.rcpt_to[0].append(out.to, number);
  if (!stored_.empty()) {
    const StoredMessage& stored = stored_[number % stored_.size()];
    out.pieces.push_back({const_cast<char*>(stored.wire.data()), stored.wire.size()});
    out.content_bytes = stored.content_bytes;
    out.eight_bit = stored.eight_bit;
  } else {
    const std::uint64_t size = options_.size.draw(random);
    // The header shows the sender's own address when the envelope names nobody.
    const std::string_view from = out.from.empty() ? std::string_view(sender.address) : out.from;
    const HeaderValues values{number, options_.run_id, date, from, out.to};
    sender.header.render(values, out.header);
    if (size < out.header.size() + 2) {
      out.header.clear();
      compact_.render(values, out.header);
    }
    out.pieces.push_back({out.header.data(), out.header.size()});
    const std::uint64_t body = size > out.header.size() ? size - out.header.size() : 0;
    text_.cut(random.next(), body, out.pieces);
    out.content_bytes = out.header.size() + body;
    out.eight_bit = false;
  }
  out.wire_bytes = 0;
  for (const iovec& piece : out.pieces) out.wire_bytes += piece.iov_len;
  out.message.msg_iov = out.pieces.data();
  out.message.msg_iovlen = out.pieces.size();
}

}  // namespace mxring::load
