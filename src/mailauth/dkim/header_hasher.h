// The header half of a signature (RFC 6376 3.7): the signed fields in their canonical form, then
// the signature's own field without its b=, all of it appended to a hash before the header section
// goes.
//
// What simple canonicalization leaves alone is given to the hash as a view of the header section.
// Relaxed forms are written once per field, whoever signs it, into a buffer of our own that lives
// until the hashes are flushed; a signature that takes fields in the order in which they were
// written gives them to the hash in one piece.
//
// Contract: begin() once per message, then add() per signature. The views given stay valid until
// the batch's next flush, and so does this object's buffer until the next begin() or release().
//
// Thread: the owner's. Memory: the buffer holds the header section twice at most; release() gives
// a large one back. Failure: none.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "crypto/sha256_batch.h"
#include "mail/header_index.h"
#include "mailauth/dkim/field_index.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::dkim {

class HeaderHasher {
 public:
  explicit HeaderHasher(crypto::Sha256Batch& hashes) : hashes_(hashes) {}

  void begin(std::string_view header, std::span<const mail::Field> fields);
  // `own`: the signature's own field, an index into the fields. Finishes the stream.
  void add(const Signature& signature, std::uint32_t own, crypto::Sha256Stream& stream);
  void release();

 private:
  struct Form {  // a field's relaxed form in the buffer
    std::uint32_t at = 0;
    std::uint32_t bytes = 0;  // 0: not written yet
  };

  std::string_view relaxed(std::uint32_t field);
  std::string_view name_of(const mail::Field& field) const;
  std::string_view value_of(const mail::Field& field) const;
  void append(crypto::Sha256Stream& stream, std::string_view piece);
  void append_pending(crypto::Sha256Stream& stream);

  crypto::Sha256Batch& hashes_;
  std::string_view header_;
  std::span<const mail::Field> fields_;
  FieldIndex index_;
  std::vector<Form> forms_;
  std::unique_ptr<char[]> buffer_;
  std::size_t buffer_bytes_ = 0;
  std::size_t used_ = 0;
  std::string_view pending_;  // not given to the hash yet: it may grow
};

}  // namespace mxring::mailauth::dkim
