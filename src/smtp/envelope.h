// The envelope of one transaction (RFC 5321 2.3.1) with the parameters kept from MAIL and RCPT.
// Owns its text in one growing buffer that is cleared, not freed, between transactions, so a
// kept-alive connection allocates nothing after its first message.
//
// The views it hands out hold until the next call that is not const.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::smtp {

enum class BodyType : std::uint8_t { kUnstated, k7Bit, k8BitMime, kBinaryMime };
enum class DsnReturn : std::uint8_t { kUnstated, kFull, kHeaders };  // RFC 3461 RET

// RFC 3461 NOTIFY, as bits; 0 = unstated.
enum DsnNotify : std::uint8_t {
  kNotifyNever = 1,
  kNotifySuccess = 2,
  kNotifyFailure = 4,
  kNotifyDelay = 8
};

class Envelope {
 public:
  // What clear() lets an idle connection keep.
  static constexpr std::size_t kKeepTextBytes = 512;
  static constexpr std::size_t kKeepRecipients = 16;

  struct Recipient {
    std::string_view path;  // local-part@domain as given, source route dropped; "postmaster" alone
    std::string_view original;  // ORCPT, still xtext-encoded; empty = unstated
    std::uint8_t notify = 0;    // DsnNotify bits
  };

  // MAIL. `reverse_path` empty is the null reverse-path.
  void begin(std::string_view reverse_path);
  void add_recipient(const Recipient& recipient);
  void set_envelope_id(std::string_view xtext);  // ENVID
  // Ends the transaction; keeps the memory unless it grew beyond what an idle connection may hold.
  void clear();

  bool active() const { return active_; }
  std::string_view reverse_path() const& { return view(reverse_path_); }
  std::string_view reverse_path() const&& = delete;
  std::string_view envelope_id() const& { return view(envelope_id_); }
  std::string_view envelope_id() const&& = delete;
  std::size_t recipients() const { return recipients_.size(); }
  Recipient recipient(std::size_t i) const&;
  Recipient recipient(std::size_t i) const&& = delete;
  std::size_t memory_bytes() const;  // on the heap

  std::uint64_t declared_size = 0;  // SIZE=; 0 = unstated
  BodyType body = BodyType::kUnstated;
  DsnReturn dsn_return = DsnReturn::kUnstated;
  bool smtputf8 = false;
  bool requiretls = false;  // RFC 8689

 private:
  struct Text {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };
  struct StoredRecipient {
    Text path;
    Text original;
    std::uint8_t notify = 0;
  };
  Text store(std::string_view text);
  std::string_view view(Text t) const { return std::string_view(text_).substr(t.begin, t.size); }

  std::string text_;
  std::vector<StoredRecipient> recipients_;
  Text reverse_path_;
  Text envelope_id_;
  bool active_ = false;
};

}  // namespace mxring::smtp
