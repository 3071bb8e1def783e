// One row for each key of the configuration. Private to what reads and shows it.
//
// Thread: any; the table is constant.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/config.h"
#include "server/config_values.h"

namespace mxring::server {

// How a value is written outside TOML, in a variable of the environment.
enum class ValueForm : std::uint8_t {
  kText,  // as it stands
  kBare,  // true, false or a number
  kList,  // elements with commas between them, or a TOML list
};

struct ConfigKey {
  std::string_view section;  // "" = top level
  std::string_view name;
  ValueForm form;
  std::string (*kind)();
  std::string_view meaning;  // a sentence or more
  void (*read)(const toml::node&, Config&, const Reading&);
  std::string (*show)(const Config&);

  std::string path() const {
    return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
  }
};

// In the order in which they are documented and shown, section by section.
std::span<const ConfigKey> config_keys();
std::vector<std::string_view> config_sections();

}  // namespace mxring::server
