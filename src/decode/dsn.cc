#include "decode/dsn.h"

#include "base/assert.h"
#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

constexpr std::size_t kGroupFieldsMax = 1000;

// "5.1.1": class, subject and detail (RFC 3463 2).
bool is_status(std::string_view text) {
  std::size_t digits[3] = {0, 0, 0};
  std::size_t part = 0;
  for (const char c : text) {
    if (c == '.') {
      if (++part > 2) return false;
    } else if (c < '0' || c > '9' || ++digits[part] > 3) {
      return false;
    }
  }
  return part == 2 && digits[0] == 1 && digits[1] > 0 && digits[2] > 0 &&
         (text[0] == '2' || text[0] == '4' || text[0] == '5');
}

// An enhanced code that stands as a word of its own in a reply's text.
std::string_view find_status(std::string_view text) {
  constexpr std::string_view kEnds = " \t\r\n#()[]<>,;:-";
  while (!text.empty()) {
    const std::size_t begin = text.find_first_not_of(kEnds);
    if (begin == std::string_view::npos) return {};
    text.remove_prefix(begin);
    const std::size_t end = std::min(text.find_first_of(kEnds), text.size());
    if (is_status(text.substr(0, end))) return text.substr(0, end);
    text.remove_prefix(end);
  }
  return {};
}

class StatusReader {
 public:
  StatusReader(Context& context, Bounce& bounce)
      : context_(context), s_(context.scratch()), bounce_(bounce) {
    s_.recipients.clear();
    s_.extensions.clear();
  }

  // Groups of fields with empty lines between them: the first of the message, each other of one
  // recipient. Where a group has fields of both, or of two recipients, the fields themselves tell.
  void read(std::string_view text) {
    while (!text.empty()) {
      while (text.starts_with('\r') || text.starts_with('\n')) text.remove_prefix(1);
      if (text.empty()) break;
      s_.fields.clear();
      mail::HeaderBudget budget = context_.budget().mime.part_header;
      budget.fields = kGroupFieldsMax;
      const mail::HeaderSection group = mail::scan_header(text, budget, s_.fields);
      if (group.over_bytes) context_.limit("header_bytes");
      if (group.over_fields) context_.limit("header_fields");
      if (!read_group()) break;
      std::size_t taken = group.body_begin;
      continued_ = group.body_begin == group.bytes;
      if (continued_) {  // a line that is no field: the group goes on after it
        if (taken < text.size()) {
          context_.defect("delivery status", "a line that is no field was passed over");
          taken += mail::first_line(text.substr(taken)).size();
        }
      }
      MXRING_ASSERT(taken > 0);
      text.remove_prefix(std::min(taken, text.size()));
    }
    end_record();
    bounce_.recipients = context_.out().arena.copy(s_.recipients);
  }

 private:
  // False: there are too many recipients.
  bool read_group() {
    bool fresh = !continued_ || !in_recipient_;  // no field of a recipient in this group yet
    for (const mail::HeaderField& field : s_.fields) {
      const bool own = is_recipient_field(field.name);
      if (own && (fresh || begins_recipient(field.name))) {
        if (!begin_recipient()) return false;
        fresh = false;
      }
      if (own) {
        if (fill(context_, kRecipientFields, field, recipient_) == Filled::kAgain) {
          s_.extensions.push_back(read_extension(context_, field));
        } else {
          keep_comment(field);
        }
      } else if (in_recipient_ && !fresh) {
        s_.extensions.push_back(read_extension(context_, field));
      } else if (fill(context_, kBounceFields, field, bounce_) != Filled::kDone) {
        s_.extensions.push_back(read_extension(context_, field));
      }
    }
    return true;
  }

  static bool is_recipient_field(std::string_view name) {
    for (const auto& rule : kRecipientFields) {
      if (base::ascii_iequals(rule.name, name)) return true;
    }
    return false;
  }

  // A second one in the same group: the empty line before it is missing.
  bool begins_recipient(std::string_view name) const {
    return (recipient_.final_recipient && base::ascii_iequals(name, "Final-Recipient")) ||
           (recipient_.original_recipient && recipient_.action &&
            base::ascii_iequals(name, "Original-Recipient"));
  }

  // Action and Status are words; what a mailer adds in brackets is kept.
  void keep_comment(const mail::HeaderField& field) {
    if (!base::ascii_iequals(field.name, "Action") && !base::ascii_iequals(field.name, "Status")) {
      return;
    }
    const std::size_t open = field.value.find('(');
    if (open == std::string_view::npos) return;
    NamedValue comment;
    comment.name = base::ascii_iequals(field.name, "Action") ? "action_comment" : "status_comment";
    comment.value = context_.header_text(field.value.substr(open), field.name);
    s_.extensions.push_back(comment);
  }

  bool begin_recipient() {
    end_record();
    in_recipient_ = true;
    recipient_ = {};
    if (s_.recipients.size() < context_.budget().recipients) return true;
    context_.limit("recipients");
    in_recipient_ = false;
    return false;
  }

  // What the extensions gathered so far belong to.
  void end_record() {
    const List<NamedValue> extensions = context_.out().arena.copy(s_.extensions);
    s_.extensions.clear();
    if (!in_recipient_) {
      if (!extensions.empty()) bounce_.extensions = extensions;
      return;
    }
    recipient_.extensions = extensions;
    check_status();
    s_.recipients.push_back(recipient_);
    in_recipient_ = false;
  }

  void check_status() {
    if (recipient_.status && !is_status(*recipient_.status)) {
      const std::string_view better = find_status(*recipient_.status);
      if (better.empty()) {
        context_.defect("Status", "it is no code of three numbers");
      } else {
        context_.defect("Status", "it has more than its code, which was taken");
        recipient_.status = better;
      }
    }
    if (recipient_.status || !recipient_.diagnostic_code) return;
    const std::string_view code = find_status(*recipient_.diagnostic_code);
    if (code.empty()) return;
    recipient_.status = code;
    context_.derived("bounce.recipients.status", "diagnostic_code");
  }

  Context& context_;
  Scratch& s_;
  Bounce& bounce_;
  BounceRecipient recipient_;
  bool in_recipient_ = false;
  bool continued_ = false;  // no empty line stands before the group
};

// The token that the sender's patterns find: in the recipients of the bounce, then in the original.
void find_token(Context& context, Bounce& bounce) {
  const auto parts = context.walker().parts();
  for (const TokenPattern& pattern : context.options().token_patterns) {
    OptText token;
    if (pattern.in_recipient()) {
      for (const std::string_view recipient : context.options().envelope_recipients) {
        if (!token) token = pattern.find(recipient);
      }
      // Without an envelope: where its recipient is written down, else To.
      for (const std::string_view name : {"Delivered-To", "X-Original-To", "To"}) {
        if (token || !context.options().envelope_recipients.empty()) break;
        const mail::HeaderField* field = context.walker().find(parts[0], name);
        if (field == nullptr) continue;
        for (const Address& address : read_addresses(context, field->value, name)) {
          if (token || !address.address) continue;
          token = pattern.find(*address.address);
          if (token) context.derived("bounce.token", name);
        }
      }
    } else {
      for (const mail::HeaderField& field : context.scratch().original_fields) {
        if (token || !base::ascii_iequals(field.name, pattern.field())) continue;
        token = pattern.find(mail::trimmed(field.value));
      }
    }
    if (!token) continue;
    bounce.token = context.header_text(*token, "token");
    return;
  }
}

}  // namespace

std::uint32_t find_status_part(const mail::MimeWalker& walker) {
  const auto parts = walker.parts();
  for (std::uint32_t i = 0; i < parts.size(); ++i) {
    const mail::MediaField& type = parts[i].type;
    if (parts[i].message == 0 &&
        (type.is("message", "delivery-status") || type.is("message", "global-delivery-status"))) {
      return i;
    }
  }
  return mail::kNoPart;
}

void read_bounce(Context& context, std::uint32_t part) {
  Bounce bounce;
  const std::string_view text =
      context.content(context.walker().parts()[part], context.scratch().status);
  StatusReader(context, bounce).read(text);
  bounce.original = read_original(context, part);
  find_token(context, bounce);
  if (bounce.recipients.empty()) {
    context.defect("delivery status", "it names no recipient");
    // Exim says it in a field of the message as well.
    const mail::HeaderField* failed =
        context.walker().find(context.walker().parts()[0], "X-Failed-Recipients");
    if (failed != nullptr) {
      std::vector<BounceRecipient>& recipients = context.scratch().recipients;
      recipients.clear();
      for (const Address& address : read_addresses(context, failed->value, "X-Failed-Recipients")) {
        if (!address.address) continue;
        BounceRecipient recipient;
        recipient.final_recipient = address.address;
        recipients.push_back(recipient);
      }
      bounce.recipients = context.out().arena.copy(recipients);
      if (!recipients.empty()) context.derived("bounce.recipients", "X-Failed-Recipients");
    }
  }
  context.out().bounce = bounce;
  context.out().kind = Kind::kBounce;
}

}  // namespace mxring::decode
