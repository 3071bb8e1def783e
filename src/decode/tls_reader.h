// TLS reports (RFC 8460): their JSON is checked, its white space taken out, and handed on
// unchanged. Any object with `policies` and one of report-id, organization-name and date-range is
// one: senders leave out the others.
//
// Linear time, no recursion; nesting beyond Budget::json_depth ends it.
#pragma once

#include <string>
#include <string_view>

#include "decode/context.h"

namespace mxring::decode {

// `json` is used up. False: it is no such report; why() says more when it is JSON but damaged.
class TlsReader {
 public:
  bool read(Context& context, std::string& json, std::string_view where);

 private:
  enum class Value : std::uint8_t { kString, kOther };

  bool walk(std::string& json);
  bool take_value_start(std::string& json);
  bool take_string(std::string& json, std::string_view& text);
  bool take_scalar(std::string& json, std::string_view& text);
  void found(Value kind, std::string_view text);
  bool open(char bracket);
  bool close(char bracket);
  void skip_white(const std::string& json);
  bool in(std::size_t depth, std::string_view key) const {
    return depth < depth_ && keys_[depth] == key;
  }

  Context* context_ = nullptr;
  TlsReport report_;
  std::string scratch_;
  std::vector<std::string> keys_;  // the key being read in each open object; "" in arrays
  std::vector<char> brackets_;
  std::size_t depth_ = 0;
  std::size_t at_ = 0;     // next byte to read
  std::size_t write_ = 0;  // where it goes: never after at_
  bool policies_ = false;
  bool too_deep_ = false;
};

}  // namespace mxring::decode
