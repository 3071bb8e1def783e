// Has an object look at its invariants() when a public function of it ends, by whatever return: in
// debug builds. Tests call invariants() themselves in every build.
#pragma once

namespace mxring::net {

#ifdef NDEBUG
template <typename Object>
struct Checked {
  explicit Checked(const Object&) {}
};
#else
template <typename Object>
class Checked {
 public:
  explicit Checked(const Object& object) : object_(object) {}
  ~Checked() { object_.invariants(); }
  Checked(const Checked&) = delete;
  Checked& operator=(const Checked&) = delete;

 private:
  const Object& object_;
};
#endif

}  // namespace mxring::net
