#include "decode/message.h"

#include "base/assert.h"
#include "base/text.h"
#include "decode/addresses.h"
#include "mail/date_time.h"

namespace mxring::decode {

namespace {

using mail::MimePart;

// What has more bytes than this that stand for nothing is no text.
constexpr std::uint64_t kReplacedMax = 100'000;
constexpr std::size_t kAdoptBytes = 256 * 1024;  // texts larger than this are not copied

using Use = PartUse;

bool is_plain(const MimePart& part) {
  return part.type.is("text", "plain");
}
bool is_html(const MimePart& part) {
  return part.type.is("text", "html");
}
// RFC 8621 4.1.4, over the flat list.
class BodyChoice {
 public:
  explicit BodyChoice(Context& context)
      : context_(context), uses_(context.scratch().uses), frames_(context.scratch().frames) {
    uses_.assign(context.walker().parts().size(), Use::kNone);
  }

  void choose() {
    const auto parts = context_.walker().parts();
    for (std::uint32_t i = 0; i < parts.size(); ++i) {
      const MimePart& part = parts[i];
      if (part.message != 0) continue;
      while (depth_ > 0 && frames_[depth_ - 1].part != part.parent) pop();
      const std::uint32_t nth = depth_ > 0 ? frames_[depth_ - 1].seen++ : 0;
      if (part.multipart) {
        push(i);
      } else if (is_inline(part, nth)) {
        take_inline(i);
      } else {
        uses_[i] = Use::kAttachment;
      }
    }
    while (depth_ > 0) pop();
  }

 private:
  using Frame = BodyFrame;

  void push(std::uint32_t index) {
    const MimePart& part = context_.walker().parts()[index];
    Frame frame;
    if (depth_ > 0) frame = frames_[depth_ - 1];
    frame.part = index;
    frame.seen = 0;
    frame.alternative = part.type.subtype == "alternative";
    frame.related = part.type.subtype == "related";
    frame.in_alternative = frame.in_alternative || frame.alternative;
    if (depth_ == frames_.size()) frames_.emplace_back();
    frames_[depth_++] = frame;
  }
  void pop() { --depth_; }

  bool is_inline(const MimePart& part, std::uint32_t nth) {
    if (!is_plain(part) && !is_html(part)) return false;
    bool attachment = false;
    bool named = part.type.find("name") != nullptr;
    if (const mail::HeaderField* field = context_.walker().find(part, "Content-Disposition")) {
      Scratch& s = context_.scratch();
      s.field_parser.parse(field->value, s.charsets, s.field);
      attachment = s.field.type == "attachment";
      named = named || s.field.find("filename") != nullptr;
    }
    const bool related = depth_ > 0 && frames_[depth_ - 1].related;
    return !attachment && (nth == 0 || (!related && !named));
  }

  void take_inline(std::uint32_t index) {
    const MimePart& part = context_.walker().parts()[index];
    const bool plain = is_plain(part);
    if (depth_ > 0 && !frames_[depth_ - 1].alternative && frames_[depth_ - 1].in_alternative) {
      // Inside an alternative a text of one kind says that what follows it is not the other's.
      Frame& frame = frames_[depth_ - 1];
      if (plain) frame.html = false;
      if (!plain) frame.text = false;
      if (plain && !frame.text) uses_[index] = Use::kAttachment;
      if (!plain && !frame.html) uses_[index] = Use::kAttachment;
      if (uses_[index] == Use::kAttachment) return;
    }
    uses_[index] = plain ? Use::kText : Use::kHtml;
  }

  Context& context_;
  std::vector<Use>& uses_;
  std::vector<Frame>& frames_;
  std::size_t depth_ = 0;
};

// Decoded text on its way to UTF-8 with LF line ends.
class TextSink final : public mail::ByteSink {
 public:
  TextSink(Scratch& scratch, std::string& out, std::uint64_t most)
      : charsets_(scratch.charsets), piece_(scratch.piece), out_(out), most_(most) {
    piece_.clear();
  }

  bool take(std::string_view bytes) override {
    charsets_.take(bytes, piece_);
    move();
    garbled_ = charsets_.replaced() > kReplacedMax;
    return !full_ && !garbled_;
  }
  void end() {
    charsets_.end(piece_);
    move();
    if (cr_) out_ += '\r';
  }
  bool full() const { return full_; }
  bool garbled() const { return garbled_; }

 private:
  // CRLF becomes LF; a CR alone stays.
  void move() {
    std::string_view text = piece_;
    while (!text.empty() && !full_) {
      if (cr_) {
        if (text[0] != '\n') out_ += '\r';
        cr_ = false;
      }
      const std::size_t cr = std::min(text.find('\r'), text.size());
      out_ += text.substr(0, cr);
      text.remove_prefix(cr);
      if (!text.empty()) {
        cr_ = true;
        text.remove_prefix(1);
      }
      full_ = out_.size() > most_;
    }
    piece_.clear();
    if (!full_) return;
    std::size_t end = most_;  // back to where a character begins
    while (end > 0 && (static_cast<unsigned char>(out_[end]) & 0xC0U) == 0x80U) --end;
    out_.resize(end);
    cr_ = false;
  }

  mail::CharsetDecoder& charsets_;
  std::string& piece_;
  std::string& out_;
  std::uint64_t most_;
  bool cr_ = false;
  bool full_ = false;
  bool garbled_ = false;
};

class DigestSink final : public mail::ByteSink {
 public:
  explicit DigestSink(std::string* content) : content_(content) {}
  bool take(std::string_view bytes) override {
    sha256_.update(bytes);
    size_ += bytes.size();
    if (content_ != nullptr) content_->append(bytes);
    return true;
  }
  std::uint64_t size() const { return size_; }
  crypto::Sha256Digest digest() { return sha256_.finish(); }

 private:
  crypto::Sha256 sha256_;
  std::uint64_t size_ = 0;
  std::string* content_;
};

// Appends a text part. False: the budget is used up.
bool append_text(Context& context, const MimePart& part, std::string_view key, std::string& out) {
  Scratch& s = context.scratch();
  const std::string* charset = part.type.find("charset");
  if (!s.charsets.begin(charset == nullptr ? "" : std::string_view(*charset))) {
    context.defect(context.name_of(part), "an unknown charset, read as US-ASCII or UTF-8");
  }
  const std::string_view body = context.walker().body(part);
  const std::size_t before = out.size();
  out.reserve(before + std::min<std::uint64_t>(body.size(), context.bytes_left()));
  TextSink sink(s, out, before + context.bytes_left());
  const mail::DecodeNotes notes = mail::decode_transfer(part.encoding, body, sink);
  if (!sink.full()) sink.end();
  context.use_bytes(out.size() - before);
  context.note_encoding(part, notes);
  if (s.charsets.guessed_utf8()) context.derived(key, "UTF-8, which its charset does not say");
  if (s.charsets.replaced() > 0) {
    context.defect(context.name_of(part), "bytes that are no characters became U+FFFD");
  }
  if (sink.full()) context.limit("decoded_bytes");
  if (sink.garbled()) context.limit("replacements");
  return !sink.full();
}

// All parts of one use, one after the other, each on a line of its own.
OptText join_texts(Context& context, const std::vector<Use>& uses, Use wanted,
                   std::string_view key) {
  std::string& text = context.scratch().text;
  text.clear();
  bool any = false;
  const auto parts = context.walker().parts();
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (uses[i] != wanted) continue;
    if (any && !text.empty() && text.back() != '\n') text += '\n';
    any = true;
    if (!append_text(context, parts[i], key, text)) break;
  }
  if (!any) return std::nullopt;
  if (text.size() < kAdoptBytes) return context.keep(text);
  return context.out().arena.adopt(std::move(text));
}

Attachment read_attachment(Context& context, const MimePart& part) {
  Attachment attachment;
  Scratch& s = context.scratch();
  if (const mail::HeaderField* field = context.walker().find(part, "Content-Disposition")) {
    s.field_parser.parse(field->value, s.charsets, s.field);
    if (!s.field.type.empty()) attachment.disposition = context.keep(s.field.type);
    if (const std::string* name = s.field.find("filename")) attachment.name = context.keep(*name);
  }
  if (!attachment.name) {
    if (const std::string* name = part.type.find("name")) attachment.name = context.keep(*name);
  }
  if (const mail::HeaderField* field = context.walker().find(part, "Content-ID")) {
    attachment.content_id = read_message_id(context, field->value);
  }
  s.text.assign(part.type.type);
  if (!part.type.subtype.empty()) s.text.append("/").append(part.type.subtype);
  attachment.type = context.keep(s.text);
  const std::string_view body = context.walker().body(part);
  const std::uint64_t most = std::min(context.options().content_bytes, context.bytes_left());
  const bool wanted = most > 0 && body.size() / 2 <= most;
  s.text.clear();
  DigestSink sink(wanted ? &s.text : nullptr);
  context.note_encoding(part, mail::decode_transfer(part.encoding, body, sink));
  attachment.size = sink.size();
  attachment.sha256 = sink.digest();
  if (wanted && attachment.size <= most) {
    attachment.content = context.keep(s.text);
    context.use_bytes(attachment.size);
  }
  return attachment;
}

void read_fields(Context& context, MessageFacts& facts) {
  const MimePart& root = context.walker().parts()[0];
  const auto value = [&](std::string_view name) -> OptText {
    const mail::HeaderField* field = context.walker().find(root, name);
    if (field == nullptr) return std::nullopt;
    return field->value;
  };
  const auto addresses = [&](std::string_view name) -> List<Address> {
    const OptText text = value(name);
    return text ? read_addresses(context, *text, name) : List<Address>();
  };
  if (const OptText id = value("Message-ID")) facts.message_id = read_message_id(context, *id);
  if (const OptText text = value("Subject")) facts.subject = context.header_text(*text, "Subject");
  if (const OptText date = value("Date")) facts.date = read_date(context, *date, "Date");
  facts.from = addresses("From");
  facts.to = addresses("To");
  facts.cc = addresses("Cc");
  facts.reply_to = addresses("Reply-To");
  if (const OptText ids = value("In-Reply-To")) facts.in_reply_to = read_message_ids(context, *ids);
  if (const OptText ids = value("References")) facts.references = read_message_ids(context, *ids);
  // Its keyword; parameters and comments (RFC 3834 5) are for people.
  if (const OptText text = value("Auto-Submitted")) {
    std::string_view keyword = mail::trimmed(*text);
    keyword = mail::trimmed(keyword.substr(0, keyword.find_first_of(" \t;(")));
    facts.auto_submitted = context.keep_lower(keyword);
  }
  for (const std::string_view name : {"From", "To", "Cc", "Subject", "Date", "Message-ID"}) {
    std::size_t count = 0;
    for (const mail::HeaderField& field : context.walker().fields(root)) {
      count += base::ascii_iequals(field.name, name) ? 1 : 0;
    }
    if (count > 1) context.defect(name, "more than one field; the first counts");
  }
}

}  // namespace

OptTime read_date(Context& context, std::string_view value, std::string_view field_name) {
  const OptTime time = mail::parse_date(value);
  if (time || mail::trimmed(value).empty()) return time;
  std::string& what = context.scratch().text;
  what.assign("no date: ").append(mail::trimmed(value).substr(0, 100));
  context.defect(field_name, what);
  return std::nullopt;
}

void read_message(Context& context) {
  MessageFacts& facts = context.out().message;
  read_fields(context, facts);
  BodyChoice(context).choose();
  const std::vector<Use>& uses = context.scratch().uses;
  facts.text = join_texts(context, uses, Use::kText, "message.text");
  facts.html = join_texts(context, uses, Use::kHtml, "message.html");
  std::vector<Attachment>& attachments = context.scratch().attachments;
  attachments.clear();
  const auto parts = context.walker().parts();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (uses[i] == Use::kAttachment) {
      attachments.push_back(read_attachment(context, parts[i]));
    }
    if (parts[i].message == 0 && parts[i].multipart && !parts[i].closed) {
      context.defect(context.name_of(parts[i]), "it has no closing boundary");
    }
  }
  facts.attachments = context.out().arena.copy(attachments);
}

}  // namespace mxring::decode
