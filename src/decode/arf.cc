#include "decode/arf.h"

#include "base/ip_address.h"
#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

const mail::HeaderField* original_field(Context& context, std::string_view name) {
  const std::vector<mail::HeaderField>& fields = context.scratch().original_fields;
  return mail::find_field(fields.data(), fields.data() + fields.size(), name);
}

void read_fields(Context& context, std::string_view text, Complaint& complaint) {
  Scratch& s = context.scratch();
  while (text.starts_with('\r') || text.starts_with('\n')) text.remove_prefix(1);
  s.fields.clear();
  const mail::HeaderSection section =
      mail::scan_header(text, context.budget().mime.part_header, s.fields);
  if (section.over_bytes) context.limit("header_bytes");
  if (section.over_fields) context.limit("header_fields");
  if (!mail::trimmed(text.substr(section.body_begin)).empty()) {
    context.defect("feedback report", "text after its fields was left out");
  }
  s.extensions.clear();
  for (const mail::HeaderField& field : s.fields) {
    const Filled filled = fill(context, kComplaintFields, field, complaint);
    if (filled == Filled::kDone) {
      if (base::ascii_iequals(field.name, "Received-Date")) {
        context.derived("complaint.arrival_date", "Received-Date");
      }
      continue;
    }
    bool listed = false;
    for (const ComplaintList& list : kComplaintLists) {
      listed = listed || base::ascii_iequals(list.name, field.name);
    }
    if (!listed) s.extensions.push_back(read_extension(context, field));
  }
  complaint.extensions = context.out().arena.copy(s.extensions);
  for (const ComplaintList& list : kComplaintLists) {
    s.texts.clear();
    for (const mail::HeaderField& field : s.fields) {
      if (!base::ascii_iequals(list.name, field.name)) continue;
      const std::string_view value = list.shape == Shape::kAddress ? without_brackets(field.value)
                                                                   : mail::trimmed(field.value);
      s.texts.push_back(context.header_text(value, list.name));
    }
    complaint.*list.list = context.out().arena.copy(s.texts);
  }
}

// The address in brackets that a Received field names its client by (RFC 5321 4.4, TCP-info).
std::string_view client_of(std::string_view received) {
  std::string_view rest = received.substr(0, received.find(" by "));
  while (!rest.empty()) {
    const std::size_t open = rest.find('[');
    if (open == std::string_view::npos) return {};
    rest.remove_prefix(open + 1);
    std::string_view address = rest.substr(0, rest.find(']'));
    if (address.size() > 5 && base::ascii_iequals(address.substr(0, 5), "IPv6:")) {
      address.remove_prefix(5);
    }
    if (base::IpAddress::parse(address)) return address;
  }
  return {};
}

template <class Read>
void derive(Context& context, OptText& into, std::string_view key, std::string_view field_name,
            Read read) {
  if (into) return;
  const mail::HeaderField* field = original_field(context, field_name);
  if (field == nullptr) return;
  const std::string_view value = read(field->value);
  if (value.empty()) return;
  into = context.header_text(value, field_name);
  std::string& from = context.scratch().phrase;
  from.assign("the original's ").append(field_name);
  context.derived(key, from);
}

void derive_list(Context& context, List<Text>& into, std::string_view key,
                 std::string_view field_name, std::string_view value) {
  if (!into.empty() || value.empty()) return;
  const Text text = context.header_text(value, field_name);
  into = context.out().arena.copy(std::span<const Text>(&text, 1));
  std::string& from = context.scratch().phrase;
  from.assign("the original's ").append(field_name);
  context.derived(key, from);
}

// What the report left out and the message complained of says.
void complete(Context& context, Complaint& complaint) {
  derive(context, complaint.original_mail_from, "complaint.original_mail_from", "Return-Path",
         without_brackets);
  for (const std::string_view name :
       {"X-HmXmrOriginalRecipient", "X-Original-To", "Delivered-To"}) {
    if (const mail::HeaderField* field = original_field(context, name)) {
      derive_list(context, complaint.original_rcpt_to, "complaint.original_rcpt_to", name,
                  without_brackets(field->value));
    }
  }
  derive(context, complaint.source_ip, "complaint.source_ip", "X-Originating-IP",
         [](std::string_view value) {
           value = mail::trimmed(value);
           if (value.starts_with('[') && value.ends_with(']')) {
             value = value.substr(1, value.size() - 2);
           }
           return base::IpAddress::parse(value) ? value : std::string_view();
         });
  derive(context, complaint.source_ip, "complaint.source_ip", "Received", client_of);
  derive(context, complaint.cfbl_address, "complaint.cfbl_address", "CFBL-Address", mail::trimmed);
  derive(context, complaint.cfbl_feedback_id, "complaint.cfbl_feedback_id", "CFBL-Feedback-ID",
         mail::trimmed);
  if (const mail::HeaderField* field = original_field(context, "Received")) {
    const std::size_t semicolon = field->value.rfind(';');
    if (!complaint.arrival_date && semicolon != std::string_view::npos) {
      complaint.arrival_date =
          read_date(context, field->value.substr(semicolon + 1), "original Received");
      if (complaint.arrival_date) {
        context.derived("complaint.arrival_date", "the original's Received");
      }
    }
  }
  if (const mail::HeaderField* field = original_field(context, "From")) {
    const List<Address> authors = read_addresses(context, field->value, "original From");
    if (authors.size() == 1 && authors[0].address) {
      const std::size_t at = authors[0].address->rfind('@');
      if (at != std::string_view::npos) {
        derive_list(context, complaint.reported_domain, "complaint.reported_domain", "From",
                    authors[0].address->substr(at + 1));
      }
    }
  }
}

void settle(Context& context, const Complaint& complaint) {
  context.out().complaint = complaint;
  context.out().kind = Kind::kComplaint;
}

}  // namespace

std::uint32_t find_feedback_part(const mail::MimeWalker& walker) {
  const auto parts = walker.parts();
  for (std::uint32_t i = 0; i < parts.size(); ++i) {
    if (parts[i].message == 0 && parts[i].type.is("message", "feedback-report")) return i;
  }
  return mail::kNoPart;
}

void read_complaint(Context& context, std::uint32_t part) {
  Complaint complaint;
  read_fields(context, context.content(context.walker().parts()[part], context.scratch().status),
              complaint);
  if (!complaint.feedback_type) {
    context.defect("feedback report", "it has no Feedback-Type");
  }
  complaint.original = read_original(context, part);
  complete(context, complaint);
  settle(context, complaint);
}

bool read_bare_complaint(Context& context) {
  bool any = false;
  for (const mail::MimePart& part : context.walker().parts()) {
    any = any || (part.message == 0 && part.type.is("message", "rfc822"));
  }
  if (!any) return false;
  Complaint complaint;
  complaint.original = read_original(context, 0);
  if (original_field(context, "X-HmXmrOriginalRecipient") == nullptr) return false;
  complaint.feedback_type = "abuse";
  context.derived("complaint.feedback_type", "the original's X-HmXmrOriginalRecipient");
  complete(context, complaint);
  settle(context, complaint);
  return true;
}

}  // namespace mxring::decode
