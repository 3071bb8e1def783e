#include "decode/journal.h"

#include "base/text.h"
#include "decode/addresses.h"
#include "decode/field_rules.h"
#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

// The text part at the beginning and the message after it; both must be there.
struct JournalParts {
  std::uint32_t envelope = mail::kNoPart;
  std::uint32_t message = mail::kNoPart;
};

JournalParts find_parts(const mail::MimeWalker& walker) {
  JournalParts found;
  const auto parts = walker.parts();
  for (std::uint32_t i = 1; i < parts.size(); ++i) {
    if (parts[i].message != 0) continue;
    if (found.envelope == mail::kNoPart) {
      if (parts[i].multipart) continue;
      if (!parts[i].type.is("text", "plain")) return {};
      found.envelope = i;
    } else if (parts[i].type.is("message", "rfc822") || parts[i].type.is("message", "global")) {
      found.message = i;
      return found;
    }
  }
  return {};
}

class EnvelopeReader {
 public:
  EnvelopeReader(Context& context, Journal& journal)
      : context_(context), s_(context.scratch()), journal_(journal) {
    s_.to.clear();
    s_.cc.clear();
    s_.bcc.clear();
    s_.others.clear();
    s_.expanded.clear();
    s_.extensions.clear();
  }

  // False: the text is no envelope. Where no header field of the report says that it is one, only
  // a text that begins with the sender is.
  bool read(std::string_view text, bool said) {
    if (!begins_as_envelope(mail::trimmed(text), said)) return false;
    while (!text.empty()) {
      const std::string_view line = mail::first_line(text);
      text.remove_prefix(line.size());
      take(mail::trimmed(line));
    }
    if (!journal_.sender || (!journal_.message_id && recipients_ == 0)) return false;
    base::Arena& arena = context_.out().arena;
    journal_.to = arena.copy(s_.to);
    journal_.cc = arena.copy(s_.cc);
    journal_.bcc = arena.copy(s_.bcc);
    journal_.recipients = arena.copy(s_.others);
    journal_.expanded = arena.copy(s_.expanded);
    journal_.extensions = arena.copy(s_.extensions);
    return true;
  }

 private:
  static bool begins_as_envelope(std::string_view text, bool said) {
    const std::string_view name = mail::trimmed(text.substr(0, text.find(':')));
    const auto is = [&](std::string_view known) { return base::ascii_iequals(name, known); };
    if (is("Sender")) return true;
    return said && (is("Subject") || is("Message-ID") || is("To") || is("Cc") || is("Bcc") ||
                    is("Recipient") || is("Recipients") || is("On-Behalf-Of"));
  }

  void take(std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
      if (!line.empty())
        context_.defect("journal envelope", "a line that is no field was left out");
      return;
    }
    const std::string_view name = mail::trimmed(line.substr(0, colon));
    const std::string_view value = mail::trimmed(line.substr(colon + 1));
    const auto is = [&](std::string_view known) { return base::ascii_iequals(name, known); };
    if (is("Sender") && !journal_.sender) {
      journal_.sender = context_.header_text(without_brackets(value), "Sender");
    } else if (is("On-Behalf-Of") && !journal_.on_behalf_of) {
      journal_.on_behalf_of = context_.header_text(without_brackets(value), "On-Behalf-Of");
    } else if (is("Subject") && !journal_.subject) {
      journal_.subject = context_.header_text(value, "Subject");
    } else if (is("Message-ID") && !journal_.message_id) {
      journal_.message_id = read_message_id(context_, value);
    } else if (is("To")) {
      take_recipient(value, s_.to);
    } else if (is("Cc")) {
      take_recipient(value, s_.cc);
    } else if (is("Bcc")) {
      take_recipient(value, s_.bcc);
    } else if (is("Recipient") || is("Recipients")) {
      take_recipient(value, s_.others);
    } else {
      s_.extensions.push_back(read_extension(context_, {name, value}));
    }
  }

  // "a@b", "a@b, Expanded: list@b", or several addresses.
  void take_recipient(std::string_view value, std::vector<Text>& into) {
    std::size_t first = into.size();
    while (!value.empty()) {
      const std::size_t comma = std::min(value.find(','), value.size());
      std::string_view element = mail::trimmed(value.substr(0, comma));
      value.remove_prefix(std::min(comma + 1, value.size()));
      if (element.empty()) continue;
      const std::size_t colon = element.find(':');
      const std::string_view word = element.substr(0, std::min(colon, element.size()));
      const bool forwarded = base::ascii_iequals(word, "Forwarded");
      if (colon != std::string_view::npos && (forwarded || base::ascii_iequals(word, "Expanded"))) {
        const Text from =
            context_.header_text(without_brackets(element.substr(colon + 1)), "Expanded");
        for (std::size_t i = first; i < into.size(); ++i) {
          s_.expanded.push_back({into[i], from, forwarded});
        }
        continue;
      }
      if (++recipients_ > context_.budget().recipients) return context_.limit("recipients");
      first = into.size();
      into.push_back(context_.header_text(without_brackets(element), "Recipient"));
    }
  }

  Context& context_;
  Scratch& s_;
  Journal& journal_;
  std::uint32_t recipients_ = 0;
};

}  // namespace

bool read_journal(Context& context) {
  const JournalParts found = find_parts(context.walker());
  if (found.message == mail::kNoPart) return false;
  const auto parts = context.walker().parts();
  Scratch& s = context.scratch();
  const std::string_view bytes = context.content(parts[found.envelope], s.status);
  const std::string* charset = parts[found.envelope].type.find("charset");
  std::string& text = s.compact;
  text.clear();
  if (!s.charsets.begin(charset == nullptr ? "" : std::string_view(*charset))) {
    s.charsets.begin("");
  }
  s.charsets.take(bytes, text);
  s.charsets.end(text);
  // Addresses are put together elsewhere: the envelope must stay as it is meanwhile.
  std::swap(s.status, text);
  Journal journal;
  // Exchange's field is empty, Google's holds an id.
  const bool said = context.walker().find(parts[0], "X-MS-Journal-Report") != nullptr ||
                    context.walker().find(parts[0], "X-GM-Journal-ID") != nullptr;
  if (!EnvelopeReader(context, journal).read(s.status, said)) return false;
  if (!said) {
    context.derived("type", "the form of its text, without X-MS-Journal-Report or X-GM-Journal-ID");
  }
  journal.original = read_original(context, found.envelope);
  context.out().journal = journal;
  context.out().kind = Kind::kJournalReport;
  return true;
}

}  // namespace mxring::decode
