// Writes one JSON value into a string. Keys are trusted literals; values are escaped, and bytes
// that are not valid UTF-8 come out as U+FFFD so that the output is always valid JSON. Characters
// that steer a terminal (base/text.h) are written as \uNNNN: JSON is read by people too.
//
//   JsonWriter json;
//   json.begin_object().key("ok").value(true).key("segments").begin_array().end_array();
//   json.end_object();
//   std::puts(json.text().c_str());
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::base {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool truth);
  JsonWriter& value(double number);  // not finite: null
  JsonWriter& value(std::int64_t number);
  JsonWriter& value(std::uint64_t number);
  JsonWriter& value(std::int32_t number) { return value(std::int64_t{number}); }
  JsonWriter& value(std::uint32_t number) { return value(std::uint64_t{number}); }
  JsonWriter& null();
  // A value that is JSON already, as our own code stored it.
  JsonWriter& raw(std::string_view json);

  const std::string& text() const& { return out_; }
  std::string text() && { return std::move(out_); }
  void clear() {
    out_.clear();
    need_comma_ = false;
  }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();
  void append_string(std::string_view text);

  std::string out_;
  bool need_comma_ = false;
};

}  // namespace mxring::base
