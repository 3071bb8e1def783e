// Reads the JSON that the server stores in records: objects of texts, numbers, truths and nulls,
// and arrays of such objects. Everything else in it is passed over. Pure; any bytes will do.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mxring::seglog {

class StoredObject {
 public:
  // The text of a member; of a number or truth what stands there; empty when there is none.
  std::string text(std::string_view name) const;
  bool truth(std::string_view name) const { return text(name) == "true"; }

 private:
  friend class StoredJson;
  struct Member {
    std::string name;
    std::string value;
  };
  std::vector<Member> members_;
};

// The object, or the objects of the array; none when it is neither, or malformed.
std::vector<StoredObject> read_stored_json(std::string_view json);

}  // namespace mxring::seglog
