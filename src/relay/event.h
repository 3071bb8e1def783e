// What is sent of a record or a gap: {"type","timestamp","data"}, or the message itself.
//
// Thread: one per object, whose memory is used again. The text stays until the next call.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "decode/decode.h"
#include "relay/config.h"
#include "relay/item.h"

namespace mxring::relay {

struct EventShape {
  Payload payload = Payload::kFull;
  bool delivered = true;
  std::uint64_t inline_bytes = 0;  // a larger message is not in the event
  std::string claim_url;           // "" = then it is nowhere but in the log
  std::vector<decode::TokenPattern> tokens{};
};

// What decoding needs, which is much; writers on one thread may share it.
struct Decoding {
  decode::Decoder decoder;
  decode::Facts facts;
};

class EventWriter {
 public:
  explicit EventWriter(EventShape shape,
                       std::shared_ptr<Decoding> decoding = std::make_shared<Decoding>())
      : shape_(std::move(shape)), decoding_(std::move(decoding)) {}
  struct Event {
    std::string_view type;  // "mail.bounce"
    const char* content_type = "application/json";
    std::string_view body;
  };
  // `claim`: without the message, whatever its size.
  Event write(const Item& item, bool claim = false);
  // Where `mxring log serve` has the message; "" without [claim] url.
  std::string claim_of(const Item& item) const;

 private:
  void write_record(const Item& item, bool claim);

  EventShape shape_;
  std::shared_ptr<Decoding> decoding_;
  base::JsonWriter json_;
  std::vector<std::string_view> recipients_;
  std::string raw_;
  std::string encoded_;
};

std::vector<decode::TokenPattern> parse_tokens(const std::vector<std::string>& texts);
// "mail.received", "mail.bounce" ...
std::string_view event_type(decode::Kind kind);

}  // namespace mxring::relay
