#include "smtp/envelope.h"

#include <limits>

#include "base/assert.h"

namespace mxring::smtp {

void Envelope::begin(std::string_view reverse_path) {
  MXRING_ASSERT(!active_);
  active_ = true;
  MXRING_ASSERT(text_.empty() && recipients_.empty());
  reverse_path_ = store(reverse_path);
}

void Envelope::add_recipient(const Recipient& recipient) {
  MXRING_ASSERT(active_);
  StoredRecipient stored;
  stored.path = store(recipient.path);
  stored.original = store(recipient.original);
  stored.notify = recipient.notify;
  recipients_.push_back(stored);
}

void Envelope::set_envelope_id(std::string_view xtext) {
  MXRING_ASSERT(active_ && envelope_id_.size == 0);
  envelope_id_ = store(xtext);
}

void Envelope::clear() {
  text_.clear();
  recipients_.clear();
  if (text_.capacity() > kKeepTextBytes) std::string().swap(text_);
  if (recipients_.capacity() > kKeepRecipients) std::vector<StoredRecipient>().swap(recipients_);
  reverse_path_ = {};
  envelope_id_ = {};
  active_ = false;
  declared_size = 0;
  body = BodyType::kUnstated;
  dsn_return = DsnReturn::kUnstated;
  smtputf8 = false;
  requiretls = false;
}

Envelope::Recipient Envelope::recipient(std::size_t i) const& {
  MXRING_ASSERT(i < recipients_.size());
  const StoredRecipient& stored = recipients_[i];
  return {view(stored.path), view(stored.original), stored.notify};
}

std::size_t Envelope::memory_bytes() const {
  return text_.capacity() + recipients_.capacity() * sizeof(StoredRecipient);
}

Envelope::Text Envelope::store(std::string_view text) {
  // Bounded far below by recipients x command line; a wrapped position would mix up addresses.
  MXRING_ASSERT(text_.size() + text.size() <= std::numeric_limits<std::uint32_t>::max());
  const Text stored{static_cast<std::uint32_t>(text_.size()),
                    static_cast<std::uint32_t>(text.size())};
  text_.append(text);
  return stored;
}

}  // namespace mxring::smtp
