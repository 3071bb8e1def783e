// What one call of decode() works with: the message and its parts, the result, the notes it gathers
// and scratch memory that outlives the call.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "decode/decode.h"
#include "mail/charset.h"
#include "mail/mime_walker.h"

namespace mxring::decode {

// What becomes of each part of plain mail.
enum class PartUse : std::uint8_t { kNone, kText, kHtml, kAttachment };

// A multipart whose parts are being looked at.
struct BodyFrame {
  std::uint32_t part = 0;
  std::uint32_t seen = 0;
  bool alternative = false;     // it is multipart/alternative
  bool in_alternative = false;  // it is, or is in one
  bool related = false;
  bool text = true;  // bodies in it are still of the text
  bool html = true;
};

// Memory that one Decoder keeps from call to call.
struct Scratch {
  mail::MimeWalker walker;
  mail::CharsetDecoder charsets;
  mail::MediaFieldParser field_parser;
  mail::MediaField field;
  std::string text;  // of whoever is at work, for one step
  std::string note;
  std::string part_name;
  std::string piece;
  std::vector<PartUse> uses;
  std::vector<BodyFrame> frames;
  std::string phrase, compact, comment;            // of the address being read
  std::string status;                              // a decoded status, feedback or journal part
  std::string original;                            // a decoded original
  std::vector<mail::HeaderField> fields;           // of that part
  std::vector<mail::HeaderField> original_fields;  // of that original
  std::vector<Text> derived, limits, defects;
  std::vector<Address> addresses;
  std::vector<Text> texts;
  std::vector<NamedValue> extensions;
  std::vector<BounceRecipient> recipients;
  std::vector<Attachment> attachments;
  std::vector<Text> to, cc, bcc, others;
  std::vector<Expanded> expanded;
};

class Context {
 public:
  Context(std::string_view message, const Options& options, Facts& out, Scratch& scratch)
      : message_(message), options_(options), out_(out), scratch_(scratch) {}

  const Options& options() const { return options_; }
  const Budget& budget() const { return options_.budget; }
  Facts& out() { return out_; }
  Scratch& scratch() { return scratch_; }
  const mail::MimeWalker& walker() const { return scratch_.walker; }
  std::string_view message() const { return message_; }

  Text keep(std::string_view text) { return out_.arena.copy(text); }
  // Lower case.
  Text keep_lower(std::string_view text);
  // A field's value as a person reads it (RFC 2047), in the result.
  Text header_text(std::string_view value, std::string_view field_name);

  // The same without encoded words, which have no place in addresses.
  Text plain_text(std::string_view value, std::string_view field_name);

  // Each once; `what` is one of our own words or a few of them.
  void limit(std::string_view what);
  void derived(std::string_view what, std::string_view from);
  void defect(std::string_view where, std::string_view what);
  void reason(std::string_view why);
  // Moves the notes into the result.
  void finish();

  // Bytes that may still come out of encodings; take() says how many of them were had.
  std::uint64_t bytes_left() const {
    const std::uint64_t most = options_.budget.decoded_bytes;
    return used_ < most ? most - used_ : 0;
  }
  void use_bytes(std::uint64_t bytes) { used_ += bytes; }

  // The part's content: the message's own bytes, or decoded into `room`.
  std::string_view content(const mail::MimePart& part, std::string& room);
  // "part 3 (application/gzip)", valid until the next call.
  std::string_view name_of(const mail::MimePart& part);
  void note_encoding(const mail::MimePart& part, const mail::DecodeNotes& notes);

 private:
  std::string_view message_;
  const Options& options_;
  Facts& out_;
  Scratch& scratch_;
  std::uint64_t used_ = 0;
};

}  // namespace mxring::decode
