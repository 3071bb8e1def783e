#include "load/message_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "base/assert.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "mailauth/dkim/signer.h"

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

// Lone LF and lone CR become CRLF, and the last line gets its end.
std::string with_line_ends(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 32 + 2);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    out += text.substr(0, end);
    out += "\r\n";
    text.remove_prefix(end);
    if (text.starts_with("\r\n")) {
      text.remove_prefix(2);
    } else if (!text.empty()) {
      text.remove_prefix(1);
    }
  }
  return out;
}

constexpr std::string_view kEndOfData = ".\r\n";

// What a receiver makes of these pieces: the doubled dots and the end of the data taken out.
std::string content_of(const std::vector<iovec>& pieces, bool chunks) {
  std::string wire;
  for (const iovec& piece : pieces) {
    wire.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  MXRING_ASSERT(wire.ends_with(kEndOfData));
  if (chunks) return wire.substr(0, wire.size() - kEndOfData.size());
  std::string content;
  std::string_view rest = wire;
  while (rest != kEndOfData) {
    if (rest.starts_with('.')) rest.remove_prefix(1);
    const std::string_view line = rest.substr(0, rest.find('\n') + 1);
    content += line;
    rest.remove_prefix(line.size());
  }
  return content;
}

// Above the signature, which does not cover it: makes every message sent another one. Always of the
// same length.
constexpr std::size_t kNumberFieldBytes = 29;
static_assert(kNumberFieldBytes == std::string_view("X-Load-Number: 000000000000\r\n").size());
void append_number_field(std::uint64_t number, std::string& out) {
  MXRING_ASSERT(number <= kNumberMax);
  fmt::format_to(std::back_inserter(out), "X-Load-Number: {:012}\r\n", number);
}

}  // namespace

MessageSource::MessageSource(const Options& options)
    : options_(options),
      text_(options.seed, 1 << 20, options.chunks),
      senders_(make_senders(options.seed, kSenders)),
      compact_(compact_header()) {}

std::expected<MessageSource, std::string> MessageSource::create(
    const Options& options, const std::vector<std::string>& paths) {
  MessageSource source(options);
  std::optional<crypto::PrivateKey> key;
  std::optional<mailauth::dkim::Signer> signer;
  std::size_t signature_bytes = 0;
  if (options.sign) {
    auto read = crypto::PrivateKey::from_pem(options.sign->key_pem);
    if (!read) return std::unexpected(fmt::format("--sign: {}", read.error()));
    key = *std::move(read);
    const std::int64_t now_unix_s = base::read_clocks().wall.us / 1'000'000;
    mailauth::dkim::SignOptions sign;
    sign.domain = options.sign->domain;
    sign.selector = options.sign->selector;
    sign.now_unix_s = now_unix_s;
    signer.emplace(*key, std::move(sign));
    source.signed_date_ = rfc5322_date(now_unix_s);
    const auto trial = signer->sign("From: x\r\nDate: x\r\nMessage-ID: x\r\n\r\n");
    if (!trial) return std::unexpected(fmt::format("--sign: {}", trial.error()));
    signature_bytes = trial->size() + kNumberFieldBytes;
  }
  if (paths.empty()) {
    if (const auto fits = source.check_sizes(signature_bytes); !fits) {
      return std::unexpected(fits.error());
    }
  }
  for (const std::string& path : paths) {
    const auto files = list_files(path);
    if (!files) return std::unexpected(files.error());
    const bool named = files->size() == 1 && files->front() == path;
    for (const std::string& file : *files) {
      const auto added = source.add(file, signer ? &*signer : nullptr);
      if (added) continue;
      if (named || added.error().fatal) return std::unexpected(added.error().why);
      if (source.files_skipped_++ == 0) source.first_skipped_ = added.error().why;
    }
  }
  if (!paths.empty() && source.stored_.empty()) {
    return std::unexpected(fmt::format("no file can be sent: {}", source.first_skipped_));
  }
  if (signer && paths.empty()) {
    if (const auto done = source.sign_all(*signer); !done) return std::unexpected(done.error());
  }
  return source;
}

// Whatever is drawn must have room for the shortest header section and one line end.
std::expected<void, std::string> MessageSource::check_sizes(std::size_t signature_bytes) const {
  std::size_t from_bytes = 0;
  for (const Sender& sender : senders_) from_bytes = std::max(from_bytes, sender.address.size());
  for (const AddressPattern& from : options_.mail_from) {
    from_bytes = std::max(from_bytes, from.size_max());
  }
  const std::string from(from_bytes, 'f');
  const std::string date = rfc5322_date(0);
  std::string header;
  compact_.render({kNumberMax, options_.run_id, date, from, ""}, header);
  const std::size_t needed = header.size() + 2 + signature_bytes;
  if (options_.size.min() >= needed) return {};
  return std::unexpected(
      fmt::format("--size: a message with From, Date{} and Message-ID takes at least {} bytes",
                  signature_bytes == 0 ? "" : ", DKIM-Signature", needed));
}

// The body's length depends on the signature's, and that only on which fields are signed: it is
// guessed from the sender's last message, and a wrong guess is made good by signing again. When
// that changes which header section has room, and so the guess, the message gets the shortest one.
std::expected<void, std::string> MessageSource::sign_all(mailauth::dkim::Signer& signer) {
  constexpr int kGuesses = 3;
  std::vector<std::size_t> bytes_of_sender(senders_.size(), 1);
  OutgoingMessage message;
  const std::uint64_t count = std::max<std::uint64_t>(options_.sign->messages, 1);
  signatures_.resize(count);
  for (std::uint64_t number = 0; number < count; ++number) {
    const auto sender = static_cast<std::size_t>(&sender_of(number) - senders_.data());
    std::size_t& bytes = bytes_of_sender[sender];
    Signature& signature = signatures_[number];
    for (int guess = 0; signature.field.empty(); ++guess) {
      signature.field.assign(bytes, 'x');
      signature.compact = guess >= kGuesses;
      generate(number, signed_date_, &signature, 0, message);
      const std::string content = content_of(message.pieces, options_.chunks);
      auto field = signer.sign(std::string_view(content).substr(kNumberFieldBytes + bytes));
      if (!field) return std::unexpected(fmt::format("--sign: {}", field.error()));
      signature.field.clear();
      if (field->size() == bytes) signature.field = *field;
      bytes = field->size();
    }
  }
  signed_messages_ = count;
  return {};
}

std::string MessageSource::skipped() const {
  if (files_skipped_ == 0) return {};
  return fmt::format("{} skipped: {}", base::counted(files_skipped_, "file was", "files were"),
                     first_skipped_);
}

std::expected<void, MessageSource::Unfit> MessageSource::add(const std::string& path,
                                                             mailauth::dkim::Signer* signer) {
  const auto unfit = [&path](std::string_view why) {
    return std::unexpected(Unfit{fmt::format("{}: {}", base::escaped(path), why)});
  };
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file.is_open() || file.bad()) {
    return std::unexpected(
        Unfit{fmt::format("cannot read {}: {}", base::escaped(path), std::strerror(errno))});
  }
  if (bytes.find('\0') != std::string::npos) {
    return unfit("not a message: it has NUL bytes in it");
  }
  stored_bytes_ += bytes.size();
  if (stored_bytes_ > kStoredBytesMax) {
    return std::unexpected(Unfit{fmt::format("the messages of --message are above {} together",
                                             base::format_bytes(kStoredBytesMax)),
                                 true});
  }
  std::string content = with_line_ends(bytes);
  if (signer != nullptr) {
    const auto field = signer->sign(content);
    if (!field) return unfit(field.error());
    content.insert(0, *field);
    ++signed_messages_;
  }
  stored_.push_back(prepare(content));
  return {};
}

// Dots at line starts are doubled, and the end of the data follows.
MessageSource::StoredMessage MessageSource::prepare(std::string_view content) const {
  StoredMessage message;
  std::string& wire = message.wire;
  wire.reserve(content.size() + content.size() / 32 + 8);
  message.content_bytes = content.size();
  while (!content.empty()) {
    const std::string_view line = content.substr(0, content.find('\n') + 1);
    if (line.starts_with('.') && !options_.chunks) wire += '.';
    wire += line;
    content.remove_prefix(line.size());
  }
  wire += kEndOfData;
  message.eight_bit =
      std::ranges::any_of(wire, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  return message;
}

const Sender& MessageSource::sender_of(std::uint64_t number) const {
  Random random(options_.seed + number * 0x100000001B3ULL);
  return senders_[random.below(senders_.size())];
}

void MessageSource::address(std::uint64_t number, OutgoingMessage& out) const {
  out.from.clear();
  out.to.clear();
  if (options_.mail_from.empty()) {
    out.from = sender_of(number).address;
  } else {
    options_.mail_from[number % options_.mail_from.size()].append(out.from, number);
  }
  options_.rcpt_to[0].append(out.to, number);
}

void MessageSource::generate(std::uint64_t number, std::string_view date,
                             const Signature* signature, std::uint64_t sent_as,
                             OutgoingMessage& out) const {
  Random random(options_.seed + number * 0x100000001B3ULL);
  out.pieces.clear();
  out.header.clear();
  const Sender& sender = senders_[random.below(senders_.size())];
  const std::uint64_t size = options_.size.draw(random);
  if (signature != nullptr) {
    append_number_field(sent_as, out.header);
    out.header += signature->field;
  }
  const std::size_t above = out.header.size();
  address(number, out);
  // The header shows the sender's own address when the envelope names nobody.
  const std::string_view from = out.from.empty() ? std::string_view(sender.address) : out.from;
  const HeaderValues values{number, options_.run_id, date, from, out.to};
  sender.header.render(values, out.header);
  if (size < out.header.size() + 2 || (signature != nullptr && signature->compact)) {
    out.header.resize(above);
    compact_.render(values, out.header);
  }
  out.pieces.push_back({out.header.data(), out.header.size()});
  // No text of one byte ends in CRLF; a guessed signature may leave room for less.
  const std::uint64_t body = size > out.header.size() + 1 ? size - out.header.size() : 0;
  text_.cut(random.next(), body, out.pieces);
  out.content_bytes = out.header.size() + body;
  out.eight_bit = false;
}

void MessageSource::compose(std::uint64_t number, std::string_view date,
                            OutgoingMessage& out) const {
  if (!stored_.empty()) {
    address(number, out);
    const StoredMessage& stored = stored_[number % stored_.size()];
    out.pieces.clear();
    out.pieces.push_back({const_cast<char*>(stored.wire.data()), stored.wire.size()});
    out.content_bytes = stored.content_bytes;
    out.eight_bit = stored.eight_bit;
  } else if (signatures_.empty()) {
    generate(number, date, nullptr, number, out);
  } else {
    const std::uint64_t which = number % signatures_.size();
    generate(which, signed_date_, &signatures_[which], number, out);
  }
  if (options_.chunks) out.pieces.back().iov_len -= kEndOfData.size();
  out.wire_bytes = 0;
  for (const iovec& piece : out.pieces) out.wire_bytes += piece.iov_len;
  out.message.msg_iov = out.pieces.data();
  out.message.msg_iovlen = out.pieces.size();
}

}  // namespace mxring::load
